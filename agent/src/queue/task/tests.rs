//! The whole queue against a simulated disk, turn by turn: failures at every call, kills, power cuts, damage everywhere.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::queue::index::{Lane, Reach};
use crate::queue::simulated::SimulatedDisk;
use crate::queue::{Bounds, DropReason, Queue, QueueStatus, SealedRequest};
use crate::wire::Protocol;

const BOUNDS: Bounds = Bounds {
    max_bytes: 1 << 30,
    max_age: Duration::from_hours(24),
};
/// Some three requests.
const SEGMENT: u64 = 300;

/// A queue and its thread's work, done when told to.
struct Run {
    shared: Arc<Shared>,
    keeper: Keeper<SimulatedDisk>,
}

impl Run {
    fn start(disk: &SimulatedDisk) -> Self {
        let shared = Arc::new(Shared::new(Queue::with_memory(BOUNDS, 1 << 20), Storage::Opening));
        let log = DiskLog::new("default", "simulated");
        let keeper = Keeper::new(Arc::clone(&shared), disk.clone(), log).with(Duration::ZERO, SEGMENT);
        let mut run = Self { shared, keeper };
        run.keeper.open();
        run
    }

    /// Lets the thread do what there is.
    fn turn(&mut self) {
        let work = self.keeper.work(&mut self.shared.state());
        self.keeper.turn(&work);
    }

    fn settle(&mut self) {
        for _ in 0..8 {
            self.turn();
        }
    }

    fn push(&self, number: u32) {
        let now = Instant::now();
        self.shared.state().queue.push(request(number, now), now);
    }

    /// Leases what is next, reading it from disk if need be.
    fn lease(&mut self, lane: Lane) -> Option<(RequestId, u32)> {
        let mut leased = None;
        for _ in 0..20 {
            leased = self.shared.state().queue.lease_at(lane, Reach::Next, Instant::now());
            if leased.is_some() || !self.shared.state().queue.has_next(lane) {
                break;
            }
            self.turn();
        }
        let (id, leased) = leased?;
        let number = u32::try_from(leased.samples).unwrap();
        let sealed = request(number, leased.sealed_at);
        assert_eq!(leased, sealed, "what comes out is what went in");
        Some((id, number))
    }

    fn take(&mut self, lane: Lane) -> Option<u32> {
        let (id, number) = self.lease(lane)?;
        self.shared.state().queue.ack(id);
        Some(number)
    }

    fn drain(&mut self) -> Vec<u32> {
        std::iter::from_fn(|| self.take(Lane::Backlog)).collect()
    }

    fn status(&self) -> QueueStatus {
        let now = Instant::now();
        self.shared.state().queue.status(now)
    }

    fn storage(&self) -> Storage {
        self.shared.state().storage
    }

    /// Requests that only memory holds.
    fn unsaved(&self) -> BTreeSet<u32> {
        let unsaved = self.shared.state().queue.unsaved(u64::MAX);
        unsaved
            .iter()
            .map(|(entry, _)| u32::try_from(entry.samples).unwrap())
            .collect()
    }

    /// Ends as SIGTERM does.
    fn end(mut self) -> QueueStatus {
        self.shared
            .change(|state| state.advance(crate::queue::shared::Stage::Ending));
        self.turn();
        self.status()
    }
}

/// A request that is like no other: its samples are its number.
fn request(number: u32, sealed_at: Instant) -> SealedRequest {
    let text = format!("request {number} ");
    SealedRequest {
        bytes: text.repeat(2 + number as usize % 5).into(),
        protocol: Protocol::ALL[number as usize % 3],
        samples: number.into(),
        min_timestamp: i64::from(number) - 5,
        max_timestamp: i64::from(number) + 5,
        sealed_at,
    }
}

