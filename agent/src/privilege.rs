//! Gives up what was only needed to open sockets.

/// Drops every capability of the calling thread for good, and the way to get one back by running another program.
///
/// Capabilities belong to threads (capabilities(7)): every thread that lives on has to call this, those that start later
/// inherit what their maker has left. A refusal is logged; nothing depends on it.
#[cfg(target_os = "linux")]
pub fn drop_all() {
    use caps::CapSet;
    // What is inheritable or ambient could come back with another program, what is permitted with a system call.
    for set in [
        CapSet::Ambient,
        CapSet::Inheritable,
        CapSet::Effective,
        CapSet::Permitted,
    ] {
        if let Err(error) = caps::clear(None, set) {
            tracing::warn!(?set, %error, "capabilities not dropped");
        }
    }
    if let Err(error) = nix::sys::prctl::set_no_new_privs() {
        tracing::warn!(%error, "programs started from here could still gain privileges");
    }
}

/// There are no capabilities here.
#[cfg(not(target_os = "linux"))]
pub const fn drop_all() {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use caps::CapSet;

    #[test]
    fn nothing_is_left_of_what_a_thread_was_allowed_to_do() {
        // On a thread of its own: other tests of this process may need what it drops.
        let left = std::thread::spawn(|| {
            super::drop_all();
            let read = |set| caps::read(None, set).unwrap();
            let left = [CapSet::Permitted, CapSet::Effective, CapSet::Inheritable].map(read);
            (left, nix::sys::prctl::get_no_new_privs().unwrap())
        });
        let (left, no_new) = left.join().unwrap();
        assert!(left.iter().all(std::collections::HashSet::is_empty), "{left:?}");
        assert!(no_new);
    }
}
