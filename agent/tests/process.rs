//! The program as people start it: exit status and what it says.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and its scripts name only what they change"
)]

mod common;

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use common::closed_port;

fn agent(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xprober-agent"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("XPROBER_")) {
        command.env_remove(name);
    }
    command.args(arguments).output().expect("the program starts")
}

fn agent_with(name: &str, value: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xprober-agent"));
    command
        .env(name, value)
        .args(arguments)
        .output()
        .expect("the program starts")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

#[test]
fn bad_usage_exits_with_2() {
    let output = agent(&["--no-such-flag"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--no-such-flag"));
}

#[test]
fn check_tells_every_problem_with_file_and_line_and_exits_with_1() {
    let file = file("grpc_server_address: nowhere\nregion: \"a b\"\nno_such_key: 1\n");
    let path = file.path().to_str().unwrap();
    let output = agent(&["check", "--config.file", path, "--remote-write.url=ftp://x"]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    for expected in [
        format!("{path}:1: grpc_server_address: "),
        format!("{path}:2: region: "),
        format!("{path}:3: no_such_key: "),
        "--remote-write.url".to_owned(),
    ] {
        assert!(text.contains(&expected), "{expected:?} is not in\n{text}");
    }
}

#[test]
fn check_accepts_good_settings() {
    let file = file("region: region-a\n");
    let path = file.path().to_str().unwrap();
    let output = agent(&[
        "check",
        "--config.file",
        path,
        "--remote-write.url=http://tsdb/api/v1/write",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{path}: ok\n"));
}

#[test]
fn a_bad_variable_is_named_as_such() {
    let output = agent_with("XPROBER_REMOTE_WRITE_URL", "ftp://x", &["check"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("XPROBER_REMOTE_WRITE_URL"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn without_a_region_the_agent_says_which_flag_to_set() {
    let (closed, _kept) = closed_port();
    let output = agent(&[
        "--grpc.server-address=127.0.0.1:1",
        "--remote-write.url=http://127.0.0.1:1/",
        "--agent.id=vm1",
        &format!("--metadata.url=http://{closed}"),
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("set --region=NAME"), "{}", stderr(&output));
}

#[test]
fn the_catalogue_can_be_printed() {
    let output = agent(&["metrics"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("xprober_rtt_seconds")
    );
}

#[test]
fn http_draws_what_it_saw_and_fails_when_the_probe_did() {
    let (closed, _kept) = closed_port();
    let output = agent(&["http", &format!("http://{closed}/")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("connect failed: refused"),
        "{}",
        stderr(&output)
    );
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A name that resolves nowhere (RFC 6761).
const NOWHERE: &str = "nowhere.invalid";

#[test]
fn ping_exits_with_0_when_every_host_answered_and_does_not_redraw_a_file() {
    let output = agent(&["ping", "-c", "2", "-i", "20ms", "-4", "127.0.0.1", "localhost"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let table = stdout(&output);
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(!table.contains('\u{1b}'), "{table}");
    assert!(
        table.contains("localhost (127.0.0.1)") && table.contains("0.0 %"),
        "{table}"
    );
}

#[test]
fn ping_does_not_wait_for_windows_in_which_the_reply_is_there() {
    let window = std::time::Duration::from_mins(1);
    let start = std::time::Instant::now();
    let output = agent(&["ping", "-c", "1", "-W", "1m", "127.0.0.1"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(start.elapsed() < window / 2);
}

#[test]
fn ping_exits_with_1_when_a_host_is_silent() {
    // Nobody answers echoes to a multicast group that nobody joined, and the machine asks only itself.
    let ping = || agent(&["ping", "-c", "1", "-W", "50ms", "-I", "lo", "127.0.0.1", "239.255.0.1"]);
    // A machine that stands still in the window is noticed, and then nothing is said of the host.
    let output = (1..5)
        .map(|_| ping())
        .find(|output| !stdout(output).contains("stalled"))
        .unwrap_or_else(ping);
    assert_eq!(output.status.code(), Some(1), "{}{}", stdout(&output), stderr(&output));
    assert!(stdout(&output).contains("100.0 %"), "{}", stdout(&output));
    assert!(stdout(&output).contains("lost 1"), "{}", stdout(&output));
}

#[test]
fn ping_of_an_unknown_name_asks_the_others_and_exits_with_2() {
    let output = agent(&["ping", "-c", "1", "--json", NOWHERE, "127.0.0.1"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(
        stderr(&output).starts_with(&format!("{NOWHERE}: ")),
        "{}",
        stderr(&output)
    );
    let json: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(json[0]["host"], NOWHERE);
    assert!(json[0]["error"].is_string() && json[0]["address"].is_null(), "{json}");
    assert_eq!(
        (&json[1]["received"], &json[1]["outcomes"]["ok"]),
        (&1.into(), &1.into())
    );
    assert!(
        json[1]["rtt_p99_seconds"].is_f64() && json[1]["stamp"].is_string(),
        "{json}"
    );
}

#[test]
fn ping_exits_with_2_when_no_echo_can_leave() {
    let output = agent(&["ping", "-c", "1", "-S", "192.0.2.250", "127.0.0.1"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stdout(&output).contains("send_error "), "{}", stdout(&output));
    let output = agent(&["ping", "-6", "127.0.0.1"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(stderr(&output), "127.0.0.1: has no IPv6 address\n");
    assert_eq!(stdout(&output), "");
}

#[cfg(target_os = "linux")]
#[test]
fn ping_that_is_interrupted_ends_with_the_table() {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    let child = Command::new(env!("CARGO_BIN_EXE_xprober-agent"))
        .args(["ping", "-c", "0", "-W", "200ms", "-I", "lo", "127.0.0.1", "239.255.0.1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    wait_until_it_handles_interrupts(child.id());
    kill(pid, Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}{}", stdout(&output), stderr(&output));
    assert_eq!(stdout(&output).lines().count(), 3, "{}", stdout(&output));
    assert!(stdout(&output).contains("239.255.0.1"), "{}", stdout(&output));
}

/// Before that, the signal would end the process like any other, or be lost: SIGTERM is listened to after SIGINT, so when it
/// is caught, somebody waits for the other.
#[cfg(target_os = "linux")]
fn wait_until_it_handles_interrupts(pid: u32) {
    const SIGTERM: u64 = 1 << (15 - 1);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let caught = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        u64::from_str_radix(mask.trim(), 16).unwrap() & SIGTERM != 0
    };
    while !caught() {
        assert!(std::time::Instant::now() < deadline, "signals are not handled");
        std::thread::yield_now();
    }
}
