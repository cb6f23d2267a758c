//! Which spelling goes out, and what happens to what was not stored.

use super::*;
use crate::wire::Protocol;

const WRITTEN: Reply = Reply::Status(
    204,
    "x-prometheus-remote-write-samples-written: 0\r\nx-prometheus-remote-write-histograms-written: 0\r\n",
    "",
);

/// What came: method, version and spelling of each request.
fn spellings(receiver: &Receiver) -> Vec<String> {
    let line = |head: &str, name: &str| {
        let found = head.lines().find_map(|line| line.strip_prefix(name));
        found.unwrap_or("-").to_owned()
    };
    let spelling = |head: &String| {
        let method = head.split(' ').next().unwrap_or_default();
        let version = line(head, "x-prometheus-remote-write-version: ");
        format!("{method} {version} {}", line(head, "content-encoding: "))
    };
    receiver
        .requests()
        .iter()
        .map(|request| spelling(&request.head))
        .collect()
}

fn spelt(content: &'static str, protocol: Protocol) -> SealedRequest {
    SealedRequest {
        protocol,
        ..request(content)
    }
}

/// Runs until two data requests, the second behind a failure of the connection, went out.
async fn run_with(keys: &str, protocol: Protocol, script: Vec<Reply>, requests: usize) -> (Receiver, PushStatus) {
    let mut receiver = Receiver::start(script).await;
    let running = Running::start_keys(&receiver, keys);
    running.queue.push(spelt("data", protocol));
    receiver.wait_for(requests).await;
    let status = running.status.clone();
    let (_, left) = running.end().await;
    assert_eq!(left.requests, 0);
    let status = *status.borrow();
    (receiver, status)
}

#[tokio::test]
async fn rw1_asks_nothing() {
    let (receiver, status) = run_with("protocol: rw1", Protocol::V1Snappy, vec![OK], 1).await;
    assert_eq!(spellings(&receiver), ["post 0.1.0 snappy"]);
    assert_eq!(status.protocol, Protocol::V1Snappy);
}

#[tokio::test]
async fn rw2_is_spoken_after_an_empty_request_was_counted() {
    let (receiver, status) = run_with("protocol: rw2", Protocol::V2Snappy, vec![WRITTEN, WRITTEN], 2).await;
    assert_eq!(spellings(&receiver), ["post 2.0.0 snappy", "post 2.0.0 snappy"]);
    let types = "content-type: application/x-protobuf;proto=io.prometheus.write.v2.request";
    assert!(receiver.requests()[0].head.contains(types));
    let empty = snap::raw::Decoder::new()
        .decompress_vec(&receiver.requests()[0].body)
        .unwrap();
    assert_eq!(empty, [0x22, 0], "no series, and the empty symbol");
    assert_eq!((status.protocol, status.counters.pushed), (Protocol::V2Snappy, 4));
}

#[tokio::test]
async fn a_receiver_that_answers_204_without_counts_gets_rw1() {
    let (receiver, status) = run_with("protocol: rw2", Protocol::V1Snappy, vec![OK, OK], 2).await;
    assert_eq!(spellings(&receiver), ["post 2.0.0 snappy", "post 0.1.0 snappy"]);
    assert_eq!((status.protocol, status.counters.pushed), (Protocol::V1Snappy, 4));
}

#[tokio::test]
async fn victoria_metrics_is_recognised_by_its_answer_and_gets_zstd() {
    let script = vec![Reply::Status(200, "", "1"), OK];
    let (receiver, status) = run_with("protocol: auto", Protocol::V1Zstd, script, 2).await;
    assert_eq!(spellings(&receiver), ["get - -", "post 0.1.0 zstd"]);
    let head = &receiver.requests()[0].head;
    assert!(head.starts_with("get /api/v1/write?get_vm_proto_version=1 "), "{head}");
    assert_eq!(status.protocol, Protocol::V1Zstd);
}

#[tokio::test]
async fn auto_asks_for_zstd_then_for_rw2() {
    let script = vec![Reply::Status(405, "", ""), WRITTEN, WRITTEN];
    let (receiver, _) = run_with("protocol: auto", Protocol::V2Snappy, script, 3).await;
    assert_eq!(
        spellings(&receiver),
        ["get - -", "post 2.0.0 snappy", "post 2.0.0 snappy"]
    );
}

#[tokio::test]
async fn after_a_failure_the_question_is_asked_again() {
    let script = vec![WRITTEN, Reply::Status(503, "", ""), WRITTEN, WRITTEN];
    let (receiver, status) = run_with("protocol: rw2", Protocol::V2Snappy, script, 4).await;
    assert_eq!(spellings(&receiver), ["post 2.0.0 snappy"; 4]);
    let data: Vec<bool> = receiver
        .requests()
        .iter()
        .map(|request| request.body == b"data")
        .collect();
    assert_eq!(data, [false, true, false, true]);
    assert_eq!((status.counters.retry, status.counters.ok), (1, 1));
}

