//! Real programs on the lab's hosts: started in the host's namespace, watched by their log, ended with certainty.

pub mod find;

pub mod prometheus;

pub mod victoria;

pub mod receiver;

pub mod alertmanager;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sched::CloneFlags;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::error::LabError;
use crate::fetch;
use crate::namespace::mounts;
use crate::world::Host;

/// Pause between two looks at something that has no way to call us.
const POLL_PAUSE: Duration = Duration::from_millis(50);
/// Time that a process has to end after SIGTERM before it is killed.
pub const STOP_LIMIT: Duration = Duration::from_secs(15);
/// Lines of a log that an error shows.
const TAIL_LINES: usize = 25;

/// What to run.
#[derive(Debug, Clone, Default)]
pub struct ProcessPlan {
    /// Name of its log file and of the process in messages; unique in the lab.
    pub name: String,
    /// The program's file.
    pub program: PathBuf,
    /// Arguments.
    pub arguments: Vec<String>,
    /// Environment variables beside the lab's own; those of this program that start with `XPROBER_` and proxy settings
    /// are not passed on.
    pub environment: Vec<(String, String)>,
    /// Files or folders that the process sees at another place: (what, where). Where must exist.
    pub mounts: Vec<(PathBuf, PathBuf)>,
}

impl ProcessPlan {
    /// Makes a plan of a program and its arguments.
    #[must_use]
    pub fn new<T: Into<String>>(name: &str, program: &Path, arguments: impl IntoIterator<Item = T>) -> Self {
        Self {
            name: name.to_owned(),
            program: program.to_owned(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A running process; killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// Bytes of the log that earlier processes of the name wrote.
    earlier: u64,
}

impl Process {
    /// Starts a program on a host; standard output and error go to `<work>/logs/<name>.log`, after what an earlier process
    /// of that name wrote.
    ///
    /// # Errors
    /// [`LabError::Io`] when the program cannot be started.
    pub fn start(host: &Host, plan: &ProcessPlan) -> Result<Self, LabError> {
        let folder = host.work().join("logs");
        fs::create_dir_all(&folder).map_err(LabError::io(format!("making {}", folder.display())))?;
        let log = folder.join(format!("{}.log", plan.name));
        let doing = || LabError::io(format!("starting {} ({})", plan.name, plan.program.display()));
        let output = File::options().create(true).append(true).open(&log).map_err(doing())?;
        let errors = output.try_clone().map_err(doing())?;
        let earlier = output.metadata().map_err(doing())?.len();
        let mut command = Command::new(&plan.program);
        command
            .args(&plan.arguments)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors);
        // A group of its own: signals meant for the lab must not reach it past us. Its end is tied to the lab's anyway.
        command.process_group(0).kill_on_drop(true).current_dir(host.work());
        for (variable, _) in std::env::vars_os().filter(|(variable, _)| is_private(variable)) {
            command.env_remove(variable);
        }
        command.envs(plan.environment.iter().map(|(name, value)| (name, value)));
        let runtime = tokio::runtime::Handle::current();
        let child = host.namespace().run(|| {
            let _guard = runtime.enter();
            if !plan.mounts.is_empty() {
                nix::sched::unshare(CloneFlags::CLONE_NEWNS).map_err(LabError::errno("making a mount namespace"))?;
            }
            for (what, place) in &plan.mounts {
                mounts::bind(what, place)?;
            }
            command.spawn().map_err(doing())
        })??;
        debug!(name = plan.name, pid = child.id(), "process started");
        Ok(Self {
            name: plan.name.clone(),
            child,
            log,
            earlier,
        })
    }

    /// Name from the plan.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Process number inside the lab; none once it has ended and that was noticed.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// File with everything that it wrote, and processes of its name before it.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Everything that it wrote so far, empty when the file cannot be read.
    #[must_use]
    pub fn log_text(&self) -> String {
        let read = || {
            let mut file = File::open(&self.log)?;
            file.seek(SeekFrom::Start(self.earlier))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map(|_| bytes)
        };
        read()
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Waits until a URL, as the hub reaches it, answers with a 2xx status.
    ///
    /// # Errors
    /// [`LabError::Ended`] when the process ends first, [`LabError::Timeout`].
    pub async fn wait_ready(&mut self, url: &str, limit: Duration) -> Result<(), LabError> {
        let deadline = Instant::now() + limit;
        let mut last = String::new();
        while Instant::now() < deadline {
            self.check_running()?;
            match fetch::get(url, Duration::from_secs(2)).await {
                Ok(fetched) if fetched.status.is_success() => return Ok(()),
                Ok(fetched) => last = format!("status {}", fetched.status),
                Err(error) => last = error.to_string(),
            }
            tokio::time::sleep(POLL_PAUSE).await;
        }
        Err(self.timeout(format!("{url} being ready"), limit, &last))
    }

    /// Waits until the log contains a text.
    ///
    /// # Errors
    /// [`LabError::Ended`] when the process ends first, [`LabError::Timeout`].
    pub async fn wait_log(&mut self, text: &str, limit: Duration) -> Result<(), LabError> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if self.log_text().contains(text) {
                return Ok(());
            }
            self.check_running()?;
            tokio::time::sleep(POLL_PAUSE).await;
        }
        Err(self.timeout(format!("{text:?} in its log"), limit, ""))
    }

    /// Fails if the process has ended.
    ///
    /// # Errors
    /// [`LabError::Ended`] with the log's last lines.
    pub fn check_running(&mut self) -> Result<(), LabError> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => Err(LabError::Ended {
                name: self.name.clone(),
                status: status.to_string(),
                log: self.log.clone(),
                tail: self.tail(),
            }),
        }
    }

    /// How the process ended, if it has.
    ///
    /// # Errors
    /// [`LabError::Io`] when the kernel does not say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, LabError> {
        self.child
            .try_wait()
            .map_err(LabError::io(format!("looking after {}", self.name)))
    }

    /// Waits for the end of the process.
    ///
    /// # Errors
    /// [`LabError::Timeout`]; the process goes on then.
    pub async fn wait(&mut self, limit: Duration) -> Result<ExitStatus, LabError> {
        match tokio::time::timeout(limit, self.child.wait()).await {
            Ok(status) => status.map_err(LabError::io(format!("waiting for {}", self.name))),
            Err(_) => Err(self.timeout("its end".to_owned(), limit, "")),
        }
    }

    /// Sends a signal, e.g. SIGHUP, or SIGSTOP and SIGCONT to freeze and thaw it.
    ///
    /// # Errors
    /// [`LabError::Io`] when it has ended.
    pub fn signal(&self, signal: Signal) -> Result<(), LabError> {
        let doing = || LabError::errno(format!("sending {signal} to {}", self.name));
        let pid = self
            .pid()
            .and_then(|pid| i32::try_from(pid).ok())
            .ok_or_else(|| doing()(nix::Error::ESRCH))?;
        kill(Pid::from_raw(pid), signal).map_err(doing())
    }

    /// Freezes the process (SIGSTOP).
    ///
    /// # Errors
    /// As [`Process::signal`].
    pub fn freeze(&self) -> Result<(), LabError> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets a frozen process go on (SIGCONT).
    ///
    /// # Errors
    /// As [`Process::signal`].
    pub fn thaw(&self) -> Result<(), LabError> {
        self.signal(Signal::SIGCONT)
    }

    /// Kills the process at once (SIGKILL) and waits for its end.
    ///
    /// # Errors
    /// [`LabError::Io`].
    pub async fn kill(&mut self) -> Result<ExitStatus, LabError> {
        if self.ended()?.is_none() {
            self.signal(Signal::SIGKILL)?;
        }
        self.wait(STOP_LIMIT).await
    }

    /// Asks the process to end (SIGTERM), and kills it if it has not within [`STOP_LIMIT`].
    ///
    /// # Errors
    /// [`LabError::Io`].
    pub async fn stop(&mut self) -> Result<ExitStatus, LabError> {
        if let Some(status) = self.ended()? {
            return Ok(status);
        }
        self.signal(Signal::SIGTERM)?;
        match self.wait(STOP_LIMIT).await {
            Err(LabError::Timeout { .. }) => {
                warn!(name = self.name, "process does not end and is killed");
                self.kill().await
            }
            other => other,
        }
    }

    fn timeout(&self, what: String, limit: Duration, last: &str) -> LabError {
        let detail = format!(
            " ({last}); {} is still running, the end of its log:\n{}",
            self.name,
            self.tail()
        );
        LabError::Timeout { what, limit, detail }
    }

    fn tail(&self) -> String {
        let text = self.log_text();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }
}

/// Settings of this very run, or of the machine outside, that a program in the lab must not see.
fn is_private(variable: &OsStr) -> bool {
    let name = variable.to_string_lossy().to_ascii_lowercase();
    name.starts_with("xprober_") || name.ends_with("_proxy")
}
