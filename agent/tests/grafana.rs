//! Every alert says where to read on. What rules and dashboards use is checked by `grafana/dashboards/check.sh`.

#![expect(clippy::unwrap_used, reason = "what the tests share fails them, too")]

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap()
}

#[test]
fn every_alert_leads_to_a_section_of_the_runbook() {
    let runbook = read("docs/runbook.md");
    let text = read("grafana/rules/alerts.yml");
    let alerts: Vec<_> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    assert!(alerts.len() >= 4, "{alerts:?}");
    for alert in alerts {
        assert!(
            runbook.contains(&format!("\n## {alert}\n")),
            "docs/runbook.md has no section {alert}"
        );
        assert!(
            text.contains(&format!("docs/runbook.md#{}\n", alert.to_lowercase())),
            "{alert} has no runbook link"
        );
    }
}
