//! A minute in which everything breaks, against Prometheus 2.42, 3.x and `VictoriaMetrics` side by side: what agents sealed
//! is stored, once, in order.

use xprober_lab::chaos::pushing::{Histograms, Protocol, Queue};
use xprober_lab::chaos::run::{Options, Tsdb, lab_topology, run_in};
use xprober_lab::testing::in_lab;

#[test]
fn every_sealed_sample_arrives_once_and_in_order() {
    let options = Options {
        seconds: 60,
        agents: 10,
        tsdb: vec![Tsdb::Prometheus, Tsdb::Prometheus3, Tsdb::Victoriametrics],
        queue: Queue::Disk,
        protocol: Protocol::Rw1,
        histograms: Histograms::Classic,
        max_samples: 200,
        seed: None,
    };
    in_lab(
        "every_sealed_sample_arrives_once_and_in_order",
        lab_topology(&options),
        async |lab| {
            let complaints = run_in(lab, &options).await.unwrap();
            assert!(complaints.is_empty(), "{}", complaints.join("\n"));
        },
    );
}
