//! What an answer of the time-series database means.

/// Says why samples cannot be pushed at all.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The HTTP client could not be built.
    #[error("build the remote-write client")]
    Client(#[source] reqwest::Error),
}
