//! Questions to Prometheus and VictoriaMetrics over their common HTTP interface
//! (<https://prometheus.io/docs/prometheus/latest/querying/api/>).

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::form_urlencoded;

use crate::error::LabError;
use crate::fetch;

/// Time for one question.
const LIMIT: Duration = Duration::from_secs(20);

/// Labels by name, without the metric's name.
pub type Labels = BTreeMap<String, String>;

/// One series and its value at the moment of the question.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The metric's name, empty when the expression drops it.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// When, in seconds since 1970.
    pub at: f64,
    /// The value.
    pub value: f64,
}

impl Sample {
    /// A label's value, empty when it is not there, as in `PromQL`.
    #[must_use]
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// One series over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The metric's name, empty when the expression drops it.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// Seconds since 1970 and value, in order of time.
    pub points: Vec<(f64, f64)>,
}

/// Asks one server.
#[derive(Debug, Clone)]
pub struct PromQl {
    base: String,
}

impl PromQl {
    /// Makes a client for a server's base URL, e.g. `http://127.0.0.1:9090`.
    #[must_use]
    pub fn new(base: &str) -> Self {
        Self {
            base: base.trim_end_matches('/').to_owned(),
        }
    }

    /// Evaluates an expression now.
    ///
    /// # Errors
    /// [`LabError::Http`] with the server's words when it refuses the expression or does not answer.
    pub async fn query(&self, expression: &str) -> Result<Vec<Sample>, LabError> {
        // Said explicitly, because VictoriaMetrics' own "now" is cut to whole seconds and would miss the newest samples.
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        self.query_at(expression, now.as_secs_f64()).await
    }

    /// Evaluates an expression at a time in seconds since 1970.
    ///
    /// # Errors
    /// As [`PromQl::query`].
    pub async fn query_at(&self, expression: &str, at: f64) -> Result<Vec<Sample>, LabError> {
        self.instant(&[("query", expression), ("time", &format!("{at:.3}"))])
            .await
    }

    /// Evaluates an expression that gives one number; nothing comes back for an empty result.
    ///
    /// # Errors
    /// As [`PromQl::query`], and when the result has several series.
    pub async fn number(&self, expression: &str) -> Result<Option<f64>, LabError> {
        let samples = self.query(expression).await?;
        match samples.as_slice() {
            [] => Ok(None),
            [sample] => Ok(Some(sample.value)),
            _ => Err(self.failed(format!("{expression} gives {} series instead of one", samples.len()))),
        }
    }

    /// Hands over the stored samples of the last `window` of every series that a selector finds, e.g. `{instance="vm1"}`, with
    /// their own times. Prometheus leaves stale markers out.
    ///
    /// # Errors
    /// As [`PromQl::query`].
    pub async fn stored(&self, selector: &str, window: Duration) -> Result<Vec<Series>, LabError> {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        self.stored_until(selector, window, now.as_secs_f64()).await
    }

    /// The same with a window that ends at a time in seconds since 1970. Series of native histograms come without points.
    ///
    /// # Errors
    /// As [`PromQl::query`].
    pub async fn stored_until(&self, selector: &str, window: Duration, end: f64) -> Result<Vec<Series>, LabError> {
        let expression = format!("{selector}[{}s]", window.as_secs());
        let at = format!("{end:.3}");
        let form = [("query", expression.as_str()), ("time", &at)];
        match self.ask("query", &form).await? {
            Instant::Matrix(results) => self.series(results),
            Instant::Vector(_) | Instant::Scalar(_) => Err(self.failed(format!("{selector} is no selector"))),
        }
    }

    /// Evaluates an expression from `start` to `end` (seconds since 1970) every `step`.
    ///
    /// # Errors
    /// As [`PromQl::query`].
    pub async fn query_range(
        &self,
        expression: &str,
        start: f64,
        end: f64,
        step: Duration,
    ) -> Result<Vec<Series>, LabError> {
        let (start, end, step) = (
            format!("{start:.3}"),
            format!("{end:.3}"),
            step.as_secs_f64().to_string(),
        );
        let form = [("query", expression), ("start", &start), ("end", &end), ("step", &step)];
        let found: Range = self.ask("query_range", &form).await?;
        self.series(found.result)
    }

