//! The thread that does the queue's work at the disk, so that nobody else ever waits for it.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::folder::Folder;
use super::ids::Ids;
use super::index::Entry;
use super::log::DiskLog;
use super::numbers::{Moment, Numbers};
use super::shared::{Note, Shared, State};
use super::store::{Inheritance, ReadError, Record, SEGMENT_BYTES, Store};
use super::{RequestId, Storage, Trouble};

/// Bytes of one flush at most; each ends with a sync, and a segment ends with one.
const FLUSH_BYTES: u64 = SEGMENT_BYTES;
/// A full queue has as many files at least, as long as they are not too small.
const SEGMENTS: u64 = 16;
const MIN_SEGMENT_BYTES: u64 = 64 << 10;
/// Records that are read before others get their turn.
const READS_AT_ONCE: usize = 16;
/// What is done is noted on disk after this time, with whatever else was done meanwhile, unless somebody waits for it.
const POSITION_DELAY: Duration = Duration::from_millis(50);
/// A folder that cannot be used is tried again after this time.
const RETRY_INTERVAL: Duration = Duration::from_secs(30);
/// A process that is about to end may still have the folder when its successor starts.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_INTERVAL: Duration = Duration::from_millis(100);

/// Keeps a queue on disk.
pub(super) struct Keeper<F: Folder> {
    shared: Arc<Shared>,
    log: DiskLog,
    disk: Disk<F>,
    started_at: Instant,
    retry_interval: Duration,
    segment_bytes: u64,
    /// No new request is written before.
    retry_at: Option<Instant>,
    /// Nothing is read before.
    reread_at: Option<Instant>,
    /// The request that could not be read last.
    unread: Option<RequestId>,
    position_due: Option<Instant>,
    /// The disk did not take the position the last time.
    position_failed: bool,
    trouble: Option<Trouble>,
}

enum Disk<F: Folder> {
    Closed(F),
    Open(Store<F>, Numbers),
    /// Only while it is being opened.
    Opening,
}

/// What there is to do at once.
struct Work {
    wanted: Vec<Entry>,
    unsaved: Vec<(Entry, Bytes)>,
    finished: Ids,
    note_now: bool,
    ending: bool,
}

impl<F: Folder> Keeper<F> {
    pub(super) fn new(shared: Arc<Shared>, folder: F, log: DiskLog) -> Self {
        Self {
            shared,
            log,
            disk: Disk::Closed(folder),
            started_at: Instant::now(),
            retry_interval: RETRY_INTERVAL,
            segment_bytes: SEGMENT_BYTES,
            retry_at: None,
            reread_at: None,
            unread: None,
            position_due: None,
            position_failed: false,
            trouble: None,
        }
    }

    /// Lets a small queue have small files, for a file goes as a whole.
    pub(super) fn with_segments_for(self, max_bytes: u64) -> Self {
        Self {
            segment_bytes: (max_bytes / SEGMENTS).clamp(MIN_SEGMENT_BYTES, SEGMENT_BYTES),
            ..self
        }
    }

    #[cfg(test)]
    pub(super) fn with(self, retry_interval: Duration, segment_bytes: u64) -> Self {
        Self {
            retry_interval,
            segment_bytes,
            ..self
        }
    }

    /// Starts the thread; it ends by itself.
    pub(super) fn spawn(self) -> io::Result<()> {
        // The kernel shows fifteen bytes of it.
        let name = format!("queue-{}", self.log.endpoint().replace('\0', ""));
        thread::Builder::new().name(name).spawn(move || self.run()).map(drop)
    }

    fn run(mut self) {
        self.open();
        while !self.turn(&self.wait()) {}
    }

    /// Does the work; tells whether it was the last.
    fn turn(&mut self, work: &Work) -> bool {
        if matches!(self.disk, Disk::Closed(_)) && (work.ending || is_due(self.retry_at)) {
            self.open();
        }
        // First, for a lane may wait for it, and a save takes as long as the disk likes.
        self.finish(&work.finished);
        self.write_position(work.note_now);
        self.load(&work.wanted);
        self.save(&work.unsaved);
        if work.ending {
            self.end();
        }
        work.ending
    }

