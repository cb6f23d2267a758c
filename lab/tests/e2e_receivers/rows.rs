//! The table: what is sent, and what each receiver makes of it.
//!
//! A row's series are called `<row>_<something>`; its times count in seconds from a moment a minute ago. An expectation reads
//! `statuses | series value@time ..`, a question's answer comes after `?`. Columns are those of
//! [`xprober_lab::process::receiver::Kind::ALL`].

use xprober_lab::remote_write::message::{BucketSpan, Histogram, Label, Sample, TimeSeries, WriteRequest};
use xprober_lab::remote_write::{STALE_MARKER, Spelling};

use Spelling::{V1Snappy, V1Zstd, V2Snappy};

/// One request.
pub(crate) enum Step {
    /// Posts series.
    Post(Spelling, WriteRequest),
    /// Gets the write URL with a query.
    Get(&'static str),
}

/// One case.
pub(crate) struct Row {
    /// What it is about, also the beginning of its series' names.
    pub(crate) name: &'static str,
    /// Sent to the receiver with native histograms, a window for samples out of order, and deduplication.
    pub(crate) lenient: bool,
    /// What is sent.
    pub(crate) steps: fn() -> Vec<Step>,
    /// A question and its time, asked in the end.
    pub(crate) question: Option<(&'static str, f64)>,
    /// What each receiver makes of it.
    pub(crate) expected: [&'static str; 6],
}

const HOUR: f64 = 3600.0;

/// In this order: the last one leaves Prometheus 2.x unable to take anything.
pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "rw1",
        lenient: false,
        steps: || vec![post(V1Snappy, [floats("rw1_a", [(1.0, 0.0)])])],
        question: None,
        expected: ["204 | a 1@0"; 6],
    },
    Row {
        name: "rw2",
        lenient: false,
        steps: || vec![post(V2Snappy, [floats("rw2_a", [(1.0, 0.0)])])],
        question: None,
        expected: ["204 |", "204 |", "204(wrote 1) | a 1@0", "204 |", "204 |", "204 |"],
    },
    Row {
        name: "rw2_empty",
        lenient: false,
        steps: || vec![post(V2Snappy, [])],
        question: None,
        expected: ["204 |", "204 |", "204(wrote 0) |", "204 |", "204 |", "204 |"],
    },
    Row {
        name: "zstd",
        lenient: false,
        steps: || vec![post(V1Zstd, [floats("zstd_a", [(1.0, 0.0)])])],
        question: None,
        expected: ["400 |", "400 |", "415 |", "400 |", "204 | a 1@0", "204 | a 1@0"],
    },
    Row {
        name: "zstd_check",
        lenient: false,
        steps: || vec![Step::Get("get_vm_proto_version=1")],
        question: None,
        expected: ["405 |", "405 |", "405 |", "400 |", "200(1) |", "200(1) |"],
    },
    Row {
        name: "old",
        lenient: false,
        steps: || {
            vec![
                post(V1Snappy, [floats("old_a", [(1.0, 10.0)])]),
                post(
                    V1Snappy,
                    [floats("old_a", [(2.0, 0.0)]), floats("old_b", [(3.0, 10.0)])],
                ),
            ]
        },
        question: None,
        expected: [
            "204 400 | a 1@10",
            "204 400 | a 1@10",
            "204 400 | a 1@10",
            "204 204 | a 2@0 1@10 b 3@10",
            "204 204 | a 2@0 1@10 b 3@10",
            "204 204 | a 2@0 1@10 b 3@10",
        ],
    },
    Row {
        name: "old_rw2",
        lenient: false,
        steps: || {
            vec![
                post(V2Snappy, [floats("old_rw2_a", [(1.0, 10.0)])]),
                post(
                    V2Snappy,
                    [floats("old_rw2_a", [(2.0, 0.0)]), floats("old_rw2_b", [(3.0, 10.0)])],
                ),
            ]
        },
        question: None,
        expected: [
            "204 204 |",
            "204 204 |",
            "204(wrote 1) 400(wrote 1) | a 1@10 b 3@10",
            "204 204 |",
            "204 204 |",
            "204 204 |",
        ],
    },
    Row {
        name: "old_window",
        lenient: true,
        steps: || {
            vec![
                post(V1Snappy, [floats("old_window_a", [(1.0, 10.0)])]),
                post(V1Snappy, [floats("old_window_a", [(2.0, 0.0)])]),
            ]
        },
        question: None,
        expected: ["204 204 | a 2@0 1@10"; 6],
    },
    Row {
        name: "other_value",
        lenient: false,
        steps: || {
            vec![
                post(V1Snappy, [floats("other_value_a", [(1.0, 0.0)])]),
                post(V1Snappy, [floats("other_value_a", [(2.0, 0.0)])]),
            ]
        },
        question: None,
        expected: [
            "204 400 | a 1@0",
            "204 400 | a 1@0",
            "204 400 | a 1@0",
            "204 204 | a 1@0 2@0",
            "204 204 | a 1@0 2@0",
            "204 204 | a 1@0 2@0",
        ],
    },
    Row {
        name: "replay",
        lenient: false,
        steps: || {
            vec![
                post(V1Snappy, [floats("replay_a", [(1.0, 0.0)])]),
                post(V1Snappy, [floats("replay_a", [(1.0, 0.0)])]),
            ]
        },
        question: None,
        expected: [
            "204 204 | a 1@0",
            "204 204 | a 1@0",
            "204 204 | a 1@0",
            "204 204 | a 1@0 1@0",
            "204 204 | a 1@0 1@0",
            "204 204 | a 1@0 1@0",
        ],
    },
    Row {
        name: "replay_dedup",
        lenient: true,
        steps: || {
            vec![
                post(V1Snappy, [floats("replay_dedup_a", [(1.0, 0.0)])]),
                post(V1Snappy, [floats("replay_dedup_a", [(1.0, 0.0)])]),
            ]
        },
        question: None,
        expected: ["204 204 | a 1@0"; 6],
    },
    Row {
        name: "replay_two",
        lenient: false,
        steps: || {
            let both = || post(V1Snappy, [floats("replay_two_a", [(1.0, 0.0), (2.0, 10.0)])]);
            vec![both(), both()]
        },
        question: None,
        expected: [
            "204 400 | a 1@0 2@10",
            "204 400 | a 1@0 2@10",
            "204 400 | a 1@0 2@10",
            "204 204 | a 1@0 1@0 2@10 2@10",
            "204 204 | a 1@0 1@0 2@10 2@10",
            "204 204 | a 1@0 1@0 2@10 2@10",
        ],
    },
    Row {
        name: "replay_cut",
        lenient: false,
        steps: || {
            vec![
                post(V1Snappy, [floats("replay_cut_a", [(1.0, 0.0), (2.0, 10.0)])]),
                post(
                    V1Snappy,
                    [floats("replay_cut_a", [(1.0, 0.0), (2.0, 10.0), (3.0, 20.0)])],
                ),
            ]
        },
        question: None,
        expected: [
            "204 400 | a 1@0 2@10",
            "204 400 | a 1@0 2@10",
            "204 400 | a 1@0 2@10",
            "204 204 | a 1@0 1@0 2@10 2@10 3@20",
            "204 204 | a 1@0 1@0 2@10 2@10 3@20",
            "204 204 | a 1@0 1@0 2@10 2@10 3@20",
        ],
    },
    Row {
        name: "stale",
        lenient: false,
        steps: || {
            vec![post(
                V1Snappy,
                [floats("stale_a", [(1.0, 0.0), (f64::from_bits(STALE_MARKER), 10.0)])],
            )]
        },
        question: Some(("stale_a", 11.0)),
        expected: [
            "204 | a 1@0 ? nothing",
            "204 | a 1@0 ? nothing",
            "204 | a 1@0 ? nothing",
            "204 | a 1@0 NaN@10 ? nothing",
            "204 | a 1@0 NaN@10 ? nothing",
            "204 | a 1@0 NaN@10 ? nothing",
        ],
    },
    Row {
        name: "nan",
        lenient: false,
        steps: || vec![post(V1Snappy, [floats("nan_a", [(1.0, 0.0), (f64::NAN, 10.0)])])],
        question: None,
        expected: [
            "204 | a 1@0 NaN@10",
            "204 | a 1@0 NaN@10",
            "204 | a 1@0 NaN@10",
            "204 | a 1@0",
            "204 | a 1@0",
            "204 | a 1@0",
        ],
    },
    Row {
        name: "repeated_label",
        lenient: false,
        steps: || vec![post(V1Snappy, [labelled("repeated_label_a", [("x", "1"), ("x", "2")])])],
        question: None,
        expected: [
            "500 |",
            "500 |",
            "204 |",
            "204 | a{x=2} 1@0",
            "204 | a{x=2} 1@0",
            "204 | a{x=2} 1@0",
        ],
    },
    Row {
        name: "no_labels",
        lenient: false,
        steps: || {
            let mut bare = floats("", [(1.0, 0.0)]);
            bare.labels.clear();
            vec![post(V1Snappy, [bare])]
        },
        question: None,
        expected: ["500 |", "500 |", "204 |", "204 |", "204 |", "204 |"],
    },
    Row {
        name: "long_value",
        lenient: false,
        steps: || {
            vec![post(
                V1Snappy,
                [labelled("long_value_a", [("x", "v".repeat(4097).as_str())])],
            )]
        },
        question: None,
        expected: [
            "204 | a{x=4097B} 1@0",
            "204 | a{x=4097B} 1@0",
            "204 | a{x=4097B} 1@0",
            "204 | a{x=4097B} 1@0",
            "204 |",
            "204 |",
        ],
    },
    Row {
        name: "long_name",
        lenient: false,
        steps: || {
            vec![post(
                V1Snappy,
                [labelled("long_name_a", [("n".repeat(257).as_str(), "1")])],
            )]
        },
        question: None,
        expected: [
            "204 | a{257B=1} 1@0",
            "204 | a{257B=1} 1@0",
            "204 | a{257B=1} 1@0",
            "204 | a{256B=1} 1@0",
            "204 |",
            "204 |",
        ],
    },
    Row {
        name: "many_labels",
        lenient: false,
        steps: || {
            let names: Vec<_> = (0..40).map(|index| format!("x{index:02}")).collect();
            vec![post(
                V1Snappy,
                [labelled("many_labels_a", names.iter().map(|name| (name.as_str(), "1")))],
            )]
        },
        question: None,
        expected: [
            "204 | a{40 labels} 1@0",
            "204 | a{40 labels} 1@0",
            "204 | a{40 labels} 1@0",
            "204 | a{29 labels} 1@0",
            "204 |",
            "204 |",
        ],
    },
    Row {
        name: "native_off",
        lenient: false,
        steps: || vec![post(V1Snappy, [histogram("native_off_a", exponential(0))])],
        question: None,
        expected: [
            "500 |",
            "500 |",
            "500 |",
            "204 |",
            "204 |",
            "204 | a_bucket{vmrange=21B} 2@0 a_bucket{vmrange=21B} 1@0 a_count 3@0 a_sum 4@0",
        ],
    },
    Row {
        name: "native_on",
        lenient: true,
        steps: || vec![post(V1Snappy, [histogram("native_on_a", exponential(0))])],
        question: Some(("histogram_quantile(0.5, native_on_a)", 1.0)),
        expected: [
            "204 | a ? 1.25",
            "204 | a ? 1.25",
            "204 | a ? 1.189207115002721",
            "204 | ? nothing",
            "204 | ? nothing",
            "204 | a_bucket{vmrange=21B} 2@0 a_bucket{vmrange=21B} 1@0 a_count 3@0 a_sum 4@0 ? nothing",
        ],
    },
    Row {
        name: "schema_9",
        lenient: true,
        steps: || vec![post(V1Snappy, [histogram("schema_9_a", exponential(9))])],
        question: Some(("histogram_quantile(0.5, schema_9_a)", 1.0)),
        expected: [
            "204 | error ? error",
            "204 | error ? error",
            "204 | error ? error",
            "204 | ? nothing",
            "204 | ? nothing",
            "204 | a_bucket{vmrange=21B} 2@0 a_bucket{vmrange=21B} 1@0 a_count 3@0 a_sum 4@0 ? nothing",
        ],
    },
    Row {
        name: "custom",
        lenient: true,
        steps: || vec![post(V1Snappy, [histogram("custom_a", custom())])],
        question: Some(("histogram_quantile(0.5, custom_a)", 1.0)),
        expected: [
            "204 | a ? inf",
            "204 | a ? inf",
            "204 | a ? 1.25",
            "204 | ? nothing",
            "204 | ? nothing",
            "204 | a_bucket{vmrange=21B} 1@0 a_bucket{vmrange=NaN...+Inf} 2@0 a_count 3@0 a_sum 4@0 ? nothing",
        ],
    },
    Row {
        name: "large",
        lenient: false,
        steps: || {
            vec![post(
                V1Snappy,
                std::iter::repeat_n(floats("large_a", [(1.0, 0.0)]), 900_000),
            )]
        },
        question: None,
        expected: ["204 | a 1@0", "204 | a 1@0", "400 |", "400 |", "400 |", "400 |"],
    },
    Row {
        name: "ahead",
        lenient: false,
        steps: || {
            vec![
                post(V1Snappy, [floats("ahead_a", [(1.0, 120.0)])]),
                post(V1Snappy, [floats("ahead_b", [(2.0, 0.0)])]),
            ]
        },
        question: None,
        expected: ["204 204 | a 1@120 b 2@0"; 6],
    },
    Row {
        name: "future",
        lenient: false,
        steps: || {
            vec![
                post(V1Snappy, [floats("future_a", [(1.0, 30.0 * HOUR)])]),
                post(V1Snappy, [floats("future_b", [(2.0, 30.0)])]),
            ]
        },
        question: None,
        expected: [
            "204 400 | a 1@108000",
            "204 400 | a 1@108000",
            "400 204 | b 2@30",
            "204 204 | a 1@108000 b 2@30",
            "204 204 | a 1@108000 b 2@30",
            "204 204 | a 1@108000 b 2@30",
        ],
    },
];

fn post(spelling: Spelling, series: impl IntoIterator<Item = TimeSeries>) -> Step {
    let timeseries = series.into_iter().collect();
    Step::Post(spelling, WriteRequest { timeseries })
}

/// A series without labels of its own, and its values and seconds.
fn floats(name: &str, points: impl IntoIterator<Item = (f64, f64)>) -> TimeSeries {
    let samples = points.into_iter().map(|(value, seconds)| Sample {
        value,
        timestamp: milliseconds(seconds),
    });
    TimeSeries {
        labels: vec![label("__name__", name)],
        samples: samples.collect(),
        histograms: Vec::new(),
    }
}

/// A series with labels and the value 1 at 0.
fn labelled<'a>(name: &str, labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> TimeSeries {
    let mut series = floats(name, [(1.0, 0.0)]);
    series
        .labels
        .extend(labels.into_iter().map(|(name, value)| label(name, value)));
    series
}

fn histogram(name: &str, histogram: Histogram) -> TimeSeries {
    TimeSeries {
        histograms: vec![histogram],
        samples: Vec::new(),
        ..floats(name, [])
    }
}

/// Three observations in two buckets that lie side by side.
fn exponential(schema: i32) -> Histogram {
    Histogram {
        count: Some(3),
        sum: 4.0,
        schema,
        zero_count: Some(0),
        positive_spans: vec![BucketSpan { offset: 0, length: 2 }],
        positive_deltas: vec![1, 1],
        ..Histogram::default()
    }
}

/// The same with bounds of its own.
fn custom() -> Histogram {
    Histogram {
        schema: -53,
        zero_count: None,
        custom_values: vec![1.0, 2.0],
        ..exponential(-53)
    }
}

fn label(name: &str, value: &str) -> Label {
    Label {
        name: name.to_owned(),
        value: value.to_owned(),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "hours")]
fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1000.0) as i64
}
