//! The series of the agent as a page for others to scrape, with other values each time.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue};

use crate::error::LabError;
use crate::judge::book::value;
use crate::namespace::Namespace;
use crate::remote_write::message::TimeSeries;
use crate::servers::{Tasks, answer, listen, serve_http};
use crate::wan::random::Random;

/// Prometheus' text format.
const TEXT: &str = "text/plain; version=0.0.4";

/// A running page.
#[derive(Debug)]
pub struct Page {
    tasks: Tasks,
    port: u16,
}

impl Page {
    /// Starts a page on a port that the kernel chooses.
    ///
    /// # Errors
    /// [`LabError::Io`] when no port can be opened.
    pub fn start(namespace: &Namespace, series: &[TimeSeries]) -> Result<Self, LabError> {
        let listener = listen(namespace, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let port = listener
            .local_addr()
            .map_err(LabError::io("reading the page's address"))?
            .port();
        let tasks = Tasks::default();
        let lines: Arc<[Line]> = series.iter().map(Line::new).collect();
        let scrapes = Arc::new(AtomicU64::new(0));
        serve_http(&tasks, listener, move |_| {
            let text = text(&lines, scrapes.fetch_add(1, Ordering::Relaxed));
            async {
                let mut page = answer(StatusCode::OK, text);
                // Prometheus 3 reads nothing that does not say what it is.
                page.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
                Some(page)
            }
        });
        Ok(Self { tasks, port })
    }

    /// `host:port` to scrape.
    #[must_use]
    pub fn target(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Ends the page.
    pub async fn stop(&self) {
        self.tasks.stop().await;
    }
}

/// A series and its first value.
#[derive(Debug)]
struct Line {
    name: String,
    counts: bool,
    value: f64,
}

impl Line {
    fn new(series: &TimeSeries) -> Self {
        let name = value(&series.labels, "__name__");
        let labels = series.labels.iter().filter(|label| label.name != "__name__");
        let labels: Vec<_> = labels
            .map(|label| format!("{}={:?}", label.name, label.value))
            .collect();
        Self {
            name: format!("{name}{{{}}}", labels.join(",")),
            counts: ["_total", "_count", "_bucket", "_sum"]
                .iter()
                .any(|end| name.ends_with(end)),
            value: series.samples.last().map_or(1.0, |sample| sample.value),
        }
    }
}

/// Counters go up by one, gauges wander by a tenth and keep their microseconds.
fn text(lines: &[Line], scrape: u64) -> String {
    let mut random = Random::new(scrape);
    let mut text = String::with_capacity(lines.len() * 160);
    for line in lines {
        let value = if line.counts {
            line.value + super::measure::count(scrape)
        } else {
            (line.value * (0.95 + 0.1 * random.unit()) * 1e6).round() / 1e6
        };
        let _infallible = writeln!(text, "{} {value}", line.name);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote_write::message::{Label, Sample};

    #[test]
    fn page_has_the_series_with_other_values_each_time() {
        let label = |name: &str, value: &str| Label {
            name: name.to_owned(),
            value: value.to_owned(),
        };
        let series = |name: &str, value| TimeSeries {
            labels: vec![label("__name__", name), label("target", "a")],
            samples: vec![Sample { value, timestamp: 0 }],
            histograms: Vec::new(),
        };
        let lines = [
            Line::new(&series("x_total", 4.0)),
            Line::new(&series("x_seconds", 0.01)),
        ];
        let (first, second) = (text(&lines, 0), text(&lines, 1));
        assert!(
            first.starts_with("x_total{target=\"a\"} 4\nx_seconds{target=\"a\"} 0.0"),
            "{first}"
        );
        assert!(second.starts_with("x_total{target=\"a\"} 5\n"), "{second}");
        assert_ne!(first.lines().last(), second.lines().last());
    }
}
