//! What can go wrong while a lab is built or used.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Failure of a lab operation; the variant says what was being done, the source why it failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// A kernel or file operation failed.
    #[error("{doing}")]
    Io {
        /// What was being done.
        doing: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A network device, address or route could not be set.
    #[error("{doing}")]
    Netlink {
        /// What was being done.
        doing: String,
        /// Why it failed.
        #[source]
        source: rtnetlink::Error,
    },
    /// No host of that name.
    #[error("the lab has no host {0:?}")]
    NoHost(String),
    /// No region of that name.
    #[error("the lab has no region {0:?}")]
    NoRegion(String),
    /// A thread of the lab ended by a panic.
    #[error("a thread of the lab panicked while it was {0}")]
    Thread(&'static str),
    /// A program was not found.
    #[error("program {program:?} was not found: {hint}")]
    NoProgram {
        /// Name of the program.
        program: String,
        /// What to do about it.
        hint: String,
    },
    /// A process ended although it should run.
    #[error("{name} ended early ({status}); its log is {log}:\n{tail}")]
    Ended {
        /// Name of the process.
        name: String,
        /// How it ended.
        status: String,
        /// Its log file.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// Something did not happen in time.
    #[error("{what} did not happen within {limit:?}{detail}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        limit: Duration,
        /// Last observation, empty or starting with a separator.
        detail: String,
    },
    /// An HTTP exchange with one of the lab's programs failed.
    #[error("{url}: {reason}")]
    Http {
        /// Address that was asked.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// The browser did not do what it was told, or the page in it failed.
    #[error("browser: {reason} (its log is {log})")]
    Browser {
        /// What went wrong.
        reason: String,
        /// The browser's log file.
        log: PathBuf,
    },
    /// A configuration file of the repository could not be used.
    #[error("{file}: {reason}")]
    Config {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A certificate or key could not be made.
    #[error("{doing}: {reason}")]
    Certificate {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        reason: String,
    },
}

impl LabError {
    /// Makes the adapter that turns an I/O error into a [`LabError`] which says what was being done.
    pub fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }

    /// The same for the error numbers of direct system calls.
    pub fn errno(doing: impl Into<String>) -> impl FnOnce(nix::Error) -> Self {
        let doing = doing.into();
        move |errno| Self::Io {
            doing,
            source: errno.into(),
        }
    }

    /// The same for netlink requests.
    pub fn netlink(doing: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Netlink { doing, source }
    }
}
