//! Who this agent is: its id, the region it speaks for, where others reach it.
//!
//! ```text
//!   settings --+
//!              +--> [decide] --> Identity --> Hello
//!   metadata --+                    ^
//!   (edge, only without --region)   | address of the route towards the planner (edge, at every connection)
//! ```
//!
//! This file is pure; [`metadata`] and [`route`] ask.

pub mod metadata;

pub mod route;

use std::num::NonZeroU16;
use std::time::Duration;

use url::Url;
use xprober_config::agent::AgentSettings;
use xprober_proto::{Addresses, AgentId, Hello, InvalidName, ProbeKind, Region, Zone};

use metadata::MetadataError;

/// Probes that this version can perform.
pub const KINDS: [ProbeKind; 3] = [ProbeKind::Icmp, ProbeKind::Tcp, ProbeKind::Http];

/// Who speaks; fixed for the life of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Unique inside the region.
    pub agent_id: AgentId,
    /// The region it speaks for.
    pub region: Region,
    /// For people only.
    pub zone: Option<Zone>,
}

impl Identity {
    /// Introduces the agent to a planner; `tcp_port` is that of its responder.
    #[must_use]
    pub fn hello(&self, addresses: Addresses, tcp_port: Option<NonZeroU16>) -> Hello {
        Hello {
            agent_id: self.agent_id.clone(),
            region: self.region.clone(),
            zone: self.zone.clone(),
            addresses,
            kinds: KINDS.to_vec(),
            version: crate::VERSION.to_owned(),
            tcp_port,
        }
    }
}

/// Where a machine stands, as its cloud says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The region.
    pub region: Region,
    /// The availability zone, when the cloud told it.
    pub zone: Option<Zone>,
}

/// Says why the agent does not know who it is.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Neither settings nor cloud name a region.
    #[error(
        "no region: the metadata service at {service} {complaint}; set --region=NAME, XPROBER_REGION or region: in agent.yml"
    )]
    NoRegion {
        /// Whom we asked.
        service: String,
        /// What went wrong there.
        complaint: MetadataError,
    },
    /// The operating system does not tell the host name.
    #[error(
        "no agent id: the host name cannot be read; set --agent.id=NAME, XPROBER_AGENT_ID or agent_id: in agent.yml"
    )]
    NoHostName(#[source] std::io::Error),
    /// The host name cannot stand in a label.
    #[error(
        "no agent id: the host name will not do ({0}); set --agent.id=NAME, XPROBER_AGENT_ID or agent_id: in agent.yml"
    )]
    BadHostName(InvalidName),
}

/// Finds out who this agent is; asks the cloud only when the settings name no region.
///
/// # Errors
///
/// Says what is missing and how to set it.
pub async fn find(settings: &AgentSettings) -> Result<Identity, IdentityError> {
    let agent_id = match &settings.agent_id {
        Some(id) => id.clone(),
        None => id_of_host(&hostname::get().map_err(IdentityError::NoHostName)?.to_string_lossy())?,
    };
    let placement = match &settings.region {
        Some(region) => Placement {
            region: region.clone(),
            zone: None,
        },
        None => metadata::ask(&settings.metadata)
            .await
            .map_err(|complaint| IdentityError::NoRegion {
                service: shown(&settings.metadata.url),
                complaint,
            })?,
    };
    Ok(Identity {
        agent_id,
        region: placement.region,
        zone: settings.zone.clone().or(placement.zone),
    })
}

fn id_of_host(host: &str) -> Result<AgentId, IdentityError> {
    host.trim_end_matches('.').parse().map_err(IdentityError::BadHostName)
}

fn shown(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

/// Cuts the letter off the name of an AWS availability zone: `us-east-1a` stands in `us-east-1`.
#[must_use]
pub fn region_of_zone(zone: &str) -> Option<&str> {
    let region = zone.strip_suffix(|last: char| last.is_ascii_lowercase())?;
    region.ends_with(|last: char| last.is_ascii_digit()).then_some(region)
}

/// Spells a limit as people do.
fn seconds(limit: Duration) -> String {
    format!("{} s", limit.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_lies_in_the_region_it_is_named_after() {
        for (zone, region) in [
            ("us-east-1a", Some("us-east-1")),
            ("ap-southeast-2c", Some("ap-southeast-2")),
            ("us-east-1", None),
            ("nowhere", None),
            ("", None),
        ] {
            assert_eq!(region_of_zone(zone), region, "{zone}");
        }
    }

    #[test]
    fn a_host_name_that_cannot_stand_in_a_label_names_the_flag() {
        assert_eq!(id_of_host("vm1.example.com.").unwrap().as_str(), "vm1.example.com");
        let error = id_of_host("my host").unwrap_err().to_string();
        assert!(error.contains("--agent.id=NAME"), "{error}");
    }
}
