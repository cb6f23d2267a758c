//! The messages of Remote-Write 1.0 and 2.0, all of their fields that a receiver looks at.
//!
//! Written by hand and apart from the ones that the agent uses: a mistake there must not be able to hide itself here.
//! Sources: <https://prometheus.io/docs/specs/prw/remote_write_spec/> and `remote_write_spec_2_0`.

use std::collections::BTreeMap;

use prost::Message;

/// `prometheus.WriteRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct WriteRequest {
    /// Series with their samples.
    #[prost(message, repeated, tag = "1")]
    pub timeseries: Vec<TimeSeries>,
}

/// `prometheus.TimeSeries`.
#[derive(Clone, PartialEq, Message)]
pub struct TimeSeries {
    /// Name and value pairs.
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<Label>,
    /// Float samples.
    #[prost(message, repeated, tag = "2")]
    pub samples: Vec<Sample>,
    /// Native histograms.
    #[prost(message, repeated, tag = "4")]
    pub histograms: Vec<Histogram>,
}

/// `prometheus.Label`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Message)]
pub struct Label {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// `prometheus.Sample`, and the same fields of `io.prometheus.write.v2.Sample`.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Sample {
    /// Value.
    #[prost(double, tag = "1")]
    pub value: f64,
    /// Milliseconds since 1970.
    #[prost(int64, tag = "2")]
    pub timestamp: i64,
}

/// `prometheus.Histogram` with integer counts, and the same fields of `io.prometheus.write.v2.Histogram`.
#[derive(Clone, PartialEq, Message)]
pub struct Histogram {
    /// Observations.
    #[prost(uint64, optional, tag = "1")]
    pub count: Option<u64>,
    /// Sum of the observations.
    #[prost(double, tag = "3")]
    pub sum: f64,
    /// -4..8: exponential with `2^(2^-schema)` as growth factor; -53: custom bounds.
    #[prost(sint32, tag = "4")]
    pub schema: i32,
    /// Observations up to this count as zero.
    #[prost(double, tag = "5")]
    pub zero_threshold: f64,
    /// How many.
    #[prost(uint64, optional, tag = "6")]
    pub zero_count: Option<u64>,
    /// Runs of buckets.
    #[prost(message, repeated, tag = "11")]
    pub positive_spans: Vec<BucketSpan>,
    /// Each bucket's count less the one before.
    #[prost(sint64, repeated, tag = "12")]
    pub positive_deltas: Vec<i64>,
    /// Milliseconds since 1970.
    #[prost(int64, tag = "15")]
    pub timestamp: i64,
    /// Upper bounds where the schema is -53.
    #[prost(double, repeated, tag = "16")]
    pub custom_values: Vec<f64>,
}

/// `prometheus.BucketSpan`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct BucketSpan {
    /// Gap to the run before.
    #[prost(sint32, tag = "1")]
    pub offset: i32,
    /// Buckets in it.
    #[prost(uint32, tag = "2")]
    pub length: u32,
}

/// `io.prometheus.write.v2.Request`.
#[derive(Clone, PartialEq, Message)]
pub struct RequestV2 {
    /// Every text once; the first is empty.
    #[prost(string, repeated, tag = "4")]
    pub symbols: Vec<String>,
    /// Series with their samples.
    #[prost(message, repeated, tag = "5")]
    pub timeseries: Vec<TimeSeriesV2>,
}

/// `io.prometheus.write.v2.TimeSeries`.
#[derive(Clone, PartialEq, Message)]
pub struct TimeSeriesV2 {
    /// Name and value by turns, as places in the symbols.
    #[prost(uint32, repeated, tag = "1")]
    pub labels_refs: Vec<u32>,
    /// Float samples.
    #[prost(message, repeated, tag = "2")]
    pub samples: Vec<Sample>,
    /// Native histograms.
    #[prost(message, repeated, tag = "3")]
    pub histograms: Vec<Histogram>,
}

impl From<&WriteRequest> for RequestV2 {
    fn from(request: &WriteRequest) -> Self {
        let mut symbols = vec![String::new()];
        let mut places = BTreeMap::from([(String::new(), 0)]);
        let mut place = |text: &String| {
            *places.entry(text.clone()).or_insert_with(|| {
                symbols.push(text.clone());
                u32::try_from(symbols.len() - 1).unwrap_or(u32::MAX)
            })
        };
        let timeseries = request.timeseries.iter().map(|series| TimeSeriesV2 {
            labels_refs: series
                .labels
                .iter()
                .flat_map(|label| [place(&label.name), place(&label.value)])
                .collect(),
            samples: series.samples.clone(),
            histograms: series.histograms.clone(),
        });
        let timeseries = timeseries.collect();
        Self { symbols, timeseries }
    }
}

impl RequestV2 {
    /// The request with its labels spelt out; the text says which reference leads nowhere.
    ///
    /// # Errors
    /// When labels come in no pairs, a reference is out of range, or the first symbol is not empty.
    pub fn resolve(&self) -> Result<WriteRequest, String> {
        if self.symbols.first().is_some_and(|first| !first.is_empty()) {
            return Err(format!("the first symbol is {:?}", self.symbols[0]));
        }
        let text = |place: u32| {
            let found = usize::try_from(place).ok().and_then(|place| self.symbols.get(place));
            found.cloned().ok_or_else(|| format!("no symbol {place}"))
        };
        let series = self.timeseries.iter().map(|series| {
            let (pairs, rest) = series.labels_refs.as_chunks::<2>();
            if !rest.is_empty() {
                return Err("a label without a value".to_owned());
            }
            let labels = pairs.iter().map(|[name, value]| {
                Ok(Label {
                    name: text(*name)?,
                    value: text(*value)?,
                })
            });
            Ok(TimeSeries {
                labels: labels.collect::<Result<_, String>>()?,
                samples: series.samples.clone(),
                histograms: series.histograms.clone(),
            })
        });
        Ok(WriteRequest {
            timeseries: series.collect::<Result<_, String>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> WriteRequest {
        let label = |name: &str, value: &str| Label {
            name: name.to_owned(),
            value: value.to_owned(),
        };
        let series = |value: &str| TimeSeries {
            labels: vec![label("__name__", "up"), label("target", value)],
            samples: vec![Sample {
                value: 1.0,
                timestamp: 7,
            }],
            histograms: Vec::new(),
        };
        WriteRequest {
            timeseries: vec![series("a"), series("up")],
        }
    }

    #[test]
    fn symbols_hold_every_text_once_and_lead_back() {
        let second = RequestV2::from(&request());
        assert_eq!(second.symbols, ["", "__name__", "up", "target", "a"]);
        assert_eq!(second.timeseries[1].labels_refs, [1, 2, 3, 2]);
        assert_eq!(second.resolve(), Ok(request()));
    }

    #[test]
    fn references_that_lead_nowhere_are_told() {
        let whole = RequestV2::from(&request());
        let mut odd = whole.clone();
        odd.timeseries[0].labels_refs.pop();
        assert_eq!(odd.resolve().unwrap_err(), "a label without a value");
        let mut far = whole.clone();
        far.timeseries[0].labels_refs[1] = 5;
        assert_eq!(far.resolve().unwrap_err(), "no symbol 5");
        let mut first = whole;
        first.symbols[0] = "x".to_owned();
        assert!(first.resolve().is_err());
    }
}
