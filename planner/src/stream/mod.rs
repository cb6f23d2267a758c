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

/// What the agent at the other end holds.
#[derive(Debug, Default)]
pub struct Session {
    sent: Option<(Revision, Arc<AgentPlan>)>,
    /// The agent's state is unknown: only a full plan helps.
    resend: bool,
    /// The last full plan was refused: the next change is told in full.
    refused: bool,
    last_full: Revision,
    /// The agent said that it holds no plan.
    free: bool,
}

impl Session {
    /// Says what brings the agent to `plan`, and takes it as sent.
    pub fn update(&mut self, plan: &Arc<AgentPlan>) -> Option<PlanUpdate> {
        let update = match &self.sent {
            Some((base, old)) if !self.resend => {
                let next = difference(old, plan, *base)?;
                // Deltas build on what the agent holds, and after a refusal nobody knows what that is.
                if self.refused { full(plan, base.next()) } else { next }
            }
            Some((base, _)) => full(plan, base.next()),
            None => full(plan, Revision::NONE.next()),
        };
        let revision = self
            .sent
            .as_ref()
            .map_or(Revision::NONE, |(revision, _)| *revision)
            .next();
        if matches!(update, PlanUpdate::Full(_)) {
            self.last_full = revision;
            self.refused = false;
        }
        self.resend = false;
        self.sent = Some((revision, Arc::clone(plan)));
        Some(update)
    }

    /// Takes note of the revision an agent says it holds: one that holds none can lose nothing by a partial plan.
    pub fn holds(&mut self, revision: Revision) {
        self.free |= revision == Revision::NONE;
    }

    /// Tells whether the agent may get a plan while the registry is still filling up.
    #[must_use]
    pub const fn may_get_partial_plan(&self) -> bool {
        self.free || self.sent.is_some()
    }

    /// Takes note of a refusal. A refused delta is followed by a full plan; a refused full plan is not sent again until
    /// it changes, as it would be refused again.
    pub fn refused(&mut self, revision: Revision) {
        let Some((sent, _)) = &self.sent else { return };
        if revision <= self.last_full {
            self.refused |= revision == self.last_full;
        } else if revision <= *sent {
            self.resend = true;
        }
    }
}

#[cfg(test)]
mod tests;
