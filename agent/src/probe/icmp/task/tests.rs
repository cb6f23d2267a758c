//! What every backend does alike, on loopback.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time::timeout;
use xprober_proto::{Family, IcmpSpec, PacketOptions};

use super::*;
use crate::probe::{EchoResult, Outcome, Reason, Stamp};

const PATIENCE: Duration = Duration::from_secs(20);

/// Of every probe; the user's stamps hold the delays of a busy machine.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Results come so long after the reply: every copy of one has arrived by then.
const SETTLE: Option<Duration> = Some(Duration::from_millis(20));

/// Results come at the end of the window.
const WHOLE_WINDOW: Option<Duration> = None;

/// How often a target is probed until the machine does not stand still meanwhile.
const MOST_RUNS: usize = 5;

fn target(spec: IcmpSpec) -> Arc<Target> {
    let name = format!("{}/{}", spec.host, spec.payload_bytes);
    Arc::new(Target {
        id: name.parse().unwrap(),
        name,
        region: "region-b".parse().unwrap(),
        interval: Duration::from_secs(1),
        timeout: TIMEOUT,
        probe: ProbeSpec::Icmp(spec),
    })
}

fn echo(host: &str, payload_bytes: u16) -> IcmpSpec {
    IcmpSpec::new(host.parse().unwrap(), payload_bytes)
}

fn has_ipv6() -> bool {
    std::net::UdpSocket::bind("[::1]:0").is_ok()
}

/// Probes each target `times` in a row with every backend and hands the results to `judge`.
async fn with_every_backend(
    settle: Option<Duration>,
    networks: &[&str],
    specs: &[IcmpSpec],
    times: usize,
    judge: impl Fn(Stamp, &EchoResult),
) {
    for choice in [IcmpBackend::Auto, IcmpBackend::Portable] {
        let backend = Backend::open(choice, 0x1234_5678_9abc_def0)
            .expect("these tests send ICMP echoes: run them as root or allow it as the error says");
        let stamp = match &backend {
            #[cfg(target_os = "linux")]
            Backend::Linux(_) => Stamp::Kernel,
            Backend::Portable(_) => Stamp::User,
        };
        let mut running = Running::start(backend, settle, networks);
        for _ in 0..times {
            for result in &running.probe(specs, specs.len()).await {
                judge(stamp, result);
            }
        }
        running.end().await;
    }
}

struct Running {
    due: mpsc::Sender<Vec<Due>>,
    events: mpsc::Receiver<Event>,
    task: JoinHandle<()>,
}

impl Running {
    fn start(backend: Backend, settle: Option<Duration>, networks: &[&str]) -> Self {
        let networks = networks.iter().map(|network| network.parse().unwrap()).collect();
        let (due, receiver) = mpsc::channel(64);
        let (sender, events) = mpsc::channel(64);
        let task = tokio::spawn(run_settling(backend, 1, settle, networks, receiver, sender));
        Self { due, events, task }
    }

    /// Probes each target, so many at once and a moment between them. Those in whose window the machine stood still are
    /// probed again.
    async fn probe(&mut self, specs: &[IcmpSpec], at_once: usize) -> Vec<EchoResult> {
        let mut targets: Vec<_> = specs.iter().cloned().map(target).collect();
        let mut results = Vec::new();
        for _ in 0..MOST_RUNS {
            self.send(&targets, at_once).await;
            let ended = self.results(targets.len()).await;
            let ids =
                |targets: Vec<&Arc<Target>>| targets.iter().map(|target| target.id.clone()).collect::<BTreeSet<_>>();
            assert_eq!(
                ids(ended.iter().map(|result| &result.target).collect()),
                ids(targets.iter().collect()),
                "every probe ends once"
            );
            let stood_still =
                |result: &EchoResult| (result.outcome, result.reason) == (Outcome::Stalled, Some(Reason::Gap));
            let (again, judged): (Vec<_>, Vec<_>) = ended.into_iter().partition(stood_still);
            results.extend(judged);
            targets = again.into_iter().map(|result| result.target).collect();
            if targets.is_empty() {
                return results;
            }
        }
        unreachable!("the machine stands still again and again: {targets:?}")
    }

