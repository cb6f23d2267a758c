//! What really was on a host's wire: echoes and opening TCP connections with the kernel's own stamps, the truth that
//! probers are held against.
//!
//! ```text
//!  device --(program, in the kernel)--> socket::Tap --every few ms--> packet::decode --(Filter::admits)--> Captured
//!                                                                                        round_trips(&[Packet])
//! ```

pub mod packet;

pub mod filter;

mod socket;

mod task;

pub mod round_trip;

use std::os::fd::OwnedFd;
use std::thread::JoinHandle;

use nix::fcntl::OFlag;

pub use filter::Filter;
pub use packet::{Kind, Packet, Payload};
pub use round_trip::{EchoKey, RoundTrip, round_trips};

use crate::error::LabError;
use crate::namespace::Namespace;

/// What a capture saw.
#[derive(Debug, Clone, Default)]
pub struct Captured {
    /// In the order in which the kernel handed them over; a packet that stays on its host (`lo`) is there twice, outgoing
    /// and incoming.
    pub packets: Vec<Packet>,
    /// Packets that are missing, because the socket's buffer or this list was full. Judge nothing by a capture where this
    /// is not zero.
    pub dropped: u64,
}

/// A running capture; ends when it is stopped or dropped.
///
/// Limits: 4 million packets; the first on a machine where nobody else asks for stamps are stamped some milliseconds late,
/// because the kernel switches stamping on in the background.
#[derive(Debug)]
pub struct Capture {
    /// Closing it wakes and ends the thread.
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<Captured>>,
}

impl Capture {
    /// Starts to record what passes a device (`eth0`, `lo`) of a namespace; everything sent after this returned is seen.
    ///
    /// # Errors
    /// [`LabError::Io`] when the device is missing or a socket call fails (`CAP_NET_RAW` is needed).
    pub fn start(namespace: &Namespace, device: &str, filter: Filter) -> Result<Self, LabError> {
        let tap = namespace.run(|| socket::Tap::open(device, filter))??;
        // Not for children: as long as one of them holds the end that is closed, the thread would not hear of it.
        let (stopped, stop) =
            nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(LabError::errno("making a capture's stop pipe"))?;
        let thread = std::thread::Builder::new()
            .name("capture".to_owned())
            .spawn(move || task::record(&tap, filter, &stopped))
            .map_err(LabError::io("starting a capture's thread"))?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Ends the capture and hands out everything that passed until now.
    ///
    /// # Errors
    /// [`LabError::Thread`] when its thread panicked.
    pub fn stop(mut self) -> Result<Captured, LabError> {
        self.end().unwrap_or(Err(LabError::Thread("capturing")))
    }

    fn end(&mut self) -> Option<Result<Captured, LabError>> {
        drop(self.stop.take());
        let thread = self.thread.take()?;
        Some(thread.join().map_err(|_| LabError::Thread("capturing")))
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.end() {
            tracing::error!(%error, "capture is lost");
        }
    }
}
