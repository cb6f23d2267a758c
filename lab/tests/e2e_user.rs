//! The demo as people run it: without rights, until they press Ctrl-C or lose patience.

#![expect(clippy::unwrap_used, reason = "what the tests share fails them, too")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use xprober_lab::process::find;

const LIMIT: Duration = Duration::from_mins(1);
/// Between two looks at the processes.
const PAUSE: Duration = Duration::from_millis(20);
/// Carried by every process of one test's demo.
const MARK: &str = "LAB_DEMO_MARK";
/// The user `nobody`.
const NOBODY: &str = "65534";
/// Puts repository and programs where every user may go (a checkout under /root is closed to others), and gives up being
/// root. Arguments: folder, then what to run in it.
const AS_NOBODY: &str = "set -e; folder=$1; shift
    for what in repository programs tools; do
        if [ -d \"$folder/from-$what/\" ]; then mount --bind \"$folder/from-$what/\" \"$folder/$what\"; fi
    done
    exec setpriv --reuid 65534 --regid 65534 --clear-groups -- \"$@\"";

struct Demo {
    child: Child,
    mark: String,
    folder: tempfile::TempDir,
}

impl Demo {
    fn start(test: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let command = Command::new(find::own_program("xprober-lab").unwrap());
        Self::run(test, command, arguments, folder)
    }

    fn start_as_nobody(test: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = find::own_program("xprober-lab").unwrap();
        let programs = program.parent().unwrap();
        let tools = find::tool("prometheus").unwrap();
        let unpacked = tools.ancestors().find(|folder| folder.ends_with("tools"));
        for (name, from) in [
            ("repository", Some(find::repository().as_path())),
            ("programs", Some(programs)),
            ("tools", unpacked),
        ] {
            fs::create_dir(folder.path().join(name)).unwrap();
            if let Some(from) = from {
                std::os::unix::fs::symlink(from.canonicalize().unwrap(), folder.path().join(format!("from-{name}")))
                    .unwrap();
            }
        }
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let place = |name: &str| folder.path().join(name);
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", AS_NOBODY, "sh"])
            .arg(folder.path())
            .arg(place("programs/xprober-lab"))
            .env("XPROBER_REPOSITORY", place("repository"))
            .env("XPROBER_BIN_DIR", place("programs"))
            .env("XPROBER_TOOLS", place("tools"))
            .env("USER", NOBODY);
        Self::run(test, command, arguments, folder)
    }

    fn run(test: &str, mut command: Command, arguments: &[&str], folder: tempfile::TempDir) -> Self {
        let mark = format!("{test}-{}", std::process::id());
        command
            .arg("demo")
            .args(arguments)
            .env(MARK, &mark)
            .env_remove("HOME")
            .env("TMPDIR", folder.path())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        Self { child, mark, folder }
    }

    /// Programs that carry the mark: the one outside, the one inside and everything it started.
    fn processes(&self) -> Vec<PathBuf> {
        let wanted = format!("{MARK}={}", self.mark);
        let carries = |folder: &Path| {
            fs::read(folder.join("environ"))
                .is_ok_and(|bytes| bytes.split(|byte| *byte == 0).any(|one| one == wanted.as_bytes()))
        };
        let folders = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
        folders.filter(|folder| carries(folder)).collect()
    }

    /// Reads what it says up to a line with this text.
    fn wait_for_line(&mut self, text: &str) {
        let mut lines = BufReader::new(self.child.stdout.as_mut().unwrap()).lines();
        let found = lines.any(|line| line.unwrap().contains(text));
        assert!(found, "the demo ended without {text:?}: {}", self.complaints());
    }

    fn complaints(&mut self) -> String {
        let mut text = String::new();
        self.child.stderr.as_mut().unwrap().read_to_string(&mut text).unwrap();
        text
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Waits for the end, with what it said since.
    fn wait(mut self) -> (Ended, String) {
        let mut said = String::new();
        self.child.stdout.as_mut().unwrap().read_to_string(&mut said).unwrap();
        let complaints = self.complaints();
        let ended = Ended {
            status: self.child.wait().unwrap(),
            complaints,
            processes: self.processes(),
            left: self.left(),
        };
        (ended, said)
    }

    /// What labs left in the folder for temporary files.
    fn left(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let is_lab = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("xprober-lab-");
        entries.filter(is_lab).collect()
    }
}

struct Ended {
    status: ExitStatus,
    complaints: String,
    processes: Vec<PathBuf>,
    left: Vec<PathBuf>,
}

impl Ended {
    /// Well, quietly, and with nothing left behind.
    fn is_clean(&self) {
        assert!(self.status.success(), "{}: {}", self.status, self.complaints);
        assert_eq!(self.complaints, "");
        assert_eq!((&self.processes, &self.left), (&Vec::new(), &Vec::new()));
    }
}

/// Values of the matrix that was drawn last: source region and the cells of its row, but for the diagonal.
fn matrix(said: &str) -> Vec<(String, Vec<String>)> {
    let last = said.rsplit("from \\ to").next().unwrap();
    let rows = last.lines().filter(|line| line.starts_with("region-")).take(4);
    // A cell reads "10.10 (10) 0.0%".
    let row = |line: &str| {
        let mut words = line.split_whitespace().filter(|word| *word != "-").map(str::to_owned);
        let source = words.next().unwrap();
        let words: Vec<_> = words.collect();
        (source, words.chunks(3).map(|cell| cell.join(" ")).collect())
    };
    rows.map(row).collect()
}

#[test]
fn ordinary_user_sees_all_pairs_and_a_clean_end() {
    // How exact it is, other tests judge; this may be a debug build among others that compile.
    let arguments = ["--for=25", "--slack=100"];
    let demo = if geteuid().is_root() {
        Demo::start_as_nobody("user", &arguments)
    } else {
        Demo::start("user", &arguments)
    };
    let (ended, said) = demo.wait();
    ended.is_clean();
    let rows = matrix(&said);
    let regions: Vec<_> = rows.iter().map(|(source, _)| source.as_str()).collect();
    assert_eq!(regions, ["region-a", "region-b", "region-c", "region-d"], "{said}");
    for (source, cells) in &rows {
        assert_eq!(cells.len(), 3, "{source}: {cells:?}");
        assert!(
            cells
                .iter()
                .all(|cell| cell.ends_with('%') && !cell.contains("no data")),
            "{source}: {cells:?}"
        );
    }
}

#[test]
fn demo_that_is_interrupted_ends_well_and_leaves_nothing() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut demo = Demo::start("interrupted", &[]);
        demo.wait_for_line("8 agents are running");
        assert!(demo.processes().len() > 10, "{:?}", demo.processes());
        demo.signal(signal);
        demo.wait().0.is_clean();
    }
}

#[test]
fn no_process_outlives_a_killed_demo() {
    let mut demo = Demo::start("killed", &[]);
    demo.wait_for_line("8 agents are running");
    demo.signal(Signal::SIGKILL);
    demo.child.wait().unwrap();
    let killed = Instant::now();
    while !demo.processes().is_empty() {
        assert!(killed.elapsed() < LIMIT, "{:?}", demo.processes());
        std::thread::sleep(PAUSE);
    }
}
