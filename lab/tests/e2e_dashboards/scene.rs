//! A lab in which everything happens that a dashboard has a panel for.

use std::time::Duration;

use xprober_lab::process::victoria::Victoria;
use xprober_lab::servers::http::{Behaviour, HttpTarget};
use xprober_lab::stack::{Database, Stack, StackPlan, planner_file};
use xprober_lab::topology::HUB;
use xprober_lab::world::Lab;

/// Until something that takes seconds has happened on a busy machine.
const LIMIT: Duration = Duration::from_mins(1);
/// Added to the round-trip time of the line between region-a and region-b, whose budget allows 5 ms.
const SLOWER: Duration = Duration::from_millis(30);
/// An agent is frozen for so long: more than 5 % of five minutes, less than the planner's lease of 30 s.
const FROZEN: Duration = Duration::from_secs(20);
/// Which agent that is.
const FROZEN_HOST: &str = "vm8";

/// Both databases with the agents that push to both.
pub(crate) struct Scene {
    /// Prometheus, Alertmanager, planner and agents.
    pub(crate) stack: Stack,
    /// The other database, with vmalert.
    pub(crate) victoria: Victoria,
    web: [HttpTarget; 2],
}

impl Scene {
    /// Starts everything and lets it all happen; what takes time goes on when this returns.
    pub(crate) async fn start(lab: &Lab) -> Self {
        let web = [
            lab.http_target("web1", Behaviour::default()).unwrap(),
            lab.https_target("web2", Behaviour::default()).unwrap(),
        ];
        let victoria = Victoria::start(lab).await.unwrap();
        let mut plan = StackPlan::new(lab, Database::Prometheus);
        plan.planner_file = settings(lab);
        plan.agent_file.push_str(&agent_settings(lab));
        let stack = Stack::start(lab, &plan, |_| ()).await.unwrap();
        let wan = lab.wan();
        wan.change_both("region-a", "region-b", |path| {
            path.latency += SLOWER / 2;
            path.loss = 0.02;
            path.duplicate = 0.05;
        })
        .unwrap();
        wan.set_up("region-c", "region-d", false).unwrap();
        Self { stack, victoria, web }
    }

    /// Freezes an agent for a while, once both databases know its counters from before.
    pub(crate) async fn stall(&self) {
        let known =
            format!("count_over_time(xprober_agent_stalled_seconds_total{{instance=\"{FROZEN_HOST}\"}}[1m]) >= 2");
        let known = self.stack.wait_for(&known, LIMIT, |series| !series.is_empty());
        known.await.unwrap();
        let agent = &self.stack.agents[FROZEN_HOST];
        agent.freeze().unwrap();
        tokio::time::sleep(FROZEN).await;
        agent.thaw().unwrap();
    }

    /// Stops everything.
    pub(crate) async fn stop(mut self) {
        self.stack.stop().await.unwrap();
        self.victoria.stop().await.unwrap();
        for target in self.web {
            target.stop().await;
        }
    }
}

/// Besides the usual mesh: probes of both kinds, reply TTLs, URLs that fail or redirect, ports that nobody listens on, probes from
/// an address that no agent has, and a target that agents refuse.
fn settings(lab: &Lab) -> String {
    let web = |path: &str| {
        format!("  - {{prober_type: http, region: web, target: ['http://web1.lab{path}'], interval: 5s}}\n")
    };
    let refused = |region: &str, host: &str| {
        let address = lab.host(host).unwrap().plan().address;
        format!("  - {{prober_type: tcp, region: {region}, target: ['{address}:7']}}\n")
    };
    let unsendable = |region: &str, host: &str| {
        format!("  - {{prober_type: icmp, region: {region}, target: ['{host}.lab'], source: 10.99.0.1}}\n")
    };
    let more = [
        web("/status/500"),
        web("/redirect/2"),
        web(":81/"),
        refused("region-a", "vm1"),
        refused("region-b", "vm3"),
        unsendable("region-a", "vm1"),
        unsendable("region-b", "vm3"),
        "  - {prober_type: icmp, region: region-d, target: [192.0.2.1]}\n".to_owned(),
    ];
    let text = planner_file(lab.topology());
    let text = text.replace("prober_targets:\n", &format!("prober_targets:\n{}", more.concat()));
    format!("{text}mesh: {{probes: [icmp, tcp], reply_ttl: true}}\n")
}

/// Both databases and an endpoint that nobody listens at; one folder for the queues of all agents, which only the first of them
/// gets.
fn agent_settings(lab: &Lab) -> String {
    let hub = lab.host(HUB).unwrap().plan().address;
    let url = |port: u16| format!("http://{hub}:{port}/api/v1/write");
    format!(
        "remote_write:\n  - {{name: default, url: '{}'}}\n  - {{name: victoria, url: '{}'}}\n  - {{name: nowhere, url: '{}', \
         queue: {{max_age: 5s}}}}\nqueue: {{directory: '{}'}}\nresponder: {{tcp: ':6003'}}\nlimits: {{allowed_networks: \
         [10.0.0.0/8]}}\n",
        url(Database::Prometheus.port()),
        url(Database::VictoriaMetrics.port()),
        url(9),
        lab.work().join("queue").display(),
    )
}
