//! One HTTP probe for people: where its time went.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use xprober_proto::ProbeSpec;

use crate::probe::{HttpResult, Stage};

/// Columns of the waterfall.
const WIDTH: u32 = 40;

/// Draws the stages of `result` as a waterfall: text of several lines for a terminal, without colours.
///
/// Each bar starts where the stage before ended. With redirects the stages are sums, so the picture shows shares and not
/// the order of events.
#[must_use]
pub fn render(result: &HttpResult) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{}\n{}\n", request_line(result), outcome_line(result));
    let mut elapsed = Duration::ZERO;
    for stage in Stage::ALL {
        let Some(spent) = result.stages.get(stage) else {
            let _ = writeln!(text, "  {:<10} {:>13}", stage.as_str(), "-");
            continue;
        };
        let start = column(elapsed, result.duration);
        elapsed += spent;
        let end = column(elapsed, result.duration);
        let bar = "█".repeat((end - start).max(u32::from(!spent.is_zero())) as usize);
        let bar = if bar.is_empty() { "▏" } else { &bar };
        let mark = if result.failure.is_some_and(|failure| failure.stage == stage) {
            " failed"
        } else {
            ""
        };
        let indent = start.min(WIDTH - 1) as usize;
        let _ = writeln!(
            text,
            "  {:<10} {:>10} ms  {:indent$}{bar}{mark}",
            stage.as_str(),
            millis(spent),
            ""
        );
    }
    let _ = writeln!(text, "  {:<10} {:>10} ms", "total", millis(result.duration));
    text
}

/// Writes `result` as one JSON object: times in seconds under the names of the series, absent values as null.
#[must_use]
pub fn to_json(result: &HttpResult) -> Value {
    let stages: serde_json::Map<String, Value> = Stage::ALL
        .into_iter()
        .filter_map(|stage| {
            Some((
                stage.as_str().to_owned(),
                json!(result.stages.get(stage)?.as_secs_f64()),
            ))
        })
        .collect();
    json!({
        "target": result.target.name,
        "success": result.failure.is_none(),
        "failure": result.failure.map(|failure| json!({
            "stage": failure.stage.as_str(),
            "reason": failure.reason.as_str(),
        })),
        "status": result.status,
        "duration_seconds": result.duration.as_secs_f64(),
        "stages_seconds": stages,
        "body_bytes": result.body_bytes,
        "redirects": result.redirects,
        "tls_not_after_timestamp_seconds": result.tls_not_after,
    })
}

fn request_line(result: &HttpResult) -> String {
    match &result.target.probe {
        ProbeSpec::Http(spec) => {
            let mut url = spec.url.clone();
            if url.password().is_some() {
                // An http URL takes a password: that it has one shows it.
                let _ = url.set_password(Some("xxx"));
            }
            format!("{} {url}", spec.method)
        }
        ProbeSpec::Icmp(_) | ProbeSpec::Tcp(_) => result.target.name.clone(),
    }
}

fn outcome_line(result: &HttpResult) -> String {
    let mut parts = vec![result.failure.map_or_else(
        || "ok".to_owned(),
        |failure| format!("failed in stage {}: {}", failure.stage, failure.reason.as_str()),
    )];
    parts.extend(
        result
            .status
            .map(|status| format!("status {status}, {} body bytes", result.body_bytes)),
    );
    match result.redirects {
        0 => {}
        1 => parts.push("1 redirect".to_owned()),
        redirects => parts.push(format!("{redirects} redirects")),
    }
    parts.extend(result.tls_not_after.and_then(certificate));
    parts.join(", ")
}

/// Says when the certificate ends, as a date in UTC.
fn certificate(not_after: i64) -> Option<String> {
    let time = x509_parser::time::ASN1Time::from_timestamp(not_after).ok()?;
    Some(format!("certificate valid until {}", time.to_datetime().date()))
}

/// Column of `elapsed` on the scale of `total`.
fn column(elapsed: Duration, total: Duration) -> u32 {
    let elapsed = elapsed.min(total).as_nanos() * u128::from(WIDTH);
    u32::try_from(elapsed / total.as_nanos().max(1)).unwrap_or(WIDTH)
}

fn millis(spent: Duration) -> String {
    format!("{:.2}", spent.as_secs_f64() * 1e3)
}
