//! The planner's page in a real browser, with values from the real stores: right numbers, right words, nothing hidden behind
//! the edge of a phone, no complaint on the console, no request to anybody else, and what it shows when a part is gone.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what the tests share fails them, too")]

use std::collections::BTreeMap;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use xprober_lab::accuracy::band::{band, double};
use xprober_lab::browser::protocol::Noted;
use xprober_lab::browser::{Browser, Device};
use xprober_lab::promql::Sample;
use xprober_lab::servers::http::Behaviour;
use xprober_lab::stack::{Database, Stack, StackPlan, measured_regions, planner_url};
use xprober_lab::testing::in_lab;
use xprober_lab::topology::Topology;
use xprober_lab::world::Lab;

/// Until something that takes seconds has happened on a busy machine, or a window of a minute has filled.
const LIMIT: Duration = Duration::from_mins(2);
/// Between two looks at something that has no way to call us.
const PAUSE: Duration = Duration::from_millis(200);
/// Added to the round-trip time of the slow line, whose budget allows 5 ms.
const SLOWER: Duration = Duration::from_millis(30);
/// Lost on each way of the lossy line, whose budget allows 1 %.
const LOSS: f64 = 0.1;
/// What a bucket of the histogram is wide: ten for each decade.
const BUCKET: f64 = 1.26;
/// What a busy machine may add to half of the round trips, seconds.
const BUSY: f64 = 0.005;
/// What the page rounds a time to.
const ROUNDING: f64 = 0.006;
/// What the page rounds a share to.
const SHARE_ROUNDING: f64 = 0.001;

const SLOW: [&str; 2] = ["region-a", "region-b"];
const LOSSY: [&str; 2] = ["region-b", "region-c"];
const CUT: [&str; 2] = ["region-c", "region-d"];
/// The name of the line that is cut.
const CUT_LINE: &str = "c-d-1";

/// Every cell of the matrix: source, target, state, value and note.
const CELLS: &str = "[...document.querySelectorAll('table.matrix td[data-source]')].map((td) => ({source: td.dataset.source, \
    target: td.dataset.target, state: td.className, value: td.querySelector('b').textContent, \
    note: td.querySelector('small').textContent}))";

/// Every direction of a line: the texts of its row.
const LINES: &str =
    "[...document.querySelectorAll('tr[data-line]')].map((tr) => [...tr.children].map((one) => one.textContent))";

/// What reaches beyond the screen without being in a part that scrolls, and how wide the page is in screens.
const OVERFLOW: &str = "({wider: document.documentElement.scrollWidth - window.innerWidth, \
    width: window.innerWidth, beyond: [...document.body.querySelectorAll('*')].filter((one) => \
    !one.closest('.scroll, caption') && one.getBoundingClientRect().right > window.innerWidth + 1).map((one) => one.outerHTML.slice(0, 200))})";

/// Texts whose contrast to what is behind them is below 4.5 (WCAG 2.2, success criterion 1.4.3).
const FAINT: &str = "(() => {
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = (color) => { const [r, g, b] = numbers(color).map((c) => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = (one) => { for (; one; one = one.parentElement) { const color = getComputedStyle(one).backgroundColor;
    const [, , , alpha] = numbers(color); if (alpha === undefined || alpha === 1) return color; } return 'rgb(255,255,255)'; };
  const own = (one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  return [...document.body.querySelectorAll('*')].filter((one) => own(one) && one.checkVisibility() && one.tagName !== 'SCRIPT').map((one) => {
    const [a, b] = [light(getComputedStyle(one).color), light(behind(one))];
    return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), one.textContent.slice(0, 40)]; }).filter(([ratio]) => ratio < 4.5);
})()";

#[derive(Debug, Clone, Deserialize)]
struct Cell {
    source: String,
    target: String,
    state: String,
    value: String,
    note: String,
}

/// Region that sends and region that answers.
type Pair = (String, String);

/// The least and the greatest value of each pair.
type Ranges = BTreeMap<Pair, [f64; 2]>;

/// Probes of a pair since the start.
#[derive(Debug, Clone, Copy)]
struct Totals {
    lost: f64,
    all: f64,
}

