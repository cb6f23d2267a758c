//! One agent's stream: what it was told, and what it has to be told next.
//!
//! In: the agent's part of each new plan, and its answers. Out: the [`PlanUpdate`] that brings it up to date. No socket
//! and no clock; [`task`] moves the messages and [`service`] is the gRPC edge.
//!
//! ```text
//!   [service] --one task per stream--> [task] --Event--> [plan::task]
//!                  tonic  <--bounded--   |  <--watch Published--
//!                                     Session (this file)
//! ```

use std::net::IpAddr;
use std::sync::Arc;

use xprober_config::planner::Agents;
use xprober_proto::{Addresses, PlanUpdate, Revision};

use crate::plan::AgentPlan;
use crate::plan::difference::{difference, full};

pub mod service;

pub mod task;

/// Says that an agent announced an address that is not its own to announce.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("address {address} is neither that of the connection ({peer}) nor inside agents.allowed_networks")]
pub struct ForeignAddress {
    /// The first that was refused.
    pub address: IpAddr,
    /// Where the connection came from.
    pub peer: IpAddr,
}

/// Checks that an agent does not aim the fleet at somebody else.
///
/// # Errors
///
/// With the first address that is neither the peer's own nor inside an allowed network.
pub fn check_addresses(agents: &Agents, peer: IpAddr, addresses: &Addresses) -> Result<(), ForeignAddress> {
    let peer = peer.to_canonical();
    match addresses.iter().find(|address| !agents.allow(peer, *address)) {
        Some(address) => Err(ForeignAddress { address, peer }),
        None => Ok(()),
    }
}

/// How the next plan is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Telling {
    /// As the difference to the last one.
    #[default]
    Difference,
    /// In full once it changes: the last full plan was refused, and would be again.
    FullWhenChanged,
    /// In full and at once: nobody knows what the agent holds.
    FullNow,
}

/// What the agent says it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Held {
    /// It has not said, or it has a plan of an earlier stream.
    #[default]
    Unknown,
    /// Nothing: a partial plan takes nothing away from it.
    Nothing,
    /// A plan of this stream.
    Plan,
}

/// What the agent at the other end was told and holds.
#[derive(Debug, Default)]
pub struct Session {
    sent: Option<(Revision, Arc<AgentPlan>)>,
    telling: Telling,
    last_full: Revision,
    held: Held,
}

impl Session {
    /// Says what brings the agent to `plan`, and takes it as sent.
    pub fn update(&mut self, plan: &Arc<AgentPlan>) -> Option<PlanUpdate> {
        let base = self.sent.as_ref().map_or(Revision::NONE, |(revision, _)| *revision);
        let update = match (&self.sent, self.telling) {
            (None, _) | (Some(_), Telling::FullNow) => full(plan, base.next()),
            (Some((_, old)), telling) => {
                let difference = difference(old, plan, base)?;
                if telling == Telling::FullWhenChanged {
                    full(plan, base.next())
                } else {
                    difference
                }
            }
        };
        if matches!(update, PlanUpdate::Full(_)) {
            self.last_full = base.next();
            self.telling = Telling::Difference;
        }
        self.sent = Some((base.next(), Arc::clone(plan)));
        Some(update)
    }

    /// Takes note of the revision an agent says it holds. One that holds none can lose nothing by a partial plan; one
    /// that had accepted a plan and holds none any more (it slept past the plan's time to live) is told everything again.
    pub fn holds(&mut self, revision: Revision) {
        if revision == Revision::NONE {
            if self.held == Held::Plan {
                self.telling = Telling::FullNow;
            }
            self.held = Held::Nothing;
        }
    }

    /// Takes note that a plan is in force.
    pub const fn accepted(&mut self) {
        self.held = Held::Plan;
    }

    /// Tells whether the agent may get a plan while the registry is still filling up.
    #[must_use]
    pub fn may_get_partial_plan(&self) -> bool {
        self.held == Held::Nothing || self.sent.is_some()
    }

    /// Takes note of a refusal. A refused delta is followed by a full plan; a refused full plan is not sent again until
    /// it changes, as it would be refused again.
    pub fn refused(&mut self, revision: Revision) {
        let Some((sent, _)) = &self.sent else { return };
        if revision == self.last_full && self.telling == Telling::Difference {
            self.telling = Telling::FullWhenChanged;
        } else if revision > self.last_full && revision <= *sent {
            self.telling = Telling::FullNow;
        }
    }
}

#[cfg(test)]
mod tests;
