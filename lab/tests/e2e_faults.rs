//! Every planted fault is told once, with the right labels, and over after its repair, and nothing else is; a quiet world is
//! told nothing about.

#![expect(clippy::unwrap_used, reason = "what the tests share fails them, too")]

use std::process::Command;

use xprober_lab::process::find;

/// Promises count from the break to the webhook on a machine of one's own; this one may have other work.
const SLACK: &str = "--slack=2";

/// One of each kind, eight minutes. The slow line runs with both settings on both databases. What is left out differs from these
/// in the line, the stage or the way of dying; `make faults` runs it, too, and every rule has its own test in
/// `grafana/rules/tests`.
const CASES: [&str; 11] = [
    "line-slow",
    "line-lossy",
    "requests-lost",
    "region-cut-off",
    "region-isolated",
    "agent-killed",
    "agent-overloaded",
    "planner-gone",
    "database-away",
    "http-slow-processing",
    "certificate-expiring",
];

/// Runs `xprober-lab` and fails with everything that it wrote if it does.
fn run(arguments: &[&str]) -> String {
    let program = find::own_program("xprober-lab").unwrap();
    let output = Command::new(program).args(arguments).output().unwrap();
    let (text, complaints) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{arguments:?}\n{text}\n{complaints}");
    text.into_owned()
}

#[test]
fn each_fault_is_told_once_and_nothing_else_is() {
    let text = run(&["faults", &format!("--case={}", CASES.join(",")), "--at-once=10", SLACK]);
    assert_eq!(text.matches(": as expected").count(), CASES.len() + 3, "{text}");
    for settings in ["default", "fast"] {
        for database in ["prometheus", "victoriametrics"] {
            let name = format!("line-slow, {settings}, {database}: as expected");
            assert!(text.contains(&name), "{text}");
        }
    }
}

#[test]
fn nothing_is_told_about_ordinary_jitter_and_loss() {
    let text = run(&["soak", "--for=120"]);
    assert_eq!(text.matches("nothing fired\n").count(), 6, "{text}");
}
