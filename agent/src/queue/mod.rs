//! Requests that wait for the time-series database: sealed requests in, the oldest one out.
//!
//! The queue is bounded by bytes and by age; beyond either bound the oldest request goes first and its samples are
//! counted. The request that is being sent is leased and never dropped under the sender, so that
//! `sealed = pushed + dropped + queued` holds at every moment. This one lives in memory.

pub mod handle;

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;

pub use handle::QueueHandle;

use crate::wire::Protocol;

/// One remote-write request as it travels; a retry sends the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedRequest {
    /// The compressed body.
    pub bytes: Bytes,
    /// How the body is spelt.
    pub protocol: Protocol,
    /// Samples in it.
    pub samples: u64,
    /// Oldest timestamp in it, milliseconds since the Unix epoch.
    pub min_timestamp: i64,
    /// Newest timestamp in it, milliseconds since the Unix epoch.
    pub max_timestamp: i64,
    /// When it was sealed; its age counts from here.
    pub sealed_at: Instant,
}

/// How much may wait and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of sealed requests.
    pub max_bytes: u64,
    /// Age of a request.
    pub max_age: Duration,
}

/// How a queue is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSettings {
    /// Whose requests these are, for the log.
    pub endpoint: String,
    /// How much may wait and for how long.
    pub bounds: Bounds,
    /// Where requests wait; in memory when there is none.
    pub folder: Option<PathBuf>,
}

impl QueueSettings {
    /// A queue of one endpoint.
    #[must_use]
    pub fn new(endpoint: impl Into<String>, bounds: Bounds, folder: Option<PathBuf>) -> Self {
        Self {
            endpoint: endpoint.into(),
            bounds,
            folder,
        }
    }
}

/// Where requests wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Storage {
    /// In memory.
    #[default]
    Memory,
}

impl Storage {
    /// Tells whether new requests go to disk.
    #[must_use]
    pub const fn is_disk(self) -> bool {
        match self {
            Self::Memory => false,
        }
    }
}

/// Why samples were given up; the `reason` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// The queue was full.
    Full,
    /// The request grew older than the queue allows.
    Expired,
    /// The time-series database refused the request for good.
    Rejected,
    /// The request was stamped by a clock that was set back since: it would close the database to every other sender.
    Clock,
}

impl DropReason {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::Full, Self::Expired, Self::Rejected, Self::Clock];

    /// Spells the reason as in the `reason` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Expired => "expired",
            Self::Rejected => "rejected",
            Self::Clock => "clock",
        }
    }
}

/// Samples that were given up, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped([u64; DropReason::ALL.len()]);

impl Dropped {
    /// Samples given up for `reason`.
    #[must_use]
    pub const fn get(&self, reason: DropReason) -> u64 {
        self.0[reason as usize]
    }

    /// Samples given up for any reason.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// How full the queue is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueStatus {
    /// Bytes of waiting requests, the leased one among them.
    pub bytes: u64,
    /// Waiting requests, the leased one among them.
    pub requests: usize,
    /// Samples in them.
    pub samples: u64,
    /// Age of the oldest; zero when nothing waits.
    pub oldest_age: Duration,
    /// Samples given up so far.
    pub dropped: Dropped,
    /// Where it is.
    pub storage: Storage,
}

/// Names a request inside its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(u64);

/// Sealed requests in the order in which they were sealed.
#[derive(Debug)]
pub struct Queue {
    bounds: Bounds,
    requests: VecDeque<(RequestId, SealedRequest)>,
    next_id: u64,
    bytes: u64,
    /// The lease of the backlog and that of live data.
    leased: [Option<RequestId>; 2],
    /// Leases that were set aside.
    aside: BTreeSet<RequestId>,
    dropped: Dropped,
}

/// Which end of the queue is leased from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::queue) enum Lane {
    /// The oldest request.
    Backlog,
    /// The newest request.
    Live,
}

