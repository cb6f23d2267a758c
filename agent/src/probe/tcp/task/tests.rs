use super::*;

use std::net::{Ipv4Addr, Ipv6Addr};

use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use xprober_proto::PacketOptions;

use crate::probe::{Outcome, Stamp};
use crate::responder::Responder;

/// Long enough for any answer on a busy machine.
const TIMEOUT: Duration = Duration::from_millis(900);
const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn spec(host: &str, port: u16) -> TcpSpec {
    TcpSpec::new(host.parse().unwrap(), port)
}

fn target(id: &str, spec: TcpSpec, timeout: Duration) -> Arc<Target> {
    Arc::new(Target {
        id: id.parse().unwrap(),
        name: id.to_owned(),
        region: "region-b".parse().unwrap(),
        interval: Duration::from_mins(1),
        timeout,
        probe: ProbeSpec::Tcp(spec),
    })
}

struct Running {
    due: mpsc::Sender<Vec<Due>>,
    events: mpsc::Receiver<Event>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

fn start_at_most(most: usize, networks: &[&str]) -> Running {
    let networks = networks.iter().map(|network| network.parse().unwrap()).collect();
    let (due, queue) = mpsc::channel(8);
    let (sender, events) = mpsc::channel(64);
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(run_at_most(most, networks, queue, sender, shutdown.clone()));
    Running {
        due,
        events,
        shutdown,
        task,
    }
}

fn start() -> Running {
    start_at_most(64, &["127.0.0.0/8", "::1/128"])
}

impl Running {
    async fn send(&self, targets: &[&Arc<Target>]) {
        let batch = targets.iter().map(|target| Due {
            target: Arc::clone(target),
            scheduled: Instant::now(),
        });
        self.due.send(batch.collect()).await.unwrap();
    }

    async fn results(&mut self, count: usize) -> Vec<EchoResult> {
        let mut results = Vec::new();
        while results.len() < count {
            match self.events.recv().await {
                Some(Event::Echoes(more)) => results.extend(more),
                other => panic!("{other:?} after {results:?}"),
            }
        }
        results
    }