    /// Answers the next work, once there is some.
    fn wait(&self) -> Work {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state();
        state.busy_since = None;
        loop {
            let mut work = self.work(&mut state);
            // More is being pushed: one sync for all of it.
            let save_at = state.save_at.filter(|_| !work.unsaved.is_empty());
            if save_at.is_some() && !is_due(save_at) && !work.ending {
                work.unsaved.clear();
            }
            let due = [self.retry_at, self.reread_at, self.position_due, save_at];
            let any = work.ending
                || work.note_now
                || !work.wanted.is_empty()
                || !work.unsaved.is_empty()
                || !work.finished.is_empty();
            if any || due.into_iter().any(is_due) {
                state.busy_since = Some(Instant::now());
                return work;
            }
            state = shared.wait(state, due.into_iter().flatten().min());
        }
    }

    fn work(&self, state: &mut State) -> Work {
        let open = matches!(self.disk, Disk::Open(..));
        let may_read = open && self.reread_at.is_none();
        let may_write = open && (state.is_ending() || self.retry_at.is_none());
        let ending = state.is_ending();
        let note_now = open && state.note == Note::Wanted;
        if open && (note_now || state.queue.has_finished()) {
            state.note = Note::Behind;
        }
        let queue = &mut state.queue;
        let mut wanted = Vec::new();
        if may_read && !ending {
            wanted = queue.wanted();
            wanted.truncate(READS_AT_ONCE);
        }
        Work {
            wanted,
            unsaved: if may_write {
                queue.unsaved(FLUSH_BYTES)
            } else {
                Vec::new()
            },
            finished: if open { queue.take_finished() } else { Ids::default() },
            note_now,
            ending,
        }
    }

    fn open(&mut self) {
        let folder = match std::mem::replace(&mut self.disk, Disk::Opening) {
            Disk::Closed(folder) => folder,
            other @ (Disk::Open(..) | Disk::Opening) => {
                self.disk = other;
                return;
            }
        };
        match Store::open(folder, self.segment_bytes) {
            Ok((store, inheritance)) => {
                let numbers = Numbers { base: store.next_id() };
                self.position_due = store.is_dirty().then(Instant::now);
                self.disk = Disk::Open(store, numbers);
                self.inherit(&inheritance, numbers);
                self.recover();
            }
            Err((folder, error)) => {
                self.disk = Disk::Closed(folder);
                let locked = Trouble::of(&error) == Trouble::Locked;
                if locked && self.started_at.elapsed() < LOCK_PATIENCE {
                    self.retry_at = Some(Instant::now() + LOCK_INTERVAL);
                } else {
                    self.degrade(&error);
                }
            }
        }
    }

    fn inherit(&self, inheritance: &Inheritance, numbers: Numbers) {
        let moment = Moment::now();
        let mut previous = None;
        let entries = inheritance.found.iter().filter_map(|found| {
            let entry = numbers.read(found, moment, previous)?;
            previous = Some(entry.sealed_at);
            Some(entry)
        });
        let entries: Vec<Entry> = entries.collect();
        let requests = entries.len();
        let samples: u64 = entries.iter().map(|entry| entry.samples).sum();
        self.shared.report(|state| {
            state
                .queue
                .inherit(entries, inheritance.damaged_samples, moment.instant);
        });
        if requests > 0 {
            self.log.inherited(requests, samples);
        }
    }

    /// Reads what is sent next.
    fn load(&mut self, wanted: &[Entry]) {
        if is_due(self.reread_at) {
            self.reread_at = None;
            self.shared.report(|state| state.unreadable = false);
        }
        for entry in wanted {
            let Disk::Open(store, numbers) = &mut self.disk else {
                return;
            };
            let read = store.read(numbers.record(entry.id), entry.offset.into(), entry.bytes.into());
            match read {
                Ok(body) => self.shared.report(|state| state.queue.loaded(entry.id, body)),
                Err(ReadError::Failed(error)) if self.unread != Some(entry.id) => {
                    self.unread = Some(entry.id);
                    self.reread_at = Some(Instant::now() + self.retry_interval);
                    self.shared.report(|state| state.unreadable = true);
                    self.log.unreadable(&error);
                    return;
                }
                // Tried twice, half a minute apart: the others must not wait for it any longer.
                Err(error @ (ReadError::Failed(_) | ReadError::Damaged)) => {
                    self.shared.report(|state| state.queue.damaged(entry.id));
                    self.log.lost(entry.samples, &error);
                }
            }
        }
    }

