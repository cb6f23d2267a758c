//! Every planted fault is told once, with the right labels, and over after its repair, and nothing else is; a quiet world is
//! told nothing about.

#![expect(clippy::unwrap_used, reason = "what the tests share fails them, too")]

use std::process::{Command, Output};
use std::thread;

use xprober_lab::process::find;

/// Promises count from the break to the webhook on a machine of one's own; this one may have other work.
const SLACK: &str = "--slack=2";

/// One of each kind, all at once: seven minutes. The others differ from these in the line, the stage or the way of dying;
/// `make faults` runs them, too, and every alert's rule has its own test in `grafana/rules/tests`.
const CASES: &str = "--case=line-slow,line-lossy,requests-lost,line-cut,region-cut-off,region-isolated,agent-killed,\
                     agent-overloaded,planner-gone,database-away,endpoint-closed,http-slow-processing,certificate-expiring";

fn start(arguments: &[&str]) -> thread::JoinHandle<Output> {
    let mut command = Command::new(find::own_program("xprober-lab").unwrap());
    command.args(arguments);
    thread::spawn(move || command.output().unwrap())
}

/// Fails with everything that the program wrote if it did.
fn text_of(running: thread::JoinHandle<Output>) -> String {
    let output = running.join().unwrap();
    let (text, complaints) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{text}\n{complaints}");
    text.into_owned()
}

#[test]
fn each_fault_is_told_once_and_nothing_else_is() {
    let text = text_of(start(&["faults", CASES, "--at-once=13", SLACK]));
    assert_eq!(text.matches(": as expected").count(), 13, "{text}");
}

#[test]
fn a_slow_line_is_told_sooner_with_the_fast_settings_and_by_vmalert_as_well_and_jitter_is_not_told() {
    let soak = start(&["soak", "--for=120"]);
    let fast = start(&[
        "faults",
        "--case=line-slow",
        "--settings=fast",
        "--database=prometheus,victoriametrics",
        SLACK,
    ]);
    let slow = start(&["faults", "--case=line-slow", "--database=victoriametrics", SLACK]);
    assert_eq!(text_of(fast).matches(": as expected").count(), 2);
    assert_eq!(text_of(slow).matches(": as expected").count(), 1);
    assert_eq!(text_of(soak).matches("nothing fired\n").count(), 6);
}