#[tokio::test]
async fn a_receiver_that_is_away_gets_no_data_before_it_was_asked() {
    let script = vec![Reply::Close, Reply::Status(200, "", "1"), OK];
    let (receiver, status) = run_with("protocol: zstd", Protocol::V1Zstd, script, 3).await;
    assert_eq!(spellings(&receiver), ["get - -", "get - -", "post 0.1.0 zstd"]);
    assert_eq!(status.failures.get(FailureReason::Closed), 1);
}

/// A request of one series with one sample, in Remote-Write 1.0 with snappy.
fn sealed() -> SealedRequest {
    use prost::Message as _;
    use xprober_proto::remote_write::{Label, Sample, TimeSeries, WriteRequest};
    let label = |name: &str, value: &str| Label {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    let message = WriteRequest {
        timeseries: vec![TimeSeries {
            labels: vec![label("__name__", "xprober_target_up"), label("job", "xprober")],
            samples: vec![Sample {
                value: 1.0,
                timestamp: 7,
            }],
            ..TimeSeries::default()
        }],
    };
    let bytes = snap::raw::Encoder::new()
        .compress_vec(&message.encode_to_vec())
        .unwrap();
    SealedRequest {
        bytes: bytes.into(),
        samples: 1,
        ..request_of(7, "")
    }
}

#[tokio::test]
async fn what_was_taken_and_not_stored_is_sent_again_as_rw1() {
    for refusal in [OK, Reply::Status(415, "", ""), Reply::Status(400, "", "")] {
        let mut receiver = Receiver::start([WRITTEN, refusal]).await;
        let running = Running::start_keys(&receiver, "protocol: rw2");
        let sealed = sealed();
        running.queue.push(sealed.clone());
        receiver.wait_for(3).await;
        let status = running.status.clone();
        let (counters, left) = running.end().await;
        let expected = ["post 2.0.0 snappy", "post 2.0.0 snappy", "post 0.1.0 snappy"];
        assert_eq!(spellings(&receiver), expected);
        let last = receiver.requests().pop().unwrap();
        assert_eq!(last.body, sealed.bytes, "what was sealed, byte for byte");
        assert_eq!((counters.pushed, counters.ok, left.requests), (1, 1, 0));
        let status = status.borrow();
        assert_eq!(status.failures.get(FailureReason::Unsupported), 1);
        assert_eq!(status.protocol, Protocol::V1Snappy);
    }
}

#[tokio::test]
async fn a_switch_of_protocol_respells_what_waits() {
    let mut receiver = Receiver::start([Reply::Status(200, "", "1"), OK]).await;
    let running = Running::start_keys(&receiver, "protocol: zstd");
    running.queue.push(sealed());
    receiver.wait_for(2).await;
    running.end().await;
    assert_eq!(spellings(&receiver), ["get - -", "post 0.1.0 zstd"]);
    let sent = SealedRequest {
        bytes: receiver.requests()[1].body.clone().into(),
        protocol: Protocol::V1Zstd,
        ..sealed()
    };
    assert_eq!(
        crate::wire::reencode(&sent, Protocol::V1Snappy).unwrap(),
        sealed_at(sent.sealed_at)
    );
}

fn sealed_at(sealed_at: Instant) -> SealedRequest {
    SealedRequest { sealed_at, ..sealed() }
}

#[tokio::test]
async fn a_request_that_nobody_can_spell_otherwise_is_dropped_and_holds_up_nothing() {
    let script = [WRITTEN, OK];
    let mut receiver = Receiver::start(script).await;
    let running = Running::start_keys(&receiver, "protocol: rw2");
    running.queue.push(spelt("damaged", Protocol::V2Snappy));
    running.queue.push(sealed());
    receiver.wait_for(3).await;
    let (counters, left) = running.end().await;
    assert_eq!((counters.pushed, dropped(&left)), (1, [0, 0, 7, 0, 0]));
}

#[tokio::test]
async fn age_limits_follow_what_the_receiver_is() {
    let limit = |keys: &str| {
        let settings = remote_write_with("http://h/w", keys);
        Sender::new(&settings, "1").unwrap().max_age()
    };
    assert_eq!(limit(""), Duration::from_mins(55));
    assert_eq!(limit("queue: {max_age: 10m}"), Duration::from_mins(10));
    assert_eq!(limit("out_of_order: true"), Duration::from_hours(24));

    for (answer, limit) in [("1", Duration::from_hours(24)), ("", Duration::from_mins(55))] {
        let receiver = Receiver::start([Reply::Status(200, "", answer)]).await;
        let settings = remote_write_with(&format!("http://{}/w", receiver.address), "protocol: zstd");
        let mut sender = Sender::new(&settings, "1").unwrap();
        let queue = QueueHandle::new(Bounds {
            max_bytes: 1 << 20,
            max_age: sender.max_age(),
        });
        let reporter = Reporter::new(&settings, watch::channel(PushStatus::default()).0);
        // Nothing is given up before it is known who takes it.
        assert_eq!(sender.max_age(), Duration::from_hours(24));
        let data = spelt("data", Protocol::V1Zstd);
        sender.attempt(&data, 0, &queue, &reporter).await;
        assert_eq!(sender.max_age(), limit, "{answer:?}");
    }
}