impl Queue {
    /// Builds an empty queue.
    #[must_use]
    pub const fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            requests: VecDeque::new(),
            next_id: 0,
            bytes: 0,
            leased: [None; 2],
            aside: BTreeSet::new(),
            dropped: Dropped([0; DropReason::ALL.len()]),
        }
    }

    /// Appends a request and drops the oldest ones until it fits; one that never fits is dropped itself.
    pub fn push(&mut self, request: SealedRequest, now: Instant) {
        self.expire(now);
        let size = request.bytes.len() as u64;
        while self.bytes + size > self.bounds.max_bytes {
            if !self.drop_oldest(DropReason::Full) {
                self.dropped.0[DropReason::Full as usize] += request.samples;
                return;
            }
        }
        self.bytes += size;
        self.requests.push_back((RequestId(self.next_id), request));
        self.next_id += 1;
    }

    /// Changes how long requests may wait.
    pub const fn set_max_age(&mut self, max_age: Duration) {
        self.bounds.max_age = max_age;
    }

    /// Leases the oldest request that is not too old; it stays until [`Self::ack`], [`Self::discard`] or
    /// [`Self::release`], and a second lease answers the same one.
    pub fn lease(&mut self, now: Instant) -> Option<(RequestId, SealedRequest)> {
        self.lease_at(Lane::Backlog, now)
    }

    pub(in crate::queue) fn lease_at(&mut self, lane: Lane, now: Instant) -> Option<(RequestId, SealedRequest)> {
        self.expire(now);
        let mut free = self.requests.iter().map(|(id, _)| *id).filter(|id| self.is_free(*id));
        let id = match (self.leased[lane as usize], lane) {
            (Some(leased), _) => leased,
            (None, Lane::Backlog) => free.next()?,
            (None, Lane::Live) => free.next_back()?,
        };
        self.leased[lane as usize] = Some(id);
        self.requests.get(self.index_of(id)?).cloned()
    }

    /// Keeps a lease open beside those to come: the next lease answers the next request, and this one is never leased
    /// again or dropped before [`Self::ack`], [`Self::discard`] or [`Self::release`].
    pub fn set_aside(&mut self, id: RequestId) {
        if self.leased.contains(&Some(id)) {
            self.release(id);
            self.aside.insert(id);
        }
    }

    /// Removes a leased request: it arrived.
    pub fn ack(&mut self, id: RequestId) {
        self.take(id);
    }

    /// Removes a leased request and counts its samples as lost.
    pub fn discard(&mut self, id: RequestId, reason: DropReason) {
        if let Some(request) = self.take(id) {
            self.dropped.0[reason as usize] += request.samples;
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
        let age = |(_, oldest): &(RequestId, SealedRequest)| now.saturating_duration_since(oldest.sealed_at);
        QueueStatus {
            bytes: self.bytes,
            requests: self.requests.len(),
            samples: self.requests.iter().map(|(_, request)| request.samples).sum(),
            oldest_age: self.requests.front().map(age).unwrap_or_default(),
            dropped: self.dropped,
            storage: Storage::Memory,
        }
    }

    fn is_free(&self, id: RequestId) -> bool {
        !self.leased.contains(&Some(id)) && !self.aside.contains(&id)
    }

    fn index_of(&self, id: RequestId) -> Option<usize> {
        self.requests.binary_search_by_key(&id, |(id, _)| *id).ok()
    }

    fn take(&mut self, id: RequestId) -> Option<SealedRequest> {
        if self.is_free(id) {
            return None;
        }
        self.release(id);
        self.remove(self.index_of(id)?)
    }

    fn expire(&mut self, now: Instant) {
        let max_age = self.bounds.max_age;
        while let Some(oldest) = self.oldest_free()
            && let Some((_, request)) = self.requests.get(oldest)
            && now.saturating_duration_since(request.sealed_at) > max_age
        {
            self.drop_oldest(DropReason::Expired);
        }
    }

    /// Drops the oldest request that is not leased; tells whether there was one.
    fn drop_oldest(&mut self, reason: DropReason) -> bool {
        let Some(request) = self.oldest_free().and_then(|oldest| self.remove(oldest)) else {
            return false;
        };
        self.dropped.0[reason as usize] += request.samples;
        true
    }

    fn oldest_free(&self) -> Option<usize> {
        self.requests.iter().position(|(id, _)| self.is_free(*id))
    }

    fn remove(&mut self, index: usize) -> Option<SealedRequest> {
        let (_, request) = self.requests.remove(index)?;
        self.bytes -= request.bytes.len() as u64;
        Some(request)
    }
}

#[cfg(test)]
mod tests;
