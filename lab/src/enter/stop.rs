//! The signals by which a program is asked to stop.

use nix::sys::signal::Signal;
use tokio::signal::unix::{SignalKind, signal};

use crate::error::LabError;

/// The signals by which someone asks a program to stop.
#[derive(Debug)]
pub struct StopSignals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

impl StopSignals {
    /// Starts watching; from here on the signals do nothing else. Needs a running tokio runtime.
    ///
    /// # Errors
    /// [`LabError::Io`] when they cannot be watched.
    pub fn watch() -> Result<Self, LabError> {
        let watch = |kind| signal(kind).map_err(LabError::io("watching a signal"));
        Ok(Self {
            interrupt: watch(SignalKind::interrupt())?,
            terminate: watch(SignalKind::terminate())?,
            hang_up: watch(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one. A hang-up counts as SIGTERM, because `unshare` holds back only that and SIGINT while its child
    /// runs.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::SIGINT,
            _ = self.terminate.recv() => Signal::SIGTERM,
            _ = self.hang_up.recv() => Signal::SIGTERM,
        }
    }
}
