//! Writes down what the databases answered, for the checks of the dashboards that run without a database.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use xprober_lab::promql::Labels;

use crate::dashboards::{Kind, Question};

/// One series: name, labels, and (seconds, value).
pub(crate) type Series = (String, Labels, Vec<(f64, f64)>);

/// Values as Prometheus writes them.
fn spelled(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    value.to_string()
}

/// One answer as the checks read it; the same expression may be asked for this moment and over time.
pub(crate) fn answer(question: &Question, series: &[Series]) -> Value {
    let series = series.iter().map(|(name, labels, points)| {
        let mut labels = labels.clone();
        if !name.is_empty() {
            labels.insert("__name__".to_owned(), name.clone());
        }
        let points: Vec<_> = points.iter().map(|(at, value)| json!([at, spelled(*value)])).collect();
        json!({"labels": labels, "points": points})
    });
    let instant = question.kind == Kind::Now;
    json!({"expr": question.expr, "instant": instant, "series": series.collect::<Vec<_>>()})
}

/// Writes the answers of a database, one per line.
pub(crate) fn write(file: &Path, answers: &[Value]) {
    let lines: Vec<_> = answers.iter().map(Value::to_string).collect();
    fs::write(file, format!("[\n{}\n]\n", lines.join(",\n"))).unwrap();
}
