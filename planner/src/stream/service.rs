//! The gRPC edge: `xprober.planner.v1.Planner`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};
use xprober_proto::wire::planner_server::{Planner, PlannerServer};
use xprober_proto::wire::{AgentMessage, PlannerMessage};

use super::task::{OUTBOUND_QUEUE, Shared, serve};
use crate::members::{MAX_MEMBERS, StreamId};
use crate::metrics::Rejection;

/// Most open streams: every member, and as many that are being replaced or refused.
const MAX_STREAMS: usize = 2 * MAX_MEMBERS;
/// Longest message an agent may send, bytes: a hello of the longest names is below 3 kB.
const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// Accepts streams and gives each a task.
#[derive(Debug)]
pub struct JoinService {
    shared: Shared,
    tasks: TaskTracker,
    streams: Arc<Semaphore>,
    next_stream: AtomicU64,
}

impl JoinService {
    /// Builds the service; the tasks of its streams belong to `tasks`.
    #[must_use]
    pub fn server(shared: Shared, tasks: TaskTracker) -> PlannerServer<Self> {
        let service = Self {
            shared,
            tasks,
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            next_stream: AtomicU64::new(1),
        };
        PlannerServer::new(service).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }
}

#[tonic::async_trait]
impl Planner for JoinService {
    type JoinStream = ReceiverStream<Result<PlannerMessage, Status>>;

    /// Answers at once and reads the hello afterwards: an agent may wait for the response before it speaks.
    async fn join(&self, request: Request<Streaming<AgentMessage>>) -> Result<Response<Self::JoinStream>, Status> {
        let peer = request
            .remote_addr()
            .ok_or_else(|| Status::internal("the connection has no remote address"))?;
        let Ok(permit) = Arc::clone(&self.streams).try_acquire_owned() else {
            self.shared.metrics.rejected(Rejection::full);
            return Err(Status::resource_exhausted("too many open streams"));
        };
        let stream = StreamId(self.next_stream.fetch_add(1, Ordering::Relaxed));
        let (outbound, receiver) = mpsc::channel(OUTBOUND_QUEUE);
        let inbound = request.into_inner();
        let shared = self.shared.clone();
        self.tasks.spawn(async move {
            serve(shared, peer.ip(), stream, inbound, outbound).await;
            drop(permit);
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}
