//! The demo's course: start, watch, break a line, judge, stop.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::time::Instant;
use xprober_agent::probe::Stage;

use super::reading::{self, Answer, Http, Pair, Reading};
use super::screen::Screen;
use super::{alert, verdict, view};
use crate::enter::Inside;
use crate::error::LabError;
use crate::process::alertmanager::ALERTMANAGER_PORT;
use crate::promql::PromQl;
use crate::servers::http::{Behaviour, HttpTarget};
use crate::stack::{Database, PLANNER_WEB_PORT, Stack, StackPlan, measured_regions, web_targets};
use crate::topology::{Topology, WEB};
use crate::world::Lab;

/// Names of the ports that the demo opens on the machine's loopback.
pub const FORWARDS: [&str; 3] = ["planner", "database", "alertmanager"];

/// Time between two readings.
const READ_PAUSE: Duration = Duration::from_secs(2);
/// Time from the agents' start to the break of a line.
const BREAK_AFTER: Duration = Duration::from_secs(20);
/// Round-trip time added to the broken line: far above the 5 ms that its budget allows.
const BREAK_BY: Duration = Duration::from_millis(30);
/// Time for the message from Alertmanager, from the break.
const ALERT_LIMIT: Duration = Duration::from_mins(1);
/// Time for the first values to arrive when the demo is told to end sooner than that.
const SETTLE: Duration = Duration::from_secs(20);

/// Time that the lab spends in each stage beyond the network's: all different, so that a delay in the wrong stage shows.
const DNS_DELAY: Duration = Duration::from_millis(8);
const SYN_DELAY: Duration = Duration::from_millis(12);
const TLS_DELAY: Duration = Duration::from_millis(16);
const PROCESSING_DELAY: Duration = Duration::from_millis(20);
const TRANSFER_DELAY: Duration = Duration::from_millis(24);

/// What the user asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where samples go.
    pub database: Database,
    /// How long to watch; `None` until stopped.
    pub watch: Option<Duration>,
    /// Two regions whose line is to be slowed, as in `region-a` and `region-b`.
    pub breaks: Option<(String, String)>,
    /// Two regions between which nothing passes from the start on.
    pub cut: Option<(String, String)>,
    /// Multiplies what a measured mean may differ from the lab's.
    pub slack: u32,
}

/// Runs the demo inside the lab and answers the complaints: empty when everything that should arrive has arrived.
///
/// # Errors
/// [`LabError`] when a part of the lab does not start.
pub async fn run(inside: &Inside, options: &Options) -> Result<Vec<String>, LabError> {
    let mut screen = Screen::new();
    let lab = Lab::start(inside, Topology::demo(), 1).await?;
    screen.note("4 regions with 2 hosts each are up, joined by the emulated WAN");
    let mut demo = Demo::start(lab, options, &mut screen).await?;
    let stop = demo.lab.stop_token();
    let last = stop.run_until_cancelled(demo.watch(&mut screen)).await.transpose()?;
    let mut complaints = last.map_or_else(Vec::new, |reading| demo.judge(&mut screen, &reading));
    screen.note("stopping; agents push what they have");
    if let Err(error) = demo.stop().await {
        complaints.push(crate::testing::chain(&error));
    }
    Ok(complaints)
}

struct Demo {
    lab: Lab,
    stack: Stack,
    web: [HttpTarget; 2],
    options: Options,
    running_since: Instant,
    broken_at: Option<Instant>,
    seen_messages: usize,
    /// Time from the break to the first message about that line.
    told_after: Option<Duration>,
    /// Messages about another line than the broken one.
    false_alarms: Vec<String>,
}