    async fn probe(&mut self, target: &Arc<Target>) -> EchoResult {
        self.send(&[target]).await;
        self.results(1).await.remove(0)
    }
}

fn end(result: &EchoResult) -> (Outcome, Option<Reason>) {
    (result.outcome, result.reason)
}

const OK: (Outcome, Option<Reason>) = (Outcome::Ok, None);

/// A port whose SYNs stay unanswered: its accept queue holds one connection, which is there.
fn silent_port() -> (u16, [Socket; 2]) {
    let [listener, filler] = [(); 2].map(|()| Socket::new(Domain::IPV4, Type::STREAM, None).unwrap());
    listener.bind(&SocketAddr::new(LOCALHOST, 0).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    filler.connect(&address).unwrap();
    (address.as_socket().unwrap().port(), [listener, filler])
}

/// Free ports, kept from others for as long as the sockets live.
fn free_ports<const N: usize>() -> ([u16; N], [Socket; N]) {
    let sockets = [(); N].map(|()| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SocketAddr::new(LOCALHOST, 0).into()).unwrap();
        socket
    });
    let ports = std::array::from_fn(|n| sockets[n].local_addr().unwrap().as_socket().unwrap().port());
    (ports, sockets)
}

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind((LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[tokio::test]
async fn an_open_port_answers_in_the_kernels_time() {
    let responder = Responder::bind((Ipv6Addr::UNSPECIFIED, 0).into()).unwrap();
    let port = responder.local_port();
    let shutdown = CancellationToken::new();
    let responding = tokio::spawn(responder.run(shutdown.clone()));
    let mut running = start();
    for host in ["127.0.0.1", "::1"] {
        let result = running.probe(&target("a", spec(host, port), TIMEOUT)).await;
        assert_eq!(end(&result), OK, "{host}");
        assert!(result.rtt.is_some_and(|rtt| rtt > Duration::ZERO));
        #[cfg(target_os = "linux")]
        assert_eq!(result.stamp, Stamp::Kernel);
    }
    shutdown.cancel();
    responding.await.unwrap();
}

#[tokio::test]
async fn a_closed_port_is_reachable_but_refuses() {
    let ([port], _kept) = free_ports();
    let result = start().probe(&target("a", spec("127.0.0.1", port), TIMEOUT)).await;
    assert_eq!(end(&result), (Outcome::Ok, Some(Reason::Refused)));
    assert!(result.rtt.is_some() && result.stamp == Stamp::User, "{result:?}");
}

#[tokio::test]
async fn silence_is_loss_and_the_window_outlives_the_schedule() {
    let (port, _kept) = silent_port();
    let running = start();
    let target = target("a", spec("127.0.0.1", port), Duration::from_millis(40));
    running.send(&[&target]).await;
    // As at the end of the schedule: nothing follows, but the probe has left.
    let Running { due, mut events, .. } = running;
    drop(due);
    let Some(Event::Echoes(results)) = events.recv().await else {
        panic!("no result");
    };
    // A machine that stands still here is noticed, and that is right too.
    assert!(
        matches!(
            end(&results[0]),
            (Outcome::Lost, None) | (Outcome::Stalled, Some(Reason::Gap))
        ),
        "{results:?}"
    );
    assert!(events.recv().await.is_none(), "one result");
}

#[tokio::test]
async fn no_more_than_the_limit_are_in_flight() {
    let (port, _kept) = silent_port();
    let mut running = start_at_most(1, &[]);
    let (a, b) = (
        target("a", spec("127.0.0.1", port), TIMEOUT),
        target("b", spec("127.0.0.1", port), TIMEOUT),
    );
    running.send(&[&a, &b]).await;
    let first = running.results(1).await.remove(0);
    assert_eq!(first.target.id, b.id);
    assert_eq!(end(&first), (Outcome::SendError, Some(Reason::InFlight)));
    running.shutdown.cancel();
    let second = running.results(1).await.remove(0);
    assert_eq!(second.target.id, a.id, "the one in flight ends after the shutdown");
    running.task.await.unwrap();
}

#[tokio::test]
async fn names_resolve_to_the_wanted_family_and_inside_the_allowed_networks_only() {
    let responder = Responder::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let port = responder.local_port();
    let to = |family| TcpSpec {
        packet: PacketOptions {
            family,
            ..PacketOptions::default()
        },
        ..spec("localhost", port)
    };
    let mut running = start_at_most(64, &["127.0.0.0/8"]);
    let any = running.probe(&target("a", to(None), TIMEOUT)).await;
    assert_eq!(end(&any), OK);
    let v4 = running.probe(&target("b", to(Some(Family::V4)), TIMEOUT)).await;
    assert_eq!(end(&v4), OK, "from memory");
    let v6 = running.probe(&target("c", to(Some(Family::V6)), TIMEOUT)).await;
    assert_eq!(v6.outcome, Outcome::SendError, "{v6:?}");
    let mut elsewhere = start_at_most(64, &["10.0.0.0/8"]);
    let forbidden = elsewhere.probe(&target("a", to(None), TIMEOUT)).await;
    assert_eq!(end(&forbidden), (Outcome::SendError, Some(Reason::Forbidden)));
}

#[tokio::test]
async fn a_literal_of_the_other_family_is_not_probed() {
    let packet = PacketOptions {
        family: Some(Family::V6),
        ..PacketOptions::default()
    };
    let spec = TcpSpec {
        packet,
        ..spec("127.0.0.1", 9)
    };
    let result = start().probe(&target("a", spec, TIMEOUT)).await;
    assert_eq!(end(&result), (Outcome::SendError, Some(Reason::Unresolved)));
}

#[tokio::test]
async fn every_probe_has_a_new_source_port() {
    let (listener, port) = listener().await;
    let mut running = start();
    let target = target("a", spec("127.0.0.1", port), TIMEOUT);
    let mut seen = Vec::new();
    for _ in 0..8 {
        assert_eq!(end(&running.probe(&target).await), OK);
        seen.push(listener.accept().await.unwrap().1.port());
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 8, "{seen:?}");
}

#[tokio::test]
async fn fixed_source_ports_are_walked_in_order_and_are_free_again_at_once() {
    let (listener, port) = listener().await;
    let (ports, _kept) = free_ports::<3>();
    let mut running = start();
    let spec = TcpSpec {
        source_ports: ports.to_vec(),
        ..spec("127.0.0.1", port)
    };
    let target = target("a", spec, TIMEOUT);
    for expected in ports.iter().cycle().take(9) {
        assert_eq!(end(&running.probe(&target).await), OK);
        assert_eq!(listener.accept().await.unwrap().1.port(), *expected);
    }
}

#[tokio::test]
async fn one_fixed_port_serves_two_targets_at_once_but_not_two_probes_of_one() {
    let ((first, _one), (second, _two)) = (silent_port(), silent_port());
    let ([source], _kept) = free_ports();
    let fixed = |id: &str, port| {
        let spec = TcpSpec {
            source_ports: vec![source],
            ..spec("127.0.0.1", port)
        };
        target(id, spec, Duration::from_millis(40))
    };
    let (a, b) = (fixed("a", first), fixed("b", second));
    let mut running = start();
    running.send(&[&a, &b, &a]).await;
    let mut ends: Vec<_> = running.results(3).await.iter().map(end).collect();
    assert_eq!(ends.remove(0), (Outcome::SendError, Some(Reason::InFlight)));
    assert!(
        ends.iter().all(|(outcome, _)| *outcome != Outcome::SendError),
        "{ends:?}"
    );
}

#[tokio::test]
async fn the_peer_sees_the_wanted_source_address() {
    let (listener, port) = listener().await;
    let packet = PacketOptions {
        source: Some("127.0.0.2".parse().unwrap()),
        ..PacketOptions::default()
    };
    let spec = TcpSpec {
        packet,
        ..spec("127.0.0.1", port)
    };
    assert_eq!(end(&start().probe(&target("a", spec, TIMEOUT)).await), OK);
    let (_, peer) = listener.accept().await.unwrap();
    assert_eq!(peer.ip(), Ipv4Addr::new(127, 0, 0, 2));
}

#[tokio::test]
async fn an_answer_after_the_timeout_is_late_or_lost_but_never_ok() {
    let (_listener, port) = listener().await;
    let result = start()
        .probe(&target("a", spec("127.0.0.1", port), Duration::from_nanos(1)))
        .await;
    assert!(
        matches!(result.outcome, Outcome::Late | Outcome::Lost | Outcome::Stalled),
        "{result:?}"
    );
}

#[tokio::test]
async fn a_probe_that_comes_an_interval_late_does_not_leave() {
    let mut running = start();
    let target = target("a", spec("127.0.0.1", 9), TIMEOUT);
    let due = Due {
        scheduled: Instant::now().checked_sub(target.interval).unwrap(),
        target,
    };
    running.due.send(vec![due]).await.unwrap();
    assert!(matches!(
        running.events.recv().await,
        Some(Event::Missed { ticks: 1, .. })
    ));
}

#[tokio::test]
async fn without_a_name_server_a_waiting_probe_does_not_hold_up_the_end() {
    let running = start();
    running.send(&[&target("a", spec("waiting.invalid", 9), TIMEOUT)]).await;
    running.shutdown.cancel();
    running.task.await.unwrap();
}
