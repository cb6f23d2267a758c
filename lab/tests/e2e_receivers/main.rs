//! What receivers do with remote write: every row of [`rows`] against every receiver that we promise something about.
//!
//! The sender's rules rest on these facts: which protocols a receiver stores (and not just answers 2xx to), what makes it
//! refuse a whole request, what poisons it for everybody.

#![expect(clippy::unwrap_used, reason = "what the tests share fails them, too")]

mod rows;

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use xprober_lab::fetch::{self, Fetched};
use xprober_lab::process::receiver::{Kind, Receiver, Switches};
use xprober_lab::promql::Series;
use xprober_lab::remote_write;
use xprober_lab::testing::in_lab;
use xprober_lab::topology::Topology;
use xprober_lab::world::Lab;

use rows::{ROWS, Row, Step};

const LIMIT: Duration = Duration::from_secs(30);
/// Where the rows' time begins, before now.
const AGO: Duration = Duration::from_mins(1);
/// Beyond the last sample of every row, see [`rows`].
const END_SECONDS: f64 = 31.0 * 3600.0;
/// From [`END_SECONDS`] back to before the first sample.
const WINDOW: Duration = Duration::from_hours(32);
/// Label values above that length are shown by their length.
const SHOWN_BYTES: usize = 16;
/// More points than that are shown by their number.
const SHOWN_POINTS: usize = 6;
/// More labels than that are shown by their number.
const SHOWN_LABELS: usize = 4;

/// A receiver and the moment that its rows call 0.
struct Bench {
    receiver: Receiver,
    zero: i64,
}

impl Bench {
    async fn start(lab: &Lab, kind: Kind, lenient: bool, port: u16) -> Self {
        let switches = Switches {
            lenient,
            deduplicate: lenient,
        };
        let receiver = Receiver::start(lab, kind, switches, port).await.unwrap();
        let zero = (SystemTime::now() - AGO)
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap();
        Self {
            receiver,
            zero: i64::try_from(zero.as_secs()).unwrap() * 1000,
        }
    }

    /// Sends what a row sends and answers what came of it: the statuses, and after the bar what is stored.
    async fn observe(&self, row: &Row) -> String {
        let mut text = String::new();
        let url = format!("{}/api/v1/write", self.receiver.url());
        for step in (row.steps)() {
            let answer = match step {
                Step::Post(spelling, mut request) => {
                    for series in &mut request.timeseries {
                        series
                            .samples
                            .iter_mut()
                            .for_each(|sample| sample.timestamp += self.zero);
                        series
                            .histograms
                            .iter_mut()
                            .for_each(|histogram| histogram.timestamp += self.zero);
                    }
                    remote_write::send(&url, spelling, &request, LIMIT).await.unwrap()
                }
                Step::Get(query) => fetch::get(&format!("{url}?{query}"), LIMIT).await.unwrap(),
            };
            write!(text, "{} ", outcome(&answer)).unwrap();
        }
        self.receiver.flush().await.unwrap();
        text.push('|');
        text.push_str(&self.stored(row).await);
        if let Some((question, at)) = row.question {
            let found = self.receiver.client().query_at(question, self.seconds(at)).await;
            let found = match found.as_deref() {
                Ok([]) => "nothing".to_owned(),
                Ok(samples) => samples[0].value.to_string(),
                Err(_) => "error".to_owned(),
            };
            write!(text, " ? {found}").unwrap();
        }
        text
    }

    async fn stored(&self, row: &Row) -> String {
        let selector = format!("{{__name__=~\"{}_.*\"}}", row.name);
        let until = self.seconds(END_SECONDS);
        let client = self.receiver.client();
        let Ok(mut series) = client.stored_until(&selector, WINDOW, until).await else {
            return " error".to_owned();
        };
        series.sort_by(|one, other| (&one.name, &one.labels).cmp(&(&other.name, &other.labels)));
        series.iter().map(|series| self.show(row, series)).collect()
    }

    /// `name{labels} value@time value@time`, the name without the row's, times in seconds of the row's.
    fn show(&self, row: &Row, series: &Series) -> String {
        let name = series.name.trim_start_matches(row.name).trim_start_matches('_');
        let mut text = format!(" {}", short(name));
        if series.labels.len() > SHOWN_LABELS {
            write!(text, "{{{} labels}}", series.labels.len()).unwrap();
        } else if !series.labels.is_empty() {
            let labels = series.labels.iter();
            let labels: Vec<_> = labels
                .map(|(name, value)| format!("{}={}", short(name), short(value)))
                .collect();
            write!(text, "{{{}}}", labels.join(",")).unwrap();
        }
        // Of two samples at one time the store may hand over either first.
        let mut points = series.points.clone();
        points.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.total_cmp(&other.1)));
        for (at, value) in points.iter().take(SHOWN_POINTS) {
            write!(text, " {value}@{}", (at - self.seconds(0.0)).round()).unwrap();
        }
        if series.points.len() > SHOWN_POINTS {
            write!(text, " .. {} points", series.points.len()).unwrap();
        }
        text
    }

    #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit")]
    fn seconds(&self, after_zero: f64) -> f64 {
        self.zero as f64 / 1000.0 + after_zero
    }
}

fn short(text: &str) -> String {
    if text.len() > SHOWN_BYTES {
        format!("{}B", text.len())
    } else {
        text.to_owned()
    }
}

/// The status; with the samples that a receiver of Remote-Write 2.0 says it wrote, or the body that it answered to a `GET`.
fn outcome(answer: &Fetched) -> String {
    let mut text = answer.status.as_u16().to_string();
    if let Some(written) = answer.headers.get("x-prometheus-remote-write-samples-written") {
        write!(text, "(wrote {})", written.to_str().unwrap()).unwrap();
    }
    if answer.status.as_u16() == 200 {
        write!(text, "({})", answer.text().trim()).unwrap();
    }
    text
}

/// Every row against one receiver; all that differs is told together.
fn check(test: &str, index: usize) {
    in_lab(test, Topology::new(), async |lab| {
        let kind = Kind::ALL[index];
        let plain = Bench::start(lab, kind, false, 9101).await;
        let lenient = Bench::start(lab, kind, true, 9102).await;
        let mut differences = String::new();
        for row in ROWS {
            let bench = if row.lenient { &lenient } else { &plain };
            let observed = bench.observe(row).await;
            let expected = row.expected[index];
            if observed != expected {
                writeln!(
                    differences,
                    "{}\n  expected {expected:?}\n  observed {observed:?}",
                    row.name
                )
                .unwrap();
            }
        }
        assert!(differences.is_empty(), "{kind} does otherwise:\n{differences}");
        for mut bench in [plain, lenient] {
            bench.receiver.process.stop().await.unwrap();
        }
    });
}

#[test]
fn prometheus_of_bookworm_does_as_listed() {
    check("prometheus_of_bookworm_does_as_listed", 0);
}

#[test]
fn prometheus_of_trixie_does_as_listed() {
    check("prometheus_of_trixie_does_as_listed", 1);
}

#[test]
fn prometheus_of_sid_does_as_listed() {
    check("prometheus_of_sid_does_as_listed", 2);
}

#[test]
fn victoria_metrics_of_bookworm_does_as_listed() {
    check("victoria_metrics_of_bookworm_does_as_listed", 3);
}

#[test]
fn victoria_metrics_of_trixie_does_as_listed() {
    check("victoria_metrics_of_trixie_does_as_listed", 4);
}

#[test]
fn victoria_metrics_of_sid_does_as_listed() {
    check("victoria_metrics_of_sid_does_as_listed", 5);
}
