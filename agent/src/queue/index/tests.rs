//! The bounds, and the sum that must always hold.

use proptest::prelude::*;

use super::*;

pub(in super::super) fn request(size: usize, samples: u64, sealed_at: Instant) -> SealedRequest {
    SealedRequest {
        bytes: vec![0; size].into(),
        protocol: Protocol::V1Snappy,
        samples,
        min_timestamp: 0,
        max_timestamp: 0,
        sealed_at,
    }
}

pub(in super::super) fn bounds(max_bytes: u64, max_age_seconds: u64) -> Bounds {
    Bounds {
        max_bytes,
        max_age: Duration::from_secs(max_age_seconds),
    }
}

/// A request that only the disk holds.
pub(in super::super) fn left_by_an_earlier_run(bytes: u32, samples: u64, sealed_at: Instant) -> Entry {
    Entry {
        id: RequestId(FIRST_ID - 1),
        protocol: Protocol::V1Snappy,
        bytes,
        offset: 16,
        samples,
        min_timestamp: 0,
        max_timestamp: 0,
        sealed_at,
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
fn requests_of_one_snapshot_are_leased_together_and_the_next_snapshot_waits() {
    let now = Instant::now();
    let mut queue = Queue::new(bounds(100, 60));
    let of = |moment, samples| SealedRequest {
        min_timestamp: moment,
        max_timestamp: moment,
        ..request(10, samples, now)
    };
    for (moment, samples) in [(7, 1), (7, 2), (7, 3), (8, 4)] {
        queue.push(of(moment, samples), now);
    }
    let mixed = SealedRequest {
        min_timestamp: 8,
        ..of(9, 5)
    };
    queue.push(mixed, now);
    let more = |queue: &mut Queue, lane, moment| {
        let leased = queue.lease_more(lane, moment, now);
        leased.map(|(id, request)| (id, request.samples))
    };
    let (first, _) = queue.lease(now).unwrap();
    let (second, samples) = more(&mut queue, Lane::Backlog, 7).unwrap();
    assert_eq!(samples, 2);
    let (third, samples) = more(&mut queue, Lane::Backlog, 7).unwrap();
    assert_eq!(samples, 3);
    assert_eq!(
        more(&mut queue, Lane::Backlog, 7),
        None,
        "the rest is of other snapshots"
    );
    assert_eq!(more(&mut queue, Lane::Live, 8), None, "the newest is of two");
    queue.ack(first);
    queue.ack(third);
    queue.release(second);
    assert_eq!(leased_samples(&mut queue, now), Some(2), "what failed comes first");
    assert_eq!(more(&mut queue, Lane::Backlog, 7), None);
    queue.ack(second);
    assert_eq!(leased_samples(&mut queue, now), Some(4));
    assert_eq!(queue.status(now).samples, 9);
}

#[test]
fn a_request_larger_than_the_queue_is_counted() {
    let now = Instant::now();
    let mut queue = Queue::new(bounds(20, 60));
    queue.push(request(21, 5, now), now);
    assert_eq!(queue.status(now).dropped.get(DropReason::Full), 5);
    assert_eq!(leased_samples(&mut queue, now), None);
}

#[test]
fn the_live_lane_takes_the_newest_beside_the_backlog() {
    let now = Instant::now();
    let mut queue = Queue::new(bounds(100, 60));
    for samples in 1..=3 {
        queue.push(request(10, samples, now), now);
    }
    let mut lease = |lane| {
        let leased = queue.lease_at(lane, Reach::Next, now);
        leased.map(|(id, request)| (id, request.samples))
    };
    let (newest, samples) = lease(Lane::Live).unwrap();
    assert_eq!(samples, 3);
    let (oldest, samples) = lease(Lane::Backlog).unwrap();
    assert_eq!(samples, 1);
    assert_eq!(
        lease(Lane::Live),
        Some((newest, 3)),
        "a second lease answers the same one"
    );
    queue.push(request(10, 4, now), now);
    queue.ack(newest);
    queue.ack(oldest);
    let mut lease = |lane| {
        queue
            .lease_at(lane, Reach::Next, now)
            .map(|(_, request)| request.samples)
    };
    assert_eq!((lease(Lane::Live), lease(Lane::Backlog)), (Some(4), Some(2)));
    queue.push(request(100, 5, now), now);
    assert_eq!(
        queue.status(now).dropped.total(),
        5,
        "both are leased, so there is no room"
    );
}

#[test]
fn what_is_set_aside_lets_the_next_pass_and_is_neither_dropped_nor_leased() {
    let now = Instant::now();
    let mut queue = Queue::new(bounds(30, 60));
    for samples in 1..=3 {
        queue.push(request(10, samples, now), now);
    }
    let (first, _) = queue.lease(now).unwrap();
    queue.set_aside(first);
    let (second, leased) = queue.lease(now).unwrap();
    assert_eq!(leased.samples, 2);
    queue.release(second);
    // Full and too old: the one aside stays.
    queue.push(request(10, 4, now), now + Duration::from_secs(61));
    let status = queue.status(now);
    assert_eq!(
        (status.samples, status.dropped.get(DropReason::Expired)),
        (1 + 4, 2 + 3)
    );
    queue.release(first);
    assert_eq!(
        leased_samples(&mut queue, now),
        Some(1),
        "released, it is the oldest again"
    );
    queue.set_aside(first);
    queue.discard(first, DropReason::Rejected);
    let status = queue.status(now);
    assert_eq!((status.samples, status.dropped.get(DropReason::Rejected)), (4, 1));
    queue.set_aside(second);
    assert_eq!(
        leased_samples(&mut queue, now),
        Some(4),
        "what is not leased is not set aside"
    );
}

#[test]
fn a_disk_that_does_not_keep_up_costs_the_oldest_that_only_memory_holds() {
    let now = Instant::now();
    let mut queue = Queue::with_memory(bounds(1000, 60), 20);
    queue.push(request(10, 1, now), now);
    let (saved, _) = queue.unsaved(u64::MAX)[0];
    queue.saved(saved.id, 16);
    for samples in 2..=4 {
        queue.push(request(10, samples, now), now);
    }
    let status = queue.status(now);
    assert_eq!((status.samples, status.unsaved_samples), (1 + 3 + 4, 3 + 4));
    assert_eq!(status.dropped.get(DropReason::Full), 2);
}

#[test]
fn what_an_earlier_run_left_is_bounded_like_the_rest() {
    let now = Instant::now();
    let mut queue = Queue::new(bounds(25, 60));
    queue.push(request(10, 1, now), now);
    queue.inherit(vec![left_by_an_earlier_run(20, 5, now)], 7, now);
    let status = queue.status(now);
    assert_eq!((status.inherited, status.samples), (12, 1));
    assert_eq!(status.dropped.get(DropReason::Full), 5);
    assert_eq!(status.dropped.get(DropReason::Damaged), 7);
}

#[test]
fn a_lower_age_limit_holds_for_what_already_waits() {
    let now = Instant::now();
    let mut queue = Queue::new(bounds(100, 60));
    queue.push(request(10, 1, now), now);
    queue.set_max_age(Duration::from_secs(5));
    assert_eq!(leased_samples(&mut queue, now + Duration::from_secs(6)), None);
    assert_eq!(queue.status(now).dropped.get(DropReason::Expired), 1);
}

/// An hour of 10,000 targets with the receiver down; `queue_footprint` of the examples shows the same of a whole process.
#[test]
fn an_hour_of_waiting_on_disk_takes_little_memory() {
    let now = Instant::now();
    let body = Bytes::from(vec![0; 53_000]);
    let mut queue = Queue::with_memory(bounds(1 << 30, 86_400), crate::queue::MEMORY_BYTES);
    for number in 0..25_000 {
        let mut request = request(0, 2000, now);
        request.bytes = body.clone();
        queue.push(request, now);
        if number % 35 == 0 {
            for (entry, _) in queue.unsaved(u64::MAX) {
                queue.saved(entry.id, 16);
            }
        }
        assert!(queue.bytes_in_memory() < 8 << 20, "{} bytes", queue.bytes_in_memory());
    }
    let status = queue.status(now);
    assert!(status.bytes > 1_000_000_000 && status.bytes <= 1 << 30);
    assert_eq!(status.samples + status.dropped.total(), 25_000 * 2000);
    assert_eq!(size_of::<Entry>(), 64);
    assert!(queue.entries.capacity() * size_of::<Entry>() < 3 << 20);
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
            prop_assert_eq!(status.requests == 0, status.bytes == 0 && status.samples == 0 && queue.entries.is_empty());
        }
    }
}
