//! The promises of `targets_per_region`.

use std::time::Duration;

use proptest::prelude::*;
use xprober_proto::{Addresses, PacketOptions, ProbeKind};

use super::*;

fn hello(region: usize, id: usize) -> Hello {
    Hello {
        agent_id: format!("vm{id}").parse().unwrap(),
        region: format!("r{region}").parse().unwrap(),
        zone: None,
        addresses: Addresses::of([10, 0, 0, 1].into()).unwrap(),
        kinds: vec![ProbeKind::Icmp],
        version: String::new(),
        tcp_port: None,
    }
}

/// Pairs `(source, target)` that were chosen in a fleet given as the ids per region.
fn pairs(per_region: usize, fleet: &[BTreeSet<usize>]) -> BTreeSet<(String, String)> {
    let hellos: Vec<Hello> = fleet
        .iter()
        .enumerate()
        .flat_map(|(region, ids)| ids.iter().map(move |id| hello(region, *id)))
        .collect();
    let keyed: BTreeMap<MemberKey, &Hello> = hellos.iter().map(|h| (MemberKey::of(h), h)).collect();
    let regions = super::super::by_region(&keyed);
    let mesh = Mesh {
        probes: vec![ProbeKind::Icmp],
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        payload_bytes: 56,
        packet: PacketOptions::default(),
        reply_ttl: false,
        source_ports: Vec::new(),
        targets_per_region: per_region,
    };
    let choices = choices(&mesh, &regions);
    let mut pairs = BTreeSet::new();
    for ((source, region), chosen) in &choices.by_source {
        for index in &chosen.indices {
            pairs.insert((source.to_string(), regions[*region][*index].0.to_string()));
        }
    }
    pairs
}

fn fleet(regions: std::ops::Range<usize>, most: usize) -> impl Strategy<Value = Vec<BTreeSet<usize>>> {
    prop::collection::vec(prop::collection::btree_set(0..40_usize, 1..most), regions)
}

proptest! {
    #[test]
    fn everybody_gets_k_everyone_is_covered_and_the_load_is_even(fleet in fleet(2..6, 12), k in 1..6_usize) {
        let pairs = pairs(k, &fleet);
        for (region, ids) in fleet.iter().enumerate() {
            let sources: usize = fleet.iter().enumerate().filter(|(r, _)| *r != region).map(|(_, ids)| ids.len()).sum();
            let total = sources * k.min(ids.len());
            let prefix = format!("r{region}/");
            let load = |id: &usize| {
                let name = format!("r{region}/vm{id}");
                pairs.iter().filter(|(_, target)| *target == name).count()
            };
            let loads: Vec<usize> = ids.iter().map(load).collect();
            prop_assert_eq!(loads.iter().sum::<usize>(), total);
            // max <= mean + 1, without fractions.
            prop_assert!(loads.iter().all(|load| load * ids.len() <= total + ids.len()), "{:?}", loads);
            if total >= ids.len() {
                prop_assert!(loads.iter().all(|load| *load > 0), "{:?}", loads);
            }
            for (other, members) in fleet.iter().enumerate().filter(|(r, _)| *r != region) {
                for id in members {
                    let source = format!("r{other}/vm{id}");
                    let own = pairs.iter().filter(|(s, t)| *s == source && t.starts_with(&prefix)).count();
                    prop_assert_eq!(own, k.min(ids.len()));
                }
            }
        }
    }
}

/// A pair between agents that stayed which is in one plan only was moved by the join of somebody else.
fn moved(before: &BTreeSet<(String, String)>, after: &BTreeSet<(String, String)>, joined: &str) -> usize {
    let stayed = |pair: &&(String, String)| pair.0 != joined && pair.1 != joined;
    after.difference(before).filter(stayed).count()
}

#[test]
fn a_join_moves_few_pairs_of_others() {
    let (mut moves, mut total, mut worst) = (0, 0, 0);
    for size in 4..16 {
        for joining in 0..4 {
            let mut fleet: Vec<BTreeSet<usize>> = (0..4).map(|_| (0..size).collect()).collect();
            let before = pairs(2, &fleet);
            fleet[joining].insert(99);
            let after = pairs(2, &fleet);
            let count = moved(&before, &after, &format!("r{joining}/vm99"));
            moves += count;
            worst = worst.max(count);
            total += before.len();
        }
    }
    let share = f64::from(u32::try_from(moves).unwrap()) / f64::from(u32::try_from(total).unwrap());
    assert!(share < 0.05, "moved {moves} of {total} pairs, worst {worst}");
}
