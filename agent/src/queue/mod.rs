//! Requests that wait for the time-series database: sealed requests in, the oldest one out.
//!
//! ```text
//!   push --> [index: entries, bodies in memory] --lease, ack, discard--> push task
//!                 | unsaved, wanted, finished   ^ saved, loaded, damaged
//!                 v                             |
//!            [task, a thread: store --> segment files and position file in the folder]
//! ```
//!
//! The queue is bounded by bytes and by age; beyond either bound the oldest request goes first and its samples are
//! counted. A request that is being sent is leased and never dropped under the sender, so that
//! `sealed + inherited = pushed + dropped + queued` holds at every moment.
//!
//! With a folder, a thread of the queue's own writes what was pushed as soon as it is said to be all of a snapshot, or up to
//! 4 MiB of it, or after 50 ms: one flush, with one `fdatasync`. Nobody who pushes or leases ever waits for the disk with a lock or a
//! thread in hand. Memory keeps 64 bytes per request and a few MiB of those that are sent next. What the end of a process
//! costs:
//!
//! - SIGTERM: nothing; [`QueueHandle::finish`] waits until the rest is on disk.
//! - `kill -9`: at most the flush that is under way. What arrived is noted on disk 50 ms later, or as soon as a request of
//!   another snapshot is to be leased, which waits for it. So the next run may send requests of the newest snapshot that
//!   arrived once more, byte for byte, which receivers tolerate, and never older ones, which they may refuse.
//! - A power cut: the same, and a longer replay, since the note is not forced to the disk each time. What a receiver that
//!   takes samples in order refuses of that, it has.
//!
//! A folder that cannot be used, now or later, turns the queue into one in memory (64 MiB), says so in the log and in
//! [`QueueStatus::storage`], and is tried again every 30 s. A disk that hangs costs the same: leases answer what is in
//! memory. The files are described in `record.rs`, `segment.rs` and `position.rs`.

mod ids;

mod record;

mod segment;

mod position;

mod folder;

mod store;

mod bodies;

mod index;

mod status;

mod numbers;

mod shared;

mod log;

mod task;

pub mod handle;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;

pub use handle::QueueHandle;
pub use index::Queue;
pub use status::{DropReason, Dropped, QueueStatus, Storage, Trouble};

use crate::wire::Protocol;

/// Bytes of requests that memory alone holds at most, when there is no disk to hold them.
pub const MEMORY_BYTES: u64 = 64 << 20;

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

impl SealedRequest {
    /// The one moment of which all its samples are, milliseconds since the Unix epoch.
    ///
    /// A series has one sample of a moment, so requests of the same moment have no series in common.
    #[must_use]
    pub fn moment(&self) -> Option<i64> {
        moment(self.min_timestamp, self.max_timestamp)
    }
}

fn moment(min_timestamp: i64, max_timestamp: i64) -> Option<i64> {
    (min_timestamp == max_timestamp).then_some(min_timestamp)
}

/// How much may wait and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of sealed requests; the files may be larger by some segments of 4 MiB that are not yet wholly done.
    pub max_bytes: u64,
    /// Age of a request.
    pub max_age: Duration,
}

/// How a queue is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSettings {
    /// Whose requests these are, for the log and the name of the thread.
    pub endpoint: String,
    /// How much may wait and for how long.
    pub bounds: Bounds,
    /// Where requests wait: a folder for this queue alone, made if need be; in memory when there is none.
    pub folder: Option<PathBuf>,
    /// Bytes of requests that memory alone may hold, see [`MEMORY_BYTES`].
    pub memory_bytes: u64,
}

impl QueueSettings {
    /// A queue with the usual share of memory.
    #[must_use]
    pub fn new(endpoint: impl Into<String>, bounds: Bounds, folder: Option<PathBuf>) -> Self {
        Self {
            endpoint: endpoint.into(),
            bounds,
            folder,
            memory_bytes: MEMORY_BYTES,
        }
    }
}

/// Names a request inside its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(u64);

#[cfg(test)]
mod simulated;
