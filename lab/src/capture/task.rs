//! The thread of a capture: sleeps, takes what has gathered, and once more when it is stopped.
//!
//! It does not wake for packets: the kernel stamps them, so nothing is gained by haste, and whatever is measured beside
//! it keeps the processor.

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::time::TimeSpec;
use tracing::debug;

use super::socket::{Batch, Tap};
use super::{Captured, Filter, packet};

/// Most packets kept, about 0.5 GB.
const MOST_PACKETS: usize = 4_000_000;

/// Batches taken per look: more than the socket's buffer holds, so that endless traffic cannot hold up the stop.
const MOST_BATCHES: usize = 4_096;

/// Records until the other end of the pipe is closed.
pub(super) fn record(tap: &Tap, filter: Filter, stopped: &OwnedFd) -> Captured {
    let mut batch = Batch::default();
    let mut captured = Captured::default();
    loop {
        let stop = wait(stopped, tap.tick());
        drain(tap, filter, &mut batch, &mut captured);
        if stop {
            captured.dropped += tap.take_dropped();
            return captured;
        }
    }
}

/// Sleeps for a tick; true when it is time to stop.
fn wait(stopped: &OwnedFd, tick: Duration) -> bool {
    let mut polled = [PollFd::new(stopped.as_fd(), PollFlags::POLLIN)];
    match nix::poll::ppoll(&mut polled, Some(TimeSpec::from(tick)), None) {
        Ok(ready) => ready > 0,
        Err(errno) => errno != Errno::EINTR,
    }
}

fn drain(tap: &Tap, filter: Filter, batch: &mut Batch, captured: &mut Captured) {
    for _ in 0..MOST_BATCHES {
        let taken = tap.receive(batch, |seen| {
            let packet = packet::decode(seen.bytes, seen.at, seen.outgoing);
            let Some(packet) = packet.filter(|packet| filter.admits(packet)) else {
                return;
            };
            if captured.packets.len() < MOST_PACKETS {
                captured.packets.push(packet);
            } else {
                captured.dropped += 1;
            }
        });
        match taken {
            Ok(true) => {}
            Ok(false) => return,
            Err(errno) => {
                debug!(error = %errno, "capture could not receive");
                return;
            }
        }
    }
}
