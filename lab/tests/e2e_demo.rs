//! The demo says which pair has no data, and fails then.

use std::process::Command;

use xprober_lab::process::find;

#[test]
fn pair_without_data_is_named_and_fails_the_demo() {
    let program = find::own_program("xprober-lab").unwrap();
    let output = Command::new(program)
        .args(["demo", "--for=20", "--cut=a-b"])
        .output()
        .unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{complaints}");
    for pair in ["region-a -> region-b", "region-b -> region-a"] {
        assert!(
            complaints.contains(&format!("demo: {pair}: no round-trip time arrived")),
            "{complaints}"
        );
    }
    assert_eq!(
        complaints.matches("no round-trip time arrived").count(),
        2,
        "{complaints}"
    );
}