    async fn send(&self, targets: &[Arc<Target>], at_once: usize) {
        let scheduled = Instant::now();
        for part in targets.chunks(at_once) {
            let batch = part.iter().map(|target| Due {
                target: Arc::clone(target),
                scheduled,
            });
            self.due.send(batch.collect()).await.unwrap();
            if at_once < targets.len() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    async fn results(&mut self, count: usize) -> Vec<EchoResult> {
        let mut results = Vec::new();
        while results.len() < count {
            let event = timeout(PATIENCE, self.events.recv()).await.expect("results in time");
            results.extend(echoes(event.expect("the prober goes on")));
        }
        assert_eq!(results.len(), count, "every probe ends once");
        results
    }

    async fn end(mut self) {
        drop(self.due);
        while let Some(event) = timeout(PATIENCE, self.events.recv()).await.expect("the end in time") {
            assert!(echoes(event).is_empty(), "every probe ends once");
        }
        self.task.await.unwrap();
    }
}

fn echoes(event: Event) -> Vec<EchoResult> {
    match event {
        Event::Echoes(results) => results,
        Event::Missed { target, ticks } => unreachable!("{ticks} ticks of {} missed", target.id),
        Event::Engine(_) | Event::Change(_) | Event::Http(_) | Event::Lateness { .. } => Vec::new(),
    }
}

#[tokio::test]
async fn this_machine_answers_echoes_of_every_size_on_both_families() {
    let mut specs: Vec<_> = [0, 7, 8, 15, 16, 56, 1472, 4000]
        .map(|bytes| echo("127.0.0.1", bytes))
        .into();
    if has_ipv6() {
        specs.extend([0, 15, 56, 1452, 4000].map(|bytes| echo("::1", bytes)));
    }
    with_every_backend(WHOLE_WINDOW, &["127.0.0.0/8", "::1/128"], &specs, 1, |_, result| {
        assert_eq!(result.outcome, Outcome::Ok, "{:?}", result.target.probe);
        assert_eq!(result.duplicates, 0, "{:?}", result.target.probe);
        let most = match result.stamp {
            Stamp::Kernel => Duration::from_millis(200),
            Stamp::User => TIMEOUT,
        };
        assert!(result.rtt.is_some_and(|rtt| rtt < most), "{result:?}");
    })
    .await;
}

#[tokio::test]
async fn more_echoes_than_fit_into_one_batch_come_back_with_the_stamps_of_the_backend() {
    let specs: Vec<_> = (1..=250).map(|n| echo(&format!("127.0.1.{n}"), 56)).collect();
    with_every_backend(SETTLE, &["127.0.0.0/8"], &specs, 4, |stamp, result| {
        assert_eq!(result.outcome, Outcome::Ok, "{:?}", result.target.probe);
        // The first replies after the kernel was asked for stamps may lack them.
        assert!(result.stamp <= stamp);
    })
    .await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_linux_backend_has_the_kernels_stamps_at_both_ends() {
    let mut specs: Vec<_> = (1..=50).map(|n| echo(&format!("127.0.1.{n}"), 56)).collect();
    specs.extend([0, 4, 12].map(|bytes| echo("127.0.0.1", bytes)));
    if has_ipv6() {
        specs.extend([0, 4, 12, 56].map(|bytes| echo("::1", bytes)));
    }
    // Somebody has to have asked for stamps a moment before, and to go on: the kernel turns them on in the background.
    let _keeps_stamps_on = Backend::open(IcmpBackend::Linux, 2).unwrap();
    let earlier = Backend::open(IcmpBackend::Linux, 1).unwrap();
    let mut warm_up = Running::start(earlier, SETTLE, &["127.0.0.0/8"]);
    warm_up.probe(&[echo("127.0.0.1", 56)], 1).await;
    warm_up.end().await;
    let backend = Backend::open(IcmpBackend::Linux, 3).unwrap();
    let mut running = Running::start(backend, SETTLE, &["127.0.0.0/8", "::1/128"]);
    // The kernel stamps the departure of every echo where few leave together.
    let mut results = running.probe(&specs, 1).await;
    results.extend(running.probe(&specs, 1).await);
    running.end().await;
    let user: Vec<_> = results.iter().filter(|result| result.stamp == Stamp::User).collect();
    assert!(user.is_empty(), "{} of {} without: {user:?}", user.len(), results.len());
}

#[tokio::test]
async fn a_name_is_resolved_to_the_family_that_was_asked_for() {
    let mut specs = vec![echo("localhost", 56)];
    for (family, bytes) in [(Family::V4, 57), (Family::V6, 58)] {
        let packet = PacketOptions {
            family: Some(family),
            ..PacketOptions::default()
        };
        specs.push(IcmpSpec {
            packet,
            ..echo("localhost", bytes)
        });
    }
    with_every_backend(SETTLE, &["127.0.0.0/8", "::1/128"], &specs, 1, |_, result| {
        let ProbeSpec::Icmp(spec) = &result.target.probe else {
            unreachable!();
        };
        // Not every machine calls ::1 localhost, too.
        let unknown = spec.packet.family == Some(Family::V6) && result.reason == Some(Reason::Unresolved);
        assert!(unknown || result.outcome == Outcome::Ok, "{result:?}");
    })
    .await;
}

#[tokio::test]
async fn a_name_that_leads_outside_the_allowed_networks_is_not_probed() {
    with_every_backend(SETTLE, &["10.0.0.0/8"], &[echo("localhost", 56)], 1, |_, result| {
        assert_eq!(
            (result.outcome, result.reason),
            (Outcome::SendError, Some(Reason::Forbidden))
        );
    })
    .await;
}

#[tokio::test]
async fn an_echo_that_cannot_leave_says_why_and_spoils_no_other() {
    let ttl = PacketOptions {
        ttl: Some(3),
        dscp: 46,
        ..PacketOptions::default()
    };
    let specs = [
        echo("127.0.0.1", 56),
        // Larger than any IP packet.
        echo("127.0.0.1", 65_530),
        IcmpSpec {
            packet: ttl,
            ..echo("127.0.0.2", 57)
        },
        echo("127.0.0.3", 58),
    ];
    with_every_backend(SETTLE, &["127.0.0.0/8"], &specs, 2, |_, result| {
        let ProbeSpec::Icmp(spec) = &result.target.probe else {
            unreachable!();
        };
        let expected = if spec.payload_bytes > 65_507 {
            (Outcome::SendError, Some(Reason::TooLong))
        } else {
            (Outcome::Ok, None)
        };
        assert_eq!((result.outcome, result.reason), expected, "{spec:?}");
    })
    .await;
}

#[tokio::test]
async fn a_source_or_interface_that_is_not_there_is_named() {
    let with = |packet| IcmpSpec {
        packet,
        ..echo("127.0.0.1", 56)
    };
    let specs = [
        with(PacketOptions {
            source: "192.0.2.77".parse().ok(),
            ..PacketOptions::default()
        }),
        with(PacketOptions {
            interface: "nowhere0".parse().ok(),
            ..PacketOptions::default()
        }),
    ];
    with_every_backend(SETTLE, &["127.0.0.0/8"], &specs, 1, |stamp, result| {
        assert_eq!(result.outcome, Outcome::SendError);
        let expected = match stamp {
            // Kernels differ in what they call a source that is not there.
            Stamp::Kernel => [Reason::BadSource, Reason::NoRoute],
            Stamp::User => [Reason::NoSocket; 2],
        };
        let reason = result.reason.unwrap();
        assert!(expected.contains(&reason), "{reason:?} of {:?}", result.target.probe);
    })
    .await;
}