/// Three segments, of which the requests 1 and 3 are done.
fn small_queue() -> (SimulatedDisk, Vec<u32>) {
    let disk = SimulatedDisk::default();
    let mut run = Run::start(&disk);
    for number in 1..=8 {
        run.push(number);
        run.turn();
    }
    assert_eq!(run.take(Lane::Backlog), Some(1));
    run.shared
        .state()
        .queue
        .lease_at(Lane::Live, Reach::Next, Instant::now());
    let (second, _) = run.lease(Lane::Backlog).unwrap();
    run.shared.state().queue.release(second);
    run.settle();
    run.keeper.position_due = Some(Instant::now());
    run.turn();
    let left = (2..=8).collect();
    drop(run);
    (disk, left)
}

#[test]
fn a_flush_is_one_sync_whatever_was_pushed_and_acks_share_a_note() {
    let disk = SimulatedDisk::default();
    let mut run = Run::start(&disk);
    (1..=3).for_each(|number| run.push(number));
    run.turn();
    assert_eq!((disk.syncs(), run.status().unsaved_samples), (1, 0));
    assert_eq!(run.storage(), Storage::Disk);
    let before = disk.replaced();
    assert_eq!([run.take(Lane::Backlog), run.take(Lane::Backlog)], [Some(1), Some(2)]);
    run.turn();
    assert_eq!(disk.replaced(), before, "not at once");
    run.keeper.position_due = Some(Instant::now());
    run.turn();
    run.settle();
    assert_eq!(disk.replaced(), before + 1);
}

#[test]
fn what_arrived_before_it_was_written_is_never_written() {
    let disk = SimulatedDisk::default();
    let mut run = Run::start(&disk);
    run.push(1);
    assert_eq!(run.take(Lane::Backlog), Some(1));
    run.settle();
    assert_eq!(disk.names(), [""; 0]);
}

#[test]
fn a_clean_end_loses_nothing_and_repeats_nothing() {
    let disk = SimulatedDisk::default();
    let mut run = Run::start(&disk);
    (1..=9).for_each(|number| run.push(number));
    run.settle();
    assert_eq!(run.take(Lane::Backlog), Some(1));
    assert_eq!(run.take(Lane::Live), Some(9));
    run.push(10);
    let status = run.end();
    assert_eq!((status.unsaved_samples, status.requests), (0, 8));
    let mut run = Run::start(&disk);
    assert_eq!(run.status().inherited, (2..=8).sum::<u64>() + 10);
    assert_eq!(run.drain(), [2, 3, 4, 5, 6, 7, 8, 10]);
    run.end();
    assert_eq!(disk.names(), ["position"], "files go when they are done");
    assert_eq!(Run::start(&disk).status(), QueueStatus::default());
}

#[test]
fn what_an_earlier_run_left_goes_before_what_is_pushed_now_also_when_the_folder_opens_late() {
    let disk = SimulatedDisk::default();
    let run = Run::start(&disk);
    (1..=5).for_each(|number| run.push(number));
    run.end();
    disk.fail(0..1, io::ErrorKind::PermissionDenied);
    let mut run = Run::start(&disk);
    assert_eq!(run.storage(), Storage::Degraded(Trouble::Denied));
    (6..=8).for_each(|number| run.push(number));
    assert_eq!(run.take(Lane::Backlog), Some(6), "memory works meanwhile");
    run.settle();
    assert_eq!((run.storage(), run.status().inherited), (Storage::Disk, 15));
    assert_eq!(run.drain(), [1, 2, 3, 4, 5, 7, 8]);
    run.end();
    assert_eq!(disk.names(), ["position"]);
}

#[test]
fn a_full_disk_leaves_a_queue_in_memory_until_there_is_room() {
    let disk = SimulatedDisk::default();
    let mut run = Run::start(&disk);
    (1..=3).for_each(|number| run.push(number));
    run.settle();
    disk.fail(0..u64::MAX, io::ErrorKind::StorageFull);
    (4..=6).for_each(|number| run.push(number));
    run.turn();
    assert_eq!(run.storage(), Storage::Degraded(Trouble::NoSpace));
    assert_eq!(run.unsaved(), BTreeSet::from([4, 5, 6]));
    disk.heal();
    run.settle();
    assert_eq!((run.storage(), run.status().unsaved_samples), (Storage::Disk, 0));
    assert_eq!(run.drain(), [1, 2, 3, 4, 5, 6]);
    let dropped = run.end().dropped;
    assert_eq!(dropped.total(), 0);
}

