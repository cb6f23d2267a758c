//! Every panel of every dashboard shows something, on Prometheus and on `VictoriaMetrics`, once what it is there for has
//! happened.

#![expect(clippy::unwrap_used, reason = "what the tests share fails them, too")]

mod dashboards;
mod record;
mod scene;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use dashboards::{Choice, Dashboard, Kind, Question};
use record::Series;
use scene::Scene;
use tokio::time::Instant;
use xprober_lab::fetch;
use xprober_lab::promql::PromQl;
use xprober_lab::stack::planner_url;
use xprober_lab::testing::in_lab;
use xprober_lab::topology::Topology;

/// Until everything has happened and every window is full.
const LIMIT: Duration = Duration::from_secs(130);
/// Between two rounds of questions.
const PAUSE: Duration = Duration::from_secs(2);
/// What panels over time are asked for.
const WINDOW: f64 = 60.0;
/// See [`WINDOW`].
const STEP: Duration = Duration::from_secs(15);
/// Folder to write the answers to; see `make answers`.
const RECORD: &str = "XPROBER_RECORD_ANSWERS";

fn now() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    since.as_secs_f64()
}

async fn ask(client: &PromQl, question: &Question, asked: &str, at: f64) -> Vec<Series> {
    match question.kind {
        Kind::Now => {
            let samples = client.query_at(asked, at).await;
            let samples = samples.unwrap_or_else(|error| unreachable!("{}: {error}", question.place));
            let series = samples.into_iter();
            series
                .map(|one| (one.name, one.labels, vec![(one.at, one.value)]))
                .collect()
        }
        Kind::Over => {
            let series = client.query_range(asked, at - WINDOW, at, STEP).await;
            let series = series.unwrap_or_else(|error| unreachable!("{}: {error}", question.place));
            series
                .into_iter()
                .map(|one| (one.name, one.labels, one.points))
                .collect()
        }
    }
}

/// Asks again and again what has no answer yet.
async fn until_everything_is_answered(database: &str, client: &PromQl, mut open: Vec<Question>) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let at = now();
        let mut still_open = Vec::new();
        for question in open {
            if ask(client, &question, &question.asked, at).await.is_empty() {
                still_open.push(question);
            }
        }
        if still_open.is_empty() {
            return;
        }
        let places: Vec<_> = still_open
            .iter()
            .map(|one| format!("{}\n    {}", one.place, one.asked))
            .collect();
        assert!(
            Instant::now() < deadline,
            "no data on {database} for\n{}",
            places.join("\n")
        );
        open = still_open;
        tokio::time::sleep(PAUSE).await;
    }
}

/// Every viewer's first look, and for the line dashboard a pair and its line, as an alert's link chooses them.
fn looks(dashboard: &Dashboard) -> Vec<Choice> {
    let first = Choice::from([("probe", "icmp")]);
    let mut looks = vec![first.clone()];
    if dashboard.name == "line" {
        let mut pair = first;
        pair.extend([
            ("source_region", "region-a"),
            ("target_region", "region-b"),
            ("line", "a-b-1"),
        ]);
        looks.push(pair);
    }
    looks
}

fn questions() -> Vec<Question> {
    let asked = dashboards::all().into_iter().flat_map(|dashboard| {
        let looks = looks(&dashboard).into_iter();
        let asked = looks.flat_map(|choice| [dashboard.questions(&choice), dashboard.choices(&choice)].concat());
        asked.collect::<Vec<_>>()
    });
    asked.collect()
}

/// Writes what each database says to every query with nothing chosen, and the planner's page.
async fn record_answers(folder: &std::path::Path, databases: &[(&str, PromQl)]) {
    let first: Vec<_> = dashboards::all()
        .iter()
        .flat_map(|dashboard| dashboard.questions(&looks(dashboard).remove(0)))
        .collect();
    let at = now();
    for (name, client) in databases {
        let mut answers = BTreeMap::new();
        for question in &first {
            let vacuous = if question.expr.ends_with(" or vector(0)") {
                " or vector(0)"
            } else {
                ""
            };
            let asked = format!("{}{vacuous}", question.asked);
            let series = ask(client, question, &asked, at).await;
            let key = (question.expr.clone(), question.kind == Kind::Now);
            answers.insert(key, record::answer(question, &series));
        }
        record::write(
            &folder.join(format!("{name}.json")),
            &answers.into_values().collect::<Vec<_>>(),
        );
    }
    let page = fetch::get(&planner_url("/metrics"), LIMIT).await.unwrap();
    std::fs::write(folder.join("planner.txt"), page.text()).unwrap();
}

#[test]
fn every_panel_has_data_on_both_databases() {
    in_lab(
        "every_panel_has_data_on_both_databases",
        Topology::demo(),
        async |lab| {
            let scene = Scene::start(lab).await;
            let databases = [
                ("prometheus", scene.stack.store.client()),
                ("victoriametrics", scene.victoria.client()),
            ];
            let questions = questions();
            assert!(questions.len() > 150, "only {} questions were found", questions.len());
            let [one, other] = &databases;
            tokio::join!(
                scene.stall(),
                until_everything_is_answered(one.0, &one.1, questions.clone()),
                until_everything_is_answered(other.0, &other.1, questions),
            );
            if let Some(folder) = std::env::var_os(RECORD) {
                record_answers(&PathBuf::from(folder), &databases).await;
            }
            scene.stop().await;
        },
    );
}
