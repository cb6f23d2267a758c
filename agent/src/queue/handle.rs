//! The queue as its tasks hold it.

use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use tracing::warn;

use super::folder::{DiskFolder, Folder};
use super::index::Lane;
use super::log::DiskLog;
use super::shared::{Next, Shared, Stage, State};
use super::task::Keeper;
use super::{Bounds, DropReason, Queue, QueueSettings, QueueStatus, RequestId, SealedRequest, Storage, Trouble};

/// How long [`QueueHandle::finish`] waits for the disk.
const FINISH_PATIENCE: Duration = Duration::from_secs(5);
/// How often one who waits for the disk looks whether it hangs.
const DISK_POLL: Duration = Duration::from_millis(500);

/// One end of the queue between the samples task, which pushes, and the push task, which leases.
///
/// The thread of a queue on disk ends when the last handle is gone or [`Self::finish`] was called.
#[derive(Debug, Clone)]
pub struct QueueHandle {
    owner: Arc<Owner>,
}

/// Ends the thread when the last handle goes.
#[derive(Debug)]
struct Owner(Arc<Shared>);

impl QueueHandle {
    /// Builds an empty, open queue in memory.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self::build(Queue::new(bounds), Storage::Memory)
    }

    /// Opens the queue in its folder, or one in memory when there is none.
    ///
    /// Never fails and does not wait: what an earlier run left appears as soon as the thread has read it, and leases wait
    /// for that up to 10 s. A folder that cannot be used is logged, shows in the status and is tried again.
    #[must_use]
    pub fn open(settings: QueueSettings) -> Self {
        let QueueSettings {
            endpoint,
            bounds,
            folder,
            memory_bytes,
        } = settings;
        let queue = Queue::with_memory(bounds, memory_bytes);
        let Some(path) = folder else {
            return Self::build(queue, Storage::Memory);
        };
        let handle = Self::build(queue, Storage::Opening);
        let log = DiskLog::new(endpoint, path.display().to_string());
        let keeper = Keeper::new(handle.shared(), DiskFolder::new(path), log);
        handle.start(keeper.with_segments_for(bounds.max_bytes));
        handle
    }

    /// Builds a queue whose thread is still to be started, if it is to have one.
    pub(super) fn build(queue: Queue, storage: Storage) -> Self {
        Self {
            owner: Arc::new(Owner(Arc::new(Shared::new(queue, storage)))),
        }
    }

    /// Starts the thread of a queue that was built for one.
    pub(super) fn start<F: Folder>(&self, keeper: Keeper<F>) {
        if let Err(error) = keeper.spawn() {
            warn!(%error, "no thread for the queue's disk, requests wait in memory");
            self.shared().end(Storage::Degraded(Trouble::Failed));
        }
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.owner.0)
    }

    /// Appends a request; never waits. It is written to disk with what is pushed until [`Self::flush`], or 50 ms later, or as
    /// soon as that is 4 MiB.
    pub fn push(&self, request: SealedRequest) {
        self.owner.0.change_quietly(|state| state.push(request, Instant::now()));
    }

    /// Says that a snapshot has been pushed to its end, so that it is written to disk now and with one sync.
    pub fn flush(&self) {
        self.owner.0.change_quietly(State::flush);
    }

    /// Says that nothing more will be pushed.
    pub fn close(&self) {
        self.change(|state| state.advance(Stage::Closed));
    }

    /// Closes the queue and waits until what is left is on disk, for at most 5 s; the next run finds it there.
    ///
    /// [`QueueStatus::unsaved_samples`] tells afterwards what is lost: everything that is left of a queue in memory.
    /// What is pushed later stays in memory.
    pub async fn finish(&self) {
        self.change(|state| state.advance(Stage::Ending));
        let ended = async {
            loop {
                let changed = self.owner.0.changed();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if self.state().has_ended() {
                    return;
                }
                changed.await;
            }
        };
        if tokio::time::timeout(FINISH_PATIENCE, ended).await.is_err() {
            let samples = self.status().unsaved_samples;
            warn!(
                samples,
                "the queue's disk does not answer, samples that it does not hold are lost"
            );
        }
    }

    /// Leases the oldest request, waiting for one if need be; `None` once the queue is closed and holds no other than
    /// leased ones. Whoever gives up waiting has leased nothing.
    pub async fn lease(&self) -> Option<(RequestId, SealedRequest)> {
        self.lease_at(Lane::Backlog).await
    }

    /// Leases the newest request, beside the one of [`Self::lease`]: for receivers that take samples out of order, so
    /// that live data need not wait behind a backlog. Ends as [`Self::lease`] does.
    pub async fn lease_newest(&self) -> Option<(RequestId, SealedRequest)> {
        self.lease_at(Lane::Live).await
    }

    /// Leases one more request of the same [`SealedRequest::moment`] beside the one of [`Self::lease`]: they have no series in
    /// common, so they may be on their way together. Waits until the next one in order is of that moment and in memory,
    /// perhaps for ever; whoever gives up waiting has leased nothing. It ends as one that was
    /// [set aside](Self::set_aside).
    pub async fn lease_more(&self, moment: i64) -> (RequestId, SealedRequest) {
        self.lease_more_at(Lane::Backlog, moment).await
    }

    /// The same beside the one of [`Self::lease_newest`].
    pub async fn lease_more_newest(&self, moment: i64) -> (RequestId, SealedRequest) {
        self.lease_more_at(Lane::Live, moment).await
    }

    /// See [`Queue::ack`].
    pub fn ack(&self, id: RequestId) {
        self.change(|state| state.queue.ack(id));
    }

    /// See [`Queue::discard`].
    pub fn discard(&self, id: RequestId, reason: DropReason) {
        self.change(|state| state.queue.discard(id, reason));
    }

    /// See [`Queue::release`].
    pub fn release(&self, id: RequestId) {
        self.change(|state| state.queue.release(id));
    }

    /// See [`Queue::set_aside`].
    pub fn set_aside(&self, id: RequestId) {
        self.change(|state| state.queue.set_aside(id));
    }

    /// See [`Queue::set_max_age`].
    pub fn set_max_age(&self, max_age: Duration) {
        self.change(|state| state.queue.set_max_age(max_age));
    }

    /// Says how full the queue is; costs the same whatever it holds.
    #[must_use]
    pub fn status(&self) -> QueueStatus {
        let now = Instant::now();
        let state = self.state();
        QueueStatus {
            storage: state.storage(now),
            ..state.queue.status(now)
        }
    }

    async fn lease_at(&self, lane: Lane) -> Option<(RequestId, SealedRequest)> {
        loop {
            let changed = self.owner.0.changed();
            tokio::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            let next = self.state().next(lane, Instant::now());
            match next {
                Next::Lease(id, request) => return Some((id, request)),
                Next::End => return None,
                Next::Wait => changed.await,
                Next::WaitForDisk => {
                    self.owner.0.wake_thread();
                    let _ = tokio::time::timeout(DISK_POLL, changed).await;
                }
            }
        }
    }

    async fn lease_more_at(&self, lane: Lane, moment: i64) -> (RequestId, SealedRequest) {
        loop {
            let changed = self.owner.0.changed();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let leased = self.state().queue.lease_more(lane, moment, Instant::now());
            if let Some(leased) = leased {
                return leased;
            }
            changed.await;
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        self.owner.0.change(change);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.owner.0.state()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.change(|state| state.advance(Stage::Ending));
    }
}

#[cfg(test)]
mod tests;
