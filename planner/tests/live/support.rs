//! A planner in this process, an agent's end of a stream, and plain HTTP.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use xprober_config::planner::PlannerSettings;
use xprober_planner::Planner;
use xprober_planner::reload::task::Source;
use xprober_planner::server::PlannerError;
use xprober_proto::wire::planner_client::PlannerClient;
use xprober_proto::wire::{self, AgentMessage, PlannerMessage, agent_message::Body};
use xprober_proto::{PlanUpdate, TargetId};

/// Far above anything that is waited for, so that a hang fails with a name.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// The head of every configuration here: free ports on loopback.
pub(crate) const PORTS: &str = "rpc_listen_addr: 127.0.0.1:0\nmetrics_listen_addr: 127.0.0.1:0\n";

pub(crate) struct Running {
    pub(crate) rpc: SocketAddr,
    pub(crate) web: SocketAddr,
    pub(crate) stop: CancellationToken,
    pub(crate) task: JoinHandle<Result<(), PlannerError>>,
}

pub(crate) async fn start(extra: &str) -> Running {
    start_with(extra, Duration::ZERO, None).await
}

pub(crate) async fn start_with(extra: &str, settle: Duration, source: Option<Source>) -> Running {
    let settings = PlannerSettings::parse("planner.yml", &format!("{PORTS}{extra}")).unwrap();
    let mut planner = Planner::bind(settings).await.unwrap().settle_within(settle);
    if let Some(source) = source {
        planner = planner.reloading(source);
    }
    let stop = CancellationToken::new();
    Running {
        rpc: planner.rpc_addr(),
        web: planner.web_addr(),
        task: tokio::spawn(planner.run(stop.clone())),
        stop,
    }
}

impl Running {
    pub(crate) async fn end(self) {
        self.stop.cancel();
        timeout(LIMIT, self.task)
            .await
            .expect("the planner ends")
            .unwrap()
            .unwrap();
    }
}

pub(crate) fn hello(region: &str, id: &str) -> wire::Hello {
    hello_at(region, id, [127, 0, 0, 1].into())
}

pub(crate) fn hello_at(region: &str, id: &str, address: IpAddr) -> wire::Hello {
    wire::Hello {
        agent_id: id.to_owned(),
        region: region.to_owned(),
        zone: String::new(),
        addresses: vec![address.to_string()],
        kinds: vec![1, 2, 3],
        version: "0.1.0".to_owned(),
        tcp_port: 0,
    }
}

/// An agent's end of a stream.
pub(crate) struct Agent {
    pub(crate) say: mpsc::Sender<AgentMessage>,
    pub(crate) hear: Streaming<PlannerMessage>,
}

pub(crate) async fn open(rpc: SocketAddr) -> Agent {
    let mut client = PlannerClient::connect(format!("http://{rpc}")).await.unwrap();
    let (say, messages) = mpsc::channel(8);
    let hear = client.join(ReceiverStream::new(messages)).await.unwrap().into_inner();
    Agent { say, hear }
}

pub(crate) async fn join(rpc: SocketAddr, hello: wire::Hello) -> Agent {
    let agent = open(rpc).await;
    agent.say(Body::Hello(hello)).await;
    agent
}

impl Agent {
    pub(crate) async fn say(&self, body: Body) {
        self.say.send(AgentMessage { body: Some(body) }).await.unwrap();
    }

    pub(crate) async fn next(&mut self) -> Result<PlanUpdate, Status> {
        let message = timeout(LIMIT, self.hear.message()).await.expect("the planner speaks")?;
        Ok(PlanUpdate::try_from(message.expect("the stream goes on")).unwrap())
    }

    /// The next plan, over signs of life.
    pub(crate) async fn plan(&mut self) -> PlanUpdate {
        loop {
            match self.next().await.unwrap() {
                PlanUpdate::KeepAlive => {}
                plan => return plan,
            }
        }
    }

    /// How the stream ends.
    pub(crate) async fn end(&mut self) -> Status {
        loop {
            if let Err(status) = self.next().await {
                return status;
            }
        }
    }

    /// Follows full plans and deltas until `wanted` are the targets.
    pub(crate) async fn until(&mut self, wanted: &[&str]) {
        let mut held: std::collections::BTreeSet<String> = std::collections::BTreeSet::new();
        let text = |id: &TargetId| id.to_string();
        while held.iter().map(String::as_str).ne(wanted.iter().copied()) {
            match self.plan().await {
                PlanUpdate::Full(plan) => held = plan.targets.iter().map(|t| text(&t.id)).collect(),
                PlanUpdate::Delta { upserts, removals, .. } => {
                    for id in &removals {
                        assert!(held.remove(id.as_str()), "{id} was not there");
                    }
                    held.extend(upserts.iter().map(|t| text(&t.id)));
                }
                PlanUpdate::KeepAlive => {}
            }
        }
    }
}

/// One HTTP request; the status line's code and everything after it.
pub(crate) async fn http(web: SocketAddr, method: &str, path: &str) -> (u16, String) {
    let exchange = async {
        let mut stream = TcpStream::connect(web).await.unwrap();
        let request =
            format!("{method} {path} HTTP/1.1\r\nhost: {web}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = timeout(LIMIT, exchange).await.expect("the page answers");
    let code = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (code, answer)
}

/// The value of a series on `/metrics`, `None` when it is not there.
pub(crate) async fn metric(web: SocketAddr, series: &str) -> Option<f64> {
    let (code, body) = http(web, "GET", "/metrics").await;
    assert_eq!(code, 200);
    let line = body
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    Some(line.parse().unwrap())
}
