//! The packet socket of a capture; the only place that touches it.
//!
//! It is a "cooked" one (packet(7), `SOCK_DGRAM`): packets start at their IP header, whatever the device.

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::sys::socket::sockopt::GetStruct;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, GetSockOpt as _, LinkAddr, MsgFlags, MultiHeaders, RecvMsg, SockFlag,
    SockProtocol, SockType, getsockopt, recvmmsg, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeSpec;
use socket2::SockRef;

use super::Filter;
use super::filter::program;
use crate::error::LabError;
use crate::wan::socket::{bind_to_device, set_receive_buffer};

/// Bytes taken of each packet: the longest IPv4 header (60) with ICMP or TCP header and the payload that is kept.
const KEPT_BYTES: usize = 128;

/// Packets taken with one system call.
const BATCH: usize = 64;

/// Bytes that may wait; the kernel charges some 800 for a small packet, so half a second at 150,000 per second fits. An
/// ordinary user gets no more than `net.core.rmem_max` twice, on many machines 0.4 MB.
const RECEIVE_BUFFER_BYTES: usize = 64 << 20;

/// Time between two looks; at 20,000 packets per second 100 gather.
const TICK: Duration = Duration::from_millis(5);

/// The same where the buffer is smaller than asked for; 500 packets fit into 0.4 MB.
const SHORT_TICK: Duration = Duration::from_millis(1);

/// `sll_pkttype` of what the host itself sends (packet(7)).
const OUTGOING: u8 = 4;

/// `PACKET_STATISTICS` of `linux/if_packet.h`; answers and clears how many packets came, dropped ones included, and how
/// many were dropped for want of room.
const PACKET_STATISTICS: libc::c_int = 6;

#[derive(Debug, Clone, Copy)]
struct Statistics;

nix::getsockopt_impl!(
    Statistics,
    libc::SOL_PACKET,
    PACKET_STATISTICS,
    [u32; 2],
    GetStruct<[u32; 2]>
);

/// A packet as it was seen.
#[derive(Debug)]
pub(super) struct Seen<'buffer> {
    /// From the IP header on, cut off.
    pub(super) bytes: &'buffer [u8],
    /// The kernel's stamp, since the Unix epoch.
    pub(super) at: Duration,
    /// Whether the host sent it.
    pub(super) outgoing: bool,
}

/// Room for one batch.
#[derive(Debug)]
pub(super) struct Batch(Box<[u8]>);

impl Default for Batch {
    fn default() -> Self {
        Self(vec![0; BATCH * KEPT_BYTES].into_boxed_slice())
    }
}

/// A packet socket that listens to one device in both directions.
#[derive(Debug)]
pub(super) struct Tap {
    socket: OwnedFd,
    device: usize,
    tick: Duration,
}

impl Tap {
    /// Opens a socket on a device of the calling thread's network namespace.
    pub(super) fn open(device: &str, filter: Filter) -> Result<Self, LabError> {
        let doing = |what: &str| LabError::errno(format!("{what} a capture on {device}"));
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let socket =
            socket(AddressFamily::Packet, SockType::Datagram, flags, SockProtocol::EthAll).map_err(doing("opening"))?;
        SockRef::from(&socket)
            .attach_filter(&program(filter))
            .map_err(LabError::io(format!("setting the filter of a capture on {device}")))?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true).map_err(doing("setting the time stamps of"))?;
        set_receive_buffer(&socket, RECEIVE_BUFFER_BYTES).map_err(doing("setting the buffer of"))?;
        let granted = getsockopt(&socket, sockopt::RcvBuf).map_err(doing("reading the buffer of"))?;
        let tick = if granted < RECEIVE_BUFFER_BYTES {
            SHORT_TICK
        } else {
            TICK
        };
        let device = bind_to_device(&socket, device).map_err(doing("binding"))?;
        Ok(Self { socket, device, tick })
    }

    /// How long it may be left alone.
    pub(super) fn tick(&self) -> Duration {
        self.tick
    }

    /// Takes a batch; true when more may be waiting.
    pub(super) fn receive(&self, batch: &mut Batch, mut each: impl FnMut(Seen<'_>)) -> Result<bool, Errno> {
        // Made anew every time, because the kernel overwrites the headers' lengths and nothing sets them back.
        let mut headers = MultiHeaders::<LinkAddr>::preallocate(BATCH, Some(nix::cmsg_space!(TimeSpec)));
        let mut slices: Vec<_> = batch
            .0
            .chunks_mut(KEPT_BYTES)
            .map(|room| [IoSliceMut::new(room)])
            .collect();
        let flags = MsgFlags::MSG_DONTWAIT;
        let messages = match recvmmsg(self.socket.as_raw_fd(), &mut headers, &mut slices, flags, None) {
            Ok(messages) => messages,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(false),
            Err(errno) => return Err(errno),
        };
        let mut count = 0;
        for message in messages {
            count += 1;
            // Before it was bound, the socket saw all devices.
            if let Some(address) = message.address.filter(|address| address.ifindex() == self.device) {
                each(Seen {
                    bytes: message.iovs().next().unwrap_or_default(),
                    at: stamp(&message),
                    outgoing: address.pkttype() == OUTGOING,
                });
            }
        }
        Ok(count == BATCH)
    }

    /// How many packets found no room since this was last asked.
    pub(super) fn take_dropped(&self) -> u64 {
        let [_, dropped] = Statistics.get(&self.socket).unwrap_or_default();
        dropped.into()
    }
}

fn stamp(message: &RecvMsg<'_, '_, LinkAddr>) -> Duration {
    let stamp = message.cmsgs().ok().and_then(|mut controls| {
        controls.find_map(|control| {
            if let ControlMessageOwned::ScmTimestampns(stamp) = control {
                Some(Duration::from(stamp))
            } else {
                None
            }
        })
    });
    stamp.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.unwrap_or_default()
    })
}
