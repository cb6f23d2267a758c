//! The socket options of the Linux backend: those that hold for the socket, and those that go with each packet.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use nix::libc;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::sockopt::{GetStruct, SetStruct};
use nix::sys::socket::{ControlMessage, TimestampingFlag, setsockopt, sockopt};
use xprober_proto::PacketOptions;

/// What `SO_MEMINFO` tells (`linux/sock_diag.h`): nine numbers.
pub(super) type MemoryNumbers = [u32; 9];

/// Place of the dropped packets among them (`SK_MEMINFO_DROPS`).
pub(super) const DROPS: usize = 8;

/// Receive buffer for whoever may exceed `net.core.rmem_max`, bytes.
pub(super) const FORCED_RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// Memory and drops of a socket; `SO_RXQ_OVFL` does not work on datagram ICMP sockets.
#[derive(Debug, Clone, Copy)]
pub(super) struct MemoryInfo;

nix::getsockopt_impl!(
    MemoryInfo,
    libc::SOL_SOCKET,
    libc::SO_MEMINFO,
    MemoryNumbers,
    GetStruct<MemoryNumbers>
);

/// How the kernel treats the path MTU, and with it the DF flag (ip(7)).
#[derive(Debug, Clone, Copy)]
struct PathMtuDiscovery;

nix::setsockopt_impl!(
    PathMtuDiscovery,
    libc::IPPROTO_IP,
    libc::IP_MTU_DISCOVER,
    libc::c_int,
    SetStruct<'_, libc::c_int>
);

/// The same for IPv6 (ipv6(7)).
#[derive(Debug, Clone, Copy)]
struct PathMtuDiscovery6;

nix::setsockopt_impl!(
    PathMtuDiscovery6,
    libc::IPPROTO_IPV6,
    libc::IPV6_MTU_DISCOVER,
    libc::c_int,
    SetStruct<'_, libc::c_int>
);

/// Asks for stamps of arrivals, and of what is sent from now on if `departures` are wanted.
pub(super) fn stamp(socket: &OwnedFd, departures: bool) -> io::Result<()> {
    let arrivals = TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE | TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE;
    let stamps = if departures {
        arrivals | TimestampingFlag::SOF_TIMESTAMPING_TX_SOFTWARE
    } else {
        arrivals
    };
    setsockopt(socket, sockopt::Timestamping, &stamps)?;
    Ok(())
}

/// Asks for the time to live or hop limit of replies.
pub(super) fn hop_limits(socket: &OwnedFd, v4: bool) -> io::Result<()> {
    if v4 {
        setsockopt(socket, sockopt::Ipv4RecvTtl, &true)?;
    } else {
        setsockopt(socket, sockopt::Ipv6RecvHopLimit, &true)?;
    }
    Ok(())
}

/// Asks for stamps, and for ICMP errors where they do not come as packets.
pub(super) fn prepare(socket: &OwnedFd, v4: bool, raw: bool) -> io::Result<()> {
    stamp(socket, false)?;
    // A raw socket gets errors as packets, and would get those of every other process in its queue.
    match (raw, v4) {
        (true, _) => {}
        (false, true) => setsockopt(socket, sockopt::Ipv4RecvErr, &true)?,
        (false, false) => setsockopt(socket, sockopt::Ipv6RecvErr, &true)?,
    }
    Ok(())
}

/// IPv4 packets up to this size need no fragmentation anywhere: every host has to take as much (RFC 791), and no link in use
/// carries less.
pub(super) const NEVER_FRAGMENTED_BYTES: usize = 576;

/// Forbids fragmentation of what is sent from now on, whatever the kernel knows of the path, or leaves it to the kernel,
/// which fragments what does not fit the path and forbids it to others for what does (RFC 1191).
pub(super) fn dont_fragment(socket: &OwnedFd, v4: bool, forbidden: bool) -> io::Result<()> {
    let mode = if forbidden {
        libc::IP_PMTUDISC_PROBE
    } else {
        libc::IP_PMTUDISC_WANT
    };
    if v4 {
        setsockopt(socket, PathMtuDiscovery, &mode)?;
    } else {
        setsockopt(socket, PathMtuDiscovery6, &mode)?;
        setsockopt(socket, sockopt::Ipv6DontFrag, &forbidden)?;
    }
    Ok(())
}

/// What goes with each packet, as the kernel wants it.
#[derive(Debug)]
pub(super) struct PacketControl {
    info4: Option<libc::in_pktinfo>,
    info6: Option<libc::in6_pktinfo>,
    tos: Option<u8>,
    traffic_class: Option<i32>,
    ttl: Option<libc::c_int>,
    v4: bool,
}

impl PacketControl {
    /// Looks up the interface.
    ///
    /// # Errors
    ///
    /// There is no such interface.
    pub(super) fn new(packet: &PacketOptions, v4: bool) -> io::Result<Self> {
        let index = match &packet.interface {
            Some(name) => if_nametoindex(name.as_str())?,
            None => 0,
        };
        let steered = packet.source.is_some() || index != 0;
        Ok(Self {
            info4: (steered && v4).then(|| info4(packet.source, index)),
            info6: (steered && !v4).then(|| info6(packet.source, index)),
            tos: (packet.dscp != 0 && v4).then_some(packet.dscp << 2),
            traffic_class: (packet.dscp != 0 && !v4).then_some(i32::from(packet.dscp) << 2),
            ttl: packet.ttl.map(libc::c_int::from),
            v4,
        })
    }

    /// The control messages.
    pub(super) fn messages(&self) -> Vec<ControlMessage<'_>> {
        let mut messages = Vec::new();
        messages.extend(self.info4.as_ref().map(ControlMessage::Ipv4PacketInfo));
        messages.extend(self.info6.as_ref().map(ControlMessage::Ipv6PacketInfo));
        messages.extend(self.tos.as_ref().map(ControlMessage::Ipv4Tos));
        messages.extend(self.traffic_class.as_ref().map(ControlMessage::Ipv6TClass));
        messages.extend(self.ttl.as_ref().map(if self.v4 {
            ControlMessage::Ipv4Ttl
        } else {
            ControlMessage::Ipv6HopLimit
        }));
        messages
    }
}

fn info4(source: Option<IpAddr>, index: libc::c_uint) -> libc::in_pktinfo {
    let source = match source {
        Some(IpAddr::V4(source)) => u32::from_ne_bytes(source.octets()),
        Some(IpAddr::V6(_)) | None => 0,
    };
    libc::in_pktinfo {
        ipi_ifindex: libc::c_int::try_from(index).unwrap_or(0),
        ipi_spec_dst: libc::in_addr { s_addr: source },
        ipi_addr: libc::in_addr { s_addr: 0 },
    }
}

fn info6(source: Option<IpAddr>, index: libc::c_uint) -> libc::in6_pktinfo {
    let source = match source {
        Some(IpAddr::V6(source)) => source.octets(),
        Some(IpAddr::V4(_)) | None => [0; 16],
    };
    libc::in6_pktinfo {
        ipi6_addr: libc::in6_addr { s6_addr: source },
        ipi6_ifindex: index,
    }
}
