//! The emulated WAN: what happens to a packet between two regions, as values and rules.
//!
//! ```text
//! packet from host --(packet::read)--> Headers --(Router::route with Matrix, now)--> Fate --(corrupt, due)--> host
//! ```
//! [`task`] reads and writes the packets, [`control`] changes the [`Matrix`] while it runs.

pub mod packet;

pub mod corrupt;

pub mod random;

pub mod burst;

pub mod due;

pub mod socket;

pub mod task;

pub mod control;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use burst::{Burst, BurstState};
use corrupt::Damage;
use packet::Headers;
use random::Random;

/// What packets meet on the way from one region to another; one direction.
#[derive(Debug, Clone, PartialEq)]
pub struct Path {
    /// One-way delay.
    pub latency: Duration,
    /// The delay varies evenly by up to this much in both directions, never below zero.
    pub jitter: Duration,
    /// Whether a packet may overtake an earlier one when its jitter says so; else the order is kept.
    pub reorder: bool,
    /// Probability that a packet is lost, 0 to 1, whatever became of the one before.
    pub loss: f64,
    /// Probability that an echo request is lost besides, and nothing else: what a filter or a policer does that knows who asked.
    /// Only then do the two directions between two regions measure differently.
    pub request_loss: f64,
    /// What an echo request takes longer besides, and nothing else: a detour for those who ask from one side.
    pub request_latency: Duration,
    /// Loss in bursts, besides the independent one.
    pub burst: Option<Burst>,
    /// Probability that a packet arrives twice, 0 to 1.
    pub duplicate: f64,
    /// Probability that one bit of an echo's payload is flipped on the way and the ICMP checksum mended, as by a faulty
    /// router that computes it anew: the packet arrives and looks whole. Other packets pass untouched.
    pub corrupt: f64,
    /// The same without mending the checksum: the receiving kernel drops the packet, so it ends as loss.
    pub corrupt_checksum: f64,
    /// False drops everything without a word, like a line that was cut.
    pub up: bool,
}

impl Default for Path {
    fn default() -> Self {
        Self {
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            reorder: false,
            loss: 0.0,
            request_loss: 0.0,
            request_latency: Duration::ZERO,
            burst: None,
            duplicate: 0.0,
            corrupt: 0.0,
            corrupt_checksum: 0.0,
            up: true,
        }
    }
}

impl Path {
    /// The share of packets that independent and burst loss take together in the long run.
    #[must_use]
    pub fn mean_loss(&self) -> f64 {
        let burst = self.burst.map_or(0.0, |burst| burst.mean_loss());
        1.0 - (1.0 - self.loss) * (1.0 - burst)
    }
}

/// The settings of the whole WAN at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    regions: Arc<[String]>,
    /// Row: from, column: to.
    paths: Vec<Path>,
    /// Extra delay of packets that open a TCP connection to a host, by the host's place in the router's list.
    syn_delays: Vec<Duration>,
    /// Share of packets from and to a host that are lost besides, in the same order.
    host_losses: Vec<f64>,
}

impl Matrix {
    /// Makes the matrix of these regions and so many hosts from a function that knows each path.
    pub fn new(regions: &[String], hosts: usize, mut path: impl FnMut(&str, &str) -> Path) -> Self {
        let paths = regions.iter().flat_map(|from| regions.iter().map(move |to| (from, to)));
        Self {
            regions: regions.into(),
            paths: paths.map(|(from, to)| path(from, to)).collect(),
            syn_delays: vec![Duration::ZERO; hosts],
            host_losses: vec![0.0; hosts],
        }
    }

    /// Place of a path in row order, for tables beside the matrix.
    #[must_use]
    pub fn index(&self, from: &str, to: &str) -> Option<usize> {
        let place = |region: &str| self.regions.iter().position(|known| known == region);
        Some(place(from)? * self.regions.len() + place(to)?)
    }

    /// The path from one region to another.
    #[must_use]
    pub fn path(&self, from: &str, to: &str) -> Option<&Path> {
        self.paths.get(self.index(from, to)?)
    }

    /// The path from one region to another, to be changed.
    pub fn path_mut(&mut self, from: &str, to: &str) -> Option<&mut Path> {
        let index = self.index(from, to)?;
        self.paths.get_mut(index)
    }

    /// Sets the extra delay of connection openings to a host.
    pub fn set_syn_delay(&mut self, host: usize, delay: Duration) {
        if let Some(slot) = self.syn_delays.get_mut(host) {
            *slot = delay;
        }
    }

