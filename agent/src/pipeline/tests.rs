//! Events in at one end, remote-write requests out at the other.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use xprober_config::agent::Detail;
use xprober_proto::{ProbeKind, Revision};

use super::*;
use crate::backoff::Backoff;
use crate::ledger::tests::{echo, target};
use crate::plan::Change;
use crate::probe::Outcome;
use crate::push::receiver::{Received, Receiver, Reply, closed_port, remote_write, remote_write_with};
use crate::samples::series::STALE_MARKER;

struct Running {
    events: mpsc::Sender<Event>,
    // A watch whose sender is gone keeps its value; held all the same, as the agent does.
    _plan: watch::Sender<PlanStatus>,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<Totals>,
}

fn start(receiver: &Receiver, interval: Duration) -> Running {
    start_all(&[remote_write(receiver.address)], interval)
}

fn start_all(endpoints: &[RemoteWrite], interval: Duration) -> Running {
    start_in(endpoints, interval, Duration::from_secs(10), None)
}

fn start_in(endpoints: &[RemoteWrite], interval: Duration, drain: Duration, directory: Option<&Path>) -> Running {
    let (plan_sender, plan) = watch::channel(PlanStatus {
        connected: false,
        revision: Revision::NONE,
        targets: 0,
        last_heard: None,
        rejected: BTreeMap::new(),
    });
    let (event_sender, events) = mpsc::channel(16);
    let made = endpoints.iter().map(|remote_write| {
        let mut pushing = Pushing::new(remote_write, "1.2.3", drain).unwrap();
        pushing.backoff = Backoff::new(Duration::from_millis(5), Duration::from_millis(20));
        Endpoint {
            name: remote_write.name.to_string(),
            encoder: Encoder::new(&EncoderSettings {
                protocol: Protocol::V1Snappy,
                histograms: remote_write.histograms.into(),
                labels: remote_write.labels.clone(),
                max_samples: 40,
            }),
            pushing,
            queue: open_queue(remote_write, directory),
        }
    });
    let pipeline = Pipeline {
        sampling: Sampling {
            common: [JOB.to_owned(), "vm1".to_owned(), "region-a".to_owned()],
            version: "1.2.3",
            interval,
            native_histograms: endpoints
                .iter()
                .any(|endpoint| Histograms::from(endpoint.histograms).has_native()),
            detail: Detail::Target,
            close_timeout: Duration::from_millis(100),
        },
        endpoints: made.collect(),
        plan,
        events,
    };
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(pipeline.run(shutdown.clone()));
    Running {
        events: event_sender,
        _plan: plan_sender,
        shutdown,
        task,
    }
}

impl Running {
    async fn probe(&self, results: u64) {
        let vm3 = target("1", "region-b", "vm3", ProbeKind::Icmp);
        self.events
            .send(Event::Change(Change::Upsert(Arc::clone(&vm3))))
            .await
            .unwrap();
        for _ in 0..results {
            self.events
                .send(Event::Echoes(vec![echo(&vm3, Outcome::Ok, 10)]))
                .await
                .unwrap();
        }
    }

    /// Ends and tells what became of the samples for the only endpoint.
    async fn end(self) -> EndpointTotals {
        self.end_all().await.sum()
    }

    async fn end_all(self) -> Totals {
        self.shutdown.cancel();
        drop(self.events);
        tokio::time::timeout(Duration::from_secs(20), self.task)
            .await
            .unwrap()
            .unwrap()
    }
}

/// What a database that took these requests holds: per series its samples in the order of arrival.
fn stored(requests: &[Received]) -> BTreeMap<String, Vec<(i64, u64)>> {
    let mut stored: BTreeMap<String, Vec<(i64, u64)>> = BTreeMap::new();
    for request in requests.iter().filter(|request| request.accepted()) {
        for series in request.decoded().timeseries {
            let labels: Vec<String> = series
                .labels
                .iter()
                .map(|l| format!("{}={}", l.name, l.value))
                .collect();
            let samples = series.samples.iter().map(|s| (s.timestamp, s.value.to_bits()));
            stored.entry(labels.join(",")).or_default().extend(samples);
        }
    }
    stored
}

fn assert_ordered_and_ended(stored: &BTreeMap<String, Vec<(i64, u64)>>) {
    for (series, samples) in stored {
        assert!(
            samples.windows(2).all(|pair| pair[0].0 < pair[1].0),
            "{series}: {samples:?}"
        );
        let markers = samples.iter().filter(|(_, bits)| *bits == STALE_MARKER).count();
        assert_eq!(markers, 1, "{series} ends once");
        assert!(
            samples.last().is_some_and(|(_, bits)| *bits == STALE_MARKER),
            "{series} ends last"
        );
    }
}

#[tokio::test]
async fn a_clean_exit_says_what_was_measured_last_and_ends_every_series() {
    let receiver = Receiver::start([]).await;
    let running = start(&receiver, Duration::from_hours(1));
    running.probe(3).await;
    let totals = running.end().await;

    let stored = stored(&receiver.requests());
    assert_ordered_and_ended(&stored);
    let samples: usize = stored.values().map(Vec::len).sum();
    assert_eq!(
        (totals.sealed, totals.pushed, totals.left),
        (samples as u64, samples as u64, 0)
    );
    assert_eq!(totals.stale_markers * 2, totals.sealed);
    let sent = stored
        .iter()
        .find(|(series, _)| series.contains("xprober_target_sent_total"))
        .unwrap();
    assert_eq!(sent.1[0].1, 3f64.to_bits(), "{sent:?}");
}