impl Totals {
    /// The shares that can be lost of so many probes when each is with that probability: all but one of ten million.
    fn likely(self, probability: f64) -> RangeInclusive<f64> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count of probes"
        )]
        let [least, most] = band(self.all as u64, probability, 1.0 - 1e-7);
        double(least) / self.all..=double(most) / self.all
    }
}

impl Cell {
    fn pair(&self) -> Pair {
        (self.source.clone(), self.target.clone())
    }

    fn is(&self, pair: [&str; 2]) -> bool {
        joins([&self.source, &self.target], pair)
    }
}

/// Whether both are the same two regions.
fn joins(pair: [&str; 2], other: [&str; 2]) -> bool {
    pair == other || [pair[1], pair[0]] == other
}

fn cells(value: &Value) -> Vec<Cell> {
    serde_json::from_value(value.clone()).unwrap()
}

fn lines(value: &Value) -> Vec<Vec<String>> {
    serde_json::from_value(value.clone()).unwrap()
}

/// A time as the page writes it, in seconds.
fn seconds(text: &str) -> f64 {
    time(text).unwrap_or_else(|| panic!("{text:?} is no time"))
}

/// The same, nothing when it is no time.
fn time(text: &str) -> Option<f64> {
    let (number, unit) = text.split_once(' ')?;
    let scale = match unit {
        "ms" => 1e-3,
        "s" => 1.0,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * scale)
}

fn percent(text: &str) -> f64 {
    let number = text.trim_start_matches("< ").strip_suffix(" %");
    number
        .unwrap_or_else(|| panic!("{text:?} is no share"))
        .parse()
        .unwrap()
}

/// Where pictures are kept.
fn artifacts() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../artifacts");
    fs::create_dir_all(&folder).unwrap();
    folder.canonicalize().unwrap()
}

async fn picture(browser: &mut Browser, name: &str) {
    browser
        .screenshot(&artifacts().join(format!("{name}.png")))
        .await
        .unwrap();
}

/// A slow line, a lossy one and a cut one, from the start on.
fn disturb(lab: &Lab) {
    let wan = lab.wan();
    wan.change_both(SLOW[0], SLOW[1], |path| path.latency += SLOWER / 2)
        .unwrap();
    wan.change_both(LOSSY[0], LOSSY[1], |path| path.loss = LOSS).unwrap();
    wan.set_up(CUT[0], CUT[1], false).unwrap();
}

/// Holds the cells with round-trip times against the WAN and what the rules recorded.
fn assert_round_trips(lab: &Lab, cells: &[Cell], recorded: &Ranges) {
    for cell in cells {
        let told = format!("{cell:?}");
        if cell.is(CUT) {
            assert_eq!(
                (cell.state.as_str(), cell.value.as_str(), cell.note.as_str()),
                ("down", "no reply", "✕ loss 100 %"),
                "{told}"
            );
            continue;
        }
        let emulated = lab.wan().rtt(&cell.source, &cell.target).unwrap().as_secs_f64();
        let measured = seconds(&cell.value);
        assert!(measured > emulated / BUCKET, "{told}, the WAN emulates {emulated} s");
        // On a busy machine the slowest probes are slower than the WAN, and how much the store knows.
        let [least, most] = recorded[&cell.pair()];
        assert!(
            (least * (1.0 - ROUNDING)..=most * (1.0 + ROUNDING)).contains(&measured),
            "{told}, the store has {least} s to {most} s"
        );
        if cell.is(SLOW) {
            assert!(
                cell.state == "over" && cell.note.contains("▲") && cell.note.contains("% over 15ms"),
                "{told}"
            );
        } else if cell.is(LOSSY) {
            assert!(cell.state == "over" && cell.note.contains("loss over 1 %"), "{told}");
        } else {
            // A busy machine may make one probe in a hundred late.
            assert!(["within", "strained"].contains(&cell.state.as_str()), "{told}");
        }
    }
}

