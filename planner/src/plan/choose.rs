//! `targets_per_region`: which few of a region an agent probes.
//!
//! In: the members of every region and k. Out: for each agent and each other region the indices of at most k members.
//! For one target region at a time, over the agents of all other regions together:
//!
//! 1. every possible pair gets a weight, a keyed hash of the two names (rendezvous hashing);
//! 2. pairs are taken in the order of their weights while the source has fewer than k and the target is below the cap,
//!    the mean in-degree rounded down plus one;
//! 3. a source that came out short pushes somebody aside along the shortest chain of moves;
//! 4. a target that nobody took gets a source from one that has several, when there are pairs enough for all.
//!
//! Steps 1 and 2 depend on names alone, so a join or leave moves the pairs that compete with it and few others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;
use xprober_config::planner::Mesh;
use xprober_proto::{Hello, Region};

use super::Regions;
use super::mesh::way;
use crate::members::MemberKey;

/// Fixed, so that every planner of every version chooses alike; any two numbers would do.
const HASH_KEYS: (u64, u64) = (0x7870_726f_6265_7231, 0x6d65_7368_2d6b_6f6e);

/// What was chosen for one agent in one region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chosen {
    /// Indices into the region's members.
    pub(super) indices: BTreeSet<usize>,
    /// How many could have been chosen.
    pub(super) of: usize,
}

/// What was chosen for everybody; empty for a full mesh.
#[derive(Debug, Default)]
pub(super) struct Choices<'a> {
    by_source: BTreeMap<(&'a MemberKey, &'a Region), Chosen>,
}

impl Choices<'_> {
    /// Looks up the choice of `source` in `region`; `None` means everybody.
    pub(super) fn of<'s>(&'s self, source: &'s MemberKey, region: &'s Region) -> Option<&'s Chosen> {
        self.by_source.get(&(source, region))
    }
}

/// Chooses for everybody; `targets_per_region` 0 means the full mesh.
pub(super) fn choices<'a>(mesh: &Mesh, regions: &Regions<'a>) -> Choices<'a> {
    let mut choices = Choices::default();
    let per_region = mesh.targets_per_region;
    if per_region == 0 {
        return choices;
    }
    for (region, targets) in regions {
        let sources: Vec<(&MemberKey, &Hello)> = regions
            .iter()
            .filter(|(other, _)| other != &region)
            .flat_map(|(_, members)| members.iter().copied())
            .collect();
        let eligible: Vec<Vec<usize>> = sources
            .iter()
            .map(|(_, source)| {
                // An agent that could not send the probes would only take places from those who can.
                let reachable = |index: &usize| {
                    let mut kinds = mesh.probes.iter();
                    kinds.any(|kind| way(mesh, *kind, source, targets[*index].1).is_ok())
                };
                (0..targets.len()).filter(reachable).collect()
            })
            .collect();
        let weight = |source: usize, target: usize| weigh(sources[source].0, targets[target].0);
        let chosen = Assigner::new(per_region, targets.len(), &eligible).solve(weight);
        for (((key, _), indices), eligible) in sources.iter().zip(chosen).zip(&eligible) {
            let of = eligible.len();
            choices.by_source.insert((*key, *region), Chosen { indices, of });
        }
    }
    choices
}

fn weigh(source: &MemberKey, target: &MemberKey) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(HASH_KEYS.0, HASH_KEYS.1);
    for part in [
        source.region.as_str(),
        source.id.as_str(),
        target.region.as_str(),
        target.id.as_str(),
    ] {
        hasher.write(part.as_bytes());
        // Names hold no zero byte: the parts cannot run into each other.
        hasher.write_u8(0);
    }
    hasher.finish()
}

struct Assigner<'a> {
    eligible: &'a [Vec<usize>],
    demand: Vec<usize>,
    cap: usize,
    chosen: Vec<BTreeSet<usize>>,
    sources_of: Vec<BTreeSet<usize>>,
}

