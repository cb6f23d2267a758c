//! The way into the lab: the program starts itself once more inside fresh namespaces.
//!
//! ```text
//!  program (outside) -> setpriv --pdeathsig KILL -> unshare --pid --fork --kill-child .. -> program (inside, process 1)
//!     own process group from here on: Ctrl-C reaches the outside alone, which passes it on ---^
//! ```
//! Root and ordinary users go the same way (the latter through a user namespace of their own). Everything that the inside
//! starts, mounts or makes is gone with process 1, however that ends: it returns, it panics, or the outside is killed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, geteuid};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tracing::{info, warn};

use crate::error::LabError;
use crate::forward::Outside;
use work::WorkFolder;

pub use stop::StopSignals;

mod stop;

mod work;

/// Names the work folder to the inside; whoever finds it set is inside.
const WORK_VARIABLE: &str = "XPROBER_LAB_WORK";

/// File in the work folder with the forwarded ports.
const FORWARDS_FILE: &str = "forwards.json";

/// Time that the inside has for stopping once it was asked to.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// Time after which an unheard request to stop is repeated.
const REPEAT_PAUSE: Duration = Duration::from_secs(1);

/// What [`enter`] found or did.
#[derive(Debug)]
pub enum Place {
    /// This process is the one inside: build the lab.
    Inside(Inside),
    /// This process is the one outside, and the inside has come and gone: exit.
    Finished(Finished),
}

/// What the inside knows of the outside.
#[derive(Debug, Clone)]
pub struct Inside {
    work: PathBuf,
    ports: BTreeMap<String, u16>,
}

/// How the inside ended.
#[derive(Debug)]
pub struct Finished {
    /// Exit code of the inside; 128 + signal number when a signal ended it.
    pub code: i32,
    /// What the inside wrote to its standard output and error, if that was to be captured.
    pub output: String,
    /// The work folder with logs and generated files; kept when the code is not 0.
    pub kept: Option<PathBuf>,
}

impl Inside {
    /// Folder for everything that the lab writes.
    #[must_use]
    pub fn work(&self) -> &Path {
        &self.work
    }

    /// Port on the outside's 127.0.0.1 that was opened under a name.
    #[must_use]
    pub fn port(&self, name: &str) -> Option<u16> {
        self.ports.get(name).copied()
    }
}

/// How the inside is started.
#[derive(Debug, Default)]
pub struct Launch {
    /// Arguments of the inside.
    pub arguments: Vec<OsString>,
    /// Names under which the inside may offer addresses to the outside, see [`crate::forward`].
    pub forwards: Vec<String>,
    /// Collects what the inside writes instead of passing it through.
    pub capture: bool,
}

/// Continues inside the lab: outside it runs this program again with the same arguments inside and answers
/// [`Place::Finished`] once that has ended; inside it answers [`Place::Inside`].
///
/// Call it first thing in `main`, outside any tokio runtime and before threads are started.
///
/// # Errors
/// [`LabError::Io`] when the kernel or the system's settings do not allow namespaces; the message says which.
pub fn enter(forwards: &[&str]) -> Result<Place, LabError> {
    if let Some(inside) = inside()? {
        return Ok(Place::Inside(inside));
    }
    let launch = Launch {
        arguments: std::env::args_os().skip(1).collect(),
        forwards: forwards.iter().map(|name| (*name).to_owned()).collect(),
        capture: false,
    };
    run_inside(&launch).map(Place::Finished)
}

/// Answers what is known of the outside if this process runs inside a lab.
///
/// # Errors
/// [`LabError::Io`] when the work folder is not readable.
pub fn inside() -> Result<Option<Inside>, LabError> {
    let Some(work) = std::env::var_os(WORK_VARIABLE).map(PathBuf::from) else {
        return Ok(None);
    };
    let text = fs::read(work.join(FORWARDS_FILE)).map_err(LabError::io("reading the list of forwarded ports"))?;
    let ports = serde_json::from_slice(&text).map_err(|error| LabError::Config {
        file: work.join(FORWARDS_FILE),
        reason: error.to_string(),
    })?;
    Ok(Some(Inside { work, ports }))
}

/// Runs this program inside new namespaces and waits for its end.
///
/// # Errors
/// [`LabError::Io`] as for [`enter`].
pub fn run_inside(launch: &Launch) -> Result<Finished, LabError> {
    let flags = unshare_flags()?;
    let work = WorkFolder::create()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(LabError::io("starting the outside's runtime"))?;
    let (status, output) = runtime.block_on(supervise(launch, &flags, work.path()))?;
    let code = status
        .code()
        .or_else(|| status.signal().map(|number| 128 + number))
        .unwrap_or(1);
    let kept = if code == 0 {
        work.remove();
        None
    } else {
        Some(work.keep())
    };
    if let Some(folder) = &kept {
        warn!(folder = %folder.display(), code, "lab failed; its logs are kept");
    }
    Ok(Finished { code, output, kept })
}

