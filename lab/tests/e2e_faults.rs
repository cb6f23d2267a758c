//! Every planted fault is told once, with the right labels, and over after its repair, and nothing else is; a quiet world is
//! told nothing about.

#![expect(clippy::unwrap_used, reason = "what the tests share fails them, too")]

use std::process::Command;

use xprober_lab::process::find;

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

/// The promises count from the break to the webhook on a machine of one's own; this one may have other work.
const SLACK: &str = "--slack=2";

#[test]
fn each_fault_is_told_once_and_nothing_else_is() {
    let text = run(&["faults", "--at-once=6", SLACK]);
    assert!(text.contains("LineLatencyOverBudget x 2"), "{text}");
}

#[test]
fn a_slow_line_is_told_sooner_with_the_fast_settings_and_by_vmalert_as_well() {
    let arguments = ["--settings=fast,default", "--database=victoriametrics,prometheus"];
    let text = run(&[
        "faults",
        "--case=line-slow",
        arguments[0],
        arguments[1],
        "--at-once=4",
        SLACK,
    ]);
    assert_eq!(text.matches("LineLatencyOverBudget x 2").count(), 4, "{text}");
}

#[test]
fn nothing_is_told_about_ordinary_jitter_and_loss() {
    let text = run(&["soak", "--for=120"]);
    assert_eq!(text.matches("about to fire").count(), 2, "{text}");
}