impl Demo {
    async fn start(lab: Lab, options: &Options, screen: &mut Screen) -> Result<Self, LabError> {
        lab.change_dns(|dns| dns.delay = DNS_DELAY);
        let behaviour = Behaviour {
            tls_delay: TLS_DELAY,
            processing_delay: PROCESSING_DELAY,
            transfer_delay: TRANSFER_DELAY,
            ..Behaviour::default()
        };
        let web = [
            lab.http_target("web1", behaviour.clone())?,
            lab.https_target("web2", behaviour)?,
        ];
        for host in ["web1", "web2"] {
            lab.wan().set_syn_delay(host, SYN_DELAY)?;
        }
        if let Some((one, other)) = &options.cut {
            lab.wan().set_up(one, other, false)?;
            screen.note(&format!("CUT: nothing passes between {one} and {other}"));
        }
        let plan = StackPlan::new(&lab, options.database);
        let stack = Stack::start(&lab, &plan, |text| screen.note(text)).await?;
        for (name, port) in FORWARDS
            .into_iter()
            .zip([PLANNER_WEB_PORT, options.database.port(), ALERTMANAGER_PORT])
        {
            let url = lab
                .forwards()
                .offer(name, SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
            screen.note(&format!("open {name:<13} {url}"));
        }
        let running_since = Instant::now();
        Ok(Self {
            lab,
            stack,
            web,
            options: options.clone(),
            running_since,
            broken_at: None,
            seen_messages: 0,
            told_after: None,
            false_alarms: Vec::new(),
        })
    }

    /// Reads and draws until the time is over, and answers what was drawn last; breaks the line when its time has come.
    async fn watch(&mut self, screen: &mut Screen) -> Result<Reading, LabError> {
        loop {
            self.break_line(screen)?;
            self.tell_messages(screen);
            let reading = self.read().await?;
            let all_there = verdict::complaints(&reading, self.options.slack).is_empty();
            let is_last = self.time_is_over(all_there);
            let block = format!(
                "\nmean RTT of the last minute in ms (what the WAN emulates), loss\n{}\nHTTP stages in ms (what the lab spends)\n{}\n",
                view::matrix(&reading),
                view::stages(&reading)
            );
            screen.draw(&block, is_last);
            if is_last {
                return Ok(reading);
            }
            tokio::time::sleep(READ_PAUSE).await;
        }
    }

    /// With a time to watch: over once that has passed, and an expected alert has come or is overdue, and the first values have
    /// had time to arrive.
    fn time_is_over(&self, all_there: bool) -> bool {
        let Some(watch) = self.options.watch else { return false };
        let settled = all_there || self.running_since.elapsed() >= watch.max(SETTLE);
        let alert_due = self.options.breaks.is_some()
            && self.told_after.is_none()
            && self.broken_at.is_none_or(|at| at.elapsed() < ALERT_LIMIT);
        self.running_since.elapsed() >= watch && settled && !alert_due
    }

    fn break_line(&mut self, screen: &mut Screen) -> Result<(), LabError> {
        let Some((one, other)) = &self.options.breaks else {
            return Ok(());
        };
        if self.broken_at.is_some() || self.running_since.elapsed() < BREAK_AFTER {
            return Ok(());
        }
        self.lab
            .wan()
            .change_both(one, other, |path| path.latency += BREAK_BY / 2)?;
        self.broken_at = Some(Instant::now());
        screen.note(&format!(
            "BREAK: the line between {one} and {other} is {} ms slower from now on",
            BREAK_BY.as_millis()
        ));
        Ok(())
    }

    /// Shows every new message of Alertmanager and notes whether it is the one that was asked for.
    fn tell_messages(&mut self, screen: &mut Screen) {
        let received = self.stack.sink.received();
        for message in &received[self.seen_messages..] {
            let text = alert::draw(&message.body);
            if text.is_empty() {
                continue;
            }
            let after = self
                .broken_at
                .map(|at| message.at.saturating_duration_since(at.into_std()));
            screen.note(&match after {
                Some(after) => format!("Alertmanager sent, {:.1} s after the break:", after.as_secs_f64()),
                None => "Alertmanager sent:".to_owned(),
            });
            screen.stay(&text);
            for one in message.alerts() {
                self.classify(one, after);
            }
        }
        self.seen_messages = received.len();
    }

    fn classify(&mut self, alert: &serde_json::Value, after: Option<Duration>) {
        let label = |name: &str| alert["labels"][name].as_str().unwrap_or_default();
        if label("alertname") == "Watchdog" {
            return;
        }
        let (source, target) = (label("source_region"), label("target_region"));
        let concerns = |pair: &Option<(String, String)>| {
            pair.as_ref()
                .is_some_and(|(one, other)| (source, target) == (one, other) || (source, target) == (other, one))
        };
        if label("alertname") == "PairUnreachable" && concerns(&self.options.cut) {
            return;
        }
        let expected = label("alertname") == "LineLatencyOverBudget" && concerns(&self.options.breaks);
        if expected {
            self.told_after = self.told_after.or(after);
        } else {
            self.false_alarms.push(format!(
                "unexpected alert {} for {source} -> {target}",
                label("alertname")
            ));
        }
    }

    fn judge(&mut self, screen: &mut Screen, reading: &Reading) -> Vec<String> {
        self.tell_messages(screen);
        let mut complaints = verdict::complaints(reading, self.options.slack);
        complaints.append(&mut self.false_alarms);
        if let Some((one, other)) = &self.options.breaks {
            match self.told_after {
                Some(after) => screen.note(&format!(
                    "the broken line was reported after {:.1} s",
                    after.as_secs_f64()
                )),
                None => complaints.push(format!("no alert came for the line between {one} and {other}")),
            }
        }
        complaints
    }

    async fn read(&self) -> Result<Reading, LabError> {
        let client = self.stack.store.client();
        let rtt = ask(&client, "region_pair:xprober_rtt_seconds:avg_1m{probe=\"icmp\"}").await?;
        let loss = ask(&client, "region_pair:xprober_loss:ratio_1m{probe=\"icmp\"}").await?;
        let stages = ask(
            &client,
            "avg by (source_region, target, stage) (avg_over_time(xprober_http_stage_seconds[1m]))",
        )
        .await?;
        let success = ask(&client, "avg by (source_region, target) (xprober_http_success)").await?;
        Ok(Reading {
            pairs: self.pairs(&rtt, &loss)?,
            http: self.http(&stages, &success)?,
        })
    }

    fn pairs(&self, rtt: &[Answer], loss: &[Answer]) -> Result<Vec<Pair>, LabError> {
        let regions = measured_regions(self.lab.topology());
        let mut pairs = Vec::new();
        for source in &regions {
            for target in regions.iter().filter(|target| *target != source) {
                let labels = [("source_region", *source), ("target_region", *target)];
                pairs.push(Pair {
                    source: (*source).to_owned(),
                    target: (*target).to_owned(),
                    emulated: self.lab.wan().rtt(source, target)?,
                    disturbed: self.lab.wan().rtt(source, target)? != self.lab.topology().rtt_between(source, target),
                    rtt_seconds: reading::find(rtt, &labels),
                    loss: reading::find(loss, &labels),
                });
            }
        }
        Ok(pairs)
    }

    fn http(&self, stages: &[Answer], success: &[Answer]) -> Result<Vec<Http>, LabError> {
        let mut all = Vec::new();
        for target in web_targets() {
            for source in measured_regions(self.lab.topology()) {
                let network = self.lab.wan().rtt(source, WEB)?;
                let tls = if target.starts_with("https") {
                    network + TLS_DELAY
                } else {
                    Duration::ZERO
                };
                let labels = [("source_region", source), ("target", target.as_str())];
                all.push(Http {
                    source: source.to_owned(),
                    target: target.clone(),
                    emulated: [
                        DNS_DELAY,
                        network + SYN_DELAY,
                        tls,
                        network + PROCESSING_DELAY,
                        TRANSFER_DELAY,
                    ],
                    stage_seconds: Stage::ALL
                        .map(|stage| reading::find(stages, &[labels[0], labels[1], ("stage", stage.as_str())])),
                    success: reading::find(success, &labels),
                });
            }
        }
        Ok(all)
    }

    async fn stop(self) -> Result<(), LabError> {
        self.stack.stop().await?;
        for target in &self.web {
            target.stop().await;
        }
        self.lab.stop().await;
        Ok(())
    }
}

async fn ask(client: &PromQl, expression: &str) -> Result<Vec<Answer>, LabError> {
    Ok(client
        .query(expression)
        .await?
        .into_iter()
        .map(|sample| (sample.labels, sample.value))
        .collect())
}
