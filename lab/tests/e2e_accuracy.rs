//! What is injected is what is measured, in a minute: the short form of `make accuracy`, on real programs.
//!
//! Every count is exact, with the wire as the judge, so no dice can fail this test; times are judged as those of a busy
//! machine.

use xprober_lab::accuracy::cases::topology;
use xprober_lab::accuracy::judge::Tolerance;
use xprober_lab::accuracy::report;
use xprober_lab::accuracy::run::{Options, measure};
use xprober_lab::testing::in_lab;

const OPTIONS: Options = Options {
    seconds: 40,
    interval: 100,
    targets: 1000,
    write: None,
};

#[test]
fn every_injected_fault_is_measured_as_it_is_and_none_is_invented() {
    in_lab(
        "every_injected_fault_is_measured_as_it_is_and_none_is_invented",
        topology(OPTIONS.targets),
        async |lab| {
            let findings = measure(lab, &OPTIONS, &Tolerance::GENEROUS).await.unwrap();
            let table = report::text(&findings, OPTIONS.seconds, &[]);
            assert!(findings.complaints.is_empty(), "{table}\n{:#?}", findings.complaints);
        },
    );
}