#[test]
fn a_file_of_done_requests_goes_when_there_is_no_room_for_new_ones() {
    let disk = SimulatedDisk::default();
    let mut run = Run::start(&disk);
    run.push(1);
    run.settle();
    let first = disk.names();
    assert_eq!(run.take(Lane::Backlog), Some(1));
    run.turn();
    assert_eq!(disk.names(), first, "it still grows");
    disk.fail(0..1, io::ErrorKind::StorageFull);
    run.push(2);
    run.turn();
    assert_eq!((run.storage(), run.status().unsaved_samples), (Storage::Disk, 0));
    assert!(!disk.names().contains(&first[0]), "{:?}", disk.names());
}

#[test]
fn a_folder_that_the_last_process_still_has_is_waited_for() {
    let disk = SimulatedDisk::default();
    disk.fail(0..1, io::ErrorKind::WouldBlock);
    let mut run = Run::start(&disk);
    assert_eq!(run.storage(), Storage::Opening);
    run.keeper.retry_at = Some(Instant::now());
    run.turn();
    assert_eq!(run.storage(), Storage::Disk);
}

#[test]
fn a_disk_that_can_not_be_read_costs_what_it_holds_and_the_rest_goes_on() {
    let disk = SimulatedDisk::default();
    let run = Run::start(&disk);
    (1..=3).for_each(|number| run.push(number));
    run.end();
    let mut run = Run::start(&disk);
    disk.fail(0..u64::MAX, io::ErrorKind::Other);
    run.push(4);
    run.turn();
    assert!(run.shared.state().unreadable, "leases pass over what cannot be read");
    assert_eq!(run.drain(), [4]);
    assert_eq!(run.status().dropped.get(DropReason::Damaged), 6);
}

/// Everything that can be made to fail once: pushes, acks in both lanes, a restart.
fn scenario(disk: &SimulatedDisk) -> BTreeMap<u32, u32> {
    let mut taken = BTreeMap::new();
    let mut note = |number: Option<u32>| {
        if let Some(number) = number {
            *taken.entry(number).or_default() += 1;
        }
    };
    for first in [1, 101] {
        let mut run = Run::start(disk);
        for number in first..first + 10 {
            run.push(number);
            if number % 2 == 0 {
                run.turn();
            }
        }
        note(run.take(Lane::Backlog));
        note(run.take(Lane::Live));
        run.settle();
        note(run.take(Lane::Backlog));
        run.keeper.position_due = Some(Instant::now());
        run.settle();
        let status = run.end();
        assert_eq!(status.unsaved_samples, 0, "a failure that passes costs nothing");
        assert_eq!(status.dropped.total(), 0);
    }
    disk.heal();
    let mut run = Run::start(disk);
    run.drain().into_iter().for_each(|number| note(Some(number)));
    // What could not be read at a start was left for the next one.
    run.end();
    let mut run = Run::start(disk);
    run.drain().into_iter().for_each(|number| note(Some(number)));
    run.end();
    taken
}

#[test]
fn a_failure_at_any_call_loses_no_request() {
    let all: BTreeMap<u32, u32> = (1..=10).chain(101..=110).map(|number| (number, 1)).collect();
    assert_eq!(
        scenario(&SimulatedDisk::default()),
        all,
        "without failures each comes once"
    );
    for kind in [
        io::ErrorKind::StorageFull,
        io::ErrorKind::ReadOnlyFilesystem,
        io::ErrorKind::Other,
    ] {
        for call in 0.. {
            let disk = SimulatedDisk::default();
            disk.fail(call..call + 1, kind);
            let taken = scenario(&disk);
            if disk.failed() == 0 {
                assert!(call > 30, "{call} calls");
                break;
            }
            assert!(taken.keys().eq(all.keys()), "{kind} at call {call}: {taken:?}");
        }
    }
}

