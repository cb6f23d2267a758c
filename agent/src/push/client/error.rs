//! Why there was no response: the library's error in, one of our reasons out.

use std::error::Error;
use std::io::{self, ErrorKind};

use super::super::{Failure, FailureReason};
use super::resolve::ResolveError;

/// Classifies an error. Its text comes without the URL, which the log line names by itself.
pub(super) fn failure(error: reqwest::Error) -> Failure {
    let error = error.without_url();
    let text = crate::chain(&error);
    let fallback = if error.is_timeout() {
        FailureReason::Timeout
    } else {
        FailureReason::Closed
    };
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    let mut reason = None;
    // The innermost cause that says something knows best.
    while let Some(error) = cause {
        reason = of_cause(error).or(reason);
        cause = error.source();
    }
    Failure::new(reason.unwrap_or(fallback), text)
}

fn of_cause(error: &(dyn Error + 'static)) -> Option<FailureReason> {
    if error.is::<ResolveError>() {
        return Some(FailureReason::Dns);
    }
    if error.is::<rustls::Error>() {
        return Some(FailureReason::Tls);
    }
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        return of_http(error);
    }
    error.downcast_ref::<io::Error>().and_then(of_system)
}

fn of_http(error: &hyper::Error) -> Option<FailureReason> {
    if error.is_parse() || error.is_parse_status() {
        return Some(FailureReason::Protocol);
    }
    (error.is_incomplete_message() || error.is_closed() || error.is_canceled()).then_some(FailureReason::Closed)
}

fn of_system(error: &io::Error) -> Option<FailureReason> {
    // TLS puts its error inside one of the system's; `source` passes over the inner one itself.
    if let Some(inner) = error.get_ref()
        && let Some(reason) = of_cause(inner)
    {
        return Some(reason);
    }
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the system's kinds are many, and these say something"
    )]
    match error.kind() {
        ErrorKind::ConnectionRefused => Some(FailureReason::Refused),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => {
            Some(FailureReason::Unreachable)
        }
        ErrorKind::TimedOut => Some(FailureReason::Timeout),
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::NotConnected
        | ErrorKind::UnexpectedEof => Some(FailureReason::Closed),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_system_have_their_reasons() {
        for (kind, reason) in [
            (ErrorKind::ConnectionRefused, Some(FailureReason::Refused)),
            (ErrorKind::HostUnreachable, Some(FailureReason::Unreachable)),
            (ErrorKind::NetworkUnreachable, Some(FailureReason::Unreachable)),
            (ErrorKind::TimedOut, Some(FailureReason::Timeout)),
            (ErrorKind::ConnectionReset, Some(FailureReason::Closed)),
            (ErrorKind::BrokenPipe, Some(FailureReason::Closed)),
            (ErrorKind::UnexpectedEof, Some(FailureReason::Closed)),
            (ErrorKind::OutOfMemory, None),
        ] {
            assert_eq!(of_cause(&io::Error::from(kind)), reason, "{kind}");
        }
        let tls = io::Error::new(ErrorKind::UnexpectedEof, rustls::Error::DecryptError);
        assert_eq!(of_cause(&tls), Some(FailureReason::Tls), "what is inside knows better");
    }
}
