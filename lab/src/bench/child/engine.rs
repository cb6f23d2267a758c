//! The agent's echo engine alone: its schedule, its in-flight table and its backend, without planner, ledger and push.
//! Flat out there is no schedule either, for no schedule asks for that.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use xprober_agent::plan::Change;
use xprober_agent::probe::EchoResult;
use xprober_agent::probe::Outcome;
use xprober_agent::probe::icmp::linux::LinuxSocket;
use xprober_agent::probe::icmp::prober::{Prober, Request};
use xprober_agent::probe::icmp::task::{self, Backend};
use xprober_agent::samples::Event;
use xprober_agent::schedule;
use xprober_agent::schedule::task::Probers;
use xprober_agent::thread;
use xprober_config::agent::IcmpBackend;
use xprober_proto::{AgentId, HostName, IcmpSpec, ProbeSpec, Region, Target, TargetId};

use super::{Summary, Task};
use crate::bench::plan::{FLAT_OUT_WINDOW, PAYLOAD_BYTES, PERIOD};
use crate::bench::rtt::Reported;
use crate::error::LabError;

/// Distinguishes this process' echoes from others'; the agent draws it.
const RANDOM: u64 = 0x0123_4567_89ab_cdef;
/// The agent's own sizes of these channels.
const CHANGES_QUEUE: usize = 1024;
const DUE_QUEUE: usize = 64;
const EVENTS_QUEUE: usize = 8192;
/// Pause between two looks at the signal; rare enough to cost nothing.
const STOP_PAUSE: Duration = Duration::from_millis(250);
/// Windows of the flat-out form, longer than any path of the lab. As many of them are open at once as are sent in twice this
/// time and until the engine closes windows next, 200 ms at most, and the table has 65,536.
const FLAT_OUT_TIMEOUT: Duration = Duration::from_millis(50);
/// Echoes handed over at once.
const BATCH: usize = 64;
/// Longest sleep while all allowed echoes are unanswered.
const BREATH: Duration = Duration::from_micros(50);

/// Runs until the task is stopped.
pub(super) fn run(task: &Task, backend: IcmpBackend) -> Result<Summary, LabError> {
    if task.flat_out {
        return run_flat_out(task);
    }
    runtime()?.block_on(run_paced(task, backend))
}

/// One thread is enough to count results, and it is not the engine's.
fn runtime() -> Result<tokio::runtime::Runtime, LabError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(LabError::io("starting a runtime"))
}

async fn run_paced(task: &Task, backend: IcmpBackend) -> Result<Summary, LabError> {
    let backend = Backend::open(backend, RANDOM).map_err(failed("opening the echo sockets"))?;
    let (changes, changes_out) = mpsc::channel(CHANGES_QUEUE);
    let (icmp, due) = mpsc::channel(DUE_QUEUE);
    let (tcp, _nobody_probes_by_tcp) = mpsc::channel(1);
    let (http, _nobody_probes_by_http) = mpsc::channel(1);
    let (events, results) = mpsc::channel(EVENTS_QUEUE);
    let shutdown = CancellationToken::new();
    let agent: AgentId = "bench".parse().map_err(failed("naming the agent"))?;
    let probers = Probers { icmp, tcp, http };
    let everything = ["0.0.0.0/0".parse().map_err(failed("allowing every network"))?];
    let scheduling = schedule::task::run(agent, changes_out, probers, events.clone(), shutdown.clone());
    let probing = task::run(backend, RANDOM, everything.into(), due, events);
    let mut ended = thread::run("probes", async {
        tokio::join!(scheduling, probing);
    })
    .map_err(LabError::io("starting the thread of the probes"))?;
    let counting = tokio::spawn(count(results, task.rtts.is_some()));
    for target in targets(task, PERIOD)? {
        let _ended_if_it_fails = changes.send(Change::Upsert(target)).await;
    }
    while !task.stopped() && ended.is_empty() {
        tokio::time::sleep(STOP_PAUSE).await;
    }
    shutdown.cancel();
    (&mut ended).await.map_err(failed("running the engine"))?;
    let (summary, reported) = counting.await.map_err(failed("counting results"))?;
    task.write_rtts(&reported)?;
    Ok(summary)
}

