//! `plan`: prints who would probe what.

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use xprober_config::planner::PlannerSettings;
use xprober_proto::{Addresses, Hello, ProbeKind};

use super::PlanArgs;
use crate::plan::{MeshPlan, text};

/// One entry of the members file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    region: String,
    addresses: Vec<IpAddr>,
    /// Without it the agent can do everything.
    kinds: Option<Vec<String>>,
    /// Port of its TCP responder; without it there is none.
    tcp_port: Option<NonZeroU16>,
}

/// Prints the plan for the members of a file.
///
/// # Errors
///
/// When a file cannot be read or is wrong.
pub fn plan(args: &PlanArgs, out: &mut impl std::io::Write) -> anyhow::Result<()> {
    let settings = PlannerSettings::load(&args.file.config_file)?;
    let members = read(&args.members).with_context(|| args.members.display().to_string())?;
    let plan = MeshPlan::build(&settings, &members);
    out.write_all(text::write(&plan, args.explain)?.as_bytes())
        .context("cannot write to standard output")
}

fn read(file: &Path) -> anyhow::Result<Vec<Hello>> {
    let content = std::fs::read_to_string(file)?;
    let entries: Vec<Entry> = serde_yaml::from_str(&content)?;
    entries
        .into_iter()
        .enumerate()
        .map(|(index, entry)| hello(entry).with_context(|| format!("[{index}]")))
        .collect()
}

fn hello(entry: Entry) -> anyhow::Result<Hello> {
    let (mut v4, mut v6) = (None, None);
    for address in entry.addresses {
        match address {
            IpAddr::V4(address) if v4.is_none() => v4 = Some(address),
            IpAddr::V6(address) if v6.is_none() => v6 = Some(address),
            IpAddr::V4(_) | IpAddr::V6(_) => bail!("addresses: {address} is the second of its family, one is allowed"),
        }
    }
    let kinds = match entry.kinds {
        None => ProbeKind::ALL.to_vec(),
        Some(names) => names.iter().map(|name| kind(name)).collect::<anyhow::Result<_>>()?,
    };
    Ok(Hello {
        agent_id: entry.id.parse()?,
        region: entry.region.parse()?,
        zone: None,
        addresses: Addresses::new(v4, v6).context("addresses: one IPv4 and/or one IPv6 address that can be probed")?,
        kinds,
        version: String::new(),
        tcp_port: entry.tcp_port,
    })
}

fn kind(name: &str) -> anyhow::Result<ProbeKind> {
    let known = ProbeKind::ALL.into_iter().find(|kind| kind.as_str() == name);
    known.with_context(|| format!("kinds: {name:?} is not one of icmp, tcp, http"))
}
