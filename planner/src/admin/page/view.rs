//! What a visitor chose to see: the query string, and the links that change it.

use url::form_urlencoded;
use xprober_proto::ProbeKind;

/// What the cells of the matrix show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Show {
    /// 99th percentile of the round-trip time.
    Rtt,
    /// Lost share.
    Loss,
    /// Share over the round-trip time budget.
    OverBudget,
}

impl Show {
    pub(super) const ALL: [Self; 3] = [Self::Rtt, Self::Loss, Self::OverBudget];

    /// As in the query string.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Rtt => "rtt",
            Self::Loss => "loss",
            Self::OverBudget => "budget",
        }
    }

    /// As on the page.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Rtt => "p99 RTT",
            Self::Loss => "Loss",
            Self::OverBudget => "Over budget",
        }
    }
}

/// What a visitor chose; anything else than what is offered is the first of what is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct View {
    pub(super) show: Show,
    pub(crate) probe: ProbeKind,
}

impl View {
    /// Reads the query string; `probes` are the kinds that the mesh has.
    pub(crate) fn read(query: Option<&str>, probes: &[ProbeKind]) -> Self {
        let given = |key: &str| {
            form_urlencoded::parse(query.unwrap_or_default().as_bytes())
                .find(|(name, _)| name == key)
                .map(|(_, value)| value)
        };
        let (show, probe) = (given("show"), given("probe"));
        let chosen = |kind: &&ProbeKind| probe.as_deref() == Some(kind.as_str());
        Self {
            show: Show::ALL
                .into_iter()
                .find(|one| show.as_deref() == Some(one.as_str()))
                .unwrap_or(Show::Rtt),
            probe: probes
                .iter()
                .find(chosen)
                .or(probes.first())
                .copied()
                .unwrap_or(ProbeKind::Icmp),
        }
    }

    /// Link to the page with this choice.
    pub(super) fn link(self) -> String {
        format!("/?show={}&probe={}", self.show.as_str(), self.probe.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_that_is_not_offered_is_the_first_one() {
        let probes = [ProbeKind::Icmp, ProbeKind::Tcp];
        for (query, link) in [
            (None, "/?show=rtt&probe=icmp"),
            (Some("show=loss"), "/?show=loss&probe=icmp"),
            (Some("probe=tcp&show=budget"), "/?show=budget&probe=tcp"),
            (Some("show=%3Cscript%3E&probe=http"), "/?show=rtt&probe=icmp"),
            (Some("&&=&show"), "/?show=rtt&probe=icmp"),
        ] {
            let view = View::read(query, &probes);
            assert_eq!(view.link(), link, "{query:?}");
            assert_eq!(View::read(Some(&link[2..]), &probes), view);
        }
        assert_eq!(View::read(Some("probe=icmp"), &[ProbeKind::Tcp]).probe, ProbeKind::Tcp);
    }
}
