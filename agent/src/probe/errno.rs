//! Names what a system call says about a packet that did not leave.

use std::io;

use super::Reason;

/// Finds the reason behind an error of a send or connect.
#[must_use]
pub fn reason_of(error: &io::Error) -> Reason {
    by_number(error).unwrap_or_else(|| by_kind(error))
}

/// The numbers that the standard library has no name for.
#[cfg(target_os = "linux")]
#[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum with dozens of arms")]
fn by_number(error: &io::Error) -> Option<Reason> {
    use nix::errno::Errno;
    let number = Errno::from_raw(error.raw_os_error()?);
    match number {
        Errno::ENOBUFS | Errno::ENOMEM => Some(Reason::NoBuffer),
        Errno::EMSGSIZE => Some(Reason::TooLong),
        Errno::ENODEV | Errno::ENXIO => Some(Reason::BadSource),
        Errno::EAFNOSUPPORT | Errno::ENOPROTOOPT => Some(Reason::NoSocket),
        _ => None,
    }
}

#[cfg(not(target_os = "linux"))]
const fn by_number(_: &io::Error) -> Option<Reason> {
    None
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum with dozens of arms")]
fn by_kind(error: &io::Error) -> Reason {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory => Reason::NoBuffer,
        io::ErrorKind::PermissionDenied => Reason::NotPermitted,
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkDown => {
            Reason::NoRoute
        }
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::InvalidInput => Reason::BadSource,
        io::ErrorKind::Unsupported => Reason::NoSocket,
        _ => Reason::OtherSendError,
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use nix::errno::Errno;

    use super::*;

    #[test]
    fn each_error_that_people_meet_has_its_name() {
        for (number, reason) in [
            (Errno::ENOBUFS, Reason::NoBuffer),
            (Errno::EAGAIN, Reason::NoBuffer),
            (Errno::EPERM, Reason::NotPermitted),
            (Errno::EACCES, Reason::NotPermitted),
            (Errno::ENETUNREACH, Reason::NoRoute),
            (Errno::EHOSTUNREACH, Reason::NoRoute),
            (Errno::EMSGSIZE, Reason::TooLong),
            (Errno::EADDRNOTAVAIL, Reason::BadSource),
            (Errno::EINVAL, Reason::BadSource),
            (Errno::ENODEV, Reason::BadSource),
            (Errno::EAFNOSUPPORT, Reason::NoSocket),
            (Errno::EIO, Reason::OtherSendError),
        ] {
            let error = io::Error::from(number);
            assert_eq!(reason_of(&error), reason, "{number}");
        }
    }
}
