//! Names of accounts.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use xprober_proto::{ProbeKind, Region, Target, TargetId};

/// Names what is counted for a region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegionKey {
    /// The other region.
    pub region: Region,
    /// How it is probed.
    pub probe: ProbeKind,
}

impl RegionKey {
    pub(super) fn of(target: &Target) -> Self {
        Self {
            region: target.region.clone(),
            probe: target.probe.kind(),
        }
    }
}

/// Names what is counted for a target: region, kind of probe and name, in this order.
///
/// Two targets of a plan with the same key are one to the reader of a dashboard and share one account; otherwise they
/// would send two values for one series. The key holds the target itself, so that no text is kept twice.
#[derive(Debug, Clone)]
pub struct TargetKey(Arc<Target>);

impl TargetKey {
    /// Names the account of a target.
    #[must_use]
    pub fn of(target: &Arc<Target>) -> Self {
        Self(Arc::clone(target))
    }

    /// Its region.
    #[must_use]
    pub fn region(&self) -> &Region {
        &self.0.region
    }

    /// How it is probed.
    #[must_use]
    pub fn probe(&self) -> ProbeKind {
        self.0.probe.kind()
    }

    /// Its name, the `target` label.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    pub(super) const fn target(&self) -> &Arc<Target> {
        &self.0
    }

    fn parts(&self) -> (&Region, ProbeKind, &str) {
        (self.region(), self.probe(), self.name())
    }
}

impl PartialEq for TargetKey {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.parts() == other.parts()
    }
}

impl Eq for TargetKey {}

impl PartialOrd for TargetKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for TargetKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

/// A target of the plan, found by its id.
#[derive(Debug, Clone)]
pub(super) struct Planned(pub(super) TargetKey);

impl Planned {
    fn id(&self) -> &TargetId {
        &self.0.0.id
    }
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for Planned {}

impl Hash for Planned {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

impl Borrow<TargetId> for Planned {
    fn borrow(&self) -> &TargetId {
        self.id()
    }
}
