//! Draws an alert as Alertmanager sent it.

use std::fmt::Write as _;

use serde_json::Value;

/// Labels that come first; the rest follows by name.
const FIRST: [&str; 5] = ["alertname", "line", "source_region", "target_region", "owner"];

/// Draws the elements of `alerts` of one webhook message; the watchdog, which always fires, is left out.
#[must_use]
pub fn draw(message: &Value) -> String {
    let alerts = message.get("alerts").and_then(Value::as_array).into_iter().flatten();
    alerts
        .filter(|alert| alert["labels"]["alertname"] != "Watchdog")
        .map(draw_one)
        .collect()
}

fn draw_one(alert: &Value) -> String {
    let text = |value: &Value| printable(value.as_str().unwrap_or_default());
    let mut drawn = format!(
        "  [{}] {}\n",
        text(&alert["status"]).to_uppercase(),
        text(&alert["annotations"]["summary"])
    );
    let labels = alert["labels"].as_object();
    let mut pairs: Vec<_> = labels.into_iter().flatten().collect();
    pairs.sort_by_key(|(name, _)| {
        (
            FIRST.iter().position(|first| first == name).unwrap_or(FIRST.len()),
            *name,
        )
    });
    let pairs: Vec<_> = pairs
        .into_iter()
        .map(|(name, value)| format!("{name}={}", text(value)))
        .collect();
    let _infallible = writeln!(drawn, "    labels: {}", pairs.join(" "));
    for name in ["value", "description"] {
        let _infallible = writeln!(drawn, "    {name}: {}", text(&alert["annotations"][name]));
    }
    drawn
}

/// Text from the network without what a terminal would obey.
fn printable(text: &str) -> String {
    let show = |c: char| {
        if c.is_control() {
            c.escape_unicode().to_string()
        } else {
            c.to_string()
        }
    };
    text.chars().map(show).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn labels_stand_in_a_fixed_order_and_control_characters_are_escaped() {
        let message = json!({"alerts": [
            {"status": "firing", "labels": {"alertname": "Watchdog"}, "annotations": {}},
            {"status": "firing",
             "labels": {"owner": "netops", "alertname": "LineLatencyOverBudget", "line": "a-b-1", "carrier": "x\u{1b}[2J"},
             "annotations": {"summary": "line a-b-1 is slow", "value": "100%", "description": "all of it"}},
        ]});
        assert_eq!(
            draw(&message),
            "  [FIRING] line a-b-1 is slow\n    labels: alertname=LineLatencyOverBudget line=a-b-1 owner=netops \
             carrier=x\\u{1b}[2J\n    value: 100%\n    description: all of it\n"
        );
    }
}
