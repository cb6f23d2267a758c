//! The floor: sendmmsg and recvmmsg on a tick, on one datagram socket. Nothing is stamped, matched or remembered; a reply is
//! a number.

use std::io::{IoSlice, IoSliceMut};
use std::net::SocketAddrV4;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg, setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

use super::{Summary, Task};
use crate::bench::plan::{FLAT_OUT_WINDOW, PAYLOAD_BYTES, PERIOD};
use crate::error::LabError;

/// Echoes handed to the kernel, or taken from it, at once.
const BATCH: usize = 128;
/// Header and payload.
const PACKET_BYTES: usize = 8 + PAYLOAD_BYTES;
/// Echo request (RFC 792); the kernel fills in identifier and checksum.
const ECHO_REQUEST: u8 = 8;
/// Room for the replies that come between two ticks; where the kernel grants less, so be it.
const RECEIVE_BUFFER_BYTES: usize = 8 << 20;
/// After this a reply does not count any more.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Runs until the task is stopped.
pub(super) fn run(task: &Task) -> Result<Summary, LabError> {
    let mut bare = Loop::open(task)?;
    if task.flat_out {
        bare.run_flat_out(task)?;
    } else {
        bare.run_paced(task)?;
    }
    Ok(bare.count)
}

struct Loop {
    socket: Socket,
    targets: Vec<Option<SockaddrIn>>,
    requests: Vec<[u8; PACKET_BYTES]>,
    replies: Vec<[u8; PACKET_BYTES]>,
    outbound: MultiHeaders<SockaddrIn>,
    inbound: MultiHeaders<SockaddrIn>,
    count: Summary,
}

impl Loop {
    fn open(task: &Task) -> Result<Self, LabError> {
        let doing = || LabError::io("opening an ICMP socket");
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::ICMPV4)).map_err(doing())?;
        socket.set_nonblocking(true).map_err(doing())?;
        if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES).is_err() {
            socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES).map_err(doing())?;
        }
        let mut request = [0; PACKET_BYTES];
        request[0] = ECHO_REQUEST;
        let targets = task
            .targets
            .iter()
            .map(|target| Some(SocketAddrV4::new(*target, 0).into()));
        Ok(Self {
            socket,
            targets: targets.collect(),
            requests: vec![request; BATCH],
            replies: vec![[0; PACKET_BYTES]; BATCH],
            outbound: MultiHeaders::preallocate(BATCH, None),
            inbound: MultiHeaders::preallocate(BATCH, None),
            count: Summary::default(),
        })
    }

    /// Echo number k is due after k / targets of a period, and leaves at the first tick after that.
    fn run_paced(&mut self, task: &Task) -> Result<(), LabError> {
        let (start, targets) = (Instant::now(), task.targets.len() as u128);
        let mut tick = 0;
        while !task.stopped() {
            tick += 1;
            sleep_until(start + task.tick * tick);
            let due = start.elapsed().as_nanos() * targets / PERIOD.as_nanos();
            let due = u64::try_from(due).unwrap_or(u64::MAX);
            while self.count.sent < due {
                let wanted = usize::try_from(due - self.count.sent).unwrap_or(BATCH);
                self.send(wanted)?;
                self.receive_all()?;
            }
            self.receive_all()?;
        }
        let end = Instant::now() + TIMEOUT;
        while Instant::now() < end && self.count.received < self.count.sent {
            sleep_until(Instant::now() + task.tick);
            self.receive_all()?;
        }
        Ok(())
    }

    fn run_flat_out(&mut self, task: &Task) -> Result<(), LabError> {
        let mut written_off = 0;
        while !task.stopped() {
            let unanswered = (self.count.sent - self.count.received).saturating_sub(written_off);
            let free = FLAT_OUT_WINDOW.saturating_sub(usize::try_from(unanswered).unwrap_or(usize::MAX));
            if free > 0 {
                self.send(free)?;
            }
            if self.receive_all()? == 0 && free == 0 && !self.wait()? {
                written_off = self.count.sent - self.count.received;
            }
        }
        while self.count.received < self.count.sent && self.wait()? {
            self.receive_all()?;
        }
        Ok(())
    }

    /// Sends to the next targets, as many as are wanted and fit a batch.
    fn send(&mut self, wanted: usize) -> Result<(), LabError> {
        let place = usize::try_from(self.count.sent).unwrap_or_default() % self.targets.len();
        let targets = &self.targets[place..];
        let targets = &targets[..wanted.min(BATCH).min(targets.len())];
        for (number, request) in (self.count.sent..).zip(&mut self.requests) {
            request[8..16].copy_from_slice(&number.to_be_bytes());
        }
        let slices: Vec<_> = self.requests.iter().map(|request| [IoSlice::new(request)]).collect();
        let fd = self.socket.as_raw_fd();
        match sendmmsg(fd, &mut self.outbound, &slices, targets, [], MsgFlags::empty()) {
            Ok(results) => {
                self.count.sent += results.count() as u64;
                Ok(())
            }
            Err(errno) => again(errno, "sending"),
        }
    }

    /// Takes what has come and answers how many that were.
    fn receive_all(&mut self) -> Result<usize, LabError> {
        let mut all = 0;
        loop {
            let mut slices: Vec<_> = self.replies.iter_mut().map(|reply| [IoSliceMut::new(reply)]).collect();
            let fd = self.socket.as_raw_fd();
            let received = match recvmmsg(fd, &mut self.inbound, &mut slices, MsgFlags::empty(), None) {
                Ok(results) => results.count(),
                Err(errno) => {
                    again(errno, "receiving")?;
                    0
                }
            };
            self.count.received += received as u64;
            all += received;
            if received < BATCH {
                return Ok(all);
            }
        }
    }

    /// Waits for replies; false when none came in time.
    fn wait(&self) -> Result<bool, LabError> {
        let mut socket = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        let limit = PollTimeout::try_from(TIMEOUT).unwrap_or(PollTimeout::MAX);
        match poll(&mut socket, limit) {
            Ok(ready) => Ok(ready > 0),
            Err(errno) => again(errno, "waiting").map(|()| true),
        }
    }
}

/// Nothing there, no room, interrupted: all of them pass.
fn again(errno: Errno, doing: &str) -> Result<(), LabError> {
    if [Errno::EAGAIN, Errno::ENOBUFS, Errno::EINTR].contains(&errno) {
        return Ok(());
    }
    Err(LabError::errno(format!("{doing} echoes"))(errno))
}

fn sleep_until(at: Instant) {
    std::thread::sleep(at.saturating_duration_since(Instant::now()));
}