impl<'a> Assigner<'a> {
    fn new(per_region: usize, targets: usize, eligible: &'a [Vec<usize>]) -> Self {
        let demand: Vec<usize> = eligible
            .iter()
            .map(|reachable| reachable.len().min(per_region))
            .collect();
        let total: usize = demand.iter().sum();
        Self {
            eligible,
            demand,
            cap: total.checked_div(targets).map_or(0, |mean| mean + 1),
            chosen: vec![BTreeSet::new(); eligible.len()],
            sources_of: vec![BTreeSet::new(); targets],
        }
    }

    fn solve(mut self, weight: impl Fn(usize, usize) -> u64) -> Vec<BTreeSet<usize>> {
        self.take_by_weight(&weight);
        for source in 0..self.eligible.len() {
            while self.chosen[source].len() < self.demand[source] && self.push_aside(source) {}
        }
        self.cover(&weight);
        self.chosen
    }

    fn link(&mut self, source: usize, target: usize) {
        self.chosen[source].insert(target);
        self.sources_of[target].insert(source);
    }

    fn unlink(&mut self, source: usize, target: usize) {
        self.chosen[source].remove(&target);
        self.sources_of[target].remove(&source);
    }

    fn take_by_weight(&mut self, weight: &impl Fn(usize, usize) -> u64) {
        let mut pairs: Vec<(u64, usize, usize)> = Vec::new();
        for (source, reachable) in self.eligible.iter().enumerate() {
            pairs.extend(
                reachable
                    .iter()
                    .map(|target| (weight(source, *target), source, *target)),
            );
        }
        pairs.sort_unstable();
        for (_, source, target) in pairs {
            if self.chosen[source].len() < self.demand[source] && self.sources_of[target].len() < self.cap {
                self.link(source, target);
            }
        }
    }

    /// Finds the shortest chain "take t1 from s1, who takes t2 from s2, ... who takes a target below the cap" and
    /// walks it; tells whether there was one.
    fn push_aside(&mut self, short: usize) -> bool {
        // came_from[target] = the source that would take it.
        let mut came_from: BTreeMap<usize, usize> = BTreeMap::new();
        let mut displaced_by: BTreeMap<usize, usize> = BTreeMap::new();
        let mut queue = VecDeque::from([short]);
        let mut visited = BTreeSet::from([short]);
        while let Some(source) = queue.pop_front() {
            for &target in &self.eligible[source] {
                if self.chosen[source].contains(&target) || came_from.contains_key(&target) {
                    continue;
                }
                came_from.insert(target, source);
                if self.sources_of[target].len() < self.cap {
                    self.walk(target, &came_from, &displaced_by);
                    return true;
                }
                for &next in &self.sources_of[target] {
                    if visited.insert(next) {
                        displaced_by.insert(next, target);
                        queue.push_back(next);
                    }
                }
            }
        }
        false
    }

    fn walk(&mut self, free: usize, came_from: &BTreeMap<usize, usize>, displaced_by: &BTreeMap<usize, usize>) {
        let mut target = free;
        while let Some(&source) = came_from.get(&target) {
            self.link(source, target);
            // Only the one that was short gives nothing up.
            let Some(&given_up) = displaced_by.get(&source) else {
                return;
            };
            self.unlink(source, given_up);
            target = given_up;
        }
    }

    /// Gives every target that nobody took a source of the target with the most; the lightest pair decides.
    fn cover(&mut self, weight: &impl Fn(usize, usize) -> u64) {
        for bare in 0..self.sources_of.len() {
            if !self.sources_of[bare].is_empty() {
                continue;
            }
            let donor = |source: usize| {
                let spare = self.chosen[source]
                    .iter()
                    .map(|target| (self.sources_of[*target].len(), *target))
                    .max()?;
                (spare.0 > 1).then_some((source, spare))
            };
            let best = (0..self.eligible.len())
                .filter(|source| self.eligible[*source].binary_search(&bare).is_ok())
                .filter_map(donor)
                .min_by_key(|(source, spare)| (std::cmp::Reverse(spare.0), weight(*source, bare)));
            if let Some((source, (_, given_up))) = best {
                self.unlink(source, given_up);
                self.link(source, bare);
            }
        }
    }
}

#[cfg(test)]
mod tests;
