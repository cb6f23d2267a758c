//! Devices, addresses and routes of a namespace over netlink; the only place that knows the protocol.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::Path;

use futures_util::TryStreamExt as _;
use rtnetlink::packet_route::link::{InfoData, InfoVeth};
use rtnetlink::{Handle, LinkUnspec, LinkVeth, RouteMessageBuilder};
use tokio::task::JoinHandle;

use super::Namespace;
use crate::error::LabError;

/// Name of every host's device.
pub const HOST_DEVICE: &str = "eth0";

/// Hardware address of every host's device. They are all the same and nobody asks for them: the devices have no ARP, so
/// the kernel addresses frames to the device's own hardware address, which is right at the other end, too.
const HOST_HARDWARE_ADDRESS: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];

/// Settings that every namespace gets: the group number 0 may open datagram ICMP sockets, IPv6 works at once.
const SETTINGS: [(&str, &str); 4] = [
    ("/proc/sys/net/ipv4/ping_group_range", "0 0"),
    ("/proc/sys/net/ipv6/conf/all/disable_ipv6", "0"),
    ("/proc/sys/net/ipv6/conf/default/disable_ipv6", "0"),
    ("/proc/sys/net/ipv6/conf/default/accept_dad", "0"),
];

/// A netlink connection to one namespace.
#[derive(Debug)]
pub struct Netlink {
    handle: Handle,
    connection: JoinHandle<()>,
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Netlink {
    /// Connects to the kernel inside a namespace; needs a running tokio runtime.
    ///
    /// # Errors
    /// [`LabError::Io`] when no socket can be opened.
    pub fn open(namespace: &Namespace) -> Result<Self, LabError> {
        let runtime = tokio::runtime::Handle::current();
        let (connection, handle, _) = namespace
            .run(|| {
                let _guard = runtime.enter();
                rtnetlink::new_connection()
            })?
            .map_err(LabError::io("opening a netlink socket"))?;
        Ok(Self {
            handle,
            connection: tokio::spawn(connection),
        })
    }

    /// Makes a veth pair: `device` here, [`HOST_DEVICE`] in the other namespace; both down.
    ///
    /// # Errors
    /// [`LabError::Netlink`].
    pub async fn add_veth(&self, device: &str, other: &Namespace) -> Result<(), LabError> {
        let peer = rtnetlink::LinkMessageBuilder::<LinkUnspec>::new()
            .name(HOST_DEVICE)
            .address(HOST_HARDWARE_ADDRESS.to_vec())
            .setns_by_fd(other.as_fd().as_raw_fd())
            .build();
        let pair = LinkVeth::new(device, HOST_DEVICE)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .build();
        self.handle
            .link()
            .add(pair)
            .execute()
            .await
            .map_err(LabError::netlink(format!("making device {device}")))
    }

    /// Brings a device up, with or without ARP.
    ///
    /// # Errors
    /// [`LabError::Netlink`].
    pub async fn bring_up(&self, device: &str, address_resolution: bool) -> Result<(), LabError> {
        let index = self.index(device).await?;
        let message = LinkUnspec::new_with_index(index).arp(address_resolution).up().build();
        self.handle
            .link()
            .change(message)
            .execute()
            .await
            .map_err(LabError::netlink(format!("bringing {device} up")))
    }

    /// Gives a device an address for itself alone.
    ///
    /// # Errors
    /// [`LabError::Netlink`].
    pub async fn add_address(&self, device: &str, address: IpAddr) -> Result<(), LabError> {
        let index = self.index(device).await?;
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        let request = self.handle.address().add(index, address, prefix);
        request
            .execute()
            .await
            .map_err(LabError::netlink(format!("adding {address} to {device}")))
    }

    /// Sends everything else out of a device.
    ///
    /// # Errors
    /// [`LabError::Netlink`].
    pub async fn add_default_routes(&self, device: &str) -> Result<(), LabError> {
        let index = self.index(device).await?;
        let doing = || LabError::netlink(format!("adding the default route over {device}"));
        let v4 = RouteMessageBuilder::<Ipv4Addr>::new().output_interface(index).build();
        self.handle.route().add(v4).execute().await.map_err(doing())?;
        if has_ipv6() {
            let v6 = RouteMessageBuilder::<Ipv6Addr>::new().output_interface(index).build();
            self.handle.route().add(v6).execute().await.map_err(doing())?;
        }
        Ok(())
    }

    async fn index(&self, device: &str) -> Result<u32, LabError> {
        let mut links = self.handle.link().get().match_name(device.to_owned()).execute();
        let found = links
            .try_next()
            .await
            .map_err(LabError::netlink(format!("finding device {device}")))?;
        found.map(|link| link.header.index).ok_or_else(|| LabError::Io {
            doing: format!("finding device {device}"),
            source: std::io::ErrorKind::NotFound.into(),
        })
    }
}

/// Whether this kernel has IPv6 at all.
#[must_use]
pub fn has_ipv6() -> bool {
    Path::new("/proc/sys/net/ipv6").exists()
}

/// Writes the settings that every host's namespace gets.
///
/// # Errors
/// [`LabError::Io`] when the ICMP group cannot be set; IPv6 settings are left out on kernels without IPv6.
pub fn apply_settings(namespace: &Namespace) -> Result<(), LabError> {
    namespace.run(|| {
        for (file, value) in SETTINGS {
            if Path::new(file).exists() {
                std::fs::write(file, value).map_err(LabError::io(format!("writing {value:?} to {file}")))?;
            }
        }
        Ok(())
    })?
}
