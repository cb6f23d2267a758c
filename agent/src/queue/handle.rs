//! The queue as its two tasks hold it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tracing::warn;

use super::{Bounds, DropReason, Lane, Queue, QueueSettings, QueueStatus, RequestId, SealedRequest};

/// One end of the queue between the samples task, which pushes, and the push task, which leases.
#[derive(Debug, Clone)]
pub struct QueueHandle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Wakes those who lease.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    queue: Queue,
    closed: bool,
}

impl QueueHandle {
    /// Builds an empty, open queue.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        let state = State {
            queue: Queue::new(bounds),
            closed: false,
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                changed: Notify::new(),
            }),
        }
    }

    /// Opens the queue; a folder that cannot be used is told, and the queue is in memory.
    #[must_use]
    pub fn open(settings: QueueSettings) -> Self {
        let QueueSettings {
            endpoint,
            bounds,
            folder,
        } = settings;
        if let Some(folder) = folder {
            warn!(endpoint, folder = %folder.display(), "requests wait in memory, a restart loses them");
        }
        Self::new(bounds)
    }

    /// Appends a request.
    pub fn push(&self, request: SealedRequest) {
        self.change(|state| state.queue.push(request, Instant::now()));
    }

    /// Says that nothing more will be pushed.
    pub fn close(&self) {
        self.change(|state| state.closed = true);
    }

    /// Closes the queue and keeps what is left where it can be kept.
    #[expect(clippy::unused_async, reason = "a disk takes time")]
    pub async fn finish(&self) {
        self.close();
    }

    /// Leases the oldest request, waiting for one if need be; `None` once the queue is closed and holds no other than
    /// leased ones. Whoever gives up waiting has leased nothing.
    pub async fn lease(&self) -> Option<(RequestId, SealedRequest)> {
        self.lease_at(Lane::Backlog).await
    }

    /// Leases the newest request, beside the one of [`Self::lease`].
    pub async fn lease_newest(&self) -> Option<(RequestId, SealedRequest)> {
        self.lease_at(Lane::Live).await
    }

    async fn lease_at(&self, lane: Lane) -> Option<(RequestId, SealedRequest)> {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            {
                let mut state = self.state();
                let leased = state.queue.lease_at(lane, Instant::now());
                if leased.is_some() || state.closed {
                    return leased;
                }
            }
            changed.await;
        }
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

    /// Says how full the queue is.
    #[must_use]
    pub fn status(&self) -> QueueStatus {
        self.state().queue.status(Instant::now())
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.shared.changed.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves the queue consistent: every change of it is complete before the lock is given back.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