    /// Sets the share of packets that the link of one host loses, each way.
    pub fn set_host_loss(&mut self, host: usize, share: f64) {
        if let Some(slot) = self.host_losses.get_mut(host) {
            *slot = share;
        }
    }

    fn host_loss(&self, host: usize) -> f64 {
        self.host_losses.get(host).copied().unwrap_or_default()
    }
}

/// Where a host stands, as far as the WAN cares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Place of its region among those of the [`Matrix`].
    pub region: usize,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is handed to a host at a time, once or more often.
    Deliver {
        /// Place of the path in the matrix, for the counters.
        path: usize,
        /// Place of the host in the router's list.
        host: usize,
        /// When, on the clock that `now` came from.
        at: Duration,
        /// How often; 2 for a duplicate.
        copies: u8,
        /// What happens to it on the way if it is an echo; to all copies alike.
        damage: Option<Damage>,
    },
    /// The dice took it.
    Lost {
        /// Place of the path.
        path: usize,
    },
    /// The path is down.
    Cut {
        /// Place of the path.
        path: usize,
    },
    /// No host has that address, or its last hop is used up.
    Nowhere,
}

/// Decides the fate of packets, one after the other.
#[derive(Debug)]
pub struct Router {
    hosts: Vec<Attachment>,
    by_address: HashMap<IpAddr, usize>,
    /// When the last packet of each path is due, so that order is kept.
    last_due: Vec<Duration>,
    /// Whether each path is in a bad stretch.
    bursts: Vec<BurstState>,
    random: Random,
}

impl Router {
    /// Makes a router for these hosts; the generator decides loss, jitter, duplication and damage.
    #[must_use]
    pub fn new(hosts: Vec<Attachment>, regions: usize, random: Random) -> Self {
        let addresses = hosts.iter().enumerate();
        let by_address = addresses
            .flat_map(|(index, host)| host.addresses.iter().map(move |address| (*address, index)))
            .collect();
        Self {
            hosts,
            by_address,
            last_due: vec![Duration::ZERO; regions * regions],
            bursts: vec![BurstState::default(); regions * regions],
            random,
        }
    }

    /// Decides about a packet that left host number `from` at `now` (any monotonic clock, the same for all calls).
    pub fn route(&mut self, matrix: &Matrix, from: usize, headers: &Headers, now: Duration) -> Fate {
        let (Some(&host), Some(source)) = (self.by_address.get(&headers.destination), self.hosts.get(from)) else {
            return Fate::Nowhere;
        };
        let index = source.region * matrix.regions.len() + self.hosts[host].region;
        let Some(path) = matrix.paths.get(index) else {
            return Fate::Nowhere;
        };
        if headers.hop_limit <= 1 {
            return Fate::Nowhere;
        }
        if !path.up {
            return Fate::Cut { path: index };
        }
        let at_a_host = self.random.chance(matrix.host_loss(from)) || self.random.chance(matrix.host_loss(host));
        let asked = headers.asks_echo && self.random.chance(path.request_loss);
        if self.loses(path, index) || at_a_host || asked {
            return Fate::Lost { path: index };
        }
        let shift = path.jitter.mul_f64(2.0 * self.random.unit());
        let mut at = now + (path.latency + shift).saturating_sub(path.jitter);
        if let Some(last_due) = self.last_due.get_mut(index).filter(|_| !path.reorder) {
            at = at.max(*last_due);
            *last_due = at;
        }
        // After the order was settled: what is held back alone must not hold back the packets behind it.
        if headers.opens_tcp {
            at += matrix.syn_delays.get(host).copied().unwrap_or_default();
        }
        if headers.asks_echo {
            at += path.request_latency;
        }
        let copies = if self.random.chance(path.duplicate) { 2 } else { 1 };
        Fate::Deliver {
            path: index,
            host,
            at,
            copies,
            damage: self.damage(path),
        }
    }

    /// Both dice are thrown for every packet, so that bad stretches count packets and not survivors.
    fn loses(&mut self, path: &Path, index: usize) -> bool {
        let state = self.bursts.get_mut(index);
        let burst = state.is_some_and(|state| state.loses(path.burst.as_ref(), &mut self.random));
        let independent = self.random.chance(path.loss);
        burst || independent
    }

    fn damage(&mut self, path: &Path) -> Option<Damage> {
        let mended = self.random.chance(path.corrupt);
        (mended || self.random.chance(path.corrupt_checksum)).then(|| Damage {
            choice: self.random.next_bits(),
            mended,
        })
    }
}

#[cfg(test)]
mod tests;