/// Finds the flags that this machine grants: with a user namespace for ordinary users and for a root without the right.
fn unshare_flags() -> Result<Vec<&'static str>, LabError> {
    const PLAIN: [&str; 6] = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
    const AS_USER: [&str; 2] = ["--user", "--map-root-user"];
    let as_user: Vec<_> = AS_USER.into_iter().chain(PLAIN).collect();
    let choices = if geteuid().is_root() {
        vec![PLAIN.to_vec(), as_user]
    } else {
        vec![as_user]
    };
    let mut reason = String::new();
    for flags in choices {
        let tried = std::process::Command::new("unshare").args(&flags).arg("true").output();
        let tried = tried.map_err(LabError::io("running `unshare` (package util-linux)"))?;
        if tried.status.success() {
            return Ok(flags);
        }
        String::from_utf8_lossy(&tried.stderr).trim().clone_into(&mut reason);
    }
    Err(LabError::Io {
        doing: "entering namespaces of our own; ordinary users need the kernel settings user.max_user_namespaces > 0 and, \
                where they exist, kernel.unprivileged_userns_clone = 1 and kernel.apparmor_restrict_unprivileged_userns = 0"
            .to_owned(),
        source: std::io::Error::other(reason),
    })
}

async fn supervise(launch: &Launch, flags: &[&str], work: &Path) -> Result<(ExitStatus, String), LabError> {
    let outside = Outside::open(work, &launch.forwards).await?;
    let ports = serde_json::to_vec(outside.ports()).map_err(|error| LabError::io("writing the ports")(error.into()))?;
    fs::write(work.join(FORWARDS_FILE), ports).map_err(LabError::io("writing the list of forwarded ports"))?;
    let program = std::env::current_exe().map_err(LabError::io("finding this program"))?;
    // The kernel ties this death signal to the *thread* that starts the child: it is the one that blocks here until the end.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "unshare"])
        .args(flags)
        .arg("--")
        .arg(program)
        .args(&launch.arguments);
    command.env(WORK_VARIABLE, work).process_group(0).kill_on_drop(true);
    if launch.capture {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
    }
    let mut child = command
        .spawn()
        .map_err(LabError::io("running `setpriv` (package util-linux)"))?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let output = read_output(&mut child);
    let status = wait(&mut child, group);
    let (status, output) = tokio::join!(status, output);
    outside.close().await;
    Ok((status?, output))
}

fn read_output(child: &mut Child) -> impl Future<Output = String> + use<> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    async move {
        let (mut out, mut error) = (Vec::new(), Vec::new());
        let read_out = async {
            if let Some(mut stdout) = stdout {
                let _ends_with_the_pipe = stdout.read_to_end(&mut out).await;
            }
        };
        let read_error = async {
            if let Some(mut stderr) = stderr {
                let _ends_with_the_pipe = stderr.read_to_end(&mut error).await;
            }
        };
        tokio::join!(read_out, read_error);
        out.append(&mut error);
        String::from_utf8_lossy(&out).into_owned()
    }
}

/// Waits for the end and passes signals on; the inside drains and, if it takes too long, is killed.
async fn wait(child: &mut Child, group: Option<Pid>) -> Result<ExitStatus, LabError> {
    let mut signals = StopSignals::watch()?;
    let first = tokio::select! {
        status = child.wait() => return status.map_err(LabError::io("waiting for the inside")),
        signal = signals.next() => signal,
    };
    let deadline = tokio::time::Instant::now() + STOP_LIMIT;
    let mut passed_on = first;
    loop {
        info!(signal = %passed_on, "passing a signal on to the inside");
        if let Some(group) = group
            && let Err(errno) = killpg(group, passed_on)
        {
            warn!(error = %errno, "signal could not be passed on");
        }
        // Said again until it is heard: process 1 ignores signals that it has not asked for, as it has not yet while it starts.
        passed_on = tokio::select! {
            status = child.wait() => return status.map_err(LabError::io("waiting for the inside")),
            signal = signals.next() => signal,
            () = tokio::time::sleep(REPEAT_PAUSE) => passed_on,
            () = tokio::time::sleep_until(deadline) => Signal::SIGKILL,
        };
    }
}