/// Holds the cells with losses against what the rules recorded, and what the store holds of each pair against the WAN.
fn assert_losses(cells: &[Cell], recorded: &Ranges, totals: &BTreeMap<Pair, Totals>) {
    for cell in cells {
        let shown = percent(&cell.value) / 100.0;
        let [least, most] = recorded[&cell.pair()];
        assert!(
            (least - SHARE_ROUNDING..=most + SHARE_ROUNDING).contains(&shown),
            "{cell:?}, the store has {least} to {most}"
        );
        let total = totals[&cell.pair()];
        let expected = if cell.is(CUT) {
            1.0..=1.0
        } else if cell.is(LOSSY) {
            total.likely(1.0 - (1.0 - LOSS) * (1.0 - LOSS))
        } else {
            0.0..=0.01
        };
        let lost = total.lost / total.all;
        assert!(expected.contains(&lost), "{cell:?} {total:?}, expected {expected:?}");
    }
}

/// Holds the table of lines against the WAN: median, budgets and labels in both directions.
fn assert_lines(lab: &Lab, rows: &Value) {
    let rows = lines(rows);
    assert_eq!(rows.len(), 12, "{rows:?}");
    for row in &rows {
        let [
            name,
            direction,
            state,
            p50,
            _,
            loss,
            over,
            budget,
            loss_budget,
            circuit,
            carrier,
            owner,
        ] = row.as_slice()
        else {
            panic!("{row:?}");
        };
        let (source, target) = direction.split_once(" → ").unwrap();
        assert!(circuit.starts_with("LAB-"), "{row:?}");
        assert_eq!(
            [carrier.as_str(), owner, loss_budget],
            ["lab", "netops", "1 %"],
            "{row:?}"
        );
        let allowed = lab.topology().rtt_between(source, target) + Duration::from_millis(5);
        assert_eq!(*budget, format!("{}ms", allowed.as_millis()), "{row:?}");
        if name == CUT_LINE {
            assert_eq!([state.as_str(), p50, loss], ["✕ no reply", "–", "100 %"], "{row:?}");
            continue;
        }
        let emulated = lab.wan().rtt(source, target).unwrap().as_secs_f64();
        let measured = seconds(p50);
        assert!(
            measured > emulated / BUCKET && measured < emulated * BUCKET + BUSY,
            "{row:?}"
        );
        if name == "a-b-1" {
            assert!(state == "▲ over budget" && percent(over) > 95.0, "{row:?}");
        }
    }
}

/// Looks at the page as it is now on a device: everything readable, nothing beyond the edge.
async fn assert_readable(browser: &mut Browser, device: Device, name: &str) {
    browser.hold(device).await.unwrap();
    browser.open(&planner_url("/")).await.unwrap();
    let overflow = browser.evaluate(OVERFLOW).await.unwrap();
    assert_eq!(overflow["width"], device.width, "the page is scaled down: {overflow:#}");
    assert_eq!(
        (&overflow["wider"], &overflow["beyond"]),
        (&0.into(), &Value::Array(Vec::new())),
        "{overflow:#}"
    );
    let faint = browser.evaluate(FAINT).await.unwrap();
    assert_eq!(faint, Value::Array(Vec::new()), "faint texts on {name}");
    picture(browser, name).await;
}

/// The first column and the heading stay where they are while the matrix is scrolled.
async fn assert_headings_stay(browser: &mut Browser) {
    let place = "(() => { const at = (one) => one.getBoundingClientRect(); const box = document.getElementById('matrix-scroll'); \
        return [at(document.querySelector('.matrix tbody th')).left - at(box).left, \
        at(document.querySelector('.matrix td')).left - at(box).left, box.scrollLeft]; })()";
    let places = |value: Value| serde_json::from_value::<[f64; 3]>(value).unwrap();
    let before = places(browser.evaluate(place).await.unwrap());
    browser
        .evaluate("document.getElementById('matrix-scroll').scrollLeft = 60")
        .await
        .unwrap();
    let after = places(browser.evaluate(place).await.unwrap());
    assert!((after[2] - 60.0).abs() < 1.0, "the matrix does not scroll: {after:?}");
    assert!(
        (after[0] - before[0]).abs() < 1.0,
        "the heading moved: {before:?} {after:?}"
    );
    assert!(
        (before[1] - after[1] - 60.0).abs() < 1.5,
        "the cells did not: {before:?} {after:?}"
    );
}

