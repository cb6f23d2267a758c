//! Runs a test's body inside a lab: the test starts its own program again in there.

use tokio::runtime::Runtime;

use crate::enter::{self, Launch};
use crate::topology::Topology;
use crate::world::Lab;

/// Builds a lab of that topology and runs the body in it; the test fails as the body does, and prints what the body prints.
///
/// `name` is the full name of the calling test (`module::test` inside modules), because that is how the test program is
/// told to run this one test inside.
///
/// ```no_run
/// # use xprober_lab::{testing, topology::Topology};
/// #[test]
/// fn hub_has_no_neighbours() {
///     testing::in_lab("hub_has_no_neighbours", Topology::new(), async |lab| assert_eq!(lab.hosts().len(), 1));
/// }
/// ```
///
/// # Panics
/// When the lab cannot be built or the body panics; the message holds the output from inside and where the logs are.
#[expect(clippy::panic, reason = "a test helper fails the test")]
pub fn in_lab(name: &str, topology: Topology, body: impl AsyncFnOnce(&mut Lab)) {
    match enter::inside() {
        Ok(Some(inside)) => {
            let runtime = Runtime::new().unwrap_or_else(|error| panic!("no runtime: {error}"));
            runtime.block_on(async {
                let started = Lab::start(&inside, topology, 1).await;
                let mut lab = started.unwrap_or_else(|error| panic!("lab did not start: {}", chain(&error)));
                body(&mut lab).await;
                lab.stop().await;
            });
        }
        Ok(None) => run_this_test_inside(name),
        Err(error) => panic!("{}", chain(&error)),
    }
}

#[expect(
    clippy::panic,
    clippy::print_stdout,
    reason = "a test helper fails the test, and speaks as the test"
)]
fn run_this_test_inside(name: &str) {
    let arguments = ["--exact", name, "--nocapture", "--include-ignored", "--test-threads=1"];
    let launch = Launch {
        arguments: arguments.map(Into::into).to_vec(),
        forwards: Vec::new(),
        capture: true,
    };
    let finished = enter::run_inside(&launch).unwrap_or_else(|error| panic!("{}", chain(&error)));
    let kept = finished
        .kept
        .map(|folder| format!("\nlogs: {}", folder.display()))
        .unwrap_or_default();
    assert!(
        finished.code == 0,
        "failed inside the lab (exit code {}):\n{}{kept}",
        finished.code,
        finished.output
    );
    assert!(
        finished.output.contains("1 passed"),
        "no test named {name:?} ran inside the lab:\n{}",
        finished.output
    );
    print!("{}", finished.output);
}

/// An error with its causes in one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
