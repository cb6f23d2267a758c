//! The push against a receiver on loopback that misbehaves.

use super::super::receiver::{Receiver, Reply, remote_write};
use super::*;
use crate::queue::{Bounds, QueueStatus};

const OK: Reply = Reply::Status(204, "", "");

/// A push that runs until its queue is closed and empty.
struct Running {
    queue: QueueHandle,
    counters: watch::Receiver<PushCounters>,
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
        let pushing = Pushing {
            client: Client::new(&settings, "1.2.3").unwrap(),
            drain_timeout: Duration::from_millis(200),
            backoff: Backoff::new(Duration::from_millis(5), Duration::from_millis(20)),
        };
        let queue = QueueHandle::new(Bounds {
            max_bytes: 1 << 20,
            max_age,
        });
        let (sender, counters) = watch::channel(PushCounters::default());
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(run(pushing, queue.clone(), sender, shutdown.clone()));
        Self {
            queue,
            counters,
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
        (*self.counters.borrow(), self.queue.status())
    }
}

fn request(content: &'static str) -> SealedRequest {
    SealedRequest {
        bytes: content.into(),
        protocol: crate::wire::Protocol::V1Snappy,
        samples: content.len() as u64,
        min_timestamp: 0,
        max_timestamp: 0,
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
async fn a_receiver_that_never_answers_costs_one_time_limit_per_attempt() {
    let mut receiver = Receiver::start([Reply::Hang]).await;
    let running = Running::start_with(&receiver, Duration::from_millis(50), Duration::from_mins(10));
    running.queue.push(request("a"));
    receiver.wait_for(2).await;
    let (counters, _) = running.end().await;
    assert_eq!((counters.ok, counters.retry), (1, 1));
}

#[tokio::test]
async fn a_request_that_always_fails_ages_out_and_what_is_younger_arrives() {
    let mut receiver = Receiver::start([]).await;
    let max_age = Duration::from_millis(200);
    let running = Running::start_with(&receiver, Duration::from_secs(10), max_age);
    running.queue.push(request("poison"));
    receiver.wait_for(2).await;
    // Sealed when the first is already dying of age, so that it outlives it.
    let mut next = request("next");
    next.sealed_at += Duration::from_mins(1);
    running.queue.push(next);
    let (counters, status) = running.end().await;
    assert_eq!((counters.pushed, dropped(&status)), (4, [0, 6, 0, 0, 0]));
    assert!(bodies(&receiver).contains(&("next".to_owned(), true)));
}

#[tokio::test]
async fn samples_from_the_future_are_never_sent() {
    let receiver = Receiver::start([]).await;
    let running = Running::start(&receiver);
    let mut early = request("early");
    early.max_timestamp = i64::MAX;
    running.queue.push(early);
    running.queue.push(request("now"));
    let (_, status) = running.end().await;
    assert_eq!(dropped(&status), [0, 0, 0, 5, 0]);
    assert_eq!(bodies(&receiver), [("now".to_owned(), true)]);
}

#[tokio::test]
async fn the_drain_ends_with_its_time_and_reports_what_is_left() {
    let mut receiver = Receiver::start(std::iter::repeat_n(Reply::Hang, 9)).await;
    let running = Running::start(&receiver);
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
    running.counters.wait_for(|counters| counters.retry == 1).await.unwrap();
    assert_eq!(receiver.requests().len(), 1);
    running.shutdown.cancel();
    receiver.wait_for(2).await;
    let (counters, _) = running.end().await;
    assert_eq!(counters.pushed, 1);
}

#[test]
fn one_line_a_minute_passes_and_says_how_many_did_not() {
    let start = Instant::now();
    let mut limit = LogLimit::default();
    let lines: Vec<_> = [0, 1, 59, 60, 61]
        .map(|second| limit.allow(start + Duration::from_secs(second)))
        .into();
    assert_eq!(lines, [Some(0), None, None, Some(2), None]);
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
