//! Packet sockets on the WAN's ends of the veth pairs; the only place that touches them.
//!
//! Frames carry a `virtio_net_hdr` in front, in both directions: without it the kernel would hand out half-finished
//! frames (checksums left to a card that does not exist, 64 KiB segments) with no way to say so again on the other
//! side. The header travels with the frame unchanged.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::sys::socket::sockopt::SetBool;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrLike as _, bind, recvmsg,
    sendmsg, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeSpec;

use crate::error::LabError;

/// Length of `struct virtio_net_hdr` (VIRTIO 1.2, 5.1.6, without the merged-buffers field).
pub const OFFLOAD_HEADER_LENGTH: usize = 10;

/// Longest frame that a veth hands out, with its headers: a 64 KiB segment.
pub const FRAME_CAPACITY: usize = OFFLOAD_HEADER_LENGTH + 14 + 4 + 65_536;

/// Bytes that may wait in a socket while the WAN's thread is not running; 50 ms at 10,000 small packets per second is
/// 0.5 MB, since the kernel charges about 1 kB for each.
const RECEIVE_BUFFER_BYTES: usize = 16 << 20;

/// Puts a `virtio_net_hdr` in front of every frame (packet(7), `PACKET_VNET_HDR`).
#[derive(Debug, Clone, Copy)]
struct OffloadHeader;

nix::setsockopt_impl!(OffloadHeader, libc::SOL_PACKET, libc::PACKET_VNET_HDR, bool, SetBool);

/// Keeps the socket from seeing what it sent itself (`PACKET_IGNORE_OUTGOING`, Linux 4.20).
#[derive(Debug, Clone, Copy)]
struct IgnoreOutgoing;

nix::setsockopt_impl!(
    IgnoreOutgoing,
    libc::SOL_PACKET,
    libc::PACKET_IGNORE_OUTGOING,
    bool,
    SetBool
);

/// Sets how much may wait in a socket: beyond the machine's limit where the right to do so is there, else up to it.
pub(crate) fn set_receive_buffer(socket: &OwnedFd, bytes: usize) -> Result<(), Errno> {
    setsockopt(socket, sockopt::RcvBufForce, &bytes).or_else(|_| setsockopt(socket, sockopt::RcvBuf, &bytes))
}

/// Binds a packet socket to a device of the calling thread's network namespace and answers the device's number.
///
/// The kernel's own list of link-layer addresses holds ready-made `sockaddr_ll` values, with protocol 0, which keeps the
/// one the socket was opened with; making one by hand would need unsafe code.
pub(crate) fn bind_to_device(socket: &OwnedFd, device: &str) -> Result<usize, Errno> {
    let mut interfaces = nix::ifaddrs::getifaddrs()?;
    let address = interfaces.find_map(|interface| {
        let address = interface.address.filter(|_| interface.interface_name == device)?;
        address.as_link_addr().copied()
    });
    let address = address.ok_or(Errno::ENODEV)?;
    debug_assert_eq!(address.family(), Some(AddressFamily::Packet));
    bind(socket.as_raw_fd(), &address)?;
    Ok(address.ifindex())
}

/// A packet socket bound to one device.
#[derive(Debug)]
pub struct Port {
    socket: OwnedFd,
}

impl Port {
    /// Opens a socket on a device of the calling thread's network namespace.
    ///
    /// # Errors
    /// [`LabError::Io`] when the device is missing or a socket call fails (`CAP_NET_RAW` is needed).
    pub fn open(device: &str) -> Result<Self, LabError> {
        let doing = |what: &str| LabError::errno(format!("{what} a packet socket on {device}"));
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let socket =
            socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll).map_err(doing("opening"))?;
        setsockopt(&socket, OffloadHeader, &true).map_err(doing("setting the offload header of"))?;
        setsockopt(&socket, IgnoreOutgoing, &true).map_err(doing("setting the direction of"))?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true).map_err(doing("setting the time stamps of"))?;
        set_receive_buffer(&socket, RECEIVE_BUFFER_BYTES).map_err(doing("setting the buffer of"))?;
        bind_to_device(&socket, device).map_err(doing("binding"))?;
        Ok(Self { socket })
    }

    /// Takes the next frame: offload header first, and how long ago the kernel got it. Nothing comes back when none waits.
    ///
    /// # Errors
    /// The error number, e.g. `ENETDOWN`.
    pub fn receive<'buffer>(&self, buffer: &'buffer mut [u8]) -> Result<Option<(&'buffer mut [u8], Duration)>, Errno> {
        let mut control = nix::cmsg_space!(TimeSpec);
        let (length, stamp) = {
            let mut slices = [IoSliceMut::new(buffer)];
            let message = match recvmsg::<()>(
                self.socket.as_raw_fd(),
                &mut slices,
                Some(&mut control),
                MsgFlags::empty(),
            ) {
                Ok(message) => message,
                Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
                Err(errno) => return Err(errno),
            };
            let stamp = message.cmsgs()?.find_map(|control| {
                if let ControlMessageOwned::ScmTimestampns(stamp) = control {
                    Some(Duration::from(stamp))
                } else {
                    None
                }
            });
            (message.bytes, stamp)
        };
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        // A stepped wall clock must not turn into delay: ages beyond a second are not believed.
        let age = stamp.map_or(Duration::ZERO, |stamp| now.saturating_sub(stamp));
        let age = if age > Duration::from_secs(1) {
            Duration::ZERO
        } else {
            age
        };
        Ok(Some((&mut buffer[..length], age)))
    }

    /// Sends a frame that [`Port::receive`] of another port gave out.
    ///
    /// # Errors
    /// The error number; `EAGAIN` and `ENOBUFS` mean that the host does not keep up.
    pub fn send(&self, frame: &[u8]) -> Result<(), Errno> {
        sendmsg::<()>(
            self.socket.as_raw_fd(),
            &[IoSlice::new(frame)],
            &[],
            MsgFlags::empty(),
            None,
        )
        .map(drop)
    }
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
