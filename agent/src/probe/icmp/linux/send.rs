//! Sends echoes of one family, each by a call of its own: a batch would save a tenth, but hide when each one left.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd as _;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, SockaddrIn, SockaddrIn6, SockaddrLike, sendmsg, sendto};
use xprober_proto::PacketOptions;

use super::departure::{DISTURBED, Watch};
use super::options::{self, NEVER_FRAGMENTED_BYTES, PacketControl};
use super::{Family, HEADROOM_BYTES};
use crate::probe::icmp::clock::{Reading, Wall};
use crate::probe::icmp::packet::{self, Mark};
use crate::probe::icmp::socket::{Departed, Departure, Echo};

/// So many echoes are remembered until the kernel's stamps of them are read.
const MOST_CHECKS: usize = 64;

/// What the socket is set to, so that it is told only of changes.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    /// Options of the last packet in this batch, and what goes with each packet because of them.
    packet: Option<(PacketOptions, PacketControl)>,
    dont_fragment: Option<bool>,
    stamps_departures: Option<bool>,
    /// Whether replies come with what is left of their time to live, as some target asks for.
    hop_limits: bool,
}

/// What is known of departures.
#[derive(Debug, Default)]
pub(super) struct Departures {
    watch: Watch,
    /// Number and reading of echoes whose stamp is held against it, the oldest first.
    checks: VecDeque<(u64, Wall)>,
}

impl Departures {
    /// Holds the kernel's stamp of a departure against our reading.
    pub(super) fn check(&mut self, number: Option<u64>, at: Wall, now: Instant) {
        let Some(place) = self.checks.iter().position(|(checked, _)| Some(*checked) == number) else {
            return;
        };
        if let Some((_, read)) = self.checks.drain(..=place).next_back() {
            // A clock set back in between is somebody else's to notice.
            self.watch.judge(at.since(read).unwrap_or_default(), now);
        }
    }
}

impl Family {
    /// Begins a batch: names of interfaces are looked up anew.
    pub(super) fn begin(&mut self, now: Instant) {
        self.used = Some(now);
        self.prepared.packet = None;
        self.departures.watch.begin(now);
    }

    /// Sends one echo at `now`, by the clock of the kernel's stamps; `start` is a moment shortly before. Moves `now` to the
    /// end of the call, and `start`, too, where the call took long.
    pub(super) fn send(&mut self, echo: &Echo<'_>, start: &mut Reading, now: &mut Wall) -> Departure {
        self.prepare(echo)?;
        let stamped = self.departures.watch.asks_kernel(start.at);
        self.stamp_departures(stamped)?;
        self.write_request(echo);
        if self.hand_over(echo.to).is_err() {
            // An ICMP error about an earlier request is reported by whatever call comes next; the second call is ours.
            self.errors_wait = true;
            *now = Wall::now();
            self.hand_over(echo.to)?;
        }
        let before = std::mem::replace(now, Wall::now());
        let took = now.since(before).unwrap_or_default();
        self.departures.watch.judge_call(took, start.at);
        self.errors_wait |= stamped;
        if self.departures.watch.checks() {
            self.remember(echo.number, before);
        }
        let sent = start.at_wall(before);
        if took > DISTURBED {
            *start = Reading::now();
            *now = start.wall;
        }
        Ok(Departed {
            sent,
            left: (!stamped && took <= DISTURBED).then_some(before),
        })
    }

    fn remember(&mut self, number: u64, read: Wall) {
        // Stamps that came would have taken theirs out.
        if self.departures.checks.len() >= MOST_CHECKS {
            self.departures.checks.pop_front();
        }
        self.departures.checks.push_back((number, read));
    }

    /// Hands the written request to the kernel.
    fn hand_over(&self, to: IpAddr) -> Result<(), Errno> {
        // ICMP has no ports.
        match to {
            IpAddr::V4(to) => self.hand_over_to(&SockaddrIn::from(SocketAddrV4::new(to, 0))),
            IpAddr::V6(to) => self.hand_over_to(&SockaddrIn6::from(SocketAddrV6::new(to, 0, 0, 0))),
        }
    }

    fn hand_over_to<S: SockaddrLike>(&self, to: &S) -> Result<(), Errno> {
        let (descriptor, flags) = (self.descriptor.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
        let control = self.prepared.packet.as_ref().map(|(_, control)| control.messages());
        let request = &self.buffers.request;
        match control.as_deref() {
            None | Some([]) => sendto(descriptor, request, to, flags)?,
            Some(messages) => sendmsg(descriptor, &[IoSlice::new(request)], messages, flags, Some(to))?,
        };
        Ok(())
    }

    fn prepare(&mut self, echo: &Echo<'_>) -> io::Result<()> {
        let packet = echo.packet;
        // Forbidden for small packets, too: without it the kernel has to find each an identification (RFC 6864).
        let small = usize::from(echo.payload_bytes) + HEADROOM_BYTES <= NEVER_FRAGMENTED_BYTES;
        let forbidden = packet.dont_fragment || (self.v4 && small);
        if echo.reply_ttl && !self.prepared.hop_limits {
            options::hop_limits(&self.descriptor, self.v4)?;
            self.prepared.hop_limits = true;
        }
        if self.prepared.dont_fragment != Some(forbidden) {
            options::dont_fragment(&self.descriptor, self.v4, forbidden)?;
            self.prepared.dont_fragment = Some(forbidden);
        }
        if self
            .prepared
            .packet
            .as_ref()
            .is_some_and(|(before, _)| before == packet)
        {
            return Ok(());
        }
        self.prepared.packet = None;
        let control = PacketControl::new(packet, self.v4)?;
        self.prepared.packet = Some((packet.clone(), control));
        Ok(())
    }

    fn stamp_departures(&mut self, wanted: bool) -> io::Result<()> {
        if self.prepared.stamps_departures != Some(wanted) {
            options::stamp(&self.descriptor, wanted)?;
            self.prepared.stamps_departures = Some(wanted);
        }
        Ok(())
    }

    fn write_request(&mut self, echo: &Echo<'_>) {
        let mark = Mark {
            cookie: self.ours.cookie,
            number: echo.number,
        };
        let reply_bytes = usize::from(echo.payload_bytes) + HEADROOM_BYTES;
        self.buffers.reply_bytes = self.buffers.reply_bytes.max(reply_bytes);
        self.buffers.request.clear();
        packet::write_request(
            echo.to,
            self.identifier,
            mark,
            echo.payload_bytes,
            &mut self.buffers.request,
        );
    }
}
