//! The lab itself: builds the hosts and the WAN of a topology, owns them, and takes them down.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::enter::{Inside, StopSignals};
use crate::error::LabError;
use crate::forward;
use crate::namespace::device::{self, HOST_DEVICE, Netlink};
use crate::namespace::{Namespace, mounts};
use crate::servers::Tasks;
use crate::servers::certificates::{CertificateAuthority, DEFAULT_VALIDITY};
use crate::servers::dns::DnsSettings;
use crate::servers::edge::Edge;
use crate::servers::http::{Behaviour, HttpTarget};
use crate::servers::metadata::METADATA_ADDRESS;
use crate::topology::{HUB, HostPlan, Topology};
use crate::wan::control::{Counters, Wan};
use crate::wan::random::Random;
use crate::wan::socket::Port;
use crate::wan::task::WanThread;
use crate::wan::{Attachment, Matrix, Router};

/// A running world.
#[derive(Debug)]
pub struct Lab {
    work: PathBuf,
    topology: Topology,
    hosts: Vec<Host>,
    wan: Wan,
    forwards: forward::Inside,
    authority: CertificateAuthority,
    signals: Tasks,
    stop: CancellationToken,
    /// Last: hosts must not lose the WAN while they stop.
    _wan_thread: WanThread,
}

/// A machine of the lab: a plan that came true in a namespace of its own.
#[derive(Debug, Clone)]
pub struct Host {
    plan: HostPlan,
    namespace: Namespace,
    edge: Arc<Edge>,
    work: PathBuf,
}

impl Lab {
    /// Builds hosts and WAN inside the namespaces that [`crate::enter`] made; `seed` decides the WAN's dice.
    ///
    /// # Errors
    /// The first step that failed.
    pub async fn start(inside: &Inside, topology: Topology, seed: u64) -> Result<Self, LabError> {
        let work = inside.work().to_owned();
        let signals = Tasks::default();
        let stop = CancellationToken::new();
        signals.spawn(hear(StopSignals::watch()?, stop.clone()));
        mounts::replace_name_service(&work.join("etc"))?;
        let wan_namespace = Namespace::create()?;
        let wan_netlink = Netlink::open(&wan_namespace)?;
        let mut hosts = Vec::new();
        let mut ports = Vec::new();
        for (index, plan) in topology.hosts().iter().enumerate() {
            let namespace = if plan.name == HUB {
                Namespace::current()?
            } else {
                Namespace::create()?
            };
            let device = format!("wan{index}");
            wan_netlink.add_veth(&device, &namespace).await?;
            ports.push(wan_namespace.run(|| Port::open(&device))??);
            wan_netlink.bring_up(&device, false).await?;
            set_up_host(&namespace, plan).await?;
            let edge = Arc::new(Edge::start(&namespace, plan, names(&topology)).await?);
            hosts.push(Host {
                plan: plan.clone(),
                namespace,
                edge,
                work: work.clone(),
            });
        }
        let (wan, wan_thread) = start_wan(&topology, ports, seed)?;
        info!(hosts = hosts.len(), regions = topology.regions().len(), "lab is up");
        let forwards = forward::Inside::new(inside.clone());
        let authority = CertificateAuthority::create(&work)?;
        Ok(Self {
            work,
            authority,
            signals,
            stop,
            topology,
            hosts,
            wan,
            forwards,
            _wan_thread: wan_thread,
        })
    }

    /// What the lab was built from.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Folder for logs and generated files.
    #[must_use]
    pub fn work(&self) -> &Path {
        &self.work
    }

    /// All hosts, the hub first.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The host of that name.
    ///
    /// # Errors
    /// [`LabError::NoHost`].
    pub fn host(&self, name: &str) -> Result<&Host, LabError> {
        self.hosts
            .iter()
            .find(|host| host.plan.name == name)
            .ok_or_else(|| LabError::NoHost(name.to_owned()))
    }

    /// The host that this process itself runs on.
    #[must_use]
    pub fn hub(&self) -> &Host {
        &self.hosts[0]
    }

    /// The WAN's settings and counters.
    #[must_use]
    pub fn wan(&self) -> &Wan {
        &self.wan
    }

    /// Addresses offered to the machine outside.
    #[must_use]
    pub fn forwards(&self) -> &forward::Inside {
        &self.forwards
    }

    /// The authority that signs the certificates of HTTPS targets.
    #[must_use]
    pub fn authority(&self) -> &CertificateAuthority {
        &self.authority
    }

    /// Starts an HTTP target on port 80 of a host's own address (the metadata endpoint has that port on its own).
    ///
    /// # Errors
    /// [`LabError::NoHost`], [`LabError::Io`].
    pub fn http_target(&self, host: &str, behaviour: Behaviour) -> Result<HttpTarget, LabError> {
        let host = self.host(host)?;
        HttpTarget::start(&host.namespace, (host.plan.address, 80).into(), None, behaviour)
    }

