//! Reads answers of the HTTP API that Prometheus and `VictoriaMetrics` share
//! (<https://prometheus.io/docs/prometheus/latest/querying/api/>).

use std::collections::BTreeMap;

use serde::Deserialize;

/// Most series that one answer may have: a mesh of 200 regions has 40,000 ordered pairs.
pub const MAX_SERIES: usize = 50_000;

/// Most of a store's complaint that is shown, characters.
const MAX_COMPLAINT: usize = 300;

/// One series at the moment of the question.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Labels by name.
    pub labels: BTreeMap<String, String>,
    /// The value, possibly not a number.
    pub value: f64,
}

impl Sample {
    /// A label's value; `None` when it is not there or empty, which is the same in `PromQL`.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }
}

/// Says why an answer is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The store refused the question.
    #[error("the store refused a question: {0}")]
    Refused(String),
    /// What came is no answer of this API.
    #[error("the answer (status {status}) is not one of Prometheus' API: is query_url its base URL?")]
    Foreign {
        /// The status of the response.
        status: u16,
    },
    /// The answer is larger than a page can show.
    #[error("the answer has more than {MAX_SERIES} series")]
    TooMany,
}

#[derive(Deserialize)]
struct Reply {
    data: Option<Vector>,
    #[serde(default)]
    error: String,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Vector {
    Vector(Vec<Series>),
}

#[derive(Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    /// Time, and the value as text with `NaN`, `+Inf` and `-Inf`.
    value: (f64, String),
}

/// Reads the body of an answer to an instant question.
///
/// # Errors
/// The store refused, or the body is something else.
pub fn read(status: u16, body: &[u8]) -> Result<Vec<Sample>, AnswerError> {
    let foreign = AnswerError::Foreign { status };
    let reply: Reply = serde_json::from_slice(body).map_err(|_| foreign.clone())?;
    let series = match reply {
        Reply {
            data: Some(Vector::Vector(series)),
            ..
        } if (200..300).contains(&status) => series,
        Reply { error, .. } if !error.is_empty() => return Err(AnswerError::Refused(one_line(&error))),
        Reply { .. } => return Err(foreign),
    };
    if series.len() > MAX_SERIES {
        return Err(AnswerError::TooMany);
    }
    let sample = |one: Series| {
        Ok(Sample {
            value: one.value.1.parse().map_err(|_| foreign.clone())?,
            labels: one.metric,
        })
    };
    series.into_iter().map(sample).collect()
}

/// The store's words on one line of bounded length: they go into the log and onto the page.
fn one_line(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(MAX_COMPLAINT).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_instant_vector_is_read() {
        let body = br#"{"status":"success","data":{"resultType":"vector","result":[
            {"metric":{"__name__":"x","source_region":"a"},"value":[1732579200.5,"0.0123"]},
            {"metric":{},"value":[1732579200,"NaN"]},{"metric":{},"value":[1732579200,"+Inf"]}]},"stats":{"seriesFetched":"1"}}"#;
        let samples = read(200, body).unwrap();
        assert_eq!(samples.len(), 3);
        assert_eq!(samples[0].label("source_region"), Some("a"));
        assert_eq!(samples[0].label("target_region"), None);
        assert!((samples[0].value - 0.0123).abs() < 1e-12);
        assert!(samples[1].value.is_nan() && samples[2].value.is_infinite());
    }

    #[test]
    fn a_refusal_carries_the_words_of_the_store_on_one_line() {
        let body = br#"{"status":"error","errorType":"bad_data","error":"parse error:\nno\u001b[31m"}"#;
        let error = read(400, body).unwrap_err();
        assert_eq!(error.to_string(), "the store refused a question: parse error: no [31m");
    }

    #[test]
    fn anything_else_is_told_from_an_answer() {
        for (status, body) in [
            (200, &b"<html>Grafana</html>"[..]),
            (502, b"bad gateway"),
            (200, b"{}"),
            (
                404,
                br#"{"status":"success","data":{"resultType":"vector","result":[]}}"#,
            ),
            (200, br#"{"data":{"resultType":"matrix","result":[]}}"#),
            (
                200,
                br#"{"data":{"resultType":"vector","result":[{"metric":{},"value":[1,"x"]}]}}"#,
            ),
        ] {
            let text = String::from_utf8_lossy(body);
            assert_eq!(read(status, body), Err(AnswerError::Foreign { status }), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(status: u16, body: Vec<u8>) {
            let _ = read(status, &body);
        }
    }
}
