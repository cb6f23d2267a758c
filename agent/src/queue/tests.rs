//! The bounds, and the sum that must always hold.

use proptest::prelude::*;

use super::*;

fn request(size: usize, samples: u64, sealed_at: Instant) -> SealedRequest {
    SealedRequest {
        bytes: vec![0; size].into(),
        protocol: Protocol::V1Snappy,
        samples,
        min_timestamp: 0,
        max_timestamp: 0,
        sealed_at,
    }
}

fn bounds(max_bytes: u64, max_age_seconds: u64) -> Bounds {
    Bounds {
        max_bytes,
        max_age: Duration::from_secs(max_age_seconds),
    }
}

fn leased_samples(queue: &mut Queue, now: Instant) -> Option<u64> {
    queue.lease(now).map(|(_, request)| request.samples)
}

#[test]
fn a_full_queue_drops_the_oldest() {
    let now = Instant::now();
    let mut queue = Queue::new(bounds(20, 60));
    for samples in [1, 2, 3] {
        queue.push(request(10, samples, now), now);
    }
    assert_eq!(queue.status(now).dropped.get(DropReason::Full), 1);
    assert_eq!(leased_samples(&mut queue, now), Some(2));
}

#[test]
fn the_request_that_is_being_sent_is_never_dropped_under_the_sender() {
    let now = Instant::now();
    let mut queue = Queue::new(bounds(20, 60));
    queue.push(request(10, 1, now), now);
    let (id, _) = queue.lease(now).unwrap();
    queue.push(request(10, 2, now), now);
    queue.push(request(10, 3, now), now + Duration::from_secs(61));
    assert_eq!(
        queue.status(now).dropped.get(DropReason::Expired),
        2,
        "the one behind it went"
    );
    queue.ack(id);
    assert_eq!(leased_samples(&mut queue, now), Some(3));
}

#[test]
fn a_request_that_always_fails_ages_out_and_frees_the_way() {
    let start = Instant::now();
    let mut queue = Queue::new(bounds(100, 60));
    queue.push(request(10, 1, start), start);
    queue.push(request(10, 2, start + Duration::from_secs(30)), start);
    let (poisoned, _) = queue.lease(start).unwrap();
    queue.release(poisoned);
    assert_eq!(leased_samples(&mut queue, start + Duration::from_secs(61)), Some(2));
    assert_eq!(queue.status(start).dropped.get(DropReason::Expired), 1);
}

#[test]
fn a_request_larger_than_the_queue_is_counted() {
    let now = Instant::now();
    let mut queue = Queue::new(bounds(20, 60));
    queue.push(request(21, 5, now), now);
    assert_eq!(queue.status(now).dropped.get(DropReason::Full), 5);
    assert_eq!(leased_samples(&mut queue, now), None);
}

#[derive(Debug, Clone)]
enum Step {
    Push { size: usize, samples: u64 },
    Lease,
    Ack,
    Discard,
    Release,
    Wait { seconds: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0usize..40, 0u64..10).prop_map(|(size, samples)| Step::Push { size, samples }),
        3 => Just(Step::Lease),
        2 => Just(Step::Ack),
        1 => Just(Step::Discard),
        1 => Just(Step::Release),
        1 => (0u64..40).prop_map(|seconds| Step::Wait { seconds }),
    ];
    prop::collection::vec(step, 0..100)
}

proptest! {
    #[test]
    fn what_was_sealed_was_pushed_dropped_or_still_waits_in_order(steps in steps()) {
        let mut now = Instant::now();
        let mut queue = Queue::new(bounds(100, 60));
        let (mut sealed, mut pushed, mut leased, mut last) = (0, 0, None, None);
        for step in steps {
            match step {
                Step::Push { size, samples } => {
                    sealed += samples;
                    queue.push(request(size, samples, now), now);
                }
                Step::Lease => leased = queue.lease(now),
                Step::Ack => {
                    if let Some((id, request)) = leased.take() {
                        prop_assert!(last < Some(id), "{id:?} after {last:?}");
                        last = Some(id);
                        pushed += request.samples;
                        queue.ack(id);
                    }
                }
                Step::Discard => {
                    if let Some((id, _)) = leased.take() {
                        queue.discard(id, DropReason::Rejected);
                    }
                }
                Step::Release => {
                    if let Some((id, _)) = leased.take() {
                        queue.release(id);
                    }
                }
                Step::Wait { seconds } => now += Duration::from_secs(seconds),
            }
            let status = queue.status(now);
            prop_assert_eq!(sealed, pushed + status.dropped.total() + status.samples);
            prop_assert!(status.bytes <= 100);
            prop_assert_eq!(status.requests == 0, status.bytes == 0 && status.samples == 0 && queue.requests.is_empty());
        }
    }
}
