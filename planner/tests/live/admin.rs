//! Pages, metrics and reloads over real HTTP.

use std::path::Path;
use std::time::Duration;

use crate::support::{PORTS, hello, http, join, metric, start, start_with};
use xprober_config::planner::PlannerOverrides;
use xprober_planner::reload::task::Source;
use xprober_proto::PlanUpdate;

#[tokio::test]
async fn health_readiness_and_metrics_answer() {
    let planner = start("").await;
    for path in [
        "/healthz",
        "/readyz",
        "/",
        "/?show=loss",
        "/metrics",
        "/api/v1/plan",
        "/api/v1/matrix",
    ] {
        assert_eq!(http(planner.web, "GET", path).await.0, 200, "{path}");
    }
    assert_eq!(http(planner.web, "GET", "/-/reload").await.0, 405);
    assert_eq!(http(planner.web, "GET", "/nothing").await.0, 404);
    planner.end().await;
}

#[tokio::test]
async fn every_series_of_the_catalogue_is_there_from_the_start() {
    let planner = start("").await;
    let (_, text) = http(planner.web, "GET", "/metrics").await;
    let names: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("# ") && !line.contains("EOF"))
        .collect();
    insta::assert_snapshot!(names.join("\n"));
    for (series, value) in [
        ("xprober_planner_build_info{version=\"0.1.0\"}", 1.0),
        ("xprober_planner_config_last_reload_successful", 1.0),
        ("xprober_planner_hellos_rejected_total{reason=\"address\"}", 0.0),
        ("xprober_planner_plans_sent_total{kind=\"delta\"}", 0.0),
    ] {
        assert_eq!(metric(planner.web, series).await, Some(value), "{series}");
    }
    planner.end().await;
}

/// Replaces the file in one step, as it may be read at any moment.
fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, file).unwrap();
}

#[tokio::test]
async fn a_bad_file_keeps_the_running_settings_and_a_good_one_reaches_the_agents() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("planner.yml");
    std::fs::write(&file, PORTS).unwrap();
    let source = Source {
        file: file.clone(),
        overrides: PlannerOverrides::default(),
    };
    let planner = start_with("", Duration::ZERO, Some(source)).await;
    let mut vm1 = join(planner.rpc, hello("region-a", "vm1")).await;
    assert!(matches!(vm1.plan().await, PlanUpdate::Full(_)));

    replace(&file, &format!("{PORTS}mehs: {{}}\nlines: 7\n"));
    let (code, answer) = http(planner.web, "POST", "/-/reload").await;
    assert_eq!(code, 500);
    assert!(
        answer.contains("planner.yml:3: mehs") && answer.contains("planner.yml:4: lines"),
        "{answer}"
    );
    let successful = "xprober_planner_config_last_reload_successful";
    assert_eq!(metric(planner.web, successful).await, Some(0.0));
    let (_, page) = http(planner.web, "GET", "/").await;
    assert!(page.contains("was refused") && page.contains("mehs"), "{page}");

    replace(&file, &format!("{PORTS}limits: {{max_probes_per_second: 77}}\n"));
    assert_eq!(http(planner.web, "POST", "/-/reload").await.0, 200);
    assert_eq!(metric(planner.web, successful).await, Some(1.0));
    match vm1.plan().await {
        PlanUpdate::Full(plan) => assert_eq!(plan.limits.max_probes_per_second, 77),
        other => panic!("a full plan was expected, got {other:?}"),
    }

    // Nobody asks: the changed file is noticed.
    let moved = PORTS.replace("127.0.0.1:0\nmetrics", "127.0.0.2:0\nmetrics");
    replace(&file, &format!("{moved}limits: {{max_probes_per_second: 78}}\n"));
    match vm1.plan().await {
        PlanUpdate::Full(plan) => assert_eq!(plan.limits.max_probes_per_second, 78),
        other => panic!("a full plan was expected, got {other:?}"),
    }
    let (_, page) = http(planner.web, "GET", "/").await;
    assert!(page.contains("Waiting for a restart: rpc_listen_addr"), "{page}");
    planner.end().await;
}

#[tokio::test]
async fn the_page_shows_agents_targets_and_lines_and_escapes_what_others_sent() {
    let planner = start(
        "prober_targets: [{prober_type: http, region: region-b, target: [\"http://192.0.2.1/?a=1&b=2\"]}]
lines: [{name: a-b-1, between: [region-a, region-b], rtt_budget: 10ms, owner: \"<script>alert(1)</script>\"}]
",
    )
    .await;
    let mut odd = hello("region-a", "vm1");
    odd.version = "<img src=x onerror=alert(1)>".to_owned();
    let mut vm1 = join(planner.rpc, odd).await;
    let mut vm3 = join(planner.rpc, hello("region-b", "vm3")).await;
    vm1.plan().await;
    vm3.plan().await;
    let (_, page) = http(planner.web, "GET", "/").await;
    for shown in [
        "region-a",
        "vm3",
        "127.0.0.1",
        "&lt;img src=x onerror=alert(1)&gt;",
        "http://192.0.2.1/?a=1&amp;b=2",
        "a-b-1",
        "&lt;script&gt;",
        "name=\"viewport\"",
    ] {
        assert!(page.contains(shown), "{shown} is not on the page:\n{page}");
    }
    assert!(!page.contains("<script>alert") && !page.contains("<img"), "{page}");
    assert!(
        page.contains("content-security-policy: default-src 'none'; script-src 'sha256-"),
        "{page}"
    );
    planner.end().await;
}
