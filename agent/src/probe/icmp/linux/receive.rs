//! What comes back to the socket of one family: replies, stamps of departures and ICMP errors, many packets a call.

use std::io::IoSliceMut;
use std::net::IpAddr;
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrIn, SockaddrIn6, SockaddrLike, recvmmsg,
};

use super::Family;
use crate::probe::icmp::clock::{Reading, Wall};
use crate::probe::icmp::decode::{self, Said};
use crate::probe::icmp::flight::Arrival;
use crate::probe::icmp::socket::EchoEvent;

/// Most replies of one system call: those of a batch and some stragglers, so that one call tells that no more wait.
const AT_ONCE: usize = 96;
/// Most departures and errors of one system call; there are few.
const RETURNED_AT_ONCE: usize = 16;
/// Bytes of a returned request that are looked at: link, IPv6 and ICMP headers and the mark.
const RETURNED_BYTES: usize = 128;
/// `ee_origin` of stamps (`linux/errqueue.h`).
const ORIGIN_TIMESTAMPING: u8 = libc::SO_EE_ORIGIN_TIMESTAMPING;

/// Who sent a packet, as a family writes it.
trait Sender: SockaddrLike + Copy {
    fn host(&self) -> IpAddr;
}

impl Sender for SockaddrIn {
    fn host(&self) -> IpAddr {
        self.ip().into()
    }
}

impl Sender for SockaddrIn6 {
    fn host(&self) -> IpAddr {
        self.ip().into()
    }
}

impl Family {
    /// Takes replies until none waits.
    pub(super) fn receive_replies(&mut self, events: &mut Vec<EchoEvent>) {
        let mut buffer = std::mem::take(&mut self.buffers.replies);
        buffer.resize(AT_ONCE * self.buffers.reply_bytes, 0);
        if self.v4 {
            self.receive_into::<SockaddrIn>(&mut buffer, events);
        } else {
            self.receive_into::<SockaddrIn6>(&mut buffer, events);
        }
        self.buffers.replies = buffer;
    }

    fn receive_into<S: Sender>(&mut self, buffer: &mut [u8], events: &mut Vec<EchoEvent>) {
        let bytes = self.buffers.reply_bytes;
        loop {
            let mut slices: Vec<[IoSliceMut<'_>; 1]> =
                buffer.chunks_mut(bytes).map(|chunk| [IoSliceMut::new(chunk)]).collect();
            let room = nix::cmsg_space!([libc::timespec; 3], libc::c_int);
            let mut headers = MultiHeaders::<S>::preallocate(AT_ONCE, Some(room));
            let (descriptor, flags) = (self.descriptor.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
            let received = match recvmmsg(descriptor, &mut headers, slices.iter_mut(), flags, None) {
                Ok(received) => received,
                Err(Errno::EAGAIN) => return,
                // An ICMP error about some request; the error queue says which. The next call is about packets again.
                Err(_) => {
                    self.errors_wait = true;
                    continue;
                }
            };
            let read = Reading::now();
            let mut count = 0;
            for message in received {
                count += 1;
                events.extend(self.reply(&message, read));
            }
            if count < AT_ONCE {
                return;
            }
        }
    }

    fn reply<S: Sender>(&self, message: &RecvMsg<'_, '_, S>, read: Reading) -> Option<EchoEvent> {
        let from = message.address.as_ref()?.host();
        let bytes = message.iovs().next()?;
        let (mut stamp, mut hops) = (None, None);
        for control in message.cmsgs().into_iter().flatten() {
            note(&control, &mut stamp, &mut hops);
        }
        match decode::received(bytes, from, self.ours)? {
            Said::Reply { key, content, ttl } => Some(EchoEvent::Replied {
                key,
                arrival: Arrival {
                    read,
                    stamp,
                    ttl: hops.or(ttl),
                    behind: Duration::ZERO,
                },
                content,
            }),
            Said::Unreachable { key, reason } => Some(EchoEvent::Unreachable { key, reason }),
        }
    }

    /// Takes departure stamps and ICMP errors until none waits, where some may wait: a call that failed or a stamp that was
    /// asked for says so.
    pub(super) fn receive_errors(&mut self, events: &mut Vec<EchoEvent>) {
        if !std::mem::take(&mut self.errors_wait) {
            return;
        }
        let first = events.len();
        let mut buffer = std::mem::take(&mut self.buffers.returned);
        buffer.resize(RETURNED_AT_ONCE * RETURNED_BYTES, 0);
        self.receive_returned(&mut buffer, events);
        self.buffers.returned = buffer;
        let now = Instant::now();
        for event in &events[first..] {
            if let EchoEvent::Left { key, at } = event {
                self.departures.check(key.number, *at, now);
            }
        }
    }

    fn receive_returned(&self, buffer: &mut [u8], events: &mut Vec<EchoEvent>) {
        loop {
            let mut slices: Vec<[IoSliceMut<'_>; 1]> = buffer
                .chunks_mut(RETURNED_BYTES)
                .map(|chunk| [IoSliceMut::new(chunk)])
                .collect();
            let room = nix::cmsg_space!(
                [libc::timespec; 3],
                libc::sock_extended_err,
                libc::sockaddr_in6,
                libc::c_int
            );
            let mut headers = MultiHeaders::<()>::preallocate(RETURNED_AT_ONCE, Some(room));
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_ERRQUEUE;
            let descriptor = self.descriptor.as_raw_fd();
            let Ok(received) = recvmmsg(descriptor, &mut headers, slices.iter_mut(), flags, None) else {
                return;
            };
            let mut count = 0;
            for message in received {
                count += 1;
                events.extend(self.error(&message));
            }
            if count < RETURNED_AT_ONCE {
                return;
            }
        }
    }

    fn error(&self, message: &RecvMsg<'_, '_, ()>) -> Option<EchoEvent> {
        let bytes = message.iovs().next()?;
        let (mut stamp, mut hops, mut error) = (None, None, None);
        for control in message.cmsgs().into_iter().flatten() {
            note(&control, &mut stamp, &mut hops);
            error = error.or(extended_error(&control));
        }
        let error = error?;
        if error.ee_origin == ORIGIN_TIMESTAMPING {
            let key = decode::departed(bytes, self.ours)?;
            return stamp.map(|at| EchoEvent::Left { key, at });
        }
        let family = match error.ee_origin {
            libc::SO_EE_ORIGIN_ICMP => xprober_proto::Family::V4,
            libc::SO_EE_ORIGIN_ICMP6 => xprober_proto::Family::V6,
            _ => return None,
        };
        Some(EchoEvent::Unreachable {
            reason: decode::unreachable(family, error.ee_type, error.ee_code)?,
            key: decode::quoted(bytes, self.ours)?,
        })
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum with dozens of arms")]
fn note(control: &ControlMessageOwned, stamp: &mut Option<Wall>, hops: &mut Option<u8>) {
    match control {
        ControlMessageOwned::ScmTimestampsns(stamps) => {
            *stamp = Wall::new(stamps.system.tv_sec(), stamps.system.tv_nsec());
        }
        ControlMessageOwned::Ipv4Ttl(ttl) | ControlMessageOwned::Ipv6HopLimit(ttl) => {
            *hops = u8::try_from(*ttl).ok();
        }
        _ => {}
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum with dozens of arms")]
fn extended_error(control: &ControlMessageOwned) -> Option<libc::sock_extended_err> {
    match control {
        ControlMessageOwned::Ipv4RecvErr(error, _) | ControlMessageOwned::Ipv6RecvErr(error, _) => Some(*error),
        _ => None,
    }
}
