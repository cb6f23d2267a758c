//! The probe against real servers on the loopback.

mod failures;
mod redirects;
mod requests;
mod server;
mod stages;
mod tls;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use url::Url;
use xprober_proto::{HttpSpec, ProbeSpec, Region, Target, TargetId};

use super::resolve::Resolver;
use super::{HttpProber, StageClock, candidates};
use crate::probe::{HttpReason, HttpResult, Stage};

/// Long enough for a machine that compiles beside the tests.
const AMPLE: Duration = Duration::from_secs(30);

/// Resolves every name to the loopback; allows nothing else.
fn prober() -> HttpProber {
    let allowed = ["127.0.0.0/8", "::1/128"].map(|network| network.parse().unwrap());
    HttpProber::new(None, allowed.to_vec())
        .unwrap()
        .with_resolver(Resolver::with(|_, port| Ok(vec![loopback(port)])))
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn get(url: &str) -> HttpSpec {
    HttpSpec::get(Url::parse(url).unwrap())
}

fn target(spec: HttpSpec, timeout: Duration) -> Arc<Target> {
    Arc::new(Target {
        id: "t1".parse::<TargetId>().unwrap(),
        name: spec.url.to_string(),
        region: "r1".parse::<Region>().unwrap(),
        interval: AMPLE,
        timeout,
        probe: ProbeSpec::Http(spec),
    })
}

async fn probe(prober: &HttpProber, spec: HttpSpec) -> HttpResult {
    prober.probe(target(spec, AMPLE)).await
}

async fn probe_for(prober: &HttpProber, url: &str, timeout: Duration) -> HttpResult {
    prober.probe(target(get(url), timeout)).await
}

fn failure(result: &HttpResult) -> Option<(Stage, HttpReason)> {
    result.failure.map(|failure| (failure.stage, failure.reason))
}

fn stages_add_up(result: &HttpResult) {
    let sum: Duration = Stage::ALL
        .into_iter()
        .filter_map(|stage| result.stages.get(stage))
        .sum();
    assert_eq!(sum, result.duration, "{:?}", result.stages);
}

#[test]
fn stages_are_disjoint_and_sum_over_requests() {
    let start = std::time::Instant::now();
    let at = |millis| start + Duration::from_millis(millis);
    let mut clock = StageClock::start(start);
    clock.begin(Stage::Connect, at(1));
    clock.begin(Stage::Processing, at(3));
    clock.begin(Stage::Resolve, at(7));
    clock.begin(Stage::Connect, at(15));
    assert_eq!(clock.stage(), Stage::Connect);
    let times = clock.finish(at(31));
    let millis = |stage| times.get(stage).map(|time| time.as_millis());
    assert_eq!(Stage::ALL.map(millis), [Some(9), Some(18), None, Some(4), None]);
}

#[test]
fn first_allowed_address_of_each_family_is_tried_ipv4_first() {
    let address = |text: &str| -> SocketAddr { text.parse().unwrap() };
    let allowed = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap());
    for (resolved, tried) in [
        (
            vec!["[fd00::1]:80", "10.0.0.1:80", "10.0.0.2:80"],
            vec!["10.0.0.1:80", "[fd00::1]:80"],
        ),
        (vec!["192.0.2.1:80", "10.0.0.2:80"], vec!["10.0.0.2:80"]),
        (vec!["[fd00::2]:80"], vec!["[fd00::2]:80"]),
        (vec!["[::ffff:10.0.0.9]:80"], vec!["10.0.0.9:80"]),
        (vec!["[::ffff:192.0.2.1]:80", "[2001:db8::1]:80"], vec![]),
    ] {
        let resolved: Vec<_> = resolved.into_iter().map(address).collect();
        let tried: Vec<_> = tried.into_iter().map(address).collect();
        assert_eq!(candidates(&resolved, &allowed), tried, "{resolved:?}");
    }
    assert!(
        candidates(&[address("10.0.0.1:80")], &[]).is_empty(),
        "an empty list allows nothing"
    );
}
