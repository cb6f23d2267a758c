//! The push against a receiver on loopback that misbehaves.

mod burst;

mod negotiation;

mod poison;

use std::sync::atomic::{AtomicI64, Ordering};

use super::super::PushCounters;
use super::super::receiver::{Receiver, Reply, remote_write, remote_write_with};
use super::*;
use crate::queue::{Bounds, QueueStatus};

pub(super) const OK: Reply = Reply::Status(204, "", "");

/// Time limit of requests of which some are never answered: the others arrive within it also on a machine that stands still
/// for a while.
const LIMIT: Duration = Duration::from_secs(4);

/// A push that runs until its queue is closed and empty.
struct Running {
    queue: QueueHandle,
    status: watch::Receiver<PushStatus>,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    fn start(receiver: &Receiver) -> Self {
        Self::start_with(receiver, Duration::from_secs(10), Duration::from_mins(10))
    }

    fn start_with(receiver: &Receiver, timeout: Duration, max_age: Duration) -> Self {
        let mut settings = remote_write(receiver.address);
        settings.timeout = timeout;
        settings.queue.max_age = max_age;
        Self::start_settings(&settings)
    }

    /// With keys as in the file.
    fn start_keys(receiver: &Receiver, keys: &str) -> Self {
        Self::start_settings(&remote_write_with(
            &format!("http://{}/api/v1/write", receiver.address),
            keys,
        ))
    }

    fn start_settings(settings: &RemoteWrite) -> Self {
        Self::start_draining(settings, Duration::from_secs(10))
    }

    fn start_draining(settings: &RemoteWrite, drain: Duration) -> Self {
        let mut pushing = Pushing::new(settings, "1.2.3", drain).unwrap();
        pushing.backoff = Backoff::new(Duration::from_millis(5), Duration::from_millis(20));
        let queue = QueueHandle::new(Bounds {
            max_bytes: 1 << 20,
            max_age: settings.queue.max_age,
        });
        let (sender, status) = watch::channel(PushStatus::default());
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(run(pushing, queue.clone(), sender, shutdown.clone()));
        Self {
            queue,
            status,
            shutdown,
            task,
        }
    }

    async fn end(self) -> (PushCounters, QueueStatus) {
        self.queue.close();
        tokio::time::timeout(Duration::from_secs(20), self.task)
            .await
            .unwrap()
            .unwrap();
        (self.status.borrow().counters, self.queue.status())
    }
}

/// A request of a snapshot of its own.
pub(in crate::push) fn request(content: &'static str) -> SealedRequest {
    static SNAPSHOTS: AtomicI64 = AtomicI64::new(0);
    request_of(SNAPSHOTS.fetch_add(1, Ordering::Relaxed), content)
}

fn request_of(snapshot: i64, content: &'static str) -> SealedRequest {
    SealedRequest {
        bytes: content.into(),
        protocol: crate::wire::Protocol::V1Snappy,
        samples: content.len() as u64,
        min_timestamp: snapshot,
        max_timestamp: snapshot,
        sealed_at: Instant::now(),
    }
}

fn bodies(receiver: &Receiver) -> Vec<(String, bool)> {
    let requests = receiver.requests();
    let body = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
    requests.iter().map(|r| (body(&r.body), r.accepted())).collect()
}

fn dropped(status: &QueueStatus) -> [u64; 5] {
    DropReason::ALL.map(|reason| status.dropped.get(reason))
}

#[tokio::test]
async fn a_request_carries_the_headers_of_the_protocol_and_the_configured_ones() {
    let mut receiver = Receiver::start([Reply::Status(500, "", "")]).await;
    let running = Running::start(&receiver);
    running.queue.push(request("a"));
    let requests = receiver.wait_for(2).await;
    running.end().await;
    for line in [
        "post /api/v1/write http/1.1",
        "content-encoding: snappy",
        "content-type: application/x-protobuf",
        "x-prometheus-remote-write-version: 0.1.0",
        "user-agent: xprober-agent/1.2.3",
        "x-scope-orgid: tenant",
    ] {
        assert!(
            requests[0].head.lines().any(|sent| sent == line),
            "{line} in {}",
            requests[0].head
        );
    }
    assert!(!requests[0].head.contains("retry-attempt"));
    assert!(requests[1].head.contains("retry-attempt: 1"), "{}", requests[1].head);
}

