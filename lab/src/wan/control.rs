//! The handle with which a running WAN is changed and its counters are read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use super::{Fate, Matrix, Path};
use crate::error::LabError;

/// Packets of one path since the lab started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PathCounts {
    /// Handed over to their destination; a duplicated packet counts once.
    pub forwarded: u64,
    /// Taken by random loss, independent or in bursts.
    pub lost: u64,
    /// Dropped because the path was down.
    pub cut: u64,
    /// Delivered a second time.
    pub duplicated: u64,
    /// Echoes handed over with a flipped bit, checksum mended or not.
    pub corrupted: u64,
    /// Dropped by the lab itself, because too many packets were under way or a device took no more; counted as forwarded,
    /// too. Tests that count packets should find zero here.
    pub overflowed: u64,
}

/// Counters of all paths, written by the WAN's thread, read by anyone.
#[derive(Debug)]
pub struct Counters(Vec<[AtomicU64; 6]>);

impl Counters {
    /// Makes counters for that many paths.
    #[must_use]
    pub fn new(paths: usize) -> Self {
        Self((0..paths).map(|_| Default::default()).collect())
    }

    /// Counts a packet's fate.
    pub fn count(&self, fate: Fate) {
        let (path, column) = match fate {
            Fate::Deliver { path, copies, .. } => {
                if copies > 1 {
                    self.0[path][3].fetch_add(1, Ordering::Relaxed);
                }
                (path, 0)
            }
            Fate::Lost { path } => (path, 1),
            Fate::Cut { path } => (path, 2),
            Fate::Nowhere => return,
        };
        self.0[path][column].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a packet that found no room.
    pub fn count_overflow(&self, path: usize) {
        self.0[path][4].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a packet that was damaged.
    pub fn count_corrupted(&self, path: usize) {
        self.0[path][5].fetch_add(1, Ordering::Relaxed);
    }

    /// Reads one path's counters.
    #[must_use]
    pub fn read(&self, path: usize) -> PathCounts {
        let [forwarded, lost, cut, duplicated, overflowed, corrupted] = self
            .0
            .get(path)
            .map(|row| row.each_ref().map(|cell| cell.load(Ordering::Relaxed)))
            .unwrap_or_default();
        PathCounts {
            forwarded,
            lost,
            cut,
            duplicated,
            corrupted,
            overflowed,
        }
    }
}

/// Changes the WAN's settings and reads its counters.
#[derive(Debug, Clone)]
pub struct Wan {
    matrix: watch::Sender<Matrix>,
    counters: Arc<Counters>,
    hosts: Arc<[String]>,
}

impl Wan {
    /// Makes the handle; `hosts` are in the router's order.
    #[must_use]
    pub fn new(matrix: watch::Sender<Matrix>, counters: Arc<Counters>, hosts: Arc<[String]>) -> Self {
        Self {
            matrix,
            counters,
            hosts,
        }
    }

    /// Reads the path from one region to another.
    ///
    /// # Errors
    /// [`LabError::NoRegion`].
    pub fn path(&self, from: &str, to: &str) -> Result<Path, LabError> {
        self.matrix
            .borrow()
            .path(from, to)
            .cloned()
            .ok_or_else(|| LabError::NoRegion(format!("{from} or {to}")))
    }

    /// Changes the path from one region to another; packets that are already on the way keep their fate.
    ///
    /// # Errors
    /// [`LabError::NoRegion`].
    pub fn change(&self, from: &str, to: &str, change: impl FnOnce(&mut Path)) -> Result<(), LabError> {
        let mut found = false;
        self.matrix.send_if_modified(|matrix| {
            if let Some(path) = matrix.path_mut(from, to) {
                change(path);
                found = true;
            }
            found
        });
        if found {
            Ok(())
        } else {
            Err(LabError::NoRegion(format!("{from} or {to}")))
        }
    }

    /// Changes both directions between two regions.
    ///
    /// # Errors
    /// [`LabError::NoRegion`].
    pub fn change_both(&self, one: &str, other: &str, change: impl Fn(&mut Path)) -> Result<(), LabError> {
        self.change(one, other, &change)?;
        self.change(other, one, &change)
    }

    /// Sets the round-trip time between two regions, half of it each way.
    ///
    /// # Errors
    /// [`LabError::NoRegion`].
    pub fn set_rtt(&self, one: &str, other: &str, rtt: Duration) -> Result<(), LabError> {
        self.change_both(one, other, |path| path.latency = rtt / 2)
    }

    /// Cuts or mends both directions between two regions.
    ///
    /// # Errors
    /// [`LabError::NoRegion`].
    pub fn set_up(&self, one: &str, other: &str, up: bool) -> Result<(), LabError> {
        self.change_both(one, other, |path| path.up = up)
    }

    /// Delays the packets that open TCP connections to a host, and no others; zero ends it.
    ///
    /// # Errors
    /// [`LabError::NoHost`].
    pub fn set_syn_delay(&self, host: &str, delay: Duration) -> Result<(), LabError> {
        let index = self.host(host)?;
        self.matrix.send_modify(|matrix| matrix.set_syn_delay(index, delay));
        Ok(())
    }

    /// Lets the link of one host lose a share of its packets, each way; zero ends it.
    ///
    /// # Errors
    /// [`LabError::NoHost`].
    pub fn set_host_loss(&self, host: &str, share: f64) -> Result<(), LabError> {
        let index = self.host(host)?;
        self.matrix.send_modify(|matrix| matrix.set_host_loss(index, share));
        Ok(())
    }

    fn host(&self, name: &str) -> Result<usize, LabError> {
        let index = self.hosts.iter().position(|known| known == name);
        index.ok_or_else(|| LabError::NoHost(name.to_owned()))
    }

    /// Round-trip time between two regions as the matrix has it now.
    ///
    /// # Errors
    /// [`LabError::NoRegion`].
    pub fn rtt(&self, one: &str, other: &str) -> Result<Duration, LabError> {
        Ok(self.path(one, other)?.latency + self.path(other, one)?.latency)
    }

    /// Reads a path's packet counters.
    ///
    /// # Errors
    /// [`LabError::NoRegion`].
    pub fn counts(&self, from: &str, to: &str) -> Result<PathCounts, LabError> {
        let index = self.matrix.borrow().index(from, to);
        Ok(self
            .counters
            .read(index.ok_or_else(|| LabError::NoRegion(format!("{from} or {to}")))?))
    }
}
