//! HTTP probe: one fresh connection per request, and where its time went.
//!
//! ```text
//!             +-------------------------- again for every redirect --------------------------+
//!             v                                                                              |
//!   Due -> resolve -> connect -> tls -> processing -> transfer -> status? redirect? body? ---+-> HttpResult
//!          (names)    (TCP)   (https)  (request to   (body to                                
//!                                       full head)    its end)
//! ```
//!
//! Stages follow each other without a gap, so they are disjoint and add up to the duration of the probe. This file holds
//! the clock of the stages and what a response is worth; [`redirect`] says where a redirect leads; [`client`] has the
//! sockets and [`task`] the loop.

pub mod redirect;

mod search;

mod resolve;

mod trust;

mod progress;

mod exchange;

pub mod client;

pub mod task;

pub mod report;

#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use ::http::StatusCode;
use ipnet::IpNet;
use xprober_proto::HttpSpec;

pub use self::client::{HttpProber, HttpProberError};
use super::{HttpFailure, HttpReason, Stage, StageTimes};

/// Largest body that is read, bytes; a larger one fails the probe.
///
/// A probe measures an interface, not the line's capacity: 10 MiB every few seconds is already too much for one.
pub const MAX_BODY_BYTES: u64 = 10 << 20;

/// Says which stage is under way and adds up the time of each.
///
/// There is always exactly one stage under way: beginning one ends the one before at the same instant.
#[derive(Debug, Clone)]
pub struct StageClock {
    times: StageTimes,
    stage: Stage,
    since: Instant,
}

impl StageClock {
    /// Starts a probe: name resolution is under way since `now`.
    #[must_use]
    pub fn start(now: Instant) -> Self {
        Self {
            times: StageTimes::default(),
            stage: Stage::Resolve,
            since: now,
        }
    }

    /// Stage under way.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        self.stage
    }

    /// When the stage under way began.
    #[must_use]
    pub const fn since(&self) -> Instant {
        self.since
    }

    /// Ends the stage under way and begins `stage`.
    pub fn begin(&mut self, stage: Stage, now: Instant) {
        self.times.add(self.stage, now.saturating_duration_since(self.since));
        self.stage = stage;
        self.since = now;
    }

    /// Notes that `stage` has nothing to do and takes no time.
    pub fn pass_over(&mut self, stage: Stage) {
        self.times.add(stage, Duration::ZERO);
    }

    /// Ends the stage under way and tells the time of each.
    #[must_use]
    pub fn finish(mut self, now: Instant) -> StageTimes {
        self.times.add(self.stage, now.saturating_duration_since(self.since));
        self.times
    }
}

/// Judges a response that is not followed any further, the status before the body.
///
/// A wrong status is blamed on the stage that brought it, `processing`; a body without the expected text on `transfer`.
#[must_use]
pub fn verdict(spec: &HttpSpec, status: StatusCode, body_matches: bool) -> Option<HttpFailure> {
    let failure = |stage, reason| Some(HttpFailure { stage, reason });
    if !spec.accepts(status) {
        failure(Stage::Processing, HttpReason::Status)
    } else if !body_matches {
        failure(Stage::Transfer, HttpReason::Body)
    } else {
        None
    }
}

/// Picks whom to connect to: the first allowed address of each family, IPv4 before IPv6.
///
/// Empty when no address is allowed. An IPv4-mapped IPv6 address counts as the IPv4 address that it reaches.
fn candidates(resolved: &[SocketAddr], allowed: &[IpNet]) -> Vec<SocketAddr> {
    let canonical = || {
        resolved
            .iter()
            .map(|address| match address.ip().to_canonical() {
                IpAddr::V4(ip) => SocketAddr::from((ip, address.port())),
                IpAddr::V6(_) => *address,
            })
            .filter(|address| allowed.iter().any(|network| network.contains(&address.ip())))
    };
    let first_v4 = canonical().find(SocketAddr::is_ipv4);
    let first_v6 = canonical().find(SocketAddr::is_ipv6);
    first_v4.into_iter().chain(first_v6).collect()
}
