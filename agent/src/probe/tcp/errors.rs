//! What an error of a system call says about a probe; pure.
//!
//! Two tables, because the same number means our fault before the SYN left and the network's answer after.

use std::io;

use super::judge::Answer;
use crate::probe::Reason;
use crate::probe::errno::reason_of;

/// Reads the error of opening, binding or connecting a socket.
#[must_use]
pub fn before_the_syn(error: &io::Error) -> Reason {
    if system::out_of_descriptors(error) {
        return Reason::InFlight;
    }
    reason_of(error)
}

/// Reads the pending error of a socket whose SYN left.
#[must_use]
#[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum with dozens of arms")]
pub fn after_the_syn(error: &io::Error) -> Answer {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Answer::Refused,
        // Only an established connection is reset: the peer was faster than we were.
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Answer::Established,
        io::ErrorKind::TimedOut => Answer::Silence,
        io::ErrorKind::NetworkUnreachable => Answer::Unreachable(Reason::NetUnreachable),
        io::ErrorKind::HostUnreachable => Answer::Unreachable(Reason::HostUnreachable),
        io::ErrorKind::PermissionDenied => Answer::Unreachable(Reason::Prohibited),
        _ => Answer::Unreachable(system::after_the_syn(error).unwrap_or(Reason::OtherUnreachable)),
    }
}

/// Tells whether a connect is under way.
#[must_use]
pub fn in_progress(error: &io::Error) -> bool {
    error.raw_os_error() == Some(system::IN_PROGRESS)
}

/// Numbers for which the standard library has no name.
#[cfg(target_os = "linux")]
mod system {
    use std::io;

    use nix::errno::Errno;

    use crate::probe::Reason;

    pub(super) const IN_PROGRESS: i32 = Errno::EINPROGRESS as i32;

    pub(super) fn out_of_descriptors(error: &io::Error) -> bool {
        let number = error.raw_os_error().map(Errno::from_raw);
        matches!(number, Some(Errno::EMFILE | Errno::ENFILE))
    }

    /// The kernel's conversion of ICMP errors (`icmp_err_convert` and its IPv6 sister), read backwards.
    #[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum with dozens of arms")]
    pub(super) fn after_the_syn(error: &io::Error) -> Option<Reason> {
        match Errno::from_raw(error.raw_os_error()?) {
            Errno::EHOSTDOWN | Errno::ENONET => Some(Reason::HostUnreachable),
            Errno::ENOPROTOOPT => Some(Reason::ProtocolUnreachable),
            Errno::EMSGSIZE => Some(Reason::FragmentationNeeded),
            _ => None,
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;

    use crate::probe::Reason;

    /// Of the BSDs and macOS.
    pub(super) const IN_PROGRESS: i32 = 36;

    pub(super) fn out_of_descriptors(_: &io::Error) -> bool {
        false
    }

    pub(super) fn after_the_syn(_: &io::Error) -> Option<Reason> {
        None
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use nix::errno::Errno;

    #[test]
    fn before_the_syn_left_every_error_is_ours() {
        for (number, reason) in [
            (Errno::ENETUNREACH, Reason::NoRoute),
            (Errno::EACCES, Reason::NotPermitted),
            (Errno::EADDRNOTAVAIL, Reason::BadSource),
            (Errno::EMFILE, Reason::InFlight),
            (Errno::EADDRINUSE, Reason::OtherSendError),
        ] {
            assert_eq!(before_the_syn(&number.into()), reason, "{number}");
            assert_eq!(reason.outcome(), crate::probe::Outcome::SendError);
        }
    }

    #[test]
    fn after_the_syn_left_errors_are_answers() {
        for (number, answer) in [
            (Errno::ECONNREFUSED, Answer::Refused),
            (Errno::ECONNRESET, Answer::Established),
            (Errno::EPIPE, Answer::Established),
            (Errno::ETIMEDOUT, Answer::Silence),
            (Errno::ENETUNREACH, Answer::Unreachable(Reason::NetUnreachable)),
            (Errno::EHOSTUNREACH, Answer::Unreachable(Reason::HostUnreachable)),
            (Errno::EHOSTDOWN, Answer::Unreachable(Reason::HostUnreachable)),
            (Errno::EACCES, Answer::Unreachable(Reason::Prohibited)),
            (Errno::ENOPROTOOPT, Answer::Unreachable(Reason::ProtocolUnreachable)),
            (Errno::EMSGSIZE, Answer::Unreachable(Reason::FragmentationNeeded)),
            (Errno::EPROTO, Answer::Unreachable(Reason::OtherUnreachable)),
        ] {
            assert_eq!(after_the_syn(&number.into()), answer, "{number}");
        }
    }
}
