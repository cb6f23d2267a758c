//! A planner and a time-series database for tests, on loopback.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

pub mod undisturbed;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prost::Message as _;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};
use xprober_agent::identity::Identity;
use xprober_proto::wire::planner_server::{Planner, PlannerServer};
use xprober_proto::wire::{AgentMessage, PlannerMessage, agent_message::Body};
use xprober_proto::{IcmpSpec, Limits, Plan, PlanUpdate, ProbeSpec, Revision, Target};

/// Far longer than anything here takes, so that only a hang runs into it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits, but not for ever.
pub async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    timeout(PATIENCE, work)
        .await
        .unwrap_or_else(|_| unreachable!("{what} takes too long"))
}

/// A port where nobody listens, kept from others for as long as the socket lives.
pub fn closed_port() -> (SocketAddr, TcpSocket) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    (socket.local_addr().unwrap(), socket)
}

/// The planner's end of one stream.
pub struct Session {
    inbound: Streaming<AgentMessage>,
    outbound: mpsc::Sender<Result<PlannerMessage, Status>>,
}

impl Session {
    /// What the agent says next.
    pub async fn hear(&mut self) -> Body {
        let message = soon("a message of the agent", self.inbound.message()).await;
        message
            .expect("stream lives")
            .expect("stream goes on")
            .body
            .expect("message has a body")
    }

    /// What the agent says next that is no heartbeat.
    pub async fn hear_answer(&mut self) -> Body {
        loop {
            let body = self.hear().await;
            if !matches!(body, Body::Heartbeat(_)) {
                return body;
            }
        }
    }

    /// Says something checked.
    pub async fn say(&self, update: &PlanUpdate) {
        self.say_raw(update.into()).await;
    }

    /// Says anything.
    pub async fn say_raw(&self, message: PlannerMessage) {
        self.outbound.send(Ok(message)).await.expect("agent listens");
    }

    /// Ends the stream with an error.
    pub async fn refuse(self, status: Status) {
        self.outbound.send(Err(status)).await.expect("agent listens");
    }
}

struct Service {
    sessions: mpsc::Sender<Session>,
}

#[tonic::async_trait]
impl Planner for Service {
    type JoinStream = ReceiverStream<Result<PlannerMessage, Status>>;

    async fn join(&self, request: Request<Streaming<AgentMessage>>) -> Result<Response<Self::JoinStream>, Status> {
        let (outbound, messages) = mpsc::channel(16);
        let inbound = request.into_inner();
        let session = Session { inbound, outbound };
        self.sessions
            .send(session)
            .await
            .map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}

/// A planner whose sessions the test holds.
pub struct TestPlanner {
    /// Where it listens.
    pub address: SocketAddr,
    sessions: mpsc::Receiver<Session>,
    server: JoinHandle<()>,
}

impl TestPlanner {
    /// Listens on a free port.
    pub async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap()).await
    }

    /// Listens at `address`.
    pub async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("port is free");
        let address = listener.local_addr().unwrap();
        let (sessions, receiver) = mpsc::channel(16);
        let service = PlannerServer::new(Service { sessions });
        let server = tonic::transport::Server::builder().add_service(service);
        let server = tokio::spawn(async move {
            server
                .serve_with_incoming(TcpListenerStream::new(listener))
                .await
                .expect("server runs");
        });
        Self {
            address,
            sessions: receiver,
            server,
        }
    }

    /// The next stream that an agent opens.
    pub async fn session(&mut self) -> Session {
        soon("a stream", self.sessions.recv()).await.expect("server lives")
    }

    /// Dies as a process does: every connection breaks.
    pub async fn kill(self) -> SocketAddr {
        self.server.abort();
        let _ = self.server.await;
        self.address
    }
}

/// An agent called vm1 in region-a.
pub fn identity() -> Identity {
    Identity {
        agent_id: "vm1".parse().unwrap(),
        region: "region-a".parse().unwrap(),
        zone: None,
    }
}

/// Limits of a test planner.
pub fn limits() -> Limits {
    Limits {
        max_probes_per_second: 1000,
        max_payload_bytes: 1472,
        min_interval: Duration::from_millis(10),
    }
}

/// An echo to this machine.
pub fn icmp(id: &str, interval: Duration) -> Target {
    Target {
        id: id.parse().unwrap(),
        name: id.to_owned(),
        region: "region-b".parse().unwrap(),
        interval,
        timeout: Duration::from_millis(200),
        probe: ProbeSpec::Icmp(IcmpSpec::new("127.0.0.1".parse().unwrap(), 56)),
    }
}

/// A whole plan.
pub fn full(revision: u64, plan_ttl: Duration, targets: Vec<Target>) -> PlanUpdate {
    PlanUpdate::Full(Plan {
        revision: Revision(revision),
        plan_ttl,
        lease: Duration::from_secs(30),
        limits: limits(),
        targets,
        lines: Vec::new(),
    })
}

/// A time-series database that remembers the last value of every series, and how many samples came.
#[derive(Clone, Default)]
pub struct Received {
    inner: Arc<Mutex<(BTreeMap<String, f64>, u64)>>,
}

impl Received {
    /// Last value of the series written as `name{label=value,...}`, labels sorted, `job` and `instance` left out.
    pub fn value(&self, series: &str) -> Option<f64> {
        self.inner.lock().unwrap().0.get(series).copied()
    }

    /// Samples that came.
    pub fn samples(&self) -> u64 {
        self.inner.lock().unwrap().1
    }

    fn take(&self, body: &[u8]) {
        let bytes = snap::raw::Decoder::new().decompress_vec(body).expect("snappy");
        let request = xprober_proto::remote_write::WriteRequest::decode(bytes.as_slice()).expect("write request");
        let mut inner = self.inner.lock().unwrap();
        for series in request.timeseries {
            let mut name = String::new();
            let mut labels = Vec::new();
            for label in series.labels {
                match label.name.as_str() {
                    "__name__" => name = label.value,
                    "job" | "instance" => {}
                    other => labels.push(format!("{other}={}", label.value)),
                }
            }
            let key = format!("{name}{{{}}}", labels.join(","));
            for sample in series.samples {
                inner.1 += 1;
                // A stale marker ends a series; what it was stays to be looked at.
                if !sample.value.is_nan() {
                    inner.0.insert(key.clone(), sample.value);
                }
            }
        }
    }
}

/// Starts a receiver of remote writes.
pub async fn database() -> (SocketAddr, Received) {
    use http_body_util::BodyExt as _;
    let received = Received::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let taker = received.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let taker = taker.clone();
            let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                let taker = taker.clone();
                async move {
                    let body = request.into_body().collect().await?.to_bytes();
                    taker.take(&body);
                    let mut response = hyper::Response::new(http_body_util::Empty::<bytes::Bytes>::new());
                    *response.status_mut() = hyper::StatusCode::NO_CONTENT;
                    Ok::<_, hyper::Error>(response)
                }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(hyper_util::rt::TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    });
    (address, received)
}

/// Loopback.
pub fn localhost() -> IpAddr {
    "127.0.0.1".parse().unwrap()
}
