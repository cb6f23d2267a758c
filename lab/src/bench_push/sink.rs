//! Takes everything and remembers it, as cheaply as it can: bodies are read when nothing is measured.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use prost::Message as _;
use tokio::sync::watch;

use super::plan::REAL_TIME_RATE;
use crate::error::LabError;
use crate::judge::book::value;
use crate::namespace::Namespace;
use crate::remote_write::Spelling;
use crate::remote_write::message::{TimeSeries, WriteRequest};
use crate::servers::{Body, Tasks, answer, listen, serve_http};

/// What senders ask to learn whether zstd is understood.
const ZSTD_QUESTION: &str = "get_vm_proto_version=1";
/// Say what a receiver of Remote-Write 2.0 has stored; senders trust none that leaves one out.
const WRITTEN: [&str; 3] = [
    "x-prometheus-remote-write-samples-written",
    "x-prometheus-remote-write-histograms-written",
    "x-prometheus-remote-write-exemplars-written",
];

/// A request that was taken.
#[derive(Debug, Clone)]
pub struct Taken {
    /// When, by the wall clock.
    pub at: SystemTime,
    /// How it is spelt.
    pub spelling: Spelling,
    /// Its body as it came.
    pub body: Bytes,
}

impl Taken {
    /// Reads the body.
    ///
    /// # Errors
    /// [`LabError::Io`] when it is damaged.
    pub fn read(&self) -> Result<WriteRequest, LabError> {
        let read = self.spelling.decode(&self.body);
        read.map_err(|reason| LabError::io("reading what a contender sent")(std::io::Error::other(reason)))
    }

    /// How old its newest sample was when it came.
    ///
    /// # Errors
    /// [`LabError::Io`] when it is damaged.
    pub fn age(&self) -> Result<Duration, LabError> {
        let request = self.read()?;
        let samples = request.timeseries.iter().flat_map(|series| &series.samples);
        let newest = samples.map(|sample| sample.timestamp).max();
        let newest = Duration::from_millis(newest.unwrap_or_default().try_into().unwrap_or_default());
        let now = self.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Ok(now.saturating_sub(newest))
    }
}

/// A running sink.
#[derive(Debug)]
pub struct Sink {
    taken: watch::Sender<Vec<Taken>>,
    away: Arc<AtomicBool>,
    zstd: Arc<AtomicBool>,
    tasks: Tasks,
    port: u16,
}

impl Sink {
    /// Starts a sink in a namespace on a port that the kernel chooses.
    ///
    /// # Errors
    /// [`LabError::Io`] when no port can be opened.
    pub fn start(namespace: &Namespace) -> Result<Self, LabError> {
        let listener = listen(namespace, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let port = listener
            .local_addr()
            .map_err(LabError::io("reading the sink's address"))?
            .port();
        let sink = Self {
            taken: watch::Sender::new(Vec::new()),
            away: Arc::default(),
            zstd: Arc::default(),
            tasks: Tasks::default(),
            port,
        };
        let (taken, away, zstd) = (sink.taken.clone(), Arc::clone(&sink.away), Arc::clone(&sink.zstd));
        serve_http(&sink.tasks, listener, move |request| {
            take(request, taken.clone(), Arc::clone(&away), zstd.load(Ordering::Relaxed))
        });
        Ok(sink)
    }

    /// Where to push.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/api/v1/write", self.port)
    }

    /// Answers 503 from now on, or takes requests again.
    pub fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::Relaxed);
    }

    /// Claims to understand zstd, or not to; what comes is taken either way.
    pub fn set_zstd(&self, zstd: bool) {
        self.zstd.store(zstd, Ordering::Relaxed);
    }

    /// Hands over what was taken and forgets it.
    #[must_use]
    pub fn collect(&self) -> Vec<Taken> {
        self.taken.send_replace(Vec::new())
    }

    /// Waits until so many requests came since the last [`Sink::collect`].
    ///
    /// # Errors
    /// [`LabError::Timeout`].
    pub async fn wait_for(&self, requests: usize, limit: Duration) -> Result<(), LabError> {
        let mut taken = self.taken.subscribe();
        match tokio::time::timeout(limit, taken.wait_for(|taken| taken.len() >= requests)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(LabError::Timeout {
                what: format!("request number {requests}"),
                limit,
                detail: String::new(),
            }),
        }
    }

    /// Ends the sink.
    pub async fn stop(&self) {
        self.tasks.stop().await;
    }
}

async fn take(
    request: Request<Incoming>,
    taken: watch::Sender<Vec<Taken>>,
    away: Arc<AtomicBool>,
    zstd: bool,
) -> Option<Response<Body>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.ok()?.to_bytes();
    if head.method != Method::POST {
        let asks = head.uri.query().is_some_and(|query| query.contains(ZSTD_QUESTION));
        return Some(if asks && zstd {
            answer(StatusCode::OK, "1")
        } else {
            answer(StatusCode::NOT_FOUND, "")
        });
    }
    if away.load(Ordering::Relaxed) {
        return Some(answer(StatusCode::SERVICE_UNAVAILABLE, ""));
    }
    let Ok(spelling) = Spelling::of(&head.headers) else {
        return Some(answer(StatusCode::UNSUPPORTED_MEDIA_TYPE, ""));
    };
    let mut response = answer(StatusCode::NO_CONTENT, "");
    if spelling == Spelling::V2Snappy {
        let Ok([floats, histograms]) = written(&body) else {
            return Some(answer(StatusCode::BAD_REQUEST, ""));
        };
        for (name, count) in WRITTEN.into_iter().zip([floats, histograms, 0]) {
            response.headers_mut().insert(name, count.into());
        }
    }
    taken.send_modify(|all| {
        all.push(Taken {
            at: SystemTime::now(),
            spelling,
            body,
        });
    });
    Some(response)
}

