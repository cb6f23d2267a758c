//! The WAN does what its matrix says, measured with real ICMP between real namespaces.

use std::net::IpAddr;
use std::time::Duration;

use xprober_lab::echo;
use xprober_lab::testing::in_lab;
use xprober_lab::topology::Topology;
use xprober_lab::world::Lab;

const LIMIT: Duration = Duration::from_secs(2);
const MS: Duration = Duration::from_millis(1);
/// How much a busy machine may add; the precision proper is judged by the smallest value.
const SLACK: Duration = Duration::from_millis(3);

fn ping(lab: &Lab, from: &str, to: &str, count: u16) -> Vec<Option<Duration>> {
    let to = lab.host(to).unwrap().plan().address;
    echo::ping(lab.host(from).unwrap().namespace(), to.into(), count, LIMIT).unwrap()
}

fn answered(results: Vec<Option<Duration>>) -> Vec<Duration> {
    let sent = results.len();
    let mut answered: Vec<_> = results.into_iter().flatten().collect();
    assert_eq!(answered.len(), sent, "replies are missing");
    answered.sort();
    answered
}

fn assert_rtt(results: Vec<Option<Duration>>, expected: Duration) {
    let answered = answered(results);
    let (least, middle) = (answered[0], answered[answered.len() / 2]);
    println!("expected {expected:?} least {least:?} median {middle:?}");
    assert!(
        least >= expected.saturating_sub(MS / 20),
        "{least:?} is less than {expected:?}"
    );
    assert!(least <= expected + SLACK / 3, "{least:?} is more than {expected:?}");
    assert!(
        middle <= expected + SLACK,
        "median {middle:?} is more than {expected:?}"
    );
}

#[test]
fn round_trip_times_are_those_of_the_matrix() {
    in_lab(
        "round_trip_times_are_those_of_the_matrix",
        Topology::demo(),
        async |lab| {
            for (from, to) in [
                ("vm1", "vm3"),
                ("vm1", "vm7"),
                ("vm8", "vm2"),
                ("vm5", "web1"),
                ("hub", "vm4"),
            ] {
                let region = |host| lab.host(host).unwrap().plan().region.clone();
                let expected = lab.topology().rtt_between(&region(from), &region(to));
                assert_rtt(ping(lab, from, to, 21), expected);
            }
        },
    );
}

#[test]
fn round_trip_times_hold_for_ipv6() {
    in_lab("round_trip_times_hold_for_ipv6", Topology::demo(), async |lab| {
        let to: IpAddr = lab.host("vm3").unwrap().plan().address_v6.into();
        let results = echo::ping(lab.host("vm1").unwrap().namespace(), to, 11, LIMIT).unwrap();
        assert_rtt(results, 10 * MS);
    });
}

#[test]
fn matrix_can_be_changed_while_it_runs() {
    in_lab("matrix_can_be_changed_while_it_runs", Topology::demo(), async |lab| {
        assert_rtt(ping(lab, "vm1", "vm3", 5), 10 * MS);
        lab.wan().set_rtt("region-a", "region-b", 60 * MS).unwrap();
        assert_rtt(ping(lab, "vm1", "vm3", 5), 60 * MS);
        assert_rtt(ping(lab, "vm1", "vm5", 5), 24 * MS);
    });
}
