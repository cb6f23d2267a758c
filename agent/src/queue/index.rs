//! The rules of the queue: requests in, the oldest or the newest one out, within the bounds.
//!
//! Pure: it knows what is on disk and what in memory, and says what the disk should do next; the thread does it.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::bodies::{AHEAD_BYTES, Bodies};
use super::ids::Ids;
use super::{Bounds, DropReason, Dropped, QueueStatus, RequestId, SealedRequest, Storage, moment};
use crate::wire::Protocol;

/// Number of the first request that is pushed; what an earlier run left stands before it.
pub(super) const FIRST_ID: u64 = 1 << 63;
/// No receiver takes more in one request, so no file has to hold more.
const MAX_REQUEST_BYTES: u64 = 32 << 20;
/// Requests that are looked at when reading ahead.
const AHEAD_REQUESTS: usize = 64;

/// Which end of the queue a sender works at; each has one request leased at most, and others set aside beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// The oldest first, so that every series stays in order.
    Backlog,
    /// The newest first, beside the backlog.
    Live,
}

/// What a lease may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Nothing but the next request, if it is in memory.
    Next,
    /// The next one of those in memory: the disk does not answer.
    Memory,
}

/// A request without its body; 64 bytes each, for a queue may hold very many.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) id: RequestId,
    pub(super) protocol: Protocol,
    pub(super) bytes: u32,
    /// Where the record stands in its file; 0 while it stands in none.
    pub(super) offset: u32,
    pub(super) samples: u64,
    pub(super) min_timestamp: i64,
    pub(super) max_timestamp: i64,
    pub(super) sealed_at: Instant,
}

impl Entry {
    const fn is_saved(&self) -> bool {
        self.offset > 0
    }

    /// As [`SealedRequest::moment`].
    fn moment(&self) -> Option<i64> {
        moment(self.min_timestamp, self.max_timestamp)
    }
}

/// Sealed requests in the order in which they were sealed.
#[derive(Debug)]
pub struct Queue {
    bounds: Bounds,
    /// Bytes of requests that only memory holds.
    memory_bytes: u64,
    entries: VecDeque<Entry>,
    bodies: Bodies,
    next_id: u64,
    leased: [Option<RequestId>; 2],
    /// Of which moment the request was that [`Lane::Backlog`] leased last.
    moment: Option<i64>,
    /// Leases that were set aside.
    aside: BTreeSet<RequestId>,
    /// Requests that left since the disk was told.
    finished: Ids,
    bytes: u64,
    samples: u64,
    unsaved_samples: u64,
    inherited: u64,
    dropped: Dropped,
}