/// A request of Remote-Write 2.0, as far as its samples can be counted: reading all of it would take longer than its sender did.
#[derive(Clone, PartialEq, prost::Message)]
struct Outline {
    #[prost(bytes = "bytes", repeated, tag = "5")]
    timeseries: Vec<Bytes>,
}

/// A series of it.
#[derive(Clone, PartialEq, prost::Message)]
struct SeriesOutline {
    #[prost(bytes = "bytes", repeated, tag = "2")]
    samples: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "3")]
    histograms: Vec<Bytes>,
}

/// Counts samples and histograms.
fn written(body: &[u8]) -> Result<[u64; 2], String> {
    let message = Bytes::from(Spelling::V2Snappy.decompress(body)?);
    let request = Outline::decode(message).map_err(|error| error.to_string())?;
    let mut counts = [0, 0];
    for series in request.timeseries {
        let series = SeriesOutline::decode(series).map_err(|error| error.to_string())?;
        counts[0] += series.samples.len() as u64;
        counts[1] += series.histograms.len() as u64;
    }
    Ok(counts)
}

/// Samples in a request.
#[must_use]
pub fn samples(request: &WriteRequest) -> u64 {
    let counts = request
        .timeseries
        .iter()
        .map(|series| series.samples.len() + series.histograms.len());
    counts.map(|count| count as u64).sum()
}

/// Every series that was taken, once, in order of its labels, with its last value.
///
/// # Errors
/// [`LabError::Io`] when a body is damaged.
pub fn series(taken: &[Taken]) -> Result<Vec<TimeSeries>, LabError> {
    let mut all = std::collections::BTreeMap::new();
    for one in taken {
        all.extend(
            one.read()?
                .timeseries
                .into_iter()
                .map(|series| (series.labels.clone(), series)),
        );
    }
    Ok(all.into_values().collect())
}

/// Whether both are the same series, whatever their values; each in order of its labels.
#[must_use]
pub fn are_the_same(some: &[TimeSeries], others: &[TimeSeries]) -> bool {
    let labels = some.iter().map(|series| &series.labels);
    labels.eq(others.iter().map(|series| &series.labels))
}

/// The newest value of a series, by its name.
///
/// # Errors
/// [`LabError::Io`] when a body is damaged.
pub fn newest(taken: &[Taken], name: &str) -> Result<Option<f64>, LabError> {
    let mut newest = None;
    for one in taken {
        for series in one.read()?.timeseries {
            if value(&series.labels, "__name__") == name {
                newest = series.samples.last().map(|sample| sample.value).or(newest);
            }
        }
    }
    Ok(newest)
}

/// Samples per second with which an outage was made up for, from the first request that was taken until one came whose
/// samples are no older than `late`; none while that has not come.
///
/// # Errors
/// [`LabError::Io`] when a body is damaged.
pub fn catch_up_rate(taken: &[Taken], late: Duration) -> Result<Option<f64>, LabError> {
    let Some(first) = taken.first() else { return Ok(None) };
    let mut total = 0;
    for one in taken {
        total += samples(&one.read()?);
        if one.age()? <= late {
            let took = one
                .at
                .duration_since(first.at)
                .unwrap_or_default()
                .max(Duration::from_millis(1));
            return Ok(Some(super::measure::count(total) / took.as_secs_f64()));
        }
    }
    Ok(None)
}

/// That rate in multiples of what 10,000 targets give.
#[must_use]
pub fn times_real_time(rate: f64) -> f64 {
    rate / REAL_TIME_RATE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote_write::message::{Histogram, Label, Sample};

    fn taken(at_seconds: u64, sample_seconds: i64) -> Taken {
        let request = WriteRequest {
            timeseries: vec![TimeSeries {
                labels: vec![Label {
                    name: "__name__".to_owned(),
                    value: "up".to_owned(),
                }],
                samples: vec![Sample {
                    value: 1.0,
                    timestamp: sample_seconds * 1000,
                }],
                histograms: Vec::new(),
            }],
        };
        Taken {
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(at_seconds),
            spelling: Spelling::V1Snappy,
            body: Spelling::V1Snappy.encode(&request).unwrap().into(),
        }
    }

    #[test]
    fn what_was_written_is_counted_without_reading_it() {
        let mut request = taken(0, 1).read().unwrap();
        request.timeseries.push(TimeSeries {
            histograms: vec![Histogram::default(); 3],
            ..request.timeseries[0].clone()
        });
        let body = Spelling::V2Snappy.encode(&request).unwrap();
        assert_eq!(written(&body), Ok([2, 3]));
        assert!(written(b"no request").is_err());
    }

    #[test]
    fn catching_up_ends_with_the_first_fresh_request() {
        let all = [taken(100, 10), taken(101, 50), taken(104, 103), taken(110, 109)];
        let late = Duration::from_secs(5);
        assert_eq!(catch_up_rate(&all, late).unwrap(), Some(0.75));
        assert_eq!(catch_up_rate(&all[..2], late).unwrap(), None);
        assert_eq!(series(&all).unwrap().len(), 1);
    }

    #[test]
    fn series_are_told_apart_by_their_labels_alone() {
        let [first, second] = [taken(0, 1), taken(0, 2)].map(|one| series(&[one]).unwrap());
        assert!(are_the_same(&first, &second));
        assert!(!are_the_same(&first, &[]));
        let mut renamed = second;
        renamed[0].labels[0].value.push('x');
        assert!(!are_the_same(&first, &renamed));
    }
}