    /// Starts an HTTPS target on port 443 of a host, with a certificate for the host's names and address.
    ///
    /// # Errors
    /// [`LabError::NoHost`], [`LabError::Io`], [`LabError::Certificate`].
    pub fn https_target(&self, host: &str, behaviour: Behaviour) -> Result<HttpTarget, LabError> {
        self.https_target_valid_for(host, behaviour, DEFAULT_VALIDITY)
    }

    /// The same with a certificate that expires after that time.
    ///
    /// # Errors
    /// As [`Lab::https_target`].
    pub fn https_target_valid_for(
        &self,
        host: &str,
        behaviour: Behaviour,
        validity: Duration,
    ) -> Result<HttpTarget, LabError> {
        let host = self.host(host)?;
        let names = [host.name().to_owned(), host.dns_name(), host.plan.address.to_string()];
        let tls = self.authority.server(&names, validity)?;
        HttpTarget::start(&host.namespace, (host.plan.address, 443).into(), Some(tls), behaviour)
    }

    /// Changes every host's DNS server, e.g. its delay.
    pub fn change_dns(&self, change: impl Fn(&mut DnsSettings)) {
        for host in &self.hosts {
            host.edge.dns.change(&change);
        }
    }

    /// Waits until someone wants the lab to stop: SIGINT (Ctrl-C), SIGTERM or SIGHUP, from its start on.
    pub async fn stop_requested(&self) {
        self.stop.cancelled().await;
    }

    /// A token that is cancelled when someone wants the lab to stop, see [`Lab::stop_requested`].
    #[must_use]
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Stops the lab's own tasks; processes and targets must have been stopped before.
    pub async fn stop(self) {
        for host in &self.hosts {
            host.edge.stop().await;
        }
        self.forwards.close().await;
        self.signals.stop().await;
    }
}

impl Host {
    /// Name, region, zone and addresses.
    #[must_use]
    pub fn plan(&self) -> &HostPlan {
        &self.plan
    }

    /// Name of the host.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.plan.name
    }

    /// Name under which every host's DNS knows this one, besides its bare name.
    fn dns_name(&self) -> String {
        format!("{}.lab", self.plan.name)
    }

    /// Metadata endpoint and DNS server of the host.
    #[must_use]
    pub fn edge(&self) -> &Edge {
        &self.edge
    }

    /// The host's network namespace, to run code in it.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Folder for logs and generated files.
    #[must_use]
    pub fn work(&self) -> &Path {
        &self.work
    }
}

async fn set_up_host(namespace: &Namespace, plan: &HostPlan) -> Result<(), LabError> {
    device::apply_settings(namespace)?;
    let netlink = Netlink::open(namespace)?;
    netlink.bring_up("lo", true).await?;
    netlink.add_address("lo", IpAddr::V4(METADATA_ADDRESS)).await?;
    netlink.add_address(HOST_DEVICE, IpAddr::V4(plan.address)).await?;
    netlink.bring_up(HOST_DEVICE, false).await?;
    if device::has_ipv6() {
        netlink.add_address(HOST_DEVICE, IpAddr::V6(plan.address_v6)).await?;
    }
    for address in &plan.further {
        netlink.add_address(HOST_DEVICE, IpAddr::V4(*address)).await?;
    }
    netlink.add_default_routes(HOST_DEVICE).await
}

/// Repeats are the outside making sure that it was heard.
async fn hear(mut signals: StopSignals, stop: CancellationToken) {
    loop {
        let signal = signals.next().await;
        debug!(%signal, "asked to stop");
        stop.cancel();
    }
}

/// Every host under its bare name and under `<name>.lab`.
fn names(topology: &Topology) -> DnsSettings {
    let names = topology.hosts().iter();
    let names = names.flat_map(|host| {
        [
            (host.name.clone(), host.address),
            (format!("{}.lab", host.name), host.address),
        ]
    });
    DnsSettings {
        names: names.collect(),
        ..DnsSettings::default()
    }
}

fn start_wan(topology: &Topology, ports: Vec<Port>, seed: u64) -> Result<(Wan, WanThread), LabError> {
    let regions = topology.regions();
    let attachments = topology.hosts().iter().map(|host| {
        let region = regions.iter().position(|region| *region == host.region);
        let main = [host.address.into(), host.address_v6.into()];
        Ok(Attachment {
            region: region.ok_or_else(|| LabError::NoRegion(host.region.clone()))?,
            addresses: main
                .into_iter()
                .chain(host.further.iter().map(|address| (*address).into()))
                .collect(),
        })
    });
    let router = Router::new(
        attachments.collect::<Result<_, LabError>>()?,
        regions.len(),
        Random::new(seed),
    );
    let matrix = Matrix::new(regions, ports.len(), |from, to| topology.path_between(from, to));
    let (sender, receiver) = watch::channel(matrix);
    let counters = Arc::new(Counters::new(regions.len() * regions.len()));
    let thread = WanThread::start(ports, router, receiver, Arc::clone(&counters))?;
    let names = topology.hosts().iter().map(|host| host.name.clone()).collect();
    Ok((Wan::new(sender, counters, names), thread))
}
