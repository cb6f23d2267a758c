//! The stream to the planner against a real gRPC server.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and its scripts name only what they change"
)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{PATIENCE, TestPlanner, full, icmp, identity, limits, localhost, soon};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use xprober_agent::identity::KINDS;
use xprober_agent::plan::admission::HardLimits;
use xprober_agent::plan::dial::Dialer;
use xprober_agent::plan::{Change, PlanState, PlanStatus, task};
use xprober_config::agent::ServerAddress;
use xprober_proto::wire::{self, agent_message::Body, planner_message};
use xprober_proto::{Hello, PlanUpdate, Revision};

const HOUR: Duration = Duration::from_hours(1);
const SECOND: Duration = Duration::from_secs(1);

struct Agent {
    changes: mpsc::Receiver<Change>,
    status: watch::Receiver<PlanStatus>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Agent {
    fn start(planner: std::net::SocketAddr) -> Self {
        let server = ServerAddress {
            host: planner.ip().to_string(),
            port: planner.port(),
        };
        let hard = HardLimits {
            limits: limits(),
            allowed_networks: Arc::from(["127.0.0.0/8".parse().unwrap()]),
            kinds: KINDS.to_vec(),
        };
        let state = PlanState::new(hard, Duration::from_secs(30));
        let (changes, receiver) = mpsc::channel(64);
        let (status, published) = watch::channel(state.status(false));
        let shutdown = CancellationToken::new();
        let dialer = Dialer::new(server, identity(), &[], None);
        let task = tokio::spawn(task::run(dialer, state, changes, status, shutdown.clone()));
        Self {
            changes: receiver,
            status: published,
            shutdown,
            task,
        }
    }

    async fn change(&mut self) -> String {
        match soon("a change", self.changes.recv()).await.expect("task lives") {
            Change::Upsert(target) => format!("+{}", target.id),
            Change::Remove(id) => format!("-{id}"),
            Change::Lines(lines) => format!("lines {}", lines.len()),
        }
    }

    async fn status(&mut self, what: &str, wanted: impl Fn(&PlanStatus) -> bool) -> PlanStatus {
        soon(what, self.status.wait_for(|status| wanted(status)))
            .await
            .unwrap()
            .clone()
    }

    async fn stop(self) {
        self.shutdown.cancel();
        soon("the end", self.task).await.unwrap();
    }
}

#[tokio::test]
async fn an_agent_introduces_itself_and_carries_out_what_it_is_told() {
    let mut planner = TestPlanner::start().await;
    let mut agent = Agent::start(planner.address);
    let mut session = planner.session().await;
    let Body::Hello(hello) = session.hear().await else {
        panic!("a hello comes first")
    };
    let hello = Hello::try_from(hello).unwrap();
    assert_eq!(hello.agent_id.as_str(), "vm1");
    assert_eq!(
        hello.addresses.iter().collect::<Vec<_>>(),
        [localhost()],
        "the route's own source"
    );
    assert_eq!(session.hear().await, Body::Heartbeat(wire::Heartbeat { revision: 0 }));
    session
        .say(&full(1, HOUR, vec![icmp("a", SECOND), icmp("b", SECOND)]))
        .await;
    assert_eq!(session.hear_answer().await, Body::Ack(wire::Ack { revision: 1 }));
    assert_eq!([agent.change().await, agent.change().await], ["+a", "+b"]);
    let delta = PlanUpdate::Delta {
        revision: Revision(2),
        base: Revision(1),
        upserts: vec![icmp("c", SECOND)],
        removals: vec!["a".parse().unwrap()],
    };
    session.say(&delta).await;
    assert_eq!(session.hear_answer().await, Body::Ack(wire::Ack { revision: 2 }));
    assert_eq!([agent.change().await, agent.change().await], ["-a", "+c"]);
    let status = agent
        .status("revision 2", |status| status.revision == Revision(2))
        .await;
    assert!(status.connected && status.targets == 2 && status.last_heard.is_some());
    session.say(&full(3, HOUR, Vec::new())).await;
    assert_eq!([agent.change().await, agent.change().await], ["-b", "-c"]);
    agent.stop().await;
}

#[tokio::test]
async fn a_planner_that_is_killed_and_restarted_changes_nothing() {
    let mut planner = TestPlanner::start().await;
    let mut agent = Agent::start(planner.address);
    let mut session = planner.session().await;
    session.say(&full(5, HOUR, vec![icmp("a", SECOND)])).await;
    assert_eq!(agent.change().await, "+a");
    assert!(matches!(session.hear().await, Body::Hello(_)));
    let address = planner.kill().await;
    drop(session);
    let status = agent.status("the loss", |status| !status.connected).await;
    assert_eq!(
        (status.revision, status.targets),
        (Revision(5), 1),
        "the plan stays in force"
    );

    let mut planner = TestPlanner::start_at(address).await;
    let mut session = planner.session().await;
    assert!(matches!(session.hear().await, Body::Hello(_)));
    assert_eq!(
        session.hear().await,
        Body::Heartbeat(wire::Heartbeat { revision: 5 }),
        "it has a plan to lose"
    );
    let stray = PlanUpdate::Delta {
        revision: Revision(6),
        base: Revision(5),
        upserts: Vec::new(),
        removals: vec!["a".parse().unwrap()],
    };
    session.say(&stray).await;
    let Body::Nack(nack) = session.hear_answer().await else {
        panic!("a delta cannot open a stream")
    };
    assert_eq!(nack.revision, 6);
    session
        .say(&full(1, HOUR, vec![icmp("a", SECOND), icmp("b", SECOND)]))
        .await;
    assert_eq!(agent.change().await, "+b", "a was left alone");
    agent.stop().await;
}

#[tokio::test]
async fn a_plan_that_nobody_renews_dies() {
    let mut planner = TestPlanner::start().await;
    let mut agent = Agent::start(planner.address);
    let session = planner.session().await;
    let ttl = Duration::from_millis(700);
    let told = Instant::now();
    session.say(&full(1, ttl, vec![icmp("a", SECOND)])).await;
    assert_eq!(agent.change().await, "+a");
    planner.kill().await;
    assert_eq!(agent.change().await, "-a");
    assert!(told.elapsed() >= ttl, "{:?}", told.elapsed());
    let status = agent.status("the end of the plan", |status| status.targets == 0).await;
    assert_eq!(status.revision, Revision::NONE);
    agent.stop().await;
}

#[tokio::test]
async fn a_refused_agent_counts_it_and_keeps_trying() {
    let mut planner = TestPlanner::start().await;
    let mut agent = Agent::start(planner.address);
    let session = planner.session().await;
    session
        .refuse(Status::permission_denied("address 127.0.0.1 is not yours"))
        .await;
    let status = agent.status("the count", |status| !status.rejected.is_empty()).await;
    assert_eq!(status.rejected, BTreeMap::from([("hello", 1)]));
    assert!(!status.connected);
    let session = planner.session().await;
    session.say(&full(1, HOUR, vec![icmp("a", SECOND)])).await;
    assert_eq!(agent.change().await, "+a");
    agent.stop().await;
}

#[tokio::test]
async fn a_malformed_plan_is_refused_whole_and_the_one_in_force_stays() {
    let mut planner = TestPlanner::start().await;
    let mut agent = Agent::start(planner.address);
    let mut session = planner.session().await;
    session.say(&full(1, HOUR, vec![icmp("a", SECOND)])).await;
    assert_eq!(agent.change().await, "+a");
    assert!(matches!(session.hear_answer().await, Body::Hello(_)));
    assert!(matches!(session.hear_answer().await, Body::Ack(_)));
    let mut bad = wire::PlannerMessage::from(&full(2, HOUR, vec![icmp("b", SECOND)]));
    let Some(planner_message::Body::Full(plan)) = &mut bad.body else {
        panic!("a full plan")
    };
    plan.targets[0].interval = None;
    session.say_raw(bad).await;
    let Body::Nack(nack) = session.hear_answer().await else {
        panic!("refused")
    };
    assert_eq!((nack.revision, nack.reason.as_str()), (2, "target interval is missing"));
    let status = agent.status("the count", |status| !status.rejected.is_empty()).await;
    assert_eq!(status.rejected, BTreeMap::from([("malformed", 1)]));
    assert_eq!((status.revision, status.targets), (Revision(1), 1));
    assert!(agent.changes.try_recv().is_err());
    agent.stop().await;
}

#[tokio::test]
async fn a_cut_line_is_noticed_within_fifteen_seconds() {
    let mut planner = TestPlanner::start().await;
    // A relay that stops relaying, without closing anything.
    let relay = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = relay.local_addr().unwrap();
    let behind = planner.address;
    let (cut, mut is_cut) = watch::channel(false);
    let relaying = tokio::spawn(async move {
        let (mut agent, _) = relay.accept().await.unwrap();
        let mut planner = tokio::net::TcpStream::connect(behind).await.unwrap();
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut agent, &mut planner) => {}
            _ = is_cut.wait_for(|cut| *cut) => {}
        }
        // Both ends stay open and silent; the listener refuses nobody, so no new stream comes through either.
        std::future::pending::<()>().await;
    });
    let mut agent = Agent::start(address);
    let session = planner.session().await;
    session.say(&full(1, HOUR, vec![icmp("a", SECOND)])).await;
    agent.status("the plan", |status| status.connected).await;
    let start = Instant::now();
    cut.send_replace(true);
    agent.status("the loss", |status| !status.connected).await;
    assert!(start.elapsed() < PATIENCE / 2, "{:?}", start.elapsed());
    relaying.abort();
    agent.stop().await;
}
