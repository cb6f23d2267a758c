//! The same samples in another spelling.

use super::Protocol;
use crate::queue::SealedRequest;

/// A request cannot be spelt otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReencodeError {
    /// Nobody knows how.
    #[error("no way from {} to {}", from.as_str(), to.as_str())]
    Unsupported {
        /// As it is spelt.
        from: Protocol,
        /// As it should be.
        to: Protocol,
    },
}

/// Spells a request in another protocol: the same series, samples and timestamps; the same bytes every time.
///
/// # Errors
///
/// When there is no way from the one to the other.
pub fn reencode(request: &SealedRequest, to: Protocol) -> Result<SealedRequest, ReencodeError> {
    if request.protocol == to {
        return Ok(request.clone());
    }
    Err(ReencodeError::Unsupported {
        from: request.protocol,
        to,
    })
}