#[test]
fn a_lasting_failure_from_any_call_on_costs_no_more_than_memory() {
    for call in 0..60 {
        let disk = SimulatedDisk::default();
        let mut run = Run::start(&disk);
        disk.fail(call..u64::MAX, io::ErrorKind::ReadOnlyFilesystem);
        let mut taken = Vec::new();
        for number in 1..=12 {
            run.push(number);
            run.turn();
            if number % 3 == 0 {
                taken.extend(run.take(Lane::Backlog));
            }
        }
        taken.extend(run.drain());
        let status = run.status();
        assert_eq!(taken, (1..=12).collect::<Vec<_>>(), "from call {call} on");
        assert_eq!((status.samples, status.dropped.total()), (0, 0));
    }
}

/// What comes out of a queue in these files.
fn recovered(disk: &SimulatedDisk) -> Vec<u32> {
    let mut run = Run::start(disk);
    let recovered = run.drain();
    let status = run.status();
    let samples: u64 = recovered.iter().map(|number| u64::from(*number)).sum();
    assert_eq!(status.inherited, samples + status.dropped.total(), "the sum holds");
    recovered
}

#[test]
fn damage_at_any_byte_costs_the_request_that_it_is_in_and_invents_none() {
    let (disk, left) = small_queue();
    let names = disk.names();
    assert!(names.len() >= 4, "{names:?}");
    for name in &names {
        let content = disk.content(name);
        let text = String::from_utf8_lossy(&content).into_owned();
        for (at, mask) in (0..content.len()).flat_map(|at| [0x01, 0x80, 0xff].map(|mask| (at, mask))) {
            let damaged = disk.copy();
            let mut flipped = content.clone();
            flipped[at] ^= mask;
            damaged.write(name, flipped);
            let came = recovered(&damaged);
            assert!(came.is_sorted_by(|a, b| a < b), "in order: {came:?}");
            let missing: Vec<u32> = left.iter().filter(|number| !came.contains(number)).copied().collect();
            assert!(missing.len() <= 1, "{name} byte {at}: {missing:?} are missing");
            for number in missing {
                assert!(
                    text.contains(&format!("request {number} ")),
                    "{name} byte {at}: {number} is elsewhere"
                );
            }
        }
    }
}

#[test]
fn a_file_cut_at_any_length_costs_what_stood_behind() {
    let (disk, left) = small_queue();
    for name in &disk.names() {
        let content = disk.content(name);
        for length in 0..content.len() {
            let damaged = disk.copy();
            damaged.write(name, content[..length].to_vec());
            let came = recovered(&damaged);
            for number in left.iter().filter(|number| !came.contains(number)) {
                let text = format!("request {number} ");
                let last = content
                    .windows(text.len())
                    .rposition(|window| window == text.as_bytes());
                let end = last.map_or(0, |last| last + text.len());
                assert!(end > length, "{name} cut to {length}: {number} ended at {end}");
            }
        }
    }
}

#[test]
fn damage_is_counted_by_one_run_and_room_is_given_back() {
    let (disk, left) = small_queue();
    let name = disk.names().into_iter().find(|name| name != "position").unwrap();
    let mut content = disk.content(&name);
    let last = content.len() - 1;
    content[last] ^= 1;
    disk.write(&name, content);
    let run = Run::start(&disk);
    let first = run.status();
    assert!(first.dropped.get(DropReason::Damaged) > 0);
    run.end();
    let mut run = Run::start(&disk);
    assert_eq!(run.status().dropped.total(), 0);
    assert_eq!(run.drain().len(), left.len() - 1);
}

