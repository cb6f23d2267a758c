//! The system calls of the Linux backend, each for many packets.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::IpAddr;
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrStorage, recvmmsg, sendmmsg,
};
use xprober_proto::PacketOptions;

use super::options::{PacketControl, dont_fragment};
use super::{Family, HEADROOM_BYTES, port_zero};
use crate::probe::icmp::clock::{Reading, Wall};
use crate::probe::icmp::decode::{self, Said};
use crate::probe::icmp::flight::Arrival;
use crate::probe::icmp::packet::{self, Mark};
use crate::probe::icmp::socket::{Departure, Echo, EchoEvent};

/// Most packets of one system call.
const AT_ONCE: usize = 64;
/// Bytes of a returned request that are looked at: link, IPv6 and ICMP headers and the mark.
const RETURNED_BYTES: usize = 128;
/// `ee_origin` of stamps (`linux/errqueue.h`).
const ORIGIN_TIMESTAMPING: u8 = libc::SO_EE_ORIGIN_TIMESTAMPING;

impl Family {
    /// Sends echoes that have the same options; one departure for each, in their order.
    pub(super) fn send(&mut self, echoes: &[Echo<'_>], packet: &PacketOptions) -> Vec<Departure> {
        let control = match self.prepare(packet) {
            Ok(control) => control,
            Err(error) => return echoes.iter().map(|_| Err(again(&error))).collect(),
        };
        self.used = Some(Instant::now());
        let mut buffer = std::mem::take(&mut self.buffers.requests);
        buffer.clear();
        let ends: Vec<usize> = echoes
            .iter()
            .map(|echo| self.write_request(echo, &mut buffer))
            .collect();
        let departures = self.send_requests(echoes, &buffer, &ends, &control);
        self.buffers.requests = buffer;
        departures
    }

    /// Sends the requests that lie one behind the other in `buffer`, each up to its end in `ends`.
    fn send_requests(
        &self,
        echoes: &[Echo<'_>],
        buffer: &[u8],
        ends: &[usize],
        control: &PacketControl,
    ) -> Vec<Departure> {
        let starts = std::iter::once(&0).chain(ends);
        let requests = starts
            .zip(ends)
            .map(|(start, end)| [IoSlice::new(&buffer[*start..*end])]);
        let slices: Vec<[IoSlice<'_>; 1]> = requests.collect();
        let addresses = echoes.iter().map(|echo| Some(port_zero(echo.to).into()));
        let addresses: Vec<Option<SockaddrStorage>> = addresses.collect();
        let mut departures = Vec::with_capacity(echoes.len());
        let mut failed_before = false;
        while departures.len() < echoes.len() {
            let from = departures.len();
            let sent = Reading::now();
            match self.send_batch(&slices[from..], &addresses[from..], control) {
                Ok(count) if count > 0 => {
                    departures.extend((0..count).map(|_| Ok(sent)));
                    failed_before = false;
                }
                // An ICMP error about an earlier request is reported by whatever call comes next; the second is ours.
                Ok(_) | Err(_) if !failed_before => failed_before = true,
                Ok(_) => departures.push(Err(io::ErrorKind::WouldBlock.into())),
                Err(errno) => {
                    departures.push(Err(errno.into()));
                    failed_before = false;
                }
            }
        }
        departures
    }

    fn prepare(&mut self, packet: &PacketOptions) -> io::Result<PacketControl> {
        if self.dont_fragment != Some(packet.dont_fragment) {
            dont_fragment(&self.descriptor, self.v4, packet.dont_fragment)?;
            self.dont_fragment = Some(packet.dont_fragment);
        }
        PacketControl::new(packet, self.v4)
    }

    /// Appends a request to `buffer`; answers with its end there.
    fn write_request(&mut self, echo: &Echo<'_>, buffer: &mut Vec<u8>) -> usize {
        let mark = Mark {
            cookie: self.ours.cookie,
            number: echo.number,
        };
        let reply_bytes = usize::from(echo.payload_bytes) + HEADROOM_BYTES;
        self.buffers.reply_bytes = self.buffers.reply_bytes.max(reply_bytes);
        packet::write_request(echo.to, self.identifier, mark, echo.payload_bytes, buffer);
        buffer.len()
    }

    fn send_batch(
        &self,
        slices: &[[IoSlice<'_>; 1]],
        addresses: &[Option<SockaddrStorage>],
        control: &PacketControl,
    ) -> Result<usize, Errno> {
        let (messages, room) = control.messages();
        let messages: &[ControlMessage<'_>] = &messages;
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(slices.len(), room);
        let descriptor = self.descriptor.as_raw_fd();
        let flags = MsgFlags::MSG_DONTWAIT;
        Ok(sendmmsg(descriptor, &mut headers, slices, addresses, messages, flags)?.count())
    }

    /// Takes replies until none waits.
    pub(super) fn receive_replies(&mut self, events: &mut Vec<EchoEvent>) {
        let mut buffer = std::mem::take(&mut self.buffers.replies);
        buffer.resize(AT_ONCE * self.buffers.reply_bytes, 0);
        self.receive_into(&mut buffer, events);
        self.buffers.replies = buffer;
    }

    fn receive_into(&self, buffer: &mut [u8], events: &mut Vec<EchoEvent>) {
        let bytes = self.buffers.reply_bytes;
        loop {
            let mut slices: Vec<[IoSliceMut<'_>; 1]> =
                buffer.chunks_mut(bytes).map(|chunk| [IoSliceMut::new(chunk)]).collect();
            let room = nix::cmsg_space!([libc::timespec; 3], libc::c_int);
            let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(AT_ONCE, Some(room));
            let (descriptor, flags) = (self.descriptor.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
            let received = match recvmmsg(descriptor, &mut headers, slices.iter_mut(), flags, None) {
                Ok(received) => received,
                Err(Errno::EAGAIN) => return,
                // An ICMP error about some request; the error queue says which. The next call is about packets again.
                Err(_) => continue,
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

    fn reply(&self, message: &RecvMsg<'_, '_, SockaddrStorage>, read: Reading) -> Option<EchoEvent> {
        let from = message.address.as_ref().and_then(address)?;
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

    /// Takes departure stamps and ICMP errors until none waits.
    pub(super) fn receive_errors(&mut self, events: &mut Vec<EchoEvent>) {
        let mut buffer = std::mem::take(&mut self.buffers.returned);
        buffer.resize(AT_ONCE * RETURNED_BYTES, 0);
        self.receive_returned(&mut buffer, events);
        self.buffers.returned = buffer;
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
            let mut headers = MultiHeaders::<()>::preallocate(AT_ONCE, Some(room));
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
            if count < AT_ONCE {
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

/// An error of the system call stands for every packet of the batch.
fn again(error: &io::Error) -> io::Error {
    error
        .raw_os_error()
        .map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
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

fn address(storage: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = storage.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| storage.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}