/// Counts results until nobody sends any more, and keeps their times if asked to.
async fn count(mut results: mpsc::Receiver<Event>, keep: bool) -> (Summary, Vec<Reported>) {
    let (mut summary, mut reported) = (Summary::default(), Vec::new());
    let mut ordinals = HashMap::<TargetId, usize>::new();
    while let Some(event) = results.recv().await {
        let Event::Echoes(results) = event else { continue };
        for result in results {
            add(&mut summary, &result);
            if keep && result.outcome != Outcome::SendError {
                let ordinal = ordinals.entry(result.target.id.clone()).or_default();
                reported.extend(report(&result, *ordinal));
                *ordinal += 1;
            }
        }
    }
    (summary, reported)
}

fn add(summary: &mut Summary, result: &EchoResult) {
    if result.outcome == Outcome::SendError {
        return;
    }
    summary.sent += 1;
    summary.received += u64::from(result.outcome.received());
}

fn report(result: &EchoResult, ordinal: usize) -> Option<Reported> {
    let destination = address(&result.target)?;
    let rtt = result.rtt?;
    Some(Reported {
        destination,
        ordinal,
        rtt,
    })
}

fn address(target: &Target) -> Option<Ipv4Addr> {
    match &target.probe {
        ProbeSpec::Icmp(spec) => match spec.host {
            HostName::Address(IpAddr::V4(address)) => Some(address),
            HostName::Address(IpAddr::V6(_)) | HostName::Name(_) => None,
        },
        ProbeSpec::Tcp(_) | ProbeSpec::Http(_) => None,
    }
}

fn run_flat_out(task: &Task) -> Result<Summary, LabError> {
    let runtime = runtime()?;
    let socket = {
        let _entered = runtime.enter();
        LinuxSocket::open(RANDOM).map_err(failed("opening the echo sockets"))?
    };
    let requests: Vec<_> = targets(task, FLAT_OUT_TIMEOUT)?
        .into_iter()
        .filter_map(request)
        .collect();
    let (mut prober, mut summary) = (Prober::new(socket, RANDOM, None), Summary::default());
    let mut next = requests.chunks(BATCH).cycle();
    while !task.stopped() || !prober.is_idle() {
        if prober.unanswered() + BATCH <= FLAT_OUT_WINDOW && !task.stopped() {
            prober.send(next.next().unwrap_or_default(), Duration::ZERO);
        } else {
            std::thread::sleep(BREATH);
            prober.look(None);
        }
        for event in prober.close(Instant::now()) {
            if let Event::Echoes(results) = event {
                for result in &results {
                    add(&mut summary, result);
                }
            }
        }
    }
    Ok(summary)
}

fn request(target: Arc<Target>) -> Option<Request> {
    let to = Ok(IpAddr::V4(address(&target)?));
    Some(Request { target, to })
}

fn targets(task: &Task, timeout: Duration) -> Result<Vec<Arc<Target>>, LabError> {
    let region: Region = "far".parse().map_err(failed("naming the region"))?;
    let payload_bytes = u16::try_from(PAYLOAD_BYTES).unwrap_or(u16::MAX);
    let target = |address: &Ipv4Addr| {
        let id: TargetId = format!("icmp-{address}").parse().map_err(failed("naming a target"))?;
        Ok(Arc::new(Target {
            id,
            name: address.to_string(),
            region: region.clone(),
            interval: PERIOD,
            timeout,
            probe: ProbeSpec::Icmp(IcmpSpec::new(HostName::Address(IpAddr::V4(*address)), payload_bytes)),
        }))
    };
    task.targets.iter().map(target).collect()
}

fn failed<E>(doing: &'static str) -> impl FnOnce(E) -> LabError
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    move |error| LabError::Io {
        doing: doing.to_owned(),
        source: std::io::Error::other(error),
    }
}
