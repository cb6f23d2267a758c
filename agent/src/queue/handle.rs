//! The queue as its two tasks hold it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use super::{Bounds, DropReason, Queue, QueueStatus, RequestId, SealedRequest};

/// One end of the queue between the samples task, which pushes, and the push task, which leases.
#[derive(Debug, Clone)]
pub struct QueueHandle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Wakes the one push task.
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

    /// Appends a request.
    pub fn push(&self, request: SealedRequest) {
        self.state().queue.push(request, Instant::now());
        self.shared.changed.notify_one();
    }

    /// Says that nothing more will be pushed.
    pub fn close(&self) {
        self.state().closed = true;
        self.shared.changed.notify_one();
    }

    /// Leases the oldest request, waiting for one if need be; `None` once the queue is closed and empty.
    pub async fn lease(&self) -> Option<(RequestId, SealedRequest)> {
        loop {
            {
                let mut state = self.state();
                let oldest = state.queue.lease(Instant::now());
                if oldest.is_some() || state.closed {
                    return oldest;
                }
            }
            self.shared.changed.notified().await;
        }
    }

    /// See [`Queue::ack`].
    pub fn ack(&self, id: RequestId) {
        self.state().queue.ack(id);
    }

    /// See [`Queue::discard`].
    pub fn discard(&self, id: RequestId, reason: DropReason) {
        self.state().queue.discard(id, reason);
    }

    /// See [`Queue::release`].
    pub fn release(&self, id: RequestId) {
        self.state().queue.release(id);
    }

    /// Says how full the queue is.
    #[must_use]
    pub fn status(&self) -> QueueStatus {
        self.state().queue.status(Instant::now())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves the queue consistent: every change of it is complete before the lock is given back.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
