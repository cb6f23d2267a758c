//! What is wrong is refused with a sentence and a counter, crashes nothing and loses nothing that was measured.

#![expect(clippy::unwrap_used, reason = "what the tests share fails them, too")]

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use prost::Message as _;
use tokio::time::Instant;
use tonic::{Code, Status};
use xprober_lab::fetch;
use xprober_lab::process::{Process, ProcessPlan, find};
use xprober_lab::servers::metadata::MetadataMode;
use xprober_lab::servers::receiver::{Answer, Receiver, Recorded};
use xprober_lab::stack::{PLANNER_RPC_PORT, planner_file, planner_url};
use xprober_lab::testing::in_lab;
use xprober_lab::topology::Topology;
use xprober_lab::world::Lab;
use xprober_proto::remote_write::WriteRequest;
use xprober_proto::wire::agent_message::Body;
use xprober_proto::wire::planner_client::PlannerClient;
use xprober_proto::wire::{AgentMessage, Hello, ProbeKind};

const LIMIT: Duration = Duration::from_mins(1);
/// Between two looks at something that has no way to call us.
const PAUSE: Duration = Duration::from_millis(50);
/// Receivers may say anything; logs must not pass it on raw.
const NASTY: &str = "out of bounds\n\u{1b}[31mred";
/// Statuses that mean: never again.
const REFUSALS: [u16; 2] = [400, 404];
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// What the agent under test says of its only target.
const SENT: [(&str, &str); 2] = [("__name__", "xprober_target_sent_total"), ("target", "vm2")];

fn two_regions() -> Topology {
    Topology::new().host("vm1", "region-a").host("vm2", "region-b")
}

async fn start_planner(lab: &Lab) -> Process {
    let file = lab.work().join("planner.yml");
    fs::write(&file, planner_file(lab.topology())).unwrap();
    let flags = [format!("--config.file={}", file.display())];
    let plan = ProcessPlan::new("planner", &find::own_program("xprober-planner").unwrap(), flags);
    let mut planner = Process::start(lab.hub(), &plan).unwrap();
    planner.wait_ready(&planner_url("/readyz"), LIMIT).await.unwrap();
    planner
}

async fn reload_planner(lab: &Lab, text: &str) -> fetch::Fetched {
    fs::write(lab.work().join("planner.yml"), text).unwrap();
    fetch::post(&planner_url("/-/reload"), "text/plain", "", LIMIT)
        .await
        .unwrap()
}

/// Starts an agent that pushes to a port of the hub several times a second.
fn start_agent(lab: &Lab, host: &str, port: u16, more: &[&str]) -> Process {
    let file = lab.work().join("agent.yml");
    // A second is little for the metadata service on a busy machine.
    fs::write(&file, "push: {interval: 300ms}\nmetadata: {timeout: 10s}\n").unwrap();
    let hub = lab.hub().plan().address;
    let mut flags = vec![
        format!("--config.file={}", file.display()),
        format!("--grpc.server-address={hub}:{PLANNER_RPC_PORT}"),
        format!("--remote-write.url=http://{hub}:{port}/api/v1/write"),
        format!("--agent.id={host}"),
    ];
    flags.extend(more.iter().map(|flag| (*flag).to_owned()));
    let program = find::own_program("xprober-agent").unwrap();
    Process::start(lab.host(host).unwrap(), &ProcessPlan::new(host, &program, flags)).unwrap()
}

/// One number of the planner's `/metrics`.
async fn planner_metric(series: &str) -> u64 {
    let text = fetch::get(&planner_url("/metrics"), LIMIT).await.unwrap().text();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(series))
        .unwrap_or_default();
    line.trim()
        .parse()
        .unwrap_or_else(|_| unreachable!("{series} in\n{text}"))
}