    /// Writes what was pushed; one flush.
    fn save(&mut self, unsaved: &[(Entry, Bytes)]) {
        let Disk::Open(store, numbers) = &mut self.disk else {
            return;
        };
        if unsaved.is_empty() {
            if is_due(self.retry_at) {
                // Nothing to write: the next request will tell.
                self.retry_at = None;
            }
            return;
        }
        let moment = Moment::now();
        let records: Vec<Record> = unsaved
            .iter()
            .map(|(entry, body)| numbers.write(entry, body.clone(), moment))
            .collect();
        match append(store, &records) {
            Ok(offsets) => {
                self.shared.report(|state| {
                    for ((entry, _), offset) in unsaved.iter().zip(offsets) {
                        state.queue.saved(entry.id, offset);
                    }
                });
                self.recover();
            }
            Err(error) => self.degrade(&error),
        }
    }

    /// Notes what is done.
    fn finish(&mut self, finished: &Ids) {
        let Disk::Open(store, numbers) = &mut self.disk else {
            return;
        };
        let mut records = Ids::default();
        for range in finished.ranges() {
            records.insert_range(numbers.record(RequestId(range.start))..numbers.record(RequestId(range.end)));
        }
        if records.is_empty() {
            return;
        }
        let removed = store.finish(&records);
        if store.is_dirty() {
            self.position_due.get_or_insert_with(|| Instant::now() + POSITION_DELAY);
        }
        // Nobody waits for what the disk may take in half a minute.
        if !store.is_dirty() || self.position_failed {
            self.shared.report(|state| state.note = Note::UpToDate);
        }
        match removed {
            // There may be room again.
            Ok(true) if self.trouble == Some(Trouble::NoSpace) => self.retry_at = Some(Instant::now()),
            Ok(_) => {}
            Err(error) => self.degrade(&error),
        }
    }

    /// Notes on disk what is done, when it is time, or now.
    fn write_position(&mut self, now: bool) {
        let Disk::Open(store, _) = &mut self.disk else {
            return;
        };
        if !is_due(self.position_due) && (!now || self.position_failed) {
            return;
        }
        self.position_due = None;
        self.position_failed = false;
        if store.is_dirty()
            && let Err(error) = store.write_position(false)
        {
            self.position_due = Some(Instant::now() + self.retry_interval);
            self.position_failed = true;
            self.degrade(&error);
        }
        self.shared.report(|state| state.note = Note::UpToDate);
    }

    /// Saves what is left, gives the folder back and says so.
    fn end(&mut self) {
        loop {
            let work = self.work(&mut self.shared.state());
            if work.unsaved.is_empty() && work.finished.is_empty() {
                break;
            }
            self.save(&work.unsaved);
            self.finish(&work.finished);
            if self.retry_at.is_some() {
                break;
            }
        }
        if let Disk::Open(store, _) = &mut self.disk
            && let Err(error) = store.close()
        {
            self.degrade(&error);
        }
        let storage = match (std::mem::replace(&mut self.disk, Disk::Opening), self.trouble) {
            (_, Some(trouble)) => Storage::Degraded(trouble),
            (Disk::Open(..), None) => Storage::Disk,
            // The end came while another process was still waited for.
            (Disk::Closed(_) | Disk::Opening, None) => Storage::Degraded(Trouble::Locked),
        };
        self.shared.end(storage);
    }

    /// Works in memory until the next attempt.
    fn degrade(&mut self, error: &io::Error) {
        self.retry_at = Some(Instant::now() + self.retry_interval);
        let trouble = Trouble::of(error);
        if self.trouble.replace(trouble) != Some(trouble) {
            self.log.unusable(error);
        }
        self.shared.report(|state| state.storage = Storage::Degraded(trouble));
    }

    fn recover(&mut self) {
        self.retry_at = None;
        if self.trouble.take().is_some() {
            self.log.usable_again();
        }
        self.shared.report(|state| state.storage = Storage::Disk);
    }
}

/// Writes as many of the records as there is room for, the first at least; answers their offsets.
fn append<F: Folder>(store: &mut Store<F>, mut records: &[Record]) -> io::Result<Vec<u32>> {
    loop {
        match store.append(records) {
            Ok(offsets) => {
                let offsets: Result<Vec<u32>, _> = offsets.into_iter().map(u32::try_from).collect();
                return offsets.map_err(|_| io::ErrorKind::FileTooLarge.into());
            }
            Err(error) if records.len() > 1 && Trouble::of(&error) == Trouble::NoSpace => {
                records = records.get(..records.len() / 2).unwrap_or_default();
            }
            Err(error) => return Err(error),
        }
    }
}

fn is_due(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| deadline <= Instant::now())
}

#[cfg(test)]
mod tests;