/// The planner's own values as JSON.
async fn matrix() -> Value {
    let fetched = xprober_lab::fetch::get(&planner_url("/api/v1/matrix"), LIMIT)
        .await
        .unwrap();
    serde_json::from_slice(&fetched.body).unwrap()
}

/// Whether nothing is missing in the planner's values: loss of every pair, times of those that are not cut, every URL.
fn has_everything(lab: &Lab, matrix: &Value) -> bool {
    let regions = measured_regions(lab.topology()).len();
    let list = |name: &str| matrix[name].as_array().cloned().unwrap_or_default();
    let is_known = |pair: &Value| {
        let region = |name: &str| pair[name].as_str().unwrap_or_default();
        let has = |name: &str| pair[name].is_number();
        let is_cut = joins([region("source_region"), region("target_region")], CUT);
        has("loss_ratio") && (is_cut || has("rtt_p50_seconds") && has("rtt_p99_seconds"))
    };
    let pairs = list("pairs");
    let is_fetched = |one: &Value| one["success_ratio"].is_number();
    let http = list("http").into_iter().filter(is_fetched).count();
    pairs.len() == regions * (regions - 1) && pairs.iter().all(is_known) && http == 2 * regions
}

/// Waits until nothing is missing in the planner's values, and the open page shows them.
async fn wait_for_values(lab: &Lab, browser: &mut Browser) {
    let deadline = tokio::time::Instant::now() + LIMIT;
    loop {
        let matrix = matrix().await;
        if has_everything(lab, &matrix) {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "values are missing: {matrix:#}");
        tokio::time::sleep(PAUSE).await;
    }
    let has_times = |value: &Value| {
        cells(value)
            .iter()
            .all(|cell| cell.is(CUT) || time(&cell.value).is_some())
    };
    browser.wait_for(CELLS, LIMIT, has_times).await.unwrap();
    let has_medians = |value: &Value| {
        let rows = lines(value);
        rows.len() == 12 && rows.iter().all(|row| row[0] == CUT_LINE || time(&row[3]).is_some())
    };
    browser.wait_for(LINES, LIMIT, has_medians).await.unwrap();
}

/// Starts everything with three lines disturbed, and waits until the open page says so by itself.
async fn start(lab: &Lab, database: Database) -> (Stack, Browser) {
    disturb(lab);
    let stack = Stack::start(lab, &StackPlan::new(lab, database), |_| ()).await.unwrap();
    let mut browser = Browser::start(lab).await.unwrap();
    browser.hold(Device::DESKTOP).await.unwrap();
    browser.open(&planner_url("/")).await.unwrap();
    let judged = |value: &Value| {
        let cells = cells(value);
        let count = |state: &str| cells.iter().filter(|cell| cell.state == state).count();
        cells.len() == 12 && count("no_data") == 0 && count("unjudged") == 0 && count("over") == 4 && count("down") == 2
    };
    browser.wait_for(CELLS, LIMIT, judged).await.unwrap();
    wait_for_values(lab, &mut browser).await;
    (stack, browser)
}

/// What an expression gives for each pair.
async fn by_pair(stack: &Stack, expression: &str) -> BTreeMap<Pair, f64> {
    let samples = stack.store.client().query(expression).await.unwrap();
    let of = |sample: &Sample| {
        let label = |name| sample.label(name).to_owned();
        ((label("source_region"), label("target_region")), sample.value)
    };
    samples.iter().map(of).collect()
}

/// The least and the greatest value that was recorded for each pair while the page was up.
async fn recorded(stack: &Stack, name: &str) -> Ranges {
    let over_time = |function| format!("{function}_over_time({name}{{probe=\"icmp\"}}[2m])");
    let least = by_pair(stack, &over_time("min")).await;
    let most = by_pair(stack, &over_time("max")).await;
    least
        .into_iter()
        .map(|(pair, least)| (pair.clone(), [least, most[&pair]]))
        .collect()
}