#[tokio::test]
async fn a_receiver_that_was_away_misses_nothing() {
    let mut receiver = Receiver::start([]).await;
    let address = receiver.address;
    let running = start(&receiver, Duration::from_millis(20));
    running.probe(5).await;
    receiver.wait_for(5).await;
    let mut requests = receiver.stop().await;
    // Something else answers for a while, then the receiver is back at the same place.
    let script = [
        Reply::Status(503, "", ""),
        Reply::Close,
        Reply::Garbage,
        Reply::Status(500, "", ""),
    ];
    let mut receiver = Receiver::start_at(address, script).await;
    receiver.wait_for(9).await;
    let totals = running.end().await;
    requests.extend(receiver.requests());

    let stored = stored(&requests);
    assert_ordered_and_ended(&stored);
    let samples: usize = stored.values().map(Vec::len).sum();
    assert_eq!((samples as u64, totals.left), (totals.sealed, 0), "{totals:?}");
    assert_eq!((totals.pushed, totals.dropped.len()), (totals.sealed, 0));
}

#[tokio::test]
async fn an_event_channel_that_stays_open_does_not_hold_up_the_exit() {
    let receiver = Receiver::start([]).await;
    let running = start(&receiver, Duration::from_hours(1));
    running.probe(1).await;
    let events = running.events.clone();
    let totals = running.end().await;
    assert_eq!(totals.pushed, totals.sealed);
    assert!(totals.stale_markers > 0);
    drop(events);
}

#[tokio::test]
async fn without_events_the_agent_still_speaks_of_itself() {
    let mut receiver = Receiver::start([]).await;
    let running = start(&receiver, Duration::from_millis(10));
    let requests = receiver.wait_for(2).await;
    assert!(
        stored(&requests)
            .keys()
            .any(|series| series.contains("xprober_agent_build_info"))
    );
    running.end().await;
}

#[tokio::test]
async fn a_dead_endpoint_costs_the_others_nothing() {
    let mut healthy = Receiver::start([]).await;
    let hanging = Receiver::start(std::iter::repeat_n(Reply::Hang, 1000)).await;
    let (closed, _kept) = closed_port();
    let named = |name: &str, address: std::net::SocketAddr| {
        remote_write_with(&format!("http://{address}/w"), &format!("name: {name}"))
    };
    let endpoints = [
        named("hanging", hanging.address),
        named("refusing", closed),
        named("healthy", healthy.address),
    ];
    let running = start_all(&endpoints, Duration::from_millis(20));
    running.probe(5).await;
    let began = Instant::now();
    healthy.wait_for(10).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let totals = running.end_all().await;

    let of = |name: &str| &totals.endpoints[name];
    assert_eq!((of("healthy").pushed, of("healthy").left), (of("healthy").sealed, 0));
    for name in ["hanging", "refusing"] {
        // The receiver that never answers is left alone when the drain time is over.
        assert_eq!((of(name).pushed, of(name).left), (0, of(name).sealed), "{name}");
    }
    assert_eq!(totals.endpoints.len(), 3);
    let stored = stored(&healthy.requests());
    assert_ordered_and_ended(&stored);
    for name in ["hanging", "refusing"] {
        let waiting = stored.iter().find(|(series, _)| {
            series.contains("xprober_agent_queue_requests") && series.contains(&format!("endpoint={name}"))
        });
        let (_, samples) = waiting.unwrap();
        assert!(
            samples.iter().any(|(_, bits)| f64::from_bits(*bits) >= 2.0),
            "{name}: {samples:?}"
        );
    }
    let refused = "__name__=xprober_agent_push_failures_total,endpoint=refusing";
    assert!(
        stored
            .keys()
            .any(|series| series.starts_with(refused) && series.contains("reason=refused"))
    );
}

#[tokio::test]
async fn what_an_outage_left_on_disk_is_pushed_by_the_next_run() {
    let folder = tempfile::tempdir().unwrap();
    let (address, kept) = closed_port();
    let endpoints = [remote_write(address)];
    let (interval, short) = (Duration::from_hours(1), Duration::from_millis(300));
    let running = start_in(&endpoints, interval, short, Some(folder.path()));
    running.probe(3).await;
    let first = running.end().await;
    assert_eq!(
        (first.left, first.unsaved, first.pushed),
        (first.sealed, 0, 0),
        "{first:?}"
    );
    assert!(folder.path().join("default").is_dir());

    let receiver = Receiver::start_on(kept.listen(64).unwrap(), []);
    let running = start_in(&endpoints, interval, Duration::from_secs(10), Some(folder.path()));
    let second = running.end().await;
    assert_eq!(second.inherited, first.sealed);
    assert_eq!(
        (second.pushed, second.left),
        (second.sealed + second.inherited, 0),
        "{second:?}"
    );
    let samples: usize = stored(&receiver.requests()).values().map(Vec::len).sum();
    assert_eq!(samples as u64, second.pushed);
}
