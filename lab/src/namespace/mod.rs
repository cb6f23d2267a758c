//! Network namespaces without the `ip` program: making them, running code inside them.
//!
//! A namespace belongs to a thread, so whatever must happen inside one happens on a thread made for it: sockets keep the
//! namespace in which they were opened and may then be used from anywhere, children keep that of the thread which
//! started them.

pub mod device;

pub mod mounts;

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::sched::CloneFlags;

use crate::error::LabError;

/// The calling thread's network namespace.
const OWN_NAMESPACE: &str = "/proc/thread-self/ns/net";

/// A network namespace, kept alive by this value and its clones.
#[derive(Debug, Clone)]
pub struct Namespace {
    descriptor: Arc<OwnedFd>,
}

impl Namespace {
    /// Makes a new, empty namespace: a loopback device that is down, nothing else.
    ///
    /// # Errors
    /// [`LabError::Io`] when the kernel refuses (`CAP_SYS_ADMIN` in the current user namespace is needed).
    pub fn create() -> Result<Self, LabError> {
        on_new_thread("making a network namespace", || {
            nix::sched::unshare(CloneFlags::CLONE_NEWNET).map_err(LabError::errno("making a network namespace"))?;
            Self::current()
        })?
    }

    /// Opens the namespace of the calling thread.
    ///
    /// # Errors
    /// [`LabError::Io`] when `/proc` is not there.
    pub fn current() -> Result<Self, LabError> {
        let file = File::open(OWN_NAMESPACE).map_err(LabError::io("opening the network namespace"))?;
        Ok(Self {
            descriptor: Arc::new(file.into()),
        })
    }

    /// Runs a piece of code on a thread inside the namespace and waits for it.
    ///
    /// # Errors
    /// [`LabError::Io`] when the namespace cannot be entered, [`LabError::Thread`] when the code panics.
    pub fn run<T: Send>(&self, body: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        on_new_thread("running inside a network namespace", || {
            nix::sched::setns(&self.descriptor, CloneFlags::CLONE_NEWNET)
                .map_err(LabError::errno("entering a network namespace"))?;
            Ok(body())
        })?
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

fn on_new_thread<T: Send>(doing: &'static str, body: impl FnOnce() -> T + Send) -> Result<T, LabError> {
    std::thread::scope(|scope| scope.spawn(body).join()).map_err(|_| LabError::Thread(doing))
}
