//! The WAN does what its matrix says, measured with real ICMP between real namespaces.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what the tests share fails them, too")]

use std::net::IpAddr;
use std::time::{Duration, Instant};

use xprober_lab::echo;
use xprober_lab::testing::in_lab;
use xprober_lab::topology::Topology;
use xprober_lab::wan::burst::Burst;
use xprober_lab::wan::control::PathCounts;
use xprober_lab::world::Lab;

/// Until an echo that is expected is back, also when the machine stands still for a while.
const LIMIT: Duration = Duration::from_secs(30);
/// Until a packet that was sent is counted.
const COUNT_LIMIT: Duration = Duration::from_secs(10);
/// Between two looks at the counters.
const PAUSE: Duration = Duration::from_millis(10);
const MS: Duration = Duration::from_millis(1);
/// How much the quickest of many echoes may be slower than the matrix says.
const SLACK: Duration = Duration::from_millis(1);
/// How much quicker an echo may be: the WAN sends a little early, because sending takes time.
const LEAD: Duration = Duration::from_micros(100);
/// On a machine that is busy with other things some echoes are late, but hardly a hundred in a row.
const MOST_ECHOES: u16 = 100;

fn address(lab: &Lab, host: &str) -> IpAddr {
    lab.host(host).unwrap().plan().address.into()
}

fn ping(lab: &Lab, from: &str, to: &str, count: u16) -> Vec<Option<Duration>> {
    echo::ping(lab.host(from).unwrap().namespace(), address(lab, to), count, LIMIT).unwrap()
}

/// No echo is quicker than the matrix says, and the quickest is hardly slower.
fn assert_rtt_to(lab: &Lab, from: &str, to: IpAddr, expected: Duration) {
    let namespace = lab.host(from).unwrap().namespace();
    let mut least = Duration::MAX;
    for sent in 1..=MOST_ECHOES {
        let rtt = echo::ping(namespace, to, 1, LIMIT).unwrap()[0].expect("the echo is lost");
        assert!(
            rtt + LEAD >= expected,
            "echo {sent} of {rtt:?} is quicker than {expected:?}"
        );
        least = least.min(rtt);
        if least <= expected + SLACK && sent >= 5 {
            return;
        }
    }
    panic!("the quickest echo took {least:?} instead of {expected:?}");
}

fn assert_rtt(lab: &Lab, from: &str, to: &str, expected: Duration) {
    assert_rtt_to(lab, from, address(lab, to), expected);
}

/// Packets that were let through or taken by chance.
fn decided(counts: &PathCounts) -> u64 {
    counts.forwarded + counts.lost
}

/// Waits until a path has counted so many packets by this measure, and answers its counters; a number that is passed fails.
async fn wait_for_count(
    lab: &Lab,
    from: &str,
    to: &str,
    count: impl Fn(&PathCounts) -> u64,
    wanted: u64,
) -> PathCounts {
    let started = Instant::now();
    loop {
        let counts = lab.wan().counts(from, to).unwrap();
        if count(&counts) >= wanted || started.elapsed() >= COUNT_LIMIT {
            assert_eq!(count(&counts), wanted, "{counts:?}");
            return counts;
        }
        tokio::time::sleep(PAUSE).await;
    }
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
                assert_rtt(lab, from, to, expected);
            }
        },
    );
}

#[test]
fn round_trip_times_hold_for_ipv6() {
    in_lab("round_trip_times_hold_for_ipv6", Topology::demo(), async |lab| {
        let to: IpAddr = lab.host("vm3").unwrap().plan().address_v6.into();
        assert_rtt_to(lab, "vm1", to, 10 * MS);
    });
}

#[test]
fn matrix_can_be_changed_while_it_runs() {
    in_lab("matrix_can_be_changed_while_it_runs", Topology::demo(), async |lab| {
        assert_rtt(lab, "vm1", "vm3", 10 * MS);
        lab.wan().set_rtt("region-a", "region-b", 60 * MS).unwrap();
        assert_rtt(lab, "vm1", "vm3", 60 * MS);
        assert_rtt(lab, "vm1", "vm5", 24 * MS);
    });
}

#[test]
fn cut_direction_loses_everything_and_only_there() {
    in_lab(
        "cut_direction_loses_everything_and_only_there",
        Topology::demo(),
        async |lab| {
            lab.wan()
                .change("region-a", "region-b", |path| path.up = false)
                .unwrap();
            let namespace = lab.host("vm1").unwrap().namespace();
            let to = lab.host("vm3").unwrap().plan().address;
            let before = lab.wan().counts("region-b", "region-a").unwrap();
            let results = echo::ping(namespace, to.into(), 3, 100 * MS).unwrap();
            assert_eq!(results, [None; 3]);
            wait_for_count(lab, "region-a", "region-b", |counts| counts.cut, 3).await;
            assert_eq!(lab.wan().counts("region-b", "region-a").unwrap(), before);
            // The other way, requests arrive and their replies are lost.
            let from_b = lab.host("vm3").unwrap().namespace();
            let to_a = lab.host("vm1").unwrap().plan().address;
            assert_eq!(echo::ping(from_b, to_a.into(), 1, 100 * MS).unwrap(), [None]);
            let forwarded = |counts: &PathCounts| counts.forwarded;
            wait_for_count(lab, "region-b", "region-a", forwarded, before.forwarded + 1).await;
            lab.wan().change("region-a", "region-b", |path| path.up = true).unwrap();
            assert_rtt(lab, "vm1", "vm3", 10 * MS);
        },
    );
}

