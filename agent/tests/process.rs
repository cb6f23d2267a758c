//! The program as people start it: exit status and what it says.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and its scripts name only what they change"
)]

use std::io::Write as _;
use std::process::{Command, Output};

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
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let output = agent(&[
        "--grpc.server-address=127.0.0.1:1",
        "--remote-write.url=http://127.0.0.1:1/",
        "--agent.id=vm1",
        &format!("--metadata.url=http://{free}"),
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
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let output = agent(&["http", &format!("http://{free}/")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("connect failed: refused"),
        "{}",
        stderr(&output)
    );
}
