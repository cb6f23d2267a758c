//! Starts a contender for a job.

use std::fs;
use std::time::Duration;

use super::page::Page;
use super::plan::{Contender, Job};
use super::sink::Sink;
use crate::error::LabError;
use crate::process::{Process, ProcessPlan, find};
use crate::world::Lab;

/// Samples in one request, for all alike: the agent's default.
const REQUEST_SAMPLES: usize = 2000;

/// Starts a contender; `number` keeps the folders of runs apart.
///
/// # Errors
/// [`LabError::NoProgram`], [`LabError::Io`].
pub fn start(lab: &Lab, who: Contender, job: Job, sink: &Sink, page: &Page, number: u32) -> Result<Process, LabError> {
    let folder = lab.work().join(format!("push-{number}"));
    fs::create_dir_all(&folder).map_err(LabError::io(format!("making {}", folder.display())))?;
    let name = format!("push-{number}");
    let file = |name: &str, text: String| {
        let path = folder.join(name);
        fs::write(&path, text).map_err(LabError::io(format!("writing {}", path.display())))?;
        Ok::<_, LabError>(path.display().to_string())
    };
    let millis = job.interval.as_millis();
    let scraping = format!(
        "global: {{scrape_interval: {millis}ms, scrape_timeout: {millis}ms}}\nscrape_configs: [{{job_name: page, \
         honor_labels: true, static_configs: [{{targets: ['{}']}}]}}]\n",
        page.target()
    );
    // The same for both: everything that was scraped is dropped where it would be sent.
    let drop_all = "[{action: drop, source_labels: [__name__], regex: '.*'}]";
    let store = folder.join("store").display().to_string();
    let prometheus = |release, mode: &str| {
        let relabel = if job.drops_all { drop_all } else { "[]" };
        let text = format!(
            "{scraping}remote_write: [{{url: '{}', queue_config: {{max_samples_per_send: {REQUEST_SAMPLES}}}, \
             write_relabel_configs: {relabel}}}]\n",
            sink.url()
        );
        let arguments = [
            mode.to_owned(),
            format!("--config.file={}", file("prometheus.yml", text)?),
            format!("--storage.agent.path={store}"),
            "--web.listen-address=127.0.0.1:0".to_owned(),
        ];
        let program = find::tool_of(release, "prometheus")?;
        Ok::<_, LabError>(ProcessPlan::new(&name, &program, arguments))
    };
    let plan = match who {
        Contender::Agent | Contender::AgentRw2 | Contender::AgentZstd => {
            let mut flags = Vec::new();
            flags.extend(job.on_disk.then(|| format!("--queue={store}")));
            flags.extend(who.protocol().map(|protocol| format!("--protocol={protocol}")));
            flags.extend(job.drops_all.then(|| "--idle".to_owned()));
            return pusher(lab, &name, job.targets, job.interval, sink, flags);
        }
        Contender::Prometheus2 => prometheus("bookworm", "--enable-feature=agent")?,
        Contender::Prometheus3 => prometheus("sid", "--agent")?,
        Contender::Vmagent => {
            let mut arguments = vec![
                format!("-promscrape.config={}", file("scrape.yml", scraping.clone())?),
                format!("-remoteWrite.url={}", sink.url()),
                format!("-remoteWrite.tmpDataPath={store}"),
                format!("-remoteWrite.maxRowsPerBlock={REQUEST_SAMPLES}"),
                "-remoteWrite.forcePromProto".to_owned(),
                "-httpListenAddr=127.0.0.1:0".to_owned(),
            ];
            if job.drops_all {
                let file = file("relabel.yml", drop_all.to_owned())?;
                arguments.push(format!("-remoteWrite.urlRelabelConfig={file}"));
            }
            ProcessPlan::new(&name, &find::tool_of("trixie", "vmagent")?, arguments)
        }
    };
    Process::start(lab.hub(), &plan)
}

/// Starts the agent's push path as a process of its own.
///
/// # Errors
/// [`LabError::NoProgram`], [`LabError::Io`].
pub fn pusher(
    lab: &Lab,
    name: &str,
    targets: usize,
    interval: Duration,
    sink: &Sink,
    flags: impl IntoIterator<Item = String>,
) -> Result<Process, LabError> {
    let program = std::env::current_exe().map_err(LabError::io("finding this program"))?;
    let mut arguments = vec![
        "pusher".to_owned(),
        format!("--targets={targets}"),
        format!("--url={}", sink.url()),
        format!("--interval={}", interval.as_millis()),
    ];
    arguments.extend(flags);
    Process::start(lab.hub(), &ProcessPlan::new(name, &program, arguments))
}