#[test]
fn loss_is_what_was_set_and_the_counters_know_every_packet() {
    in_lab(
        "loss_is_what_was_set_and_the_counters_know_every_packet",
        Topology::demo(),
        async |lab| {
            lab.wan().set_rtt("region-a", "region-b", MS / 5).unwrap();
            lab.wan()
                .change("region-a", "region-b", |path| path.loss = 0.2)
                .unwrap();
            let namespace = lab.host("vm1").unwrap().namespace();
            let to = lab.host("vm3").unwrap().plan().address;
            let results = echo::ping(namespace, to.into(), 400, 50 * MS).unwrap();
            let lost = results.iter().filter(|result| result.is_none()).count();
            let counts = wait_for_count(lab, "region-a", "region-b", decided, 400).await;
            assert!((40..=120).contains(&counts.lost), "{counts:?}");
            assert!(
                lost as u64 >= counts.lost && (lost as u64) < counts.lost + 20,
                "{lost} {counts:?}"
            );
        },
    );
}

#[test]
fn jitter_spreads_the_round_trip_times() {
    in_lab("jitter_spreads_the_round_trip_times", Topology::demo(), async |lab| {
        lab.wan()
            .change_both("region-a", "region-b", |path| path.jitter = 4 * MS)
            .unwrap();
        let times: Vec<_> = ping(lab, "vm1", "vm3", 60).into_iter().flatten().collect();
        assert_eq!(times.len(), 60);
        let (least, most) = (*times.iter().min().unwrap(), *times.iter().max().unwrap());
        assert!(least + LEAD >= 2 * MS && least < 8 * MS, "{least:?}");
        assert!(most > 12 * MS, "{most:?}");
    });
}

#[test]
fn hosts_see_one_hop_between_regions() {
    in_lab("hosts_see_one_hop_between_regions", Topology::demo(), async |lab| {
        let namespace = lab.host("vm1").unwrap().namespace();
        let to = lab.host("vm3").unwrap().plan().address;
        let hops = "/proc/sys/net/ipv4/ip_default_ttl";
        namespace.run(|| std::fs::write(hops, "1")).unwrap().unwrap();
        assert_eq!(echo::ping(namespace, to.into(), 1, 100 * MS).unwrap(), [None]);
        namespace.run(|| std::fs::write(hops, "2")).unwrap().unwrap();
        assert_rtt(lab, "vm1", "vm3", 10 * MS);
    });
}

#[test]
fn mended_damage_arrives_and_unmended_damage_does_not() {
    in_lab(
        "mended_damage_arrives_and_unmended_damage_does_not",
        Topology::demo(),
        async |lab| {
            let plan = lab.host("vm3").unwrap().plan();
            let namespace = lab.host("vm1").unwrap().namespace();
            for to in [IpAddr::from(plan.address), plan.address_v6.into()] {
                let before = lab.wan().counts("region-a", "region-b").unwrap().corrupted;
                let set = |corrupt, corrupt_checksum| {
                    let change = |path: &mut xprober_lab::wan::Path| {
                        (path.corrupt, path.corrupt_checksum) = (corrupt, corrupt_checksum);
                    };
                    lab.wan().change("region-a", "region-b", change).unwrap();
                };
                set(1.0, 0.0);
                // The lab's own client looks at the sequence only, so it takes damaged replies for good.
                assert!(
                    echo::ping(namespace, to, 20, LIMIT)
                        .unwrap()
                        .iter()
                        .all(Option::is_some),
                    "{to}"
                );
                wait_for_count(lab, "region-a", "region-b", |counts| counts.corrupted, before + 20).await;
                set(0.0, 1.0);
                assert_eq!(echo::ping(namespace, to, 5, 50 * MS).unwrap(), [None; 5]);
                wait_for_count(lab, "region-a", "region-b", |counts| counts.corrupted, before + 25).await;
                assert_eq!(lab.wan().counts("region-b", "region-a").unwrap().corrupted, 0);
                set(0.0, 0.0);
            }
        },
    );
}

#[test]
fn bursts_lose_as_much_as_their_mean_says() {
    in_lab(
        "bursts_lose_as_much_as_their_mean_says",
        Topology::demo(),
        async |lab| {
            lab.wan().set_rtt("region-a", "region-b", MS / 5).unwrap();
            let burst = Burst {
                enter: 0.05,
                leave: 0.2,
                loss: 1.0,
            };
            lab.wan()
                .change("region-a", "region-b", |path| path.burst = Some(burst))
                .unwrap();
            let to = address(lab, "vm3");
            let namespace = lab.host("vm1").unwrap().namespace();
            echo::ping(namespace, to, 500, 5 * MS).unwrap();
            let counts = wait_for_count(lab, "region-a", "region-b", decided, 500).await;
            // Mean 100, and neighbours share their fate: a sound WAN is outside once in ten million runs.
            assert!((10..=250).contains(&counts.lost), "{counts:?}");
        },
    );
}
