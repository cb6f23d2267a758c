//! What the handles of a queue share with the thread that works at its disk.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::index::{Lane, Reach};
use super::{Queue, RequestId, SealedRequest, Storage, Trouble};

/// How long a lease waits for the disk before it answers what is in memory.
const DISK_PATIENCE: Duration = Duration::from_secs(10);

/// What was pushed is written after this time if nobody says before that it is all.
const SAVE_DELAY: Duration = Duration::from_millis(50);
/// So much is written at once.
const SAVE_BYTES: u64 = 4 << 20;

/// The state of a queue, and those who wait for a change of it.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Wakes those who lease or wait for the end.
    changed: Notify,
    /// Wakes the thread.
    work: Condvar,
}

/// The queue and how far its thread is.
#[derive(Debug)]
pub(super) struct State {
    pub(super) queue: Queue,
    pub(super) storage: Storage,
    stage: Stage,
    /// No thread works at the disk.
    ended: bool,
    /// When the thread has to write what is not on disk; at once where none is said.
    pub(super) save_at: Option<Instant>,
    /// Since when the thread has been at the disk.
    pub(super) busy_since: Option<Instant>,
    /// What is on disk cannot be read at present.
    pub(super) unreadable: bool,
    /// What the disk says of requests that the thread knows to be done.
    pub(super) note: Note,
}

/// Whether the next run would know which requests are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Note {
    /// It would.
    UpToDate,
    /// It may find some on disk as if they were not.
    Behind,
    /// The same, and a lane waits until that is over.
    Wanted,
}

/// How far the life of a queue is; it never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Requests are pushed.
    Open,
    /// Nothing more is pushed.
    Closed,
    /// The thread saves what is left and ends.
    Ending,
}

/// What a lane may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// Send this.
    Lease(RequestId, SealedRequest),
    /// Wait until one is pushed.
    Wait,
    /// Wait until the disk answers, and look from time to time whether it hangs.
    WaitForDisk,
    /// Nothing will come any more.
    End,
}