/// The planner's own account of the plan, as it came.
async fn planned() -> String {
    fetch::get(&planner_url("/api/v1/plan"), LIMIT).await.unwrap().text()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds().await {
        assert!(Instant::now() < deadline, "not within {LIMIT:?}: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits until the log has a text more often than `before`.
async fn logged_again(agent: &mut Process, text: &str, before: usize) {
    until(text, async || {
        agent.check_running().unwrap();
        count(agent, text) > before
    })
    .await;
}

fn count(process: &Process, text: &str) -> usize {
    process.log_text().matches(text).count()
}

fn decode(body: &Bytes) -> WriteRequest {
    let body = snap::raw::Decoder::new().decompress_vec(body).unwrap();
    WriteRequest::decode(body.as_slice()).unwrap()
}

fn samples(request: &WriteRequest) -> usize {
    request.timeseries.iter().map(|series| series.samples.len()).sum()
}

/// Time in milliseconds and value of the series with all of these label values, `__name__` among them; none of a stale
/// marker.
fn find(request: &WriteRequest, wanted: &[(&str, &str)]) -> Option<(i64, f64)> {
    let series = request.timeseries.iter().find(|series| {
        let has = |(name, value): &(&str, &str)| {
            series
                .labels
                .iter()
                .any(|label| label.name == *name && label.value == *value)
        };
        wanted.iter().all(has)
    });
    let sample = series?.samples.iter().rfind(|sample| !sample.value.is_nan())?;
    Some((sample.timestamp, sample.value))
}

fn has_status(answer: &Answer, codes: &[u16]) -> bool {
    matches!(answer, Answer::Status { code, .. } if codes.contains(code))
}

/// Makes the agent fail, waits until it has noticed, mends the endpoint and waits until the agent has noticed that.
async fn fail_for_a_while(agent: &mut Process, receiver: &Receiver, answer: Answer) {
    let (failed, mended) = ("remote write failed, trying again", "remote write works again");
    let before = (count(agent, failed), count(agent, mended));
    receiver.set(answer);
    logged_again(agent, failed, before.0).await;
    receiver.set(Answer::status(204));
    logged_again(agent, mended, before.1).await;
}

/// Every distinct request that was answered with one of these, in order; a retry is the same request.
fn answered(recorded: &[Arc<Recorded>], codes: &[u16]) -> Vec<Bytes> {
    let mut distinct: Vec<Bytes> = Vec::new();
    for one in recorded.iter().filter(|one| has_status(&one.answer, codes)) {
        if !distinct.contains(&one.body) {
            distinct.push(one.body.clone());
        }
    }
    distinct
}

fn totals(log: &str) -> BTreeMap<String, usize> {
    let line = log.lines().find(|line| line.contains("agent stopped")).unwrap();
    let pairs = line.split_whitespace().filter_map(|word| word.split_once('='));
    pairs
        .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
        .collect()
}

fn sum(bodies: &[Bytes]) -> usize {
    bodies.iter().map(|body| samples(&decode(body))).sum()
}

fn every_sample_is_accounted_for(recorded: &[Arc<Recorded>], log: &str) {
    let (dropped, pushed) = (answered(recorded, &REFUSALS), answered(recorded, &[204]));
    let totals = totals(log);
    assert_eq!(
        (totals["dropped"], totals["pushed"]),
        (sum(&dropped), sum(&pushed)),
        "{totals:?}"
    );
    assert_eq!(
        (totals["sealed"], totals["left"]),
        (totals["dropped"] + totals["pushed"], 0),
        "{totals:?}"
    );
    for body in answered(recorded, &[429, 500]) {
        assert!(pushed.contains(&body), "a request that was to be sent again was not");
    }
}

fn patience_was_shown(recorded: &[Arc<Recorded>]) {
    let asked = recorded.iter().find(|one| has_status(&one.answer, &[429])).unwrap();
    let next = recorded.iter().find(|one| one.at > asked.at).unwrap();
    let waited = next.at - asked.at;
    assert!(waited >= RETRY_AFTER, "asked for {RETRY_AFTER:?}, it waited {waited:?}");
    assert_eq!(next.body, asked.body, "a retry is the same request");
}

/// What was measured while samples were refused is in the counters that came later, and so is the refusal. `stop` is when
/// the agent was told to end, in milliseconds since 1970.
fn counters_tell_all(recorded: &[Arc<Recorded>], stop: i64) {
    let accepted: Vec<_> = answered(recorded, &[204]).iter().map(decode).collect();
    let latest = |wanted: &[(&str, &str)]| accepted.iter().rev().find_map(|request| find(request, wanted));
    let last = |wanted: &[(&str, &str)]| latest(wanted).unwrap_or_default().1;
    let number = |count: usize| f64::from(u32::try_from(count).unwrap());
    let dropped = answered(recorded, &REFUSALS);
    let (name, attempts) = ("__name__", "xprober_agent_push_attempts_total");
    let rejected = last(&[(name, "xprober_agent_samples_dropped_total"), ("reason", "rejected")]);
    assert_eq!(Some(rejected), Some(number(sum(&dropped))));
    assert_eq!(
        Some(last(&[(name, attempts), ("result", "drop")])),
        Some(number(dropped.len()))
    );
    assert!(last(&[(name, attempts), ("result", "retry")]) >= 5.0);

    let skipped = last(&[(name, "xprober_agent_skipped_ticks_total")]);
    // The last snapshot comes when the open windows are closed, and no probe has left since the agent was told to end.
    let in_time = accepted.iter().filter_map(|request| find(request, &SENT));
    let mut counted = in_time.filter(|(at, _)| *at < stop);
    let first = counted.find(|(_, sent)| *sent >= 1.0).unwrap();
    let last = counted.next_back().unwrap();
    let seconds = number(usize::try_from(last.0 - first.0).unwrap()) / 1000.0;
    // One probe a second; a window may begin and end between two.
    let missing = seconds - (last.1 - first.1);
    assert!(
        missing.abs() <= 1.5 + skipped,
        "{missing} probes are missing, {skipped} ticks were skipped"
    );
}

#[test]
fn misbehaving_database_costs_only_what_it_refuses() {
    in_lab(
        "misbehaving_database_costs_only_what_it_refuses",
        two_regions(),
        async |lab| {
            let mut planner = start_planner(lab).await;
            let reserved = Receiver::start(lab.hub().namespace()).unwrap();
            // Started before the first port is free again, which it might be given.
            let other = Receiver::start(lab.hub().namespace()).unwrap();
            reserved.stop().await;
            let mut peer = start_agent(lab, "vm2", other.port(), &[]);
            let mut agent = start_agent(lab, "vm1", reserved.port(), &[]);
            agent.wait_log("Connection refused", LIMIT).await.unwrap();
            let receiver = Receiver::start_at(lab.hub().namespace(), reserved.port()).unwrap();
            until("probes are counted", async || {
                receiver
                    .recorded()
                    .iter()
                    .any(|one| find(&decode(&one.body), &SENT).is_some())
            })
            .await;

            for code in REFUSALS {
                receiver.set(Answer::Status {
                    code,
                    headers: Vec::new(),
                    body: NASTY.to_owned(),
                });
                until("two refusals", async || {
                    answered(&receiver.recorded(), &[code]).len() >= 2
                })
                .await;
                agent.check_running().unwrap();
            }
            receiver.set(Answer::status(204));
            let refusal = "remote write was refused, samples are lost";
            logged_again(&mut agent, refusal, 0).await;
            assert_eq!(
                count(&agent, refusal),
                2,
                "one line a minute for each reason: {}",
                agent.log_text()
            );
            assert!(
                agent.log_text().contains("status 400 Bad Request: out of bounds"),
                "{}",
                agent.log_text()
            );

            for answer in [
                Answer::Status {
                    code: 500,
                    headers: Vec::new(),
                    body: NASTY.to_owned(),
                },
                Answer::Garbage,
                Answer::Close,
                Answer::retry_after(429, 2),
            ] {
                fail_for_a_while(&mut agent, &receiver, answer).await;
            }
            let so_far = receiver.recorded().len();
            receiver.wait_for(so_far + 3, LIMIT).await.unwrap();
            let stop = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            assert!(agent.stop().await.unwrap().success());
            assert!(!agent.log_text().contains('\u{1b}'), "{}", agent.log_text());

            let recorded = receiver.recorded();
            every_sample_is_accounted_for(&recorded, &agent.log_text());
            patience_was_shown(&recorded);
            counters_tell_all(&recorded, stop.as_millis().try_into().unwrap());
            assert!(peer.stop().await.unwrap().success());
            assert!(planner.stop().await.unwrap().success());
            other.stop().await;
            receiver.stop().await;
        },
    );
}

#[test]
fn agent_that_the_planner_does_not_take_says_why_and_keeps_trying() {
    in_lab(
        "agent_that_the_planner_does_not_take_says_why_and_keeps_trying",
        two_regions(),
        async |lab| {
            let receiver = Receiver::start(lab.hub().namespace()).unwrap();
            // No planner at all: the agent runs, says so once, and tries on.
            let flags = ["--probe.address=10.99.0.1", "--log.level=debug"];
            let mut agent = start_agent(lab, "vm1", receiver.port(), &flags);
            let hub = lab.hub().plan().address;
            let complaint =
                format!("no planner, trying again\" planner={hub}:{PLANNER_RPC_PORT} error=\"connect to the planner");
            agent.wait_log(&complaint, LIMIT).await.unwrap();
            agent.wait_log("still no planner", LIMIT).await.unwrap();
            assert_eq!(count(&agent, "no planner, trying again"), 1);

            let mut planner = start_planner(lab).await;
            let sentence =
                "address 10.99.0.1 is neither that of the connection (10.2.0.1) nor inside agents.allowed_networks";
            agent.wait_log("the planner refuses this agent", LIMIT).await.unwrap();
            assert!(agent.log_text().contains(sentence), "{}", agent.log_text());
            planner.wait_log(sentence, LIMIT).await.unwrap();
            let refused = "xprober_planner_hellos_rejected_total{reason=\"address\"}";
            until("a second try", async || planner_metric(refused).await >= 2).await;
            agent.check_running().unwrap();
            assert!(!planned().await.contains("vm1"));

            let allowed = planner_file(lab.topology()) + "agents: {allowed_networks: [10.99.0.0/16]}\n";
            assert_eq!(reload_planner(lab, &allowed).await.status, 200);
            until("the agent is a member", async || planned().await.contains("vm1")).await;
            agent.wait_log("plan in force", LIMIT).await.unwrap();
            assert!(agent.stop().await.unwrap().success());
            assert!(planner.stop().await.unwrap().success());
            receiver.stop().await;
        },
    );
}

#[test]
fn agent_without_a_region_names_the_flag_and_ends() {
    in_lab(
        "agent_without_a_region_names_the_flag_and_ends",
        two_regions(),
        async |lab| {
            let host = lab.host("vm1").unwrap();
            host.edge().metadata.set_mode(MetadataMode::Absent).await.unwrap();
            let mut agent = start_agent(lab, "vm1", 9, &[]);
            assert_eq!(agent.wait(LIMIT).await.unwrap().code(), Some(1));
            let text = agent.log_text();
            assert!(
                text.contains("no region: the metadata service at http://169.254.169.254"),
                "{text}"
            );
            assert!(
                text.contains("set --region=NAME, XPROBER_REGION or region: in agent.yml"),
                "{text}"
            );
        },
    );
}

async fn introduce(hello: Hello) -> Status {
    let mut client = PlannerClient::connect(format!("http://127.0.0.1:{PLANNER_RPC_PORT}"))
        .await
        .unwrap();
    let message = AgentMessage {
        body: Some(Body::Hello(hello)),
    };
    let stream = tokio_stream::StreamExt::chain(tokio_stream::once(message), tokio_stream::pending());
    match client.join(stream).await {
        Err(status) => status,
        Ok(answer) => answer.into_inner().message().await.unwrap_err(),
    }
}

fn hello() -> Hello {
    Hello {
        agent_id: "vm1".to_owned(),
        region: "region-a".to_owned(),
        zone: String::new(),
        addresses: vec!["127.0.0.1".to_owned()],
        kinds: vec![ProbeKind::Icmp.into()],
        version: "0.1.0".to_owned(),
        tcp_port: 0,
    }
}

#[test]
fn planner_refuses_words_that_mean_something_to_a_shell() {
    in_lab(
        "planner_refuses_words_that_mean_something_to_a_shell",
        two_regions(),
        async |lab| {
            let mut planner = start_planner(lab).await;
            let folder = lab.work().join("bait");
            fs::create_dir(&folder).unwrap();
            let bait = format!("$(touch {}/pwned)", folder.display());
            let many = vec!["127.0.0.1".to_owned(); 3];
            let bad = [
                (
                    "agent id",
                    Hello {
                        agent_id: format!("; rm -rf {}", folder.display()),
                        ..hello()
                    },
                ),
                (
                    "region",
                    Hello {
                        region: bait.clone(),
                        ..hello()
                    },
                ),
                (
                    "zone",
                    Hello {
                        zone: bait.clone(),
                        ..hello()
                    },
                ),
                (
                    "address",
                    Hello {
                        addresses: vec![bait.clone()],
                        ..hello()
                    },
                ),
                (
                    "address",
                    Hello {
                        addresses: many,
                        ..hello()
                    },
                ),
                (
                    "version",
                    Hello {
                        version: "\n".to_owned(),
                        ..hello()
                    },
                ),
            ];
            let count = bad.len() as u64;
            for (field, hello) in bad {
                let status = introduce(hello).await;
                assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
                assert!(status.message().starts_with(field), "{field}: {status:?}");
            }
            let malformed = "xprober_planner_hellos_rejected_total{reason=\"malformed\"}";
            assert_eq!(planner_metric(malformed).await, count);
            assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "something was executed");
            assert_eq!(planned().await, "{\"agents\":[]}");
            assert!(planner.stop().await.unwrap().success());
        },
    );
}

const BAD_FILE: &str = "rpc_listen_addr: \":6001\"\n\
    metrics_listen_addr: \":6002\"\n\
    meshh: {interval: 1s}\n\
    mesh: {interval: often}\n\
    prober_targets:\n  \
      - {prober_type: icmp, region: region-b, target: [999.1.1.1]}\n\
    lines:\n  \
      - {name: ab, between: [region-a, region-b]}\n  \
      - {name: ab, between: [region-b, region-c]}\n";

/// Place and beginning of everything that is wrong with it.
const PROBLEMS: [&str; 4] = [
    ":3: meshh: unknown key (did you mean mesh?)",
    ":4: mesh.interval: \"often\" is not a duration: use numbers with units",
    ":6: prober_targets[0].target[0]: \"999.1.1.1\" is not an icmp target: use an IP address or a host name",
    ":9: lines[1].name: \"ab\" is listed twice, first on line 8",
];

#[test]
fn running_planner_keeps_its_plan_when_the_new_file_is_wrong() {
    in_lab(
        "running_planner_keeps_its_plan_when_the_new_file_is_wrong",
        two_regions(),
        async |lab| {
            let mut planner = start_planner(lab).await;
            let receiver = Receiver::start(lab.hub().namespace()).unwrap();
            let mut agents: Vec<_> = ["vm1", "vm2"]
                .map(|host| start_agent(lab, host, receiver.port(), &[]))
                .into();
            until("both are planned", async || {
                let plan = planned().await;
                plan.contains("\"name\":\"vm1\"") && plan.contains("\"name\":\"vm2\"")
            })
            .await;
            let (plan, successful) = (planned().await, "xprober_planner_config_last_reload_successful");
            assert_eq!(planner_metric(successful).await, 1);

            let refusal = reload_planner(lab, BAD_FILE).await;
            assert_eq!(refusal.status, 500);
            for problem in PROBLEMS {
                assert!(
                    refusal.text().contains(problem),
                    "{problem} is not in\n{}",
                    refusal.text()
                );
                let logged = format!("planner.yml{}", problem.replace('"', "\\\""));
                assert!(
                    planner.log_text().contains(&logged),
                    "{logged} is not in\n{}",
                    planner.log_text()
                );
            }
            assert_eq!(planner_metric(successful).await, 0);
            assert_eq!(planned().await, plan);

            let good = planner_file(lab.topology());
            assert_eq!(reload_planner(lab, &good).await.status, 200);
            assert_eq!(planner_metric(successful).await, 1);
            assert_eq!(planned().await, plan);
            for agent in &mut agents {
                assert_eq!(count(agent, "plan refused"), 0);
                assert!(agent.stop().await.unwrap().success());
            }
            assert!(planner.stop().await.unwrap().success());
            receiver.stop().await;
        },
    );
}

fn run(program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(find::own_program(program).unwrap());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("XPROBER_")) {
        command.env_remove(name);
    }
    command.args(arguments).output().unwrap()
}

fn complaint(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn check_lists_every_problem_of_a_planner_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("planner.yml").display().to_string();
    fs::write(&file, BAD_FILE).unwrap();
    let output = run("xprober-planner", &["check", "--config.file", &file]);
    let text = complaint(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for problem in PROBLEMS {
        assert!(
            text.contains(&format!("{file}{problem}")),
            "{problem} is not in\n{text}"
        );
    }
    assert_eq!(text.matches(&file).count(), PROBLEMS.len(), "{text}");
}

#[test]
fn names_that_mean_something_to_a_shell_end_the_agent_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let pwned = folder.path().join("pwned");
    let (id, region) = (
        format!("x; touch {}", pwned.display()),
        format!("$(touch {})", pwned.display()),
    );
    for (flag, value, what) in [("--agent.id", &id, "agent id"), ("--region", &region, "region")] {
        let flag_and_value = format!("{flag}={value}");
        let output = run(
            "xprober-agent",
            &["run", "--remote-write.url=http://127.0.0.1:9/", &flag_and_value],
        );
        let text = complaint(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(
            text.contains(&format!(
                "{flag}: {what} {value:?} is not allowed: use 1 to 128 characters of"
            )),
            "{text}"
        );
    }
    assert!(!pwned.exists());
}

#[test]
fn bad_usage_and_missing_settings_are_told_apart() {
    for program in ["xprober-agent", "xprober-planner", "xprober-lab"] {
        let output = run(program, &["--no-such-flag"]);
        assert_eq!(output.status.code(), Some(2), "{program}: {}", complaint(&output));
        assert!(
            complaint(&output).contains("--no-such-flag"),
            "{program}: {}",
            complaint(&output)
        );
    }
    let output = run("xprober-agent", &["run", "--region=region-a"]);
    assert_eq!(output.status.code(), Some(1));
    let text = complaint(&output);
    assert!(
        text.contains("--remote-write.url") && text.contains("remote_write.url"),
        "{text}"
    );
}