/// Everything that became of the probes of each pair.
async fn totals(stack: &Stack) -> BTreeMap<Pair, Totals> {
    let sum = |more| format!("sum by (source_region, target_region) (xprober_probes_total{{probe=\"icmp\"{more}}})");
    let lost = by_pair(stack, &sum(",outcome=~\"lost|unreachable|corrupt\"")).await;
    // Asked later, so never fewer than those that are lost among them.
    let all = by_pair(stack, &sum(",outcome!~\"send_error|stalled\"")).await;
    let of = |(pair, all): (Pair, f64)| {
        let lost = lost.get(&pair).copied().unwrap_or(0.0);
        (pair, Totals { lost, all })
    };
    all.into_iter().map(of).collect()
}

async fn assert_values(lab: &Lab, stack: &Stack, browser: &mut Browser) {
    let cells_shown = cells(&browser.evaluate(CELLS).await.unwrap());
    let round_trips = recorded(stack, "region_pair:xprober_rtt_seconds:p99_1m").await;
    assert_round_trips(lab, &cells_shown, &round_trips);
    let diagonal = "[...document.querySelectorAll('table.matrix td.same')].map((td) => td.textContent).join('')";
    assert_eq!(browser.evaluate(diagonal).await.unwrap(), "");
    assert_lines(lab, &browser.evaluate(LINES).await.unwrap());
    let link = browser
        .evaluate("document.getElementById('choose-loss').href")
        .await
        .unwrap();
    browser.open(link.as_str().unwrap()).await.unwrap();
    let current = "document.querySelector('.switch a[aria-current=page]').textContent";
    assert_eq!(browser.evaluate(current).await.unwrap(), "Loss");
    let cells_shown = cells(&browser.evaluate(CELLS).await.unwrap());
    let losses = recorded(stack, "region_pair:xprober_loss:ratio_1m").await;
    assert_losses(&cells_shown, &losses, &totals(stack).await);
}

/// How often a page was loaded, rather than asked for by its own script.
fn loads(noted: &[Noted]) -> usize {
    noted.iter().filter(|one| **one == Noted::Loaded).count()
}

/// The page asks for itself again, nothing was complained about, and nobody but the planner was asked.
async fn assert_well_behaved(browser: &mut Browser) {
    let base = planner_url("/");
    let asks = |one: &&Noted| matches!(one, Noted::Requested(url) if url.starts_with(&base));
    let deadline = tokio::time::Instant::now() + LIMIT;
    loop {
        let noted = browser.noted().await.unwrap();
        if noted.iter().filter(asks).count() > loads(noted) {
            break;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "the page did not ask for itself again: {noted:?}"
        );
        tokio::time::sleep(PAUSE).await;
    }
    for one in browser.noted().await.unwrap() {
        match one {
            Noted::Loaded => {}
            Noted::Requested(url) => assert!(url.starts_with(&base) || url.starts_with("data:"), "{url}"),
            Noted::Said { .. } | Noted::Threw(_) => panic!("{one:?}"),
        }
    }
}

/// The JSON holds the same numbers.
async fn assert_json(lab: &Lab) {
    let document = matrix().await;
    assert_eq!(
        (&document["failure"], &document["rules_missing"]),
        (&Value::Null, &false.into()),
        "{document:#}"
    );
    let pairs = document["pairs"].as_array().unwrap();
    assert_eq!(pairs.len(), 12);
    let of = |source: &str, target: &str| {
        let pair = pairs
            .iter()
            .find(|pair| pair["source_region"] == source && pair["target_region"] == target);
        pair.unwrap().clone()
    };
    let cut = of(CUT[0], CUT[1]);
    assert_eq!(
        (&cut["loss_ratio"], &cut["rtt_p99_seconds"]),
        (&1.0.into(), &Value::Null),
        "{cut:#}"
    );
    let emulated = lab.wan().rtt("region-a", "region-d").unwrap().as_secs_f64();
    let measured = of("region-a", "region-d")["rtt_p50_seconds"].as_f64().unwrap();
    assert!(
        measured > emulated / BUCKET && measured < emulated * BUCKET + BUSY,
        "{measured} {emulated}"
    );
    let http = document["http"].as_array().unwrap();
    let regions = measured_regions(lab.topology()).len();
    assert_eq!(http.len(), 2 * regions, "two targets from each region: {http:#?}");
    assert!(http.iter().all(|one| one["success_ratio"] == 1.0), "{http:#?}");
}