    /// The rules' alerts that are pending or firing, as JSON: `labels`, `annotations`, `state`, `value`.
    ///
    /// # Errors
    /// As [`PromQl::query`].
    pub async fn alerts(&self) -> Result<Vec<serde_json::Value>, LabError> {
        #[derive(Deserialize)]
        struct Alerts {
            alerts: Vec<serde_json::Value>,
        }
        let fetched = fetch::get(&format!("{}/api/v1/alerts", self.base), LIMIT).await?;
        Ok(self.read::<Alerts>(&fetched)?.alerts)
    }

    fn series(&self, results: Vec<RangeResult>) -> Result<Vec<Series>, LabError> {
        let series = results.into_iter().map(|one| {
            let (name, labels) = split_name(one.metric);
            let points: Result<_, String> = one
                .values
                .into_iter()
                .map(|(at, value)| Ok((at, number(&value)?)))
                .collect();
            Ok(Series {
                name,
                labels,
                points: points?,
            })
        });
        series
            .collect::<Result<_, String>>()
            .map_err(|reason| self.failed(reason))
    }

    async fn instant(&self, form: &[(&str, &str)]) -> Result<Vec<Sample>, LabError> {
        let results = match self.ask("query", form).await? {
            Instant::Vector(results) => results,
            Instant::Scalar(value) => vec![InstantResult {
                metric: Labels::new(),
                value,
            }],
            Instant::Matrix(_) => return Err(self.failed("a range of samples came for one moment".to_owned())),
        };
        let samples = results.into_iter().map(|one| {
            let (name, labels) = split_name(one.metric);
            Ok(Sample {
                name,
                labels,
                at: one.value.0,
                value: number(&one.value.1)?,
            })
        });
        samples
            .collect::<Result<_, String>>()
            .map_err(|reason| self.failed(reason))
    }

    async fn ask<T: DeserializeOwned>(&self, kind: &str, form: &[(&str, &str)]) -> Result<T, LabError> {
        // VictoriaMetrics keeps answers in a cache unless told not to; Prometheus does not know the word and ignores it.
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .append_pair("nocache", "1")
            .finish();
        let url = format!("{}/api/v1/{kind}", self.base);
        let fetched = fetch::post(&url, "application/x-www-form-urlencoded", body, LIMIT).await?;
        self.read(&fetched)
    }

    fn read<T: DeserializeOwned>(&self, fetched: &fetch::Fetched) -> Result<T, LabError> {
        let reply = serde_json::from_slice::<Reply<T>>(&fetched.body);
        match reply {
            Ok(Reply { data: Some(data), .. }) => Ok(data),
            Ok(Reply { error, .. }) => Err(self.failed(error)),
            Err(error) => Err(self.failed(format!("status {}, {error}: {}", fetched.status, fetched.text()))),
        }
    }

    fn failed(&self, reason: String) -> LabError {
        LabError::Http {
            url: self.base.clone(),
            reason,
        }
    }
}

#[derive(Deserialize)]
struct Reply<T> {
    data: Option<T>,
    #[serde(default)]
    error: String,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Instant {
    Vector(Vec<InstantResult>),
    Matrix(Vec<RangeResult>),
    Scalar((f64, String)),
}

#[derive(Deserialize)]
struct Range {
    result: Vec<RangeResult>,
}

#[derive(Deserialize)]
struct InstantResult {
    metric: Labels,
    value: (f64, String),
}

#[derive(Deserialize)]
struct RangeResult {
    metric: Labels,
    #[serde(default)]
    values: Vec<(f64, String)>,
}

fn split_name(mut labels: Labels) -> (String, Labels) {
    (labels.remove("__name__").unwrap_or_default(), labels)
}

/// Numbers come as text, with `NaN`, `+Inf` and `-Inf`.
fn number(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| format!("{text:?} is not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_numbers_are_read() {
        assert!(number("NaN").unwrap().is_nan());
        assert_eq!(number("+Inf"), Ok(f64::INFINITY));
        assert_eq!(number("1.5e-3"), Ok(0.0015));
        assert!(number("").is_err());
    }

    #[test]
    fn refusal_carries_the_servers_words() {
        let fetched = fetch::Fetched {
            status: hyper::StatusCode::BAD_REQUEST,
            headers: hyper::HeaderMap::new(),
            body: r#"{"status":"error","errorType":"bad_data","error":"parse error: no"}"#.into(),
        };
        let error = PromQl::new("http://x/")
            .read::<Instant>(&fetched)
            .map(drop)
            .unwrap_err();
        assert_eq!(error.to_string(), "http://x: parse error: no");
    }
}
