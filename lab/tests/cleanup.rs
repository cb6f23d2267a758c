//! Nothing is left of a lab, however it ends, and it works for ordinary users.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what the tests share fails them, too")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use xprober_lab::echo;
use xprober_lab::process::{Process, ProcessPlan};
use xprober_lab::testing::in_lab;
use xprober_lab::topology::Topology;

const LIMIT: Duration = Duration::from_mins(1);
/// Carried by every process of one test's lab.
const MARK: &str = "LAB_CLEANUP_MARK";
/// The user `nobody`.
const NOBODY: &str = "65534";

/// Not a test of its own: a lab that runs until it is told to stop.
#[test]
#[ignore = "started by the other tests of this file"]
fn lab_that_waits() {
    in_lab("lab_that_waits", Topology::demo(), async |lab| {
        let sleeper = ProcessPlan::new("sleeper", Path::new("/bin/sleep"), ["1000000"]);
        let mut sleeper = Process::start(lab.host("vm7").unwrap(), &sleeper).unwrap();
        let to = lab.host("vm3").unwrap().plan().address;
        let answers = echo::ping(lab.host("vm1").unwrap().namespace(), to.into(), 3, LIMIT).unwrap();
        assert!(answers.iter().all(Option::is_some));
        lab.stop_requested().await;
        sleeper.stop().await.unwrap();
    });
}

struct Outside {
    command: Command,
    child: Child,
    mark: String,
    folder: tempfile::TempDir,
}

impl Outside {
    fn start(test: &str, as_nobody: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mark = format!("{test}-{}", std::process::id());
        let mut program = std::env::current_exe().unwrap();
        let mut command = if as_nobody {
            // The build's folder may be closed to others.
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
            let copy = folder.path().join("test");
            fs::copy(&program, &copy).unwrap();
            program = copy;
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--"])
                .arg(program);
            command
        } else {
            Command::new(program)
        };
        command
            .args(["--exact", "lab_that_waits", "--ignored", "--nocapture"])
            .env(MARK, &mark)
            .env_remove("HOME");
        command
            .env("TMPDIR", folder.path())
            .current_dir("/")
            .stdin(Stdio::null());
        let child = command.spawn().unwrap();
        Self {
            command,
            child,
            mark,
            folder,
        }
    }

    /// Programs that carry the mark: everything between the process that we started and the sleeper.
    fn processes(&self) -> Vec<PathBuf> {
        let wanted = format!("{MARK}={}", self.mark);
        let carries = |folder: &Path| {
            fs::read(folder.join("environ"))
                .is_ok_and(|bytes| bytes.split(|byte| *byte == 0).any(|one| one == wanted.as_bytes()))
        };
        let folders = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
        folders.filter(|folder| carries(folder)).collect()
    }

    fn wait_until(&mut self, what: &str, is_true: impl Fn(&[PathBuf]) -> bool) {
        let start = Instant::now();
        while start.elapsed() < LIMIT {
            if is_true(&self.processes()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("not within {LIMIT:?}: {what}; there are {:?}", self.processes());
    }

    fn wait_until_it_runs(&mut self) {
        let is_sleeper = |folder: &PathBuf| {
            fs::read(folder.join("cmdline")).is_ok_and(|line| line.starts_with(b"/bin/sleep\x001000000"))
        };
        self.wait_until("the lab runs", |processes| processes.iter().any(is_sleeper));
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    fn leftovers(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().path());
        entries
            .filter(|path| path.file_name() != Some(OsStr::new("test")))
            .collect()
    }
}

fn nothing_is_left_after_the_outside_was_killed(test: &str, as_nobody: bool) {
    let mut outside = Outside::start(test, as_nobody);
    outside.wait_until_it_runs();
    outside.signal(Signal::SIGKILL);
    outside.wait();
    outside.wait_until("all processes are gone", <[_]>::is_empty);
    next_lab_sweeps_up(&mut outside);
}

/// Starts the next lab in the same folder, and stops it.
fn next_lab_sweeps_up(outside: &mut Outside) {
    assert_ne!(outside.leftovers(), Vec::<PathBuf>::new());
    outside.child = outside.command.spawn().unwrap();
    outside.wait_until_it_runs();
    outside.signal(Signal::SIGTERM);
    assert!(outside.wait().success());
    assert_eq!(outside.leftovers(), Vec::<PathBuf>::new());
}

fn nothing_is_left_after_a_polite_stop(test: &str, as_nobody: bool, signal: Signal) {
    let mut outside = Outside::start(test, as_nobody);
    outside.wait_until_it_runs();
    outside.signal(signal);
    let status = outside.wait();
    assert!(status.success(), "{status}");
    assert_eq!(outside.processes(), Vec::<PathBuf>::new());
    assert_eq!(outside.leftovers(), Vec::<PathBuf>::new());
}

#[test]
fn no_process_outlives_a_killed_lab() {
    nothing_is_left_after_the_outside_was_killed("killed", false);
}

#[test]
fn lab_drains_when_it_is_interrupted() {
    nothing_is_left_after_a_polite_stop("interrupted", false, Signal::SIGINT);
}

#[test]
fn lab_drains_when_it_is_terminated() {
    nothing_is_left_after_a_polite_stop("terminated", false, Signal::SIGTERM);
}

#[test]
fn ordinary_user_has_the_same_lab() {
    if !geteuid().is_root() {
        println!("this is an ordinary user: the other tests show it");
        return;
    }
    nothing_is_left_after_a_polite_stop("user-stopped", true, Signal::SIGTERM);
    nothing_is_left_after_the_outside_was_killed("user-killed", true);
}
