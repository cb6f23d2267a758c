//! The registry: who is there, and until when.
//!
//! In: hellos, heartbeats and lost streams, each with the present. Out: the members, ordered by region and id, and those
//! whose lease ended. No clock and no I/O; the owner is [`crate::plan::task`].
//!
//! ```text
//!             join                         lost
//!   (absent) ------> connected(heard) -------------> waiting(heard)
//!      ^                |    ^  heartbeat                |   |
//!      |                |    +---------------- join -----+   |
//!      +----------------+------- expire: heard + lease ------+
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use xprober_proto::{AgentId, Hello, Region, Revision};

/// Most members one planner keeps: a full mesh of more would not fit into the agents' 200,000 targets per plan anyway.
pub const MAX_MEMBERS: usize = 20_000;

/// Names one agent in the fleet. The address is no part of it: private ranges overlap between regions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberKey {
    /// The region the agent speaks for.
    pub region: Region,
    /// Its id inside that region.
    pub id: AgentId,
}

impl MemberKey {
    /// Names the agent that introduced itself with `hello`.
    #[must_use]
    pub fn of(hello: &Hello) -> Self {
        Self {
            region: hello.region.clone(),
            id: hello.agent_id.clone(),
        }
    }
}

impl fmt::Display for MemberKey {
    /// Writes `region/id`; unambiguous, as ids hold no slash.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.region, self.id)
    }
}

/// Numbers the streams of this process; a later stream has a higher number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// One agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What it said about itself last.
    pub hello: Hello,
    /// The stream that speaks for it, `None` while it is only kept by its lease.
    pub stream: Option<StreamId>,
    /// Last sign of life; the end of a stream counts as one.
    pub heard: Instant,
    /// The last plan it put in force on this stream.
    pub acked: Revision,
    /// Why it refused a plan on this stream, until it accepts a later one.
    pub refusal: Option<String>,
}

/// Says that no further agent can be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the planner already keeps {MAX_MEMBERS} agents")]
pub struct RegistryFull;

/// What a join did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Joined {
    /// The stream that was replaced and has to end.
    pub replaced: Option<StreamId>,
    /// Whether the plan can differ: the agent is new or says something else about itself.
    pub changed: bool,
}

/// Every agent the planner knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    lease: Duration,
    by_key: BTreeMap<MemberKey, Member>,
}

impl Members {
    /// Builds an empty registry in which an agent is kept for `lease` after its last sign of life.
    #[must_use]
    pub const fn new(lease: Duration) -> Self {
        Self {
            lease,
            by_key: BTreeMap::new(),
        }
    }

    /// Changes the lease of everybody, also of those who are already waiting.
    pub const fn set_lease(&mut self, lease: Duration) {
        self.lease = lease;
    }

    /// Takes an agent in; with the key of a known one the newer stream wins.
    ///
    /// # Errors
    ///
    /// When [`MAX_MEMBERS`] others are there.
    pub fn join(&mut self, hello: Hello, stream: StreamId, now: Instant) -> Result<Joined, RegistryFull> {
        let key = MemberKey::of(&hello);
        let known = self.by_key.get(&key);
        if known.is_none() && self.by_key.len() >= MAX_MEMBERS {
            return Err(RegistryFull);
        }
        let joined = Joined {
            replaced: known.and_then(|member| member.stream),
            changed: known.is_none_or(|member| member.hello != hello),
        };
        let member = Member {
            hello,
            stream: Some(stream),
            heard: now,
            acked: Revision::NONE,
            refusal: None,
        };
        self.by_key.insert(key, member);
        Ok(joined)
    }

    /// Notes a sign of life; one from a stream that was replaced says nothing.
    pub fn heartbeat(&mut self, key: &MemberKey, stream: StreamId, now: Instant) {
        if let Some(member) = self.speaking(key, stream) {
            member.heard = now;
        }
    }

    /// Notes which plan is in force, or why one was refused.
    pub fn answered(&mut self, key: &MemberKey, stream: StreamId, answer: Result<Revision, String>, now: Instant) {
        if let Some(member) = self.speaking(key, stream) {
            member.heard = now;
            match answer {
                Ok(revision) => {
                    member.acked = revision;
                    member.refusal = None;
                }
                Err(reason) => member.refusal = Some(reason),
            }
        }
    }

    /// Notes the end of a stream; the lease runs from here.
    pub fn lost(&mut self, key: &MemberKey, stream: StreamId, now: Instant) {
        if let Some(member) = self.speaking(key, stream) {
            member.stream = None;
            member.heard = now;
        }
    }

    /// Removes everybody whose lease ended at `now` or before and returns them in order.
    pub fn expire(&mut self, now: Instant) -> Vec<(MemberKey, Member)> {
        let lease = self.lease;
        let ended = |member: &Member| member.heard + lease <= now;
        self.by_key.extract_if(.., |_, member| ended(member)).collect()
    }

    /// Says when the next lease ends if nobody gives a sign of life.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.by_key.values().map(|member| member.heard + self.lease).min()
    }

    /// Says how much of a member's lease is left.
    #[must_use]
    pub fn remaining(&self, member: &Member, now: Instant) -> Duration {
        (member.heard + self.lease).saturating_duration_since(now)
    }

    /// Walks over everybody, ordered by region and id.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&MemberKey, &Member)> {
        self.by_key.iter()
    }

    /// Looks one agent up.
    #[must_use]
    pub fn get(&self, key: &MemberKey) -> Option<&Member> {
        self.by_key.get(key)
    }

    fn speaking(&mut self, key: &MemberKey, stream: StreamId) -> Option<&mut Member> {
        self.by_key.get_mut(key).filter(|member| member.stream == Some(stream))
    }
}

#[cfg(test)]
mod tests;
