//! What the queue says of itself: how full it is, what it gave up, where it keeps its requests.

use std::io;
use std::time::Duration;

/// Why samples were given up; the `reason` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// The queue was full.
    Full,
    /// The request grew older than the queue allows.
    Expired,
    /// The time-series database refused the request for good.
    Rejected,
    /// The request was stamped by a clock that was set back since: it would close the database to every other sender.
    Clock,
    /// The disk did not give back what was written to it.
    Damaged,
}

impl DropReason {
    /// Every reason.
    pub const ALL: [Self; 5] = [Self::Full, Self::Expired, Self::Rejected, Self::Clock, Self::Damaged];

    /// Spells the reason as in the `reason` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Expired => "expired",
            Self::Rejected => "rejected",
            Self::Clock => "clock",
            Self::Damaged => "damaged",
        }
    }
}

/// Samples that were given up, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped([u64; DropReason::ALL.len()]);

impl Dropped {
    /// Samples given up for `reason`.
    #[must_use]
    pub const fn get(&self, reason: DropReason) -> u64 {
        self.0[reason as usize]
    }

    /// Samples given up for any reason.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(super) const fn count(&mut self, reason: DropReason, samples: u64) {
        self.0[reason as usize] += samples;
    }
}

/// Where requests wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Storage {
    /// In memory, because no folder was asked for.
    #[default]
    Memory,
    /// In memory, until it is known what an earlier run left in the folder.
    Opening,
    /// On disk.
    Disk,
    /// In memory, although a folder was asked for; it is tried again.
    Degraded(Trouble),
}

impl Storage {
    /// Tells whether new requests go to disk.
    #[must_use]
    pub const fn is_disk(self) -> bool {
        matches!(self, Self::Disk)
    }

    /// Says why a folder that was asked for is not used.
    #[must_use]
    pub const fn trouble(self) -> Option<Trouble> {
        match self {
            Self::Degraded(trouble) => Some(trouble),
            Self::Memory | Self::Opening | Self::Disk => None,
        }
    }
}

/// Why the folder of the queue cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// Another process uses it.
    Locked,
    /// The file system is read-only.
    ReadOnly,
    /// The file system, or our quota on it, is full.
    NoSpace,
    /// We may not write there.
    Denied,
    /// The path names something that is no folder.
    NotAFolder,
    /// The disk does not answer.
    Hung,
    /// Anything else that the system refused.
    Failed,
}

impl Trouble {
    /// Every trouble.
    pub const ALL: [Self; 7] = [
        Self::Locked,
        Self::ReadOnly,
        Self::NoSpace,
        Self::Denied,
        Self::NotAFolder,
        Self::Hung,
        Self::Failed,
    ];

    /// Spells the trouble as in labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Locked => "locked",
            Self::ReadOnly => "read_only",
            Self::NoSpace => "no_space",
            Self::Denied => "denied",
            Self::NotAFolder => "not_a_folder",
            Self::Hung => "hung",
            Self::Failed => "failed",
        }
    }

    /// Says what to do about it.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Locked => "another process uses the folder: give each agent a queue directory of its own",
            Self::ReadOnly => "put the queue directory on a file system that is mounted read-write",
            Self::NoSpace => "free some space, or lower max_bytes of the queue",
            Self::Denied => "let the user that the agent runs as own the queue directory",
            Self::NotAFolder => "name a folder as the queue directory, or a path where one can be made",
            Self::Hung => "look for a disk or network file system that stopped answering",
            Self::Failed => "look for errors of this disk in the kernel log",
        }
    }

    /// Recognises what the system complains about.
    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "a list of the standard library, open to new members"
        )]
        match error.kind() {
            io::ErrorKind::WouldBlock => Self::Locked,
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace,
            io::ErrorKind::PermissionDenied => Self::Denied,
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => Self::NotAFolder,
            _ => Self::Failed,
        }
    }
}

/// How full the queue is; `sealed + inherited = pushed + dropped + samples` at every moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueStatus {
    /// Bytes of waiting requests, the leased ones among them.
    pub bytes: u64,
    /// Waiting requests, the leased ones among them.
    pub requests: usize,
    /// Samples in them.
    pub samples: u64,
    /// Samples among them that are in memory only: an end of the process loses them.
    pub unsaved_samples: u64,
    /// Samples that an earlier run left on disk, the damaged ones among them.
    pub inherited: u64,
    /// Age of the oldest; zero when nothing waits.
    pub oldest_age: Duration,
    /// Samples given up so far.
    pub dropped: Dropped,
    /// Where requests wait.
    pub storage: Storage,
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use nix::errno::Errno;

    use super::*;

    #[test]
    fn what_the_kernel_complains_about_is_recognised() {
        for (errno, trouble) in [
            (Errno::EAGAIN, Trouble::Locked),
            (Errno::EROFS, Trouble::ReadOnly),
            (Errno::ENOSPC, Trouble::NoSpace),
            (Errno::EDQUOT, Trouble::NoSpace),
            (Errno::EACCES, Trouble::Denied),
            (Errno::EPERM, Trouble::Denied),
            (Errno::ENOTDIR, Trouble::NotAFolder),
            (Errno::EEXIST, Trouble::NotAFolder),
            (Errno::EIO, Trouble::Failed),
        ] {
            assert_eq!(Trouble::of(&errno.into()), trouble, "{errno}");
        }
    }
}
