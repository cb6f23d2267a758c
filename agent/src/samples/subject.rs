//! What a group of series speaks about.

use xprober_proto::Line;

use super::catalogue::{MAX_SCOPE_LABELS, Scope};
use crate::ledger::{RegionKey, TargetKey};

/// The agent, an endpoint, a region, a target or a line: a scope and the values of its labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject<'a> {
    scope: Scope,
    values: [&'a str; MAX_SCOPE_LABELS],
}

impl<'a> Subject<'a> {
    /// The agent itself.
    pub const AGENT: Self = Self {
        scope: Scope::Agent,
        values: [""; MAX_SCOPE_LABELS],
    };

    /// A place where the agent pushes to.
    #[must_use]
    pub const fn endpoint(name: &'a str) -> Self {
        Self {
            scope: Scope::Endpoint,
            values: [name, "", "", "", ""],
        }
    }

    /// A region, for one kind of probe.
    #[must_use]
    pub fn region(key: &'a RegionKey) -> Self {
        Self {
            scope: Scope::Region,
            values: [key.region.as_str(), key.probe.as_str(), "", "", ""],
        }
    }

    /// One target.
    #[must_use]
    pub fn target(key: &'a TargetKey) -> Self {
        Self {
            scope: Scope::Target,
            values: [key.region().as_str(), key.probe().as_str(), key.name(), "", ""],
        }
    }

    /// A dedicated line.
    #[must_use]
    pub fn line(line: &'a Line) -> Self {
        Self {
            scope: Scope::Line,
            values: [
                line.target_region.as_str(),
                &line.name,
                &line.circuit,
                &line.carrier,
                &line.owner,
            ],
        }
    }

    /// A dedicated line, for one kind of probe.
    #[must_use]
    pub fn line_probes(line: &'a Line, region: &'a RegionKey) -> Self {
        Self {
            scope: Scope::LineProbes,
            values: [region.region.as_str(), region.probe.as_str(), &line.name, "", ""],
        }
    }

    /// Which labels it has beside the common ones.
    #[must_use]
    pub const fn scope(&self) -> Scope {
        self.scope
    }

    /// Values of the labels of its scope, in the scope's order.
    pub fn label_values(&self) -> impl Iterator<Item = &'a str> {
        self.values.into_iter().take(self.scope.labels().len())
    }
}
