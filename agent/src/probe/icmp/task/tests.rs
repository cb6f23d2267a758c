//! The loop over a scripted socket, and over real ones on loopback.

use std::collections::VecDeque;

use tokio::time::timeout;

use super::super::flight::Key;
use super::super::packet::{Content, sequence};
use super::super::portable::PortableSocket;
use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn target(host: &str, payload_bytes: u16) -> Arc<Target> {
    Arc::new(Target {
        id: host.parse().unwrap(),
        name: host.to_owned(),
        region: "region-b".parse().unwrap(),
        interval: Duration::from_secs(1),
        timeout: Duration::from_millis(200),
        probe: ProbeSpec::Icmp(IcmpSpec::new(host.parse().unwrap(), payload_bytes)),
    })
}

/// Answers every second echo at once and refuses to send to 10.9.9.9.
#[derive(Default)]
struct Scripted {
    answers: VecDeque<EchoEvent>,
    sent: u64,
}

impl EchoSocket for Scripted {
    fn stamp(&self) -> Stamp {
        Stamp::User
    }

    async fn send(&mut self, echo: Echo) -> io::Result<Instant> {
        if echo.to.to_string() == "10.9.9.9" {
            return Err(io::ErrorKind::NetworkUnreachable.into());
        }
        self.sent += 1;
        let at = Instant::now();
        if self.sent % 2 == 1 {
            let key = Key {
                to: echo.to,
                sequence: sequence(echo.number),
            };
            let content = Content::Whole {
                number: Some(echo.number),
                bytes: usize::from(echo.payload_bytes),
            };
            self.answers.push_back(EchoEvent::Replied {
                key,
                at,
                stamp: Stamp::User,
                content,
            });
        }
        Ok(at)
    }

    async fn next(&mut self, events: &mut Vec<EchoEvent>) {
        match self.answers.pop_front() {
            Some(event) => events.push(event),
            None => std::future::pending().await,
        }
    }
}

/// Probes each target once and returns the outcomes in the order in which the windows closed.
async fn outcomes<S: EchoSocket + 'static>(socket: S, networks: &[&str], targets: &[Arc<Target>]) -> Vec<EchoResult> {
    let networks = networks.iter().map(|network| network.parse().unwrap()).collect();
    let (due, receiver) = mpsc::channel(64);
    let (events, mut results) = mpsc::channel(64);
    let task = tokio::spawn(run(socket, 1, networks, receiver, events));
    for target in targets {
        let target = Arc::clone(target);
        let scheduled = Instant::now();
        due.send(Due { target, scheduled }).await.unwrap();
    }
    drop(due);
    let mut seen = Vec::new();
    while let Some(event) = timeout(PATIENCE, results.recv()).await.expect("results in time") {
        if let Event::Echoes(batch) = event {
            seen.extend(batch);
        }
    }
    task.await.unwrap();
    seen
}

#[tokio::test]
async fn each_probe_ends_once_and_the_task_ends_with_the_last_window() {
    let targets = ["10.0.0.1", "10.0.0.2", "10.9.9.9", "10.0.0.3"].map(|host| target(host, 56));
    let mut seen: Vec<(String, Outcome)> = outcomes(Scripted::default(), &["0.0.0.0/0"], &targets)
        .await
        .into_iter()
        .map(|result| (result.target.name.clone(), result.outcome))
        .collect();
    seen.sort_unstable();
    let expected = [
        ("10.0.0.1", Outcome::Ok),
        ("10.0.0.2", Outcome::Lost),
        ("10.0.0.3", Outcome::Ok),
        ("10.9.9.9", Outcome::SendError),
    ];
    assert_eq!(seen, expected.map(|(host, outcome)| (host.to_owned(), outcome)));
}

#[tokio::test]
async fn a_name_is_resolved_and_its_address_must_be_allowed() {
    let targets = [target("localhost", 56)];
    let allowed = outcomes(Scripted::default(), &["127.0.0.0/8", "::1/128"], &targets).await;
    assert_eq!(allowed[0].outcome, Outcome::Ok);
    let forbidden = outcomes(Scripted::default(), &["10.0.0.0/8"], &targets).await;
    assert_eq!(forbidden[0].outcome, Outcome::SendError);
}

#[tokio::test]
async fn this_machine_answers_echoes_of_every_size_on_both_families() {
    let socket = PortableSocket::open(0x1234_5678_9abc_def0)
        .expect("these tests send ICMP echoes: run them as root or allow it as the error says");
    let mut targets: Vec<_> = [0, 7, 8, 15, 16, 56, 1472]
        .map(|bytes| target("127.0.0.1", bytes))
        .into();
    if std::net::UdpSocket::bind("[::1]:0").is_ok() {
        targets.extend([0, 56, 1452].map(|bytes| target("::1", bytes)));
    }
    let results = outcomes(socket, &["127.0.0.0/8", "::1/128"], &targets).await;
    assert_eq!(results.len(), targets.len());
    for result in results {
        assert_eq!(result.outcome, Outcome::Ok, "{:?}", result.target.probe);
        assert_eq!(result.duplicates, 0, "{:?}", result.target.probe);
        assert!(result.rtt.is_some_and(|rtt| rtt < Duration::from_millis(200)));
    }
}
