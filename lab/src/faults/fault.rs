//! What can be broken in the world of [`crate::topology::Topology::demo`]; values only.

use std::fmt;
use std::time::Duration;

use xprober_agent::probe::Stage;

/// The two regions whose line is disturbed; its number in the lab's `planner.yml` is 1.
pub const LINE: [&str; 2] = ["region-a", "region-b"];
/// The region that is cut off.
pub const REGION: &str = "region-d";
/// The host that suffers, with its agent; it stands in [`REGION`].
pub const HOST: &str = "vm7";

/// One thing that is broken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// The line takes that much longer for a round trip.
    LineSlower(Duration),
    /// The line loses that share of packets, each way.
    LineLossy(f64),
    /// The line loses that share of packets, one way only.
    LineLossyOneWay(f64),
    /// That share of the echo requests from the line's first region to the other is lost, and nothing else.
    RequestsLost(f64),
    /// Echo requests from the line's first region to the other take that much longer, and nothing else.
    RequestsSlower(Duration),
    /// Nothing passes the line.
    LineCut,
    /// The agents of the line's first region are forbidden the other's network.
    NetworkForbidden,
    /// Nothing passes between the region and any other; with `pushes` its agents still reach planner and database.
    RegionCutOff {
        /// Whether the way to the hub stays.
        pushes: bool,
    },
    /// Nothing passes between the hub and any region.
    HubCutOff,
    /// The link of the host loses that share of packets, each way.
    HostLossy(f64),
    /// The agent is killed (SIGKILL), and started again.
    AgentKilled,
    /// The agent is frozen (SIGSTOP), and goes on later (SIGCONT).
    AgentFrozen,
    /// The agent runs only part of the time, in turns of this length and that share of each.
    AgentThrottled(Duration, f64),
    /// The planner is killed, and started again.
    PlannerKilled,
    /// The planner is given a file with an error, and later the good one again.
    PlannerFileBad,
    /// The database is stopped, and started again with its content.
    DatabaseAway,
    /// The second endpoint that agents push to is closed, and opened again.
    EndpointClosed,
    /// One stage of a target takes that much longer.
    HttpSlower(Stage, Duration),
    /// A target answers with status 503.
    HttpFailing,
    /// A target's certificate expires after that time; later it has one for a year again.
    CertificateExpires(Duration),
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [one, other] = LINE;
        let percent = |share: &f64| format!("{:.0} %", share * 100.0);
        match self {
            Self::LineSlower(by) => write!(formatter, "round trip {one} - {other} {} ms longer", by.as_millis()),
            Self::LineLossy(share) => write!(formatter, "{} of packets {one} - {other} lost each way", percent(share)),
            Self::LineLossyOneWay(share) => {
                write!(formatter, "{} of packets from {one} to {other} lost", percent(share))
            }
            Self::RequestsLost(share) => {
                write!(
                    formatter,
                    "{} of echo requests from {one} to {other} lost",
                    percent(share)
                )
            }
            Self::RequestsSlower(by) => {
                write!(
                    formatter,
                    "echo requests from {one} to {other} take {} ms longer",
                    by.as_millis()
                )
            }
            Self::LineCut => write!(formatter, "nothing passes between {one} and {other}"),
            Self::NetworkForbidden => write!(formatter, "agents of {one} forbidden the network of {other}"),
            Self::RegionCutOff { pushes: false } => write!(formatter, "{REGION} cut off from everything"),
            Self::RegionCutOff { pushes: true } => {
                write!(
                    formatter,
                    "{REGION} cut off from the other regions, its agents still push"
                )
            }
            Self::HubCutOff => write!(formatter, "planner and database cut off from every region"),
            Self::HostLossy(share) => write!(formatter, "link of {HOST} loses {} each way", percent(share)),
            Self::AgentKilled => write!(formatter, "agent of {HOST} killed (SIGKILL)"),
            Self::AgentFrozen => write!(formatter, "agent of {HOST} frozen (SIGSTOP)"),
            Self::AgentThrottled(turn, share) => {
                let turn = turn.as_secs();
                write!(
                    formatter,
                    "agent of {HOST} runs {} of every {turn} s (overloaded host)",
                    percent(share)
                )
            }
            Self::PlannerKilled => write!(formatter, "planner killed"),
            Self::PlannerFileBad => write!(formatter, "error in planner.yml"),
            Self::DatabaseAway => write!(formatter, "database stopped and started again"),
            Self::EndpointClosed => write!(formatter, "second endpoint of every agent refuses connections"),
            Self::HttpSlower(stage, by) => {
                write!(formatter, "{} of a URL {} ms longer", stage.as_str(), by.as_millis())
            }
            Self::HttpFailing => write!(formatter, "a URL answers 503"),
            Self::CertificateExpires(left) => {
                write!(
                    formatter,
                    "certificate of a URL expires in {} days",
                    left.as_secs() / 86_400
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_described_with_its_size() {
        for (fault, words) in [
            (
                Fault::LineSlower(Duration::from_millis(20)),
                "round trip region-a - region-b 20 ms longer",
            ),
            (Fault::HostLossy(0.15), "link of vm7 loses 15 % each way"),
            (
                Fault::CertificateExpires(Duration::from_hours(120)),
                "certificate of a URL expires in 5 days",
            ),
        ] {
            assert_eq!(fault.to_string(), words);
        }
    }
}