#[tokio::test]
async fn whatever_fails_for_a_time_is_sent_again_in_order_byte_for_byte() {
    let script = [
        Reply::Status(500, "", "out of disk"),
        Reply::Status(429, "retry-after: 0\r\n", ""),
        Reply::Status(307, "location: http://127.0.0.1:1/\r\n", ""),
        Reply::Garbage,
        Reply::Close,
        OK,
    ];
    let mut receiver = Receiver::start(script).await;
    let running = Running::start(&receiver);
    running.queue.push(request("first"));
    running.queue.push(request("second"));
    receiver.wait_for(7).await;
    let (counters, status) = running.end().await;
    let mut expected = vec![("first".to_owned(), false); 5];
    expected.extend([("first".to_owned(), true), ("second".to_owned(), true)]);
    assert_eq!(bodies(&receiver), expected);
    let expected = PushCounters {
        pushed: 11,
        ok: 2,
        retry: 5,
        drop: 0,
    };
    assert_eq!((counters, dropped(&status)), (expected, [0; 5]));
}

#[tokio::test]
async fn a_refused_request_is_dropped_and_counted_and_the_next_one_goes() {
    let script = [
        Reply::Status(400, "", "out of order sample"),
        Reply::Status(404, "", ""),
        OK,
    ];
    let mut receiver = Receiver::start(script).await;
    let running = Running::start(&receiver);
    for content in ["a", "bb", "ccc"] {
        running.queue.push(request(content));
    }
    receiver.wait_for(3).await;
    let (counters, status) = running.end().await;
    let expected = PushCounters {
        pushed: 3,
        ok: 1,
        retry: 0,
        drop: 2,
    };
    assert_eq!((counters, dropped(&status)), (expected, [0, 0, 3, 0, 0]));
}

#[tokio::test]
async fn credentials_that_changed_a_moment_ago_cost_no_sample() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "old").unwrap();
    let refused = Reply::Status(401, "", "");
    let mut receiver = Receiver::start([refused, OK, refused, OK]).await;
    let keys = format!("authorization: {{credentials_file: {}}}", path.display());
    let running = Running::start_keys(&receiver, &keys);
    // Seen only by who has reason to look: time and size stay.
    let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
    std::fs::write(&path, "new").unwrap();
    let written = std::fs::File::options().write(true).open(&path).unwrap();
    written.set_modified(modified).unwrap();
    running.queue.push(request("a"));
    receiver.wait_for(2).await;
    // This time the file is as it was: the refusal stands.
    running.queue.push(request("bb"));
    running.queue.push(request("ccc"));
    receiver.wait_for(4).await;
    let (counters, status) = running.end().await;
    assert_eq!((counters.pushed, dropped(&status)), (4, [0, 0, 2, 0, 0]));
    let tokens: Vec<bool> = receiver
        .requests()
        .iter()
        .map(|request| request.head.contains("bearer new"))
        .collect();
    assert_eq!(tokens[1..], [true; 3]);
}

#[tokio::test]
async fn a_receiver_that_never_answers_costs_one_time_limit_per_attempt() {
    let mut receiver = Receiver::start([Reply::Hang]).await;
    let running = Running::start_with(&receiver, LIMIT, Duration::from_mins(10));
    running.queue.push(request("a"));
    receiver.wait_for(2).await;
    let (counters, _) = running.end().await;
    assert_eq!((counters.ok, counters.retry), (1, 1));
}

fn now_millis() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    i64::try_from(now.unwrap().as_millis()).unwrap()
}

