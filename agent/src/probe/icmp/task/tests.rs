//! What every backend does alike, on loopback.

use std::time::{Duration, Instant};

use tokio::time::timeout;
use xprober_proto::{Family, IcmpSpec, PacketOptions};

use super::*;
use crate::probe::{EchoResult, Outcome, Reason, Stamp};

const PATIENCE: Duration = Duration::from_secs(20);

fn target(spec: IcmpSpec) -> Arc<Target> {
    let name = format!("{}/{}", spec.host, spec.payload_bytes);
    Arc::new(Target {
        id: name.parse().unwrap(),
        name,
        region: "region-b".parse().unwrap(),
        interval: Duration::from_secs(1),
        timeout: Duration::from_millis(200),
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
async fn with_every_backend(networks: &[&str], specs: &[IcmpSpec], times: usize, judge: impl Fn(Stamp, &EchoResult)) {
    for choice in [IcmpBackend::Auto, IcmpBackend::Portable] {
        let backend = Backend::open(choice, 0x1234_5678_9abc_def0)
            .expect("these tests send ICMP echoes: run them as root or allow it as the error says");
        let stamp = match &backend {
            #[cfg(target_os = "linux")]
            Backend::Linux(_) => Stamp::Kernel,
            Backend::Portable(_) => Stamp::User,
        };
        let results = results_of(backend, networks, specs, times, specs.len()).await;
        assert_eq!(results.len(), specs.len() * times, "{choice:?}: every probe ends once");
        for result in &results {
            judge(stamp, result);
        }
    }
}

/// Probes each target `times` in a row, so many at once and a moment between them.
async fn results_of(
    backend: Backend,
    networks: &[&str],
    specs: &[IcmpSpec],
    times: usize,
    at_once: usize,
) -> Vec<EchoResult> {
    let networks = networks.iter().map(|network| network.parse().unwrap()).collect();
    let (due, receiver) = mpsc::channel(64);
    let (events, mut happened) = mpsc::channel(64);
    let task = tokio::spawn(run(backend, 1, networks, receiver, events));
    let targets: Vec<_> = specs.iter().cloned().map(target).collect();
    for _ in 0..times {
        let scheduled = Instant::now();
        for targets in targets.chunks(at_once) {
            let batch = targets.iter().map(|target| Due {
                target: Arc::clone(target),
                scheduled,
            });
            due.send(batch.collect()).await.unwrap();
            if at_once < specs.len() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
    drop(due);
    let mut seen = Vec::new();
    while let Some(event) = timeout(PATIENCE, happened.recv()).await.expect("results in time") {
        match event {
            Event::Echoes(batch) => seen.extend(batch),
            Event::Missed { target, ticks } => unreachable!("{ticks} ticks of {} missed", target.id),
            Event::Engine(_) | Event::Change(_) | Event::Http(_) | Event::Lateness { .. } => {}
        }
    }
    task.await.unwrap();
    seen
}

#[tokio::test]
async fn this_machine_answers_echoes_of_every_size_on_both_families() {
    let mut specs: Vec<_> = [0, 7, 8, 15, 16, 56, 1472, 4000]
        .map(|bytes| echo("127.0.0.1", bytes))
        .into();
    if has_ipv6() {
        specs.extend([0, 15, 56, 1452, 4000].map(|bytes| echo("::1", bytes)));
    }
    with_every_backend(&["127.0.0.0/8", "::1/128"], &specs, 1, |_, result| {
        assert_eq!(result.outcome, Outcome::Ok, "{:?}", result.target.probe);
        assert_eq!(result.duplicates, 0, "{:?}", result.target.probe);
        assert!(result.rtt.is_some_and(|rtt| rtt < Duration::from_millis(200)));
    })
    .await;
}

#[tokio::test]
async fn more_echoes_than_fit_into_one_batch_come_back_with_the_stamps_of_the_backend() {
    let specs: Vec<_> = (1..=250).map(|n| echo(&format!("127.0.1.{n}"), 56)).collect();
    with_every_backend(&["127.0.0.0/8"], &specs, 4, |stamp, result| {
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
    // Somebody has to have asked for stamps a moment before: the kernel turns them on in the background.
    let earlier = Backend::open(IcmpBackend::Linux, 1).unwrap();
    let warm_up = results_of(earlier, &["127.0.0.0/8"], &[echo("127.0.0.1", 56)], 1, 1).await;
    assert_eq!(warm_up.len(), 1);
    let _keeps_stamps_on = Backend::open(IcmpBackend::Linux, 2).unwrap();
    let backend = Backend::open(IcmpBackend::Linux, 3).unwrap();
    // The kernel stamps the departure of every echo where few leave together.
    let results = results_of(backend, &["127.0.0.0/8", "::1/128"], &specs, 2, 1).await;
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
    with_every_backend(&["127.0.0.0/8", "::1/128"], &specs, 1, |_, result| {
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
    with_every_backend(&["10.0.0.0/8"], &[echo("localhost", 56)], 1, |_, result| {
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
    with_every_backend(&["127.0.0.0/8"], &specs, 2, |_, result| {
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
    with_every_backend(&["127.0.0.0/8"], &specs, 1, |stamp, result| {
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
