//! Requests that wait for the time-series database: sealed requests in, the oldest one out.
//!
//! The queue is bounded by bytes and by age; beyond either bound the oldest request goes first and its samples are
//! counted. The request that is being sent is leased and never dropped under the sender, so that
//! `sealed = pushed + dropped + queued` holds at every moment. This one lives in memory.

pub mod handle;

use std::collections::VecDeque;
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
    leased: bool,
    dropped: Dropped,
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
            leased: false,
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

    /// Leases the oldest request that is not too old; it stays until [`Self::ack`], [`Self::discard`] or
    /// [`Self::release`], and a second lease answers the same one.
    pub fn lease(&mut self, now: Instant) -> Option<(RequestId, SealedRequest)> {
        self.expire(now);
        let oldest = self.requests.front().cloned();
        self.leased = oldest.is_some();
        oldest
    }

    /// Removes the leased request: it arrived.
    pub fn ack(&mut self, id: RequestId) {
        self.take(id);
    }

    /// Removes the leased request and counts its samples as lost.
    pub fn discard(&mut self, id: RequestId, reason: DropReason) {
        if let Some(request) = self.take(id) {
            self.dropped.0[reason as usize] += request.samples;
        }
    }

    /// Ends the lease without an answer: the request stays the oldest, and the bounds hold for it again.
    pub fn release(&mut self, id: RequestId) {
        if self.requests.front().is_some_and(|(oldest, _)| *oldest == id) {
            self.leased = false;
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
        }
    }

    fn take(&mut self, id: RequestId) -> Option<SealedRequest> {
        if !self.leased || self.requests.front().is_none_or(|(oldest, _)| *oldest != id) {
            return None;
        }
        self.leased = false;
        let (_, request) = self.requests.pop_front()?;
        self.bytes -= request.bytes.len() as u64;
        Some(request)
    }

    fn expire(&mut self, now: Instant) {
        let max_age = self.bounds.max_age;
        let first_free = usize::from(self.leased);
        while self
            .requests
            .get(first_free)
            .is_some_and(|(_, request)| now.saturating_duration_since(request.sealed_at) > max_age)
        {
            self.drop_oldest(DropReason::Expired);
        }
    }

    /// Drops the oldest request that is not leased; tells whether there was one.
    fn drop_oldest(&mut self, reason: DropReason) -> bool {
        let Some((_, request)) = self.requests.remove(usize::from(self.leased)) else {
            return false;
        };
        self.bytes -= request.bytes.len() as u64;
        self.dropped.0[reason as usize] += request.samples;
        true
    }
}

#[cfg(test)]
mod tests;
