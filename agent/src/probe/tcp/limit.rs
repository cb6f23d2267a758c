//! How many sockets the prober takes.

/// Most connections being opened, whatever the system allows. A probe waits for a second at most, so a total outage of
/// that many probes per second still fits.
pub const MAX_IN_FLIGHT: usize = 8192;

/// Most connections being opened by this process: half of the descriptors that it may have, so that the push, the plan
/// and HTTP probes always get theirs.
#[must_use]
pub fn in_flight() -> usize {
    descriptors().map_or(MAX_IN_FLIGHT, |most| (most / 2).clamp(1, MAX_IN_FLIGHT))
}

#[cfg(target_os = "linux")]
fn descriptors() -> Option<usize> {
    use nix::sys::resource::{Resource, getrlimit};

    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    usize::try_from(soft).ok()
}

#[cfg(not(target_os = "linux"))]
fn descriptors() -> Option<usize> {
    // The default of macOS.
    Some(256)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_connections_fit_and_never_all_descriptors() {
        assert!((1..=MAX_IN_FLIGHT).contains(&in_flight()));
        #[cfg(target_os = "linux")]
        assert!(in_flight() <= descriptors().unwrap() / 2);
    }
}