impl Shared {
    /// Starts a queue; one that is [`Storage::Opening`] waits for its thread.
    pub(super) fn new(queue: Queue, storage: Storage) -> Self {
        let on_disk = storage == Storage::Opening;
        Self {
            state: Mutex::new(State {
                queue,
                storage,
                stage: Stage::Open,
                ended: !on_disk,
                save_at: None,
                busy_since: on_disk.then(Instant::now),
                unreadable: false,
                note: Note::UpToDate,
            }),
            changed: Notify::new(),
            work: Condvar::new(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves the queue consistent: every change of it is complete before the lock is given back.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ready after the next change, once it is enabled.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Changes the state on behalf of a handle.
    pub(super) fn change(&self, change: impl FnOnce(&mut State)) {
        self.report(change);
        self.work.notify_one();
    }

    /// Changes the state on behalf of a handle, and lets the thread sleep on unless `change` says that it has something to do.
    pub(super) fn change_quietly(&self, change: impl FnOnce(&mut State) -> bool) {
        let wake = change(&mut self.state());
        self.changed.notify_waiters();
        if wake {
            self.work.notify_one();
        }
    }

    /// Lets the thread look what there is to do.
    pub(super) fn wake_thread(&self) {
        self.work.notify_one();
    }

    /// Changes the state on behalf of the thread.
    pub(super) fn report(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_waiters();
    }

    /// Notes that no thread works at the disk any more.
    pub(super) fn end(&self, storage: Storage) {
        self.report(|state| {
            state.storage = storage;
            state.busy_since = None;
            state.unreadable = true;
            state.ended = true;
        });
    }

    /// Waits for a change on behalf of the thread, at most until `deadline`.
    pub(super) fn wait<'a>(&self, state: MutexGuard<'a, State>, deadline: Option<Instant>) -> MutexGuard<'a, State> {
        let Some(deadline) = deadline else {
            return self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        let pause = deadline.saturating_duration_since(Instant::now());
        let waited = self.work.wait_timeout(state, pause);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl State {
    pub(super) fn advance(&mut self, stage: Stage) {
        self.stage = self.stage.max(stage);
    }

    /// Takes a request; tells whether the thread has to know, which it does of the first one and of each that makes a lot.
    pub(super) fn push(&mut self, request: SealedRequest, now: Instant) -> bool {
        let is_first = self.queue.unsaved_bytes() == 0;
        self.queue.push(request, now);
        if is_first {
            self.save_at = Some(now + SAVE_DELAY);
        }
        let is_much = self.queue.unsaved_bytes() >= SAVE_BYTES;
        if is_much {
            self.save_at = None;
        }
        is_first || is_much
    }

    /// Says that everything of a flush was pushed; tells whether there is anything to write.
    pub(super) fn flush(&mut self) -> bool {
        self.save_at = None;
        self.queue.unsaved_bytes() > 0
    }

    pub(super) fn is_ending(&self) -> bool {
        self.stage == Stage::Ending
    }

    pub(super) const fn has_ended(&self) -> bool {
        self.ended
    }

    /// Says where requests wait as of `now`.
    pub(super) fn storage(&self, now: Instant) -> Storage {
        match self.storage {
            Storage::Disk | Storage::Opening if self.hangs(now) => Storage::Degraded(Trouble::Hung),
            Storage::Memory | Storage::Opening | Storage::Disk | Storage::Degraded(_) => self.storage,
        }
    }

    /// Answers what a lane may do.
    ///
    /// What an earlier run left comes first, so that every series stays in order, unless the disk takes too long over it. For
    /// the same reason no snapshot is begun before it is noted that those before it are done: a process that is killed would
    /// send them once more when it starts again, and receivers refuse what is older than what they have.
    pub(super) fn next(&mut self, lane: Lane, now: Instant) -> Next {
        let hangs = self.hangs(now);
        if self.storage == Storage::Opening && !hangs {
            return Next::WaitForDisk;
        }
        let reach = if hangs || self.unreadable {
            Reach::Memory
        } else {
            Reach::Next
        };
        if reach == Reach::Next && lane == Lane::Backlog && self.is_behind() && self.queue.begins_moment() {
            self.note = Note::Wanted;
            return Next::WaitForDisk;
        }
        if let Some((id, request)) = self.queue.lease_at(lane, reach, now) {
            return Next::Lease(id, request);
        }
        let closed = self.stage >= Stage::Closed;
        match (self.queue.has_next(lane), reach) {
            // The rest is for the next run.
            (true, Reach::Memory) | (false, _) if closed => Next::End,
            (true, Reach::Memory | Reach::Next) => Next::WaitForDisk,
            (false, Reach::Memory | Reach::Next) => Next::Wait,
        }
    }

    /// Tells whether something is done and the disk, which works, does not say so yet.
    fn is_behind(&self) -> bool {
        self.storage == Storage::Disk && !self.ended && (self.note != Note::UpToDate || self.queue.has_finished())
    }

    fn hangs(&self, now: Instant) -> bool {
        self.busy_since
            .is_some_and(|since| now.saturating_duration_since(since) > DISK_PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::index::tests::{bounds, request};

    #[test]
    fn a_lease_waits_for_what_an_earlier_run_left_but_not_for_ever() {
        let shared = Shared::new(Queue::new(bounds(100, 3600)), Storage::Opening);
        let mut state = shared.state();
        let now = Instant::now();
        state.queue.push(request(10, 1, now), now);
        assert_eq!(state.next(Lane::Backlog, now), Next::WaitForDisk);
        assert_eq!(state.storage(now), Storage::Opening);
        let later = now + DISK_PATIENCE + Duration::from_secs(1);
        assert_eq!(state.storage(later), Storage::Degraded(Trouble::Hung));
        assert!(matches!(state.next(Lane::Backlog, later), Next::Lease(..)));
    }

    #[test]
    fn a_disk_that_hangs_holds_up_what_it_holds_and_nothing_else() {
        let shared = Shared::new(Queue::new(bounds(100, 3600)), Storage::Disk);
        let mut state = shared.state();
        let now = Instant::now();
        let left = crate::queue::index::tests::left_by_an_earlier_run(10, 7, now);
        state.queue.inherit(vec![left], 0, now);
        state.queue.push(request(10, 1, now), now);
        state.busy_since = Some(now);
        assert_eq!(state.next(Lane::Backlog, now), Next::WaitForDisk);
        let later = now + DISK_PATIENCE + Duration::from_secs(1);
        let Next::Lease(id, request) = state.next(Lane::Backlog, later) else {
            panic!("the one in memory is there");
        };
        assert_eq!(request.samples, 1);
        state.queue.ack(id);
        assert_eq!(state.next(Lane::Backlog, later), Next::WaitForDisk);
        state.advance(Stage::Closed);
        assert_eq!(state.next(Lane::Backlog, later), Next::End);
        assert_eq!(
            state.next(Lane::Backlog, now),
            Next::WaitForDisk,
            "a disk that works is waited for"
        );
    }
}