impl Queue {
    /// Builds an empty queue that memory alone may fill.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self::with_memory(bounds, bounds.max_bytes)
    }

    /// Builds an empty queue of which only so much may be in memory alone.
    pub(super) fn with_memory(bounds: Bounds, memory_bytes: u64) -> Self {
        Self {
            bounds,
            memory_bytes,
            entries: VecDeque::new(),
            bodies: Bodies::default(),
            next_id: FIRST_ID,
            leased: [None; 2],
            moment: None,
            aside: BTreeSet::new(),
            finished: Ids::default(),
            bytes: 0,
            samples: 0,
            unsaved_samples: 0,
            inherited: 0,
            dropped: Dropped::default(),
        }
    }

    /// Changes the age limit.
    pub fn set_max_age(&mut self, max_age: Duration) {
        self.bounds.max_age = max_age;
    }

    /// Appends a request and drops the oldest ones until it fits; one that never fits is dropped itself.
    pub fn push(&mut self, request: SealedRequest, now: Instant) {
        self.expire(now);
        let size = request.bytes.len() as u64;
        let limit = self.bounds.max_bytes.min(self.memory_bytes).min(MAX_REQUEST_BYTES);
        let Some(bytes) = u32::try_from(size).ok().filter(|_| size <= limit) else {
            return self.dropped.count(DropReason::Full, request.samples);
        };
        while self.bytes + size > self.bounds.max_bytes || self.bodies.unsaved_bytes() + size > self.memory_bytes {
            let oldest = if self.bytes + size > self.bounds.max_bytes {
                self.oldest_unleased()
            } else {
                self.oldest_unsaved()
            };
            let Some(oldest) = oldest else {
                return self.dropped.count(DropReason::Full, request.samples);
            };
            self.give_up(oldest, DropReason::Full);
        }
        let id = RequestId(self.next_id);
        self.next_id += 1;
        self.bytes += size;
        self.samples += request.samples;
        self.unsaved_samples += request.samples;
        self.bodies.insert(id, request.bytes);
        self.entries.push_back(Entry {
            id,
            protocol: request.protocol,
            bytes,
            offset: 0,
            samples: request.samples,
            min_timestamp: request.min_timestamp,
            max_timestamp: request.max_timestamp,
            sealed_at: request.sealed_at,
        });
    }

    /// Leases the oldest request that is not too old; it stays until [`Self::ack`], [`Self::discard`] or
    /// [`Self::release`], and a second lease answers the same one.
    pub fn lease(&mut self, now: Instant) -> Option<(RequestId, SealedRequest)> {
        self.lease_at(Lane::Backlog, Reach::Next, now)
    }

    /// Leases a request if its body is in memory.
    pub(super) fn lease_at(&mut self, lane: Lane, reach: Reach, now: Instant) -> Option<(RequestId, SealedRequest)> {
        self.expire(now);
        let id = match (self.leased[lane as usize], reach) {
            (Some(leased), _) => leased,
            (None, Reach::Next) => self.next(lane)?,
            (None, Reach::Memory) => self.next_in_memory(lane)?,
        };
        let request = self.request(id)?;
        self.leased[lane as usize] = Some(id);
        if lane == Lane::Backlog {
            self.moment = request.moment();
        }
        Some((id, request))
    }

    /// Leases the next request beside those that are leased, if its body is in memory and it is of that moment; it counts as
    /// set aside, see [`Self::set_aside`].
    pub(super) fn lease_more(&mut self, lane: Lane, moment: i64, now: Instant) -> Option<(RequestId, SealedRequest)> {
        self.expire(now);
        let id = self.next(lane)?;
        let request = self.request(id).filter(|request| request.moment() == Some(moment))?;
        self.aside.insert(id);
        Some((id, request))
    }

    /// A request whose body is in memory.
    fn request(&self, id: RequestId) -> Option<SealedRequest> {
        let bytes = self.bodies.get(id)?.clone();
        let entry = self.entries.get(self.index_of(id)?)?;
        Some(SealedRequest {
            bytes,
            protocol: entry.protocol,
            samples: entry.samples,
            min_timestamp: entry.min_timestamp,
            max_timestamp: entry.max_timestamp,
            sealed_at: entry.sealed_at,
        })
    }

    /// Tells whether there is a request for this lane, wherever its body is.
    pub(super) fn has_next(&self, lane: Lane) -> bool {
        self.leased[lane as usize].is_some() || self.next(lane).is_some()
    }

    /// Tells whether the next lease of [`Lane::Backlog`] is of another snapshot than the last.
    pub(super) fn begins_moment(&self) -> bool {
        let id = self.leased[Lane::Backlog as usize].or_else(|| self.next(Lane::Backlog));
        let entry = id.and_then(|id| self.entries.get(self.index_of(id)?));
        entry.is_some_and(|entry| entry.moment().is_none() || entry.moment() != self.moment)
    }

    /// Keeps a lease open beside those to come: the next lease answers the next request, and this one is neither leased
    /// again nor dropped before [`Self::ack`], [`Self::discard`] or [`Self::release`].
    pub fn set_aside(&mut self, id: RequestId) {
        if self.leased.contains(&Some(id)) {
            self.release(id);
            self.aside.insert(id);
        }
    }

    /// Removes a leased request: it arrived.
    pub fn ack(&mut self, id: RequestId) {
        self.take_leased(id);
    }

    /// Removes a leased request and counts its samples as lost.
    pub fn discard(&mut self, id: RequestId, reason: DropReason) {
        if let Some(entry) = self.take_leased(id) {
            self.dropped.count(reason, entry.samples);
        }
    }

    /// Ends the lease without an answer: the request stays where it was, and the bounds hold for it again.
    pub fn release(&mut self, id: RequestId) {
        self.aside.remove(&id);
        for leased in &mut self.leased {
            leased.take_if(|leased| *leased == id);
        }
    }

    /// Says how full the queue is.
    #[must_use]
    pub fn status(&self, now: Instant) -> QueueStatus {
        let age = |oldest: &Entry| now.saturating_duration_since(oldest.sealed_at);
        QueueStatus {
            bytes: self.bytes,
            requests: self.entries.len(),
            samples: self.samples,
            unsaved_samples: self.unsaved_samples,
            inherited: self.inherited,
            oldest_age: self.entries.front().map(age).unwrap_or_default(),
            dropped: self.dropped,
            storage: Storage::Memory,
        }
    }

    /// Takes what an earlier run left, in order and with numbers below [`FIRST_ID`], and the samples it lost by damage.
    pub(super) fn inherit(&mut self, entries: Vec<Entry>, damaged_samples: u64, now: Instant) {
        self.dropped.count(DropReason::Damaged, damaged_samples);
        self.inherited += damaged_samples;
        for entry in entries.into_iter().rev() {
            self.inherited += entry.samples;
            self.samples += entry.samples;
            self.bytes += u64::from(entry.bytes);
            self.entries.push_front(entry);
        }
        self.expire(now);
        while self.bytes > self.bounds.max_bytes
            && let Some(oldest) = self.oldest_unleased()
        {
            self.give_up(oldest, DropReason::Full);
        }
    }

    /// The oldest requests that are not on disk yet, as many as fit into `max_bytes`, but at least one.
    pub(super) fn unsaved(&self, max_bytes: u64) -> Vec<(Entry, Bytes)> {
        let mut bytes = 0;
        let unsaved = self.bodies.unsaved().take_while(|(_, body)| {
            let first = bytes == 0;
            bytes += body.len() as u64;
            first || bytes <= max_bytes
        });
        let with_entry = unsaved.filter_map(|(id, body)| Some((*self.entries.get(self.index_of(id)?)?, body.clone())));
        with_entry.collect()
    }

    /// Bytes that only memory holds.
    pub(super) const fn unsaved_bytes(&self) -> u64 {
        self.bodies.unsaved_bytes()
    }

    /// Notes where the disk holds a request.
    pub(super) fn saved(&mut self, id: RequestId, offset: u32) {
        let Some(index) = self.index_of(id) else {
            return;
        };
        if let Some(entry) = self.entries.get_mut(index)
            && self.bodies.save(id)
        {
            entry.offset = offset;
            self.unsaved_samples -= entry.samples;
        }
    }

    /// What should be read from the disk: the requests that are sent next.
    pub(super) fn wanted(&self) -> Vec<Entry> {
        let mut ahead = 0;
        let oldest = self.entries.iter().take(AHEAD_REQUESTS).take_while(|entry| {
            let near = ahead < AHEAD_BYTES;
            ahead += u64::from(entry.bytes);
            near
        });
        let others = self.leased.into_iter().flatten().chain(self.next(Lane::Live));
        let others = others.filter_map(|id| self.entries.get(self.index_of(id)?));
        let absent = |entry: &&Entry| entry.is_saved() && self.bodies.get(entry.id).is_none();
        let mut wanted: Vec<Entry> = oldest.chain(others).filter(absent).copied().collect();
        wanted.sort_by_key(|entry| entry.id);
        wanted.dedup_by_key(|entry| entry.id);
        wanted
    }

    /// Takes the body that was read from the disk.
    pub(super) fn loaded(&mut self, id: RequestId, body: Bytes) {
        if self.index_of(id).is_some() && self.bodies.get(id).is_none() {
            self.bodies.load(id, body);
        }
    }

    /// Gives up a request that the disk does not give back.
    pub(super) fn damaged(&mut self, id: RequestId) {
        if self.bodies.get(id).is_none() && self.is_free(id) {
            self.give_up(id, DropReason::Damaged);
        }
    }

    /// Tells whether requests left since the last call of [`Self::take_finished`].
    pub(super) fn has_finished(&self) -> bool {
        !self.finished.is_empty()
    }

    /// The requests that left since the last call.
    pub(super) fn take_finished(&mut self) -> Ids {
        std::mem::take(&mut self.finished)
    }

    /// Bytes of bodies in memory.
    #[cfg(test)]
    pub(super) const fn bytes_in_memory(&self) -> u64 {
        self.bodies.bytes()
    }

    fn index_of(&self, id: RequestId) -> Option<usize> {
        self.entries.binary_search_by_key(&id, |entry| entry.id).ok()
    }

    fn next(&self, lane: Lane) -> Option<RequestId> {
        let mut ids = self.entries.iter().map(|entry| entry.id);
        match lane {
            Lane::Backlog => ids.find(|id| self.is_free(*id)),
            Lane::Live => ids.rfind(|id| self.is_free(*id)),
        }
    }

    fn next_in_memory(&self, lane: Lane) -> Option<RequestId> {
        let free = self.bodies.ids().filter(|id| self.is_free(*id));
        match lane {
            Lane::Backlog => free.min(),
            Lane::Live => free.max(),
        }
    }

    fn is_free(&self, id: RequestId) -> bool {
        !self.leased.contains(&Some(id)) && !self.aside.contains(&id)
    }

    fn oldest_unleased(&self) -> Option<RequestId> {
        self.next(Lane::Backlog)
    }

    fn oldest_unsaved(&self) -> Option<RequestId> {
        self.bodies.unsaved().map(|(id, _)| id).find(|id| self.is_free(*id))
    }

    fn take_leased(&mut self, id: RequestId) -> Option<Entry> {
        if self.is_free(id) {
            return None;
        }
        self.release(id);
        self.remove(id)
    }

    fn give_up(&mut self, id: RequestId, reason: DropReason) {
        if let Some(entry) = self.remove(id) {
            self.dropped.count(reason, entry.samples);
        }
    }

    fn remove(&mut self, id: RequestId) -> Option<Entry> {
        let entry = self.entries.remove(self.index_of(id)?)?;
        self.bytes -= u64::from(entry.bytes);
        self.samples -= entry.samples;
        if self.bodies.remove(id) {
            self.unsaved_samples -= entry.samples;
        }
        self.finished.insert(id.0);
        Some(entry)
    }

    fn expire(&mut self, now: Instant) {
        while let Some(oldest) = self.oldest_unleased()
            && let Some(entry) = self.index_of(oldest).and_then(|index| self.entries.get(index))
            && now.saturating_duration_since(entry.sealed_at) > self.bounds.max_age
        {
            self.give_up(oldest, DropReason::Expired);
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