#[derive(Debug, Clone)]
enum Step {
    Push,
    Turn,
    Take(bool),
    Discard,
    Fail { call: u64, kind: io::ErrorKind },
    End,
    Kill,
    CutPower { keep: u8 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let kinds = [
        io::ErrorKind::StorageFull,
        io::ErrorKind::ReadOnlyFilesystem,
        io::ErrorKind::Other,
    ];
    let step = prop_oneof![
        8 => Just(Step::Push),
        5 => Just(Step::Turn),
        4 => any::<bool>().prop_map(Step::Take),
        1 => Just(Step::Discard),
        1 => (0u64..12, prop::sample::select(kinds.to_vec())).prop_map(|(call, kind)| Step::Fail { call, kind }),
        1 => Just(Step::End),
        1 => Just(Step::Kill),
        1 => any::<u8>().prop_map(|keep| Step::CutPower { keep }),
    ];
    prop::collection::vec(step, 0..120)
}

/// What must be true of the queue, whatever happens.
#[derive(Debug, Default)]
struct Model {
    pushed: u32,
    /// Neither taken nor discarded.
    waiting: BTreeSet<u32>,
    /// May come once more: done shortly before a crash, or lost by it.
    perhaps: BTreeSet<u32>,
    /// Samples that the disk did not give back, though asked twice.
    damaged: u64,
    /// Samples of this run.
    sealed: u64,
    done: u64,
}

impl Model {
    fn took(&mut self, number: u32) {
        assert!(
            self.waiting.remove(&number) || self.perhaps.contains(&number),
            "{number} came from nowhere"
        );
        self.perhaps.insert(number);
    }

    /// Everything is forgotten that was in memory only, and what was done may come again.
    fn ended(&mut self, status: &QueueStatus, unsaved: &BTreeSet<u32>) {
        self.damaged += status.dropped.get(DropReason::Damaged);
        self.waiting.retain(|number| !unsaved.contains(number));
        self.perhaps.extend(unsaved);
        (self.sealed, self.done) = (0, 0);
    }
}

proptest! {
    #[test]
    fn through_failures_kills_and_power_cuts_no_saved_request_is_lost_and_none_is_invented(steps in steps()) {
        let disk = SimulatedDisk::default();
        let mut run = Run::start(&disk);
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Push => {
                    model.pushed += 1;
                    model.waiting.insert(model.pushed);
                    model.sealed += u64::from(model.pushed);
                    run.push(model.pushed);
                }
                Step::Turn => run.turn(),
                Step::Take(live) => {
                    if let Some(number) = run.take(if live { Lane::Live } else { Lane::Backlog }) {
                        model.took(number);
                        model.done += u64::from(number);
                    }
                }
                Step::Discard => {
                    if let Some((id, number)) = run.lease(Lane::Backlog) {
                        model.took(number);
                        run.shared.state().queue.discard(id, DropReason::Rejected);
                    }
                }
                Step::Fail { call, kind } => disk.fail(call..call + 1, kind),
                Step::End => {
                    disk.heal();
                    let status = run.end();
                    prop_assert_eq!(status.unsaved_samples, 0);
                    model.ended(&status, &BTreeSet::new());
                    run = Run::start(&disk);
                }
                Step::Kill | Step::CutPower { .. } => {
                    disk.heal();
                    model.ended(&run.status(), &run.unsaved());
                    drop(run);
                    if let Step::CutPower { keep } = step {
                        disk.cut_power(keep);
                    }
                    run = Run::start(&disk);
                }
            }
            let status = run.status();
            prop_assert_eq!(model.sealed + status.inherited, model.done + status.dropped.total() + status.samples);
            prop_assert_eq!(status.dropped.get(DropReason::Full) + status.dropped.get(DropReason::Expired), 0);
        }
        disk.heal();
        model.ended(&run.end(), &BTreeSet::new());
        let mut run = Run::start(&disk);
        let came = run.drain();
        prop_assert!(came.is_sorted_by(|a, b| a < b), "in order: {:?}", came);
        for number in came {
            model.took(number);
        }
        let missing: u64 = model.waiting.iter().map(|number| u64::from(*number)).sum();
        prop_assert!(missing <= model.damaged, "{:?} are missing, damaged {}", model.waiting, model.damaged);
    }
}
