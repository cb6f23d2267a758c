//! The Linux backend: one socket per family for all targets, the kernel's stamps of arrivals and, where needed, of
//! departures.
//!
//! ```text
//!   Prober -- Echo --> [LinuxSocket] -- sendmsg, one by one -------------> network
//!     ^                      |  ^------- recvmmsg: replies, stamped on arrival
//!     +------ EchoEvent -----+  ^------- recvmmsg MSG_ERRQUEUE: departures, stamped; ICMP errors
//! ```
//!
//! surge-ping opens the sockets and decodes replies. Since the kernel stamps arrivals (`SO_TIMESTAMPING`), it does not
//! matter for the time when we read: whoever probes wakes on a coarse tick and handles what there is. `departure` says
//! which departures the kernel stamps, too, `send` and `receive` make the system calls, `options` names the socket options.

mod departure;

mod options;

mod send;

mod receive;

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use surge_ping::AsyncSocket;

use super::clock::{Reading, Wall};
use super::decode::Ours;
use super::open::{Families, OpenError, borrow, is_raw, open_families};
use super::packet;
use super::socket::{Departure, Echo, EchoEvent, EchoSocket};
use crate::probe::Stamp;
use options::{DROPS, MemoryInfo};
use send::{Departures, Prepared};

/// A family is looked at for so long after its last echo: longer than any window is open.
const IN_USE_FOR: Duration = Duration::from_mins(3);
/// Room for the IPv4 header with options that raw sockets show, and the ICMP header.
const HEADROOM_BYTES: usize = 60 + packet::HEADER_BYTES;

/// The socket of one family.
#[derive(Debug)]
struct Family {
    descriptor: OwnedFd,
    v4: bool,
    ours: Ours,
    identifier: u16,
    prepared: Prepared,
    departures: Departures,
    /// Whether something may wait in the error queue.
    errors_wait: bool,
    /// When echoes were last sent; a family that nobody uses is not looked at.
    used: Option<Instant>,
    /// Packets dropped so far.
    drops: u32,
    buffers: Buffers,
}

/// Memory that is used again in every call.
#[derive(Debug, Default)]
struct Buffers {
    request: Vec<u8>,
    replies: Vec<u8>,
    returned: Vec<u8>,
    /// Bytes of one reply that are looked at.
    reply_bytes: usize,
}

/// One socket for each family that could be opened.
#[derive(Debug)]
pub struct LinuxSocket {
    families: Families<Family>,
}

impl LinuxSocket {
    /// Opens what can be opened; must be called inside a runtime. `random` distinguishes this process from others.
    ///
    /// # Errors
    ///
    /// Neither family can be opened; a missing right is explained with the command that grants it.
    pub fn open(random: u64) -> Result<Self, OpenError> {
        let families = open_families(|socket, v4| Family::new(&socket, v4, random))?;
        Ok(Self { families })
    }
}

impl Family {
    fn new(socket: &AsyncSocket, v4: bool, cookie: u64) -> io::Result<Self> {
        let descriptor = borrow(socket).try_clone_to_owned()?;
        options::prepare(&descriptor, v4, is_raw(socket))?;
        // With the right to it, beyond net.core.rmem_max.
        let _ = setsockopt(&descriptor, sockopt::RcvBufForce, &options::FORCED_RECEIVE_BUFFER_BYTES);
        let identifier = packet::sequence(cookie);
        Ok(Self {
            descriptor,
            v4,
            ours: Ours {
                cookie,
                identifier: is_raw(socket).then_some(identifier),
            },
            identifier,
            prepared: Prepared::default(),
            departures: Departures::default(),
            errors_wait: false,
            used: None,
            drops: 0,
            buffers: Buffers::default(),
        })
    }

    /// Tells how many packets were dropped since the last call (`SO_MEMINFO`, since Linux 4.12; the counter wraps).
    fn new_drops(&mut self) -> u64 {
        let Ok(memory) = getsockopt(&self.descriptor, MemoryInfo) else {
            return 0;
        };
        let drops = memory.get(DROPS).copied().unwrap_or(self.drops);
        let new = drops.wrapping_sub(self.drops);
        self.drops = drops;
        u64::from(new)
    }
}

impl EchoSocket for LinuxSocket {
    fn stamp(&self) -> Stamp {
        Stamp::Kernel
    }

    fn send(&mut self, echoes: &[Echo<'_>], departures: &mut Vec<Departure>) {
        let mut start = Reading::now();
        for family in self.families.iter_mut() {
            if echoes.iter().any(|echo| echo.to.is_ipv4() == family.v4) {
                family.begin(start.at);
            }
        }
        let mut now = Wall::now();
        let sent = echoes.iter().map(|echo| match self.families.of(echo.to.is_ipv4()) {
            Some(family) => family.send(echo, &mut start, &mut now),
            None => Err(io::ErrorKind::Unsupported.into()),
        });
        departures.extend(sent);
    }

    fn wait(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    fn receive(&mut self, events: &mut Vec<EchoEvent>) -> bool {
        for family in self.families.iter_mut() {
            if family.used.is_none_or(|used| used.elapsed() >= IN_USE_FOR) {
                continue;
            }
            family.receive_replies(events);
            family.receive_errors(events);
            let dropped = family.new_drops();
            if dropped > 0 {
                events.push(EchoEvent::Dropped(dropped));
            }
        }
        true
    }
}
