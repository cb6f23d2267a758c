//! The page as text: what is shown, what is not, and that nothing is taken for markup.

use std::sync::Arc;
use std::time::Duration;

use xprober_config::planner::PlannerSettings;
use xprober_proto::{Addresses, Hello, ProbeKind, Revision};

use super::*;
use crate::members::{Member, StreamId};
use crate::plan::MeshPlan;
use crate::query::{Moment, PairKey, PairValues, SHOWN_FOR, Values};

const SETTINGS: &str = "query_url: http://prometheus:9090
lines:
  - {name: a-b-1, between: [a, b], rtt_budget: 15ms, loss_budget: 1%, circuit: CT-1, carrier: X, owner: <b>net</b>}
";

fn member(region: &str, id: &str, stream: Option<StreamId>, version: &str) -> Description {
    let hello = Hello {
        agent_id: id.parse().unwrap(),
        region: region.parse().unwrap(),
        zone: None,
        addresses: Addresses::of([10, 0, 0, 1].into()).unwrap(),
        kinds: vec![ProbeKind::Icmp],
        version: version.to_owned(),
        tcp_port: None,
    };
    let member = Member {
        hello,
        stream,
        heard: Instant::now(),
        acked: Revision(7),
        refusal: None,
    };
    Description {
        member,
        lease_remaining: Duration::from_secs(21),
    }
}

fn members() -> Vec<Description> {
    vec![
        member("a", "vm1", Some(StreamId(1)), "<img src=x>"),
        member("b", "vm2", None, "0.1.0"),
        member("c", "vm3", Some(StreamId(3)), "0.1.0"),
    ]
}

fn key(source: &str, target: &str) -> PairKey {
    (source.to_owned(), target.to_owned())
}

/// A slow line from a to b, nothing from b to a, no word about c.
fn values() -> Values {
    let slow = PairValues {
        rtt_p50_seconds: Some(0.0402),
        rtt_p99_seconds: Some(0.0451),
        loss_ratio: Some(0.0),
    };
    let cut = PairValues {
        loss_ratio: Some(1.0),
        ..PairValues::default()
    };
    let mut values = Values::default();
    let pairs = [(key("a", "b"), slow), (key("b", "a"), cut)];
    values.pairs.insert("icmp".to_owned(), pairs.into());
    values.over_budget.insert(("a-b-1".to_owned(), key("a", "b")), 0.995);
    values.sample_age_seconds = [(key("a", "vm1"), 2.0), (key("b", "vm2"), 75.0)].into();
    values
}

fn shown(query: &str, reading: &Reading) -> String {
    let settings = Arc::new(PlannerSettings::parse("planner.yml", SETTINGS).unwrap());
    let members = members();
    let published = Published {
        revision: 12,
        settling: false,
        plan: Arc::new(MeshPlan::build(&settings, members.iter().map(|one| &one.member.hello))),
        settings,
    };
    let config = ConfigState::loaded(None, SystemTime::now());
    render(&Page {
        view: View::read(Some(query), &[ProbeKind::Icmp, ProbeKind::Tcp]),
        members: &members,
        published: &published,
        config: &config,
        reading,
        now: Instant::now(),
    })
    .into_string()
}

fn read(at: Instant) -> Reading {
    let moment = Moment {
        monotonic: at,
        wall: SystemTime::now(),
    };
    Reading::default().after(moment, Ok(values()))
}

/// The text between the tags of one cell of the matrix.
fn cell(page: &str, source: &str, target: &str) -> String {
    let start = format!("data-source=\"{source}\" data-target=\"{target}\" title=");
    let cell = page.split(&start).nth(1).and_then(|rest| rest.split("</td>").next());
    let cell = cell.unwrap_or_else(|| panic!("no cell {source} {target}:\n{page}"));
    let (_, inside) = cell.split_once('>').unwrap();
    inside
        .replace("<b>", "")
        .replace("</b><small>", " | ")
        .replace("</small>", "")
}

#[test]
fn cells_say_what_is_measured_and_how_that_is() {
    let reading = read(Instant::now());
    for (query, slow, cut) in [
        ("show=rtt", "45.1 ms | ▲ 99.5 % over 15ms", "no reply | ✕ loss 100 %"),
        ("show=loss", "0 % | ▲ 99.5 % over 15ms", "100 % | ✕ loss 100 %"),
        ("show=budget", "99.5 % | ▲ 99.5 % over 15ms", "no reply | ✕ loss 100 %"),
    ] {
        let page = shown(query, &reading);
        assert_eq!(cell(&page, "a", "b"), slow, "{query}");
        assert_eq!(cell(&page, "b", "a"), cut, "{query}");
        assert_eq!(cell(&page, "a", "c"), "no data | ?", "{query}");
    }
    let tcp = shown("probe=tcp", &reading);
    assert_eq!(cell(&tcp, "a", "b"), "no data | ?");
}

#[test]
fn old_values_are_not_shown_at_all() {
    let Some(long_ago) = Instant::now().checked_sub(SHOWN_FOR + Duration::from_secs(1)) else {
        panic!("this machine has only just started");
    };
    let reading = read(long_ago);
    let failed = reading.after(
        Moment {
            monotonic: Instant::now(),
            wall: SystemTime::now(),
        },
        Err("the store does not answer: <refused>".to_owned()),
    );
    let page = shown("", &failed);
    assert_eq!(cell(&page, "a", "b"), "no data | ?");
    assert!(page.contains("No values since "), "{page}");
    assert!(page.contains("the store does not answer: &lt;refused&gt;"), "{page}");
    assert!(!page.contains("45.1 ms"), "{page}");
}

#[test]
fn what_others_sent_is_never_markup() {
    let page = shown("show=%22%3E%3Cscript%3E", &read(Instant::now()));
    for text in ["<b>net", "<img", "\"><script"] {
        assert!(!page.contains(text), "{text} in\n{page}");
    }
    assert!(page.contains("&lt;img src=x&gt;") && page.contains("&lt;b&gt;net&lt;/b&gt;"));
    assert_eq!(page.matches("<script").count(), 1);
}

#[test]
fn agents_that_are_lost_or_silent_say_so_in_words() {
    let page = shown("", &read(Instant::now()));
    assert!(page.contains("✕ lost"), "{page}");
    assert!(page.contains("kept for 21 s"), "{page}");
    assert!(page.contains("▲ 1 min ago"), "{page}");
    assert!(page.contains("✕ none"), "vm3 pushed nothing:\n{page}");
    assert!(page.contains("<title>xprober: 1 down, 1 over budget</title>"), "{page}");
}

#[test]
fn without_a_store_the_page_says_how_to_get_values() {
    let page = shown("", &Reading::default());
    assert!(
        page.contains("<code>query_url: http://prometheus:9090</code>"),
        "{page}"
    );
    assert!(
        page.contains("CT-1") && page.contains("vm2"),
        "the rest is shown:\n{page}"
    );
    assert_eq!(cell(&page, "a", "b"), "no data | ?");
}

#[test]
fn rules_that_are_not_loaded_are_named() {
    let mut values = values();
    values.pairs.clear();
    let moment = Moment {
        monotonic: Instant::now(),
        wall: SystemTime::now(),
    };
    let page = shown("", &Reading::default().after(moment, Ok(values)));
    assert!(page.contains("grafana/rules/recording.yml"), "{page}");
}