#[tokio::test]
async fn samples_from_the_far_future_are_never_sent() {
    let receiver = Receiver::start([]).await;
    let running = Running::start(&receiver);
    for ahead in [i64::MAX, now_millis() + 7 * 60_000] {
        let mut early = request("early");
        early.max_timestamp = ahead;
        running.queue.push(early);
    }
    running.queue.push(request("now"));
    let (_, status) = running.end().await;
    assert_eq!(dropped(&status), [0, 0, 0, 10, 0]);
    assert_eq!(bodies(&receiver), [("now".to_owned(), true)]);
}

#[tokio::test]
async fn samples_that_are_some_minutes_ahead_wait_for_their_time_and_keep_their_place() {
    let mut receiver = Receiver::start([]).await;
    let running = Running::start(&receiver);
    let mut early = request("early");
    // Allowed to leave in two seconds.
    early.max_timestamp = now_millis() + 62_000;
    let began = Instant::now();
    running.queue.push(early);
    running.queue.push(request("now"));
    receiver.wait_for(2).await;
    assert!(began.elapsed() >= Duration::from_millis(1_500), "{:?}", began.elapsed());
    running.end().await;
    let expected = [("early".to_owned(), true), ("now".to_owned(), true)];
    assert_eq!(bodies(&receiver), expected);
}

#[tokio::test]
async fn where_any_order_is_taken_live_data_does_not_wait_behind_a_backlog() {
    // Both loops lease before the first answer; what hangs is the backlog's.
    let mut receiver = Receiver::start([Reply::Hang]).await;
    let mut settings = remote_write(receiver.address);
    (settings.out_of_order, settings.timeout) = (true, Duration::from_secs(5));
    let queue = QueueHandle::new(Bounds {
        max_bytes: 1 << 20,
        max_age: Duration::from_mins(10),
    });
    for content in ["old", "older", "new"] {
        queue.push(request(content));
    }
    let pushing = Pushing::new(&settings, "1.2.3", Duration::from_secs(10)).unwrap();
    let (sender, _status) = watch::channel(PushStatus::default());
    let task = tokio::spawn(run(pushing, queue.clone(), sender, CancellationToken::new()));
    receiver.wait_for(3).await;
    let mut came: Vec<String> = bodies(&receiver).into_iter().map(|(body, _)| body).collect();
    came.sort();
    assert_eq!(
        came,
        ["new", "old", "older"],
        "one hangs, the other loop sends the rest"
    );
    queue.close();
    receiver.wait_for(4).await;
    tokio::time::timeout(Duration::from_secs(20), task)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(queue.status().requests, 0);
}

#[tokio::test]
async fn the_drain_ends_with_its_time_and_reports_what_is_left() {
    let mut receiver = Receiver::start(std::iter::repeat_n(Reply::Hang, 9)).await;
    let running = Running::start_draining(&remote_write(receiver.address), Duration::from_millis(200));
    running.queue.push(request("stuck"));
    receiver.wait_for(1).await;
    running.shutdown.cancel();
    let (counters, status) = running.end().await;
    assert_eq!((counters, status.samples), (PushCounters::default(), 5));
}

#[tokio::test]
async fn a_shutdown_ends_the_pause_after_a_failure_with_an_attempt() {
    let mut receiver = Receiver::start([Reply::Status(503, "retry-after: 300\r\n", "")]).await;
    let mut running = Running::start(&receiver);
    running.queue.push(request("a"));
    running
        .status
        .wait_for(|status| status.counters.retry == 1)
        .await
        .unwrap();
    assert_eq!(receiver.requests().len(), 1);
    running.shutdown.cancel();
    receiver.wait_for(2).await;
    let (counters, _) = running.end().await;
    assert_eq!(counters.pushed, 1);
}

#[test]
fn attempts_are_numbered_per_request() {
    let mut queue = crate::queue::Queue::new(Bounds {
        max_bytes: 100,
        max_age: Duration::from_mins(1),
    });
    let mut attempts = Attempts::default();
    let mut numbers = Vec::new();
    for content in ["a", "b"] {
        queue.push(request(content), Instant::now());
        let (id, _) = queue.lease(Instant::now()).unwrap();
        numbers.extend([attempts.next(id), attempts.next(id)]);
        queue.ack(id);
    }
    assert_eq!(numbers, [0, 1, 0, 1]);
}
