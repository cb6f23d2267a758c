//! The real binary: help, verbs, exit status, SIGTERM.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail loudly")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn planner() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xprober-planner"));
    command.env_clear();
    command
}

fn run(arguments: &[&str]) -> Output {
    planner().args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config").join(name)
}

fn file(content: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content.as_bytes()).unwrap();
    file
}

#[test]
fn help_of_every_verb_is_what_we_promise() {
    for (name, arguments) in [
        ("help", vec!["--help"]),
        ("help_run", vec!["run", "--help"]),
        ("help_check", vec!["check", "--help"]),
        ("help_plan", vec!["plan", "--help"]),
    ] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(0));
        insta::assert_snapshot!(name, text(&output.stdout));
    }
}

#[test]
fn bad_usage_exits_2_and_bad_configuration_1() {
    let bad = file("mehs: {}\nlines: 7\n");
    let path = bad.path().to_str().unwrap();
    let flag = format!("--config.file={path}");
    for (arguments, code) in [
        (vec!["--nonsense"], 2),
        (vec!["plan"], 2),
        // No planner.yml in the folder that tests run in.
        (vec!["check"], 1),
        (vec![], 1),
        (vec![flag.as_str(), "--rpc.listen-address=everywhere"], 2),
        (vec![flag.as_str()], 1),
        (vec!["check", flag.as_str()], 1),
        (vec!["check", "--config.file=/nonexistent/planner.yml"], 1),
    ] {
        let output = run(&arguments);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {}",
            text(&output.stderr)
        );
        assert!(output.stdout.is_empty());
    }
    let problems = text(&run(&["check", &flag]).stderr);
    assert_eq!(
        problems.lines().filter(|line| line.starts_with(path)).count(),
        2,
        "{problems}"
    );
}

#[test]
fn both_samples_pass_the_check() {
    for name in ["planner.yml", "xprober.yml"] {
        let output = run(&["check", &format!("--config.file={}", sample(name).display())]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    }
}

#[test]
fn a_plan_is_printed_with_its_reasons() {
    let config = file("mesh: {probes: [icmp, tcp], targets_per_region: 1}\n");
    let members = file(
        "- {id: vm1, region: region-a, addresses: [10.0.0.1]}
- {id: vm2, region: region-a, addresses: [10.0.0.2, \"fd00::2\"], kinds: [tcp]}
- {id: vm3, region: region-b, addresses: [10.0.1.1], tcp_port: 6003}
- {id: vm4, region: region-b, addresses: [\"fd00::4\"]}
",
    );
    let output = run(&[
        "plan",
        &format!("--config.file={}", config.path().display()),
        &format!("--members={}", members.path().display()),
        "--explain",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    insta::assert_snapshot!(text(&output.stdout));
}

#[test]
fn the_old_file_with_the_old_flag_starts_the_planner_and_sigterm_ends_it() {
    let mut child = planner()
        .arg(format!("--config.file={}", sample("xprober.yml").display()))
        .args(["--rpc.listen-address=127.0.0.1:0", "--web.listen-address=127.0.0.1:0"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    for service in ["rpc", "web"] {
        let line = log
            .find(|line| line.contains("listening"))
            .expect("the planner listens");
        assert!(
            line.contains(&format!("service={service}")) && line.contains("addr=127.0.0.1:"),
            "{line}"
        );
    }
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    let rest: Vec<String> = log.collect();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{rest:#?}");
    assert!(rest.iter().any(|line| line.contains("planner ended")), "{rest:#?}");
}