/// Without scripts the page is as readable, and is loaded again all the same.
async fn assert_works_without_scripts(browser: &mut Browser) {
    browser.allow_scripts(false).await.unwrap();
    browser.open(&planner_url("/")).await.unwrap();
    assert_eq!(cells(&browser.evaluate(CELLS).await.unwrap()).len(), 12);
    let before = loads(browser.noted().await.unwrap());
    let deadline = tokio::time::Instant::now() + LIMIT;
    while loads(browser.noted().await.unwrap()) == before {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the page was never loaded again"
        );
        tokio::time::sleep(PAUSE).await;
    }
    browser.allow_scripts(true).await.unwrap();
    browser.open(&planner_url("/")).await.unwrap();
}

/// What the open page shows while the store is gone, after it is back, and while the planner is gone.
async fn assert_gaps_are_told(lab: &Lab, stack: &mut Stack, browser: &mut Browser) {
    let text = "document.querySelector('main').textContent";
    let says = |what: &'static str| move |value: &Value| value.as_str().is_some_and(|text| text.contains(what));
    stack.store.stop().await.unwrap();
    browser.wait_for(text, LIMIT, says("No values since ")).await.unwrap();
    let unknown = |value: &Value| cells(value).iter().all(|cell| cell.state == "no_data");
    browser.wait_for(CELLS, LIMIT, unknown).await.unwrap();
    assert!(
        says("connected")(&browser.evaluate(text).await.unwrap()),
        "the rest of the page is there"
    );
    picture(browser, "planner-no-values").await;
    stack.store.restart(lab).await.unwrap();
    let known = |value: &Value| cells(value).iter().all(|cell| cell.state != "no_data");
    browser.wait_for(CELLS, LIMIT, known).await.unwrap();

    let stale = "!document.getElementById('stale').hidden";
    stack.planner.stop().await.unwrap();
    browser.wait_for(stale, LIMIT, |value| *value == true).await.unwrap();
    stack.restart_planner(lab).await.unwrap();
    browser.wait_for(stale, LIMIT, |value| *value == false).await.unwrap();
}

#[test]
fn the_page_shows_what_the_wan_does_and_says_when_it_does_not_know_prometheus() {
    let name = "the_page_shows_what_the_wan_does_and_says_when_it_does_not_know_prometheus";
    in_lab(name, Topology::demo(), async |lab| {
        let web = [
            lab.http_target("web1", Behaviour::default()).unwrap(),
            lab.https_target("web2", Behaviour::default()).unwrap(),
        ];
        let (mut stack, mut browser) = start(lab, Database::Prometheus).await;
        assert_values(lab, &stack, &mut browser).await;
        assert_json(lab).await;
        assert_readable(&mut browser, Device::DESKTOP.dark(), "planner-desktop-dark").await;
        assert_readable(&mut browser, Device::PHONE.dark(), "planner-phone-dark").await;
        assert_readable(&mut browser, Device::PHONE, "planner-phone").await;
        assert_headings_stay(&mut browser).await;
        assert_well_behaved(&mut browser).await;
        assert_works_without_scripts(&mut browser).await;
        assert_readable(&mut browser, Device::DESKTOP, "planner-desktop").await;
        assert_gaps_are_told(lab, &mut stack, &mut browser).await;
        browser.stop().await.unwrap();
        stack.stop().await.unwrap();
        for target in &web {
            target.stop().await;
        }
    });
    println!("pictures of the page: {}", artifacts().display());
}

#[test]
fn the_page_shows_what_the_wan_does_victoria_metrics() {
    let name = "the_page_shows_what_the_wan_does_victoria_metrics";
    in_lab(name, Topology::demo(), async |lab| {
        let web = [
            lab.http_target("web1", Behaviour::default()).unwrap(),
            lab.https_target("web2", Behaviour::default()).unwrap(),
        ];
        let (stack, mut browser) = start(lab, Database::VictoriaMetrics).await;
        assert_values(lab, &stack, &mut browser).await;
        assert_json(lab).await;
        assert_readable(&mut browser, Device::DESKTOP, "planner-desktop-victoria").await;
        assert_well_behaved(&mut browser).await;
        browser.stop().await.unwrap();
        stack.stop().await.unwrap();
        for target in &web {
            target.stop().await;
        }
    });
}
