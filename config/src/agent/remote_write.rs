//! `remote_write:`, where samples go, as whom, and what waits for that.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use url::Url;

mod authentication;

mod endpoint;

mod labels;

mod name;

mod queue;

mod spelling;

mod tls;

pub use authentication::{Authentication, Credential, SigV4};
pub(super) use endpoint::read;
pub use labels::OWN_LABELS;
pub use name::EndpointName;
pub use queue::QueueBounds;
pub use spelling::{HistogramForm, ProtocolChoice};
pub use tls::{ClientCertificate, Tls};

/// One place where samples go.
#[derive(Debug, Clone, PartialEq)]
pub struct RemoteWrite {
    /// What logs, metrics and the folder of its queue call it.
    pub name: EndpointName,
    /// Remote-write endpoint, http or https.
    pub url: Url,
    /// Limit of one request.
    pub timeout: Duration,
    /// How requests are spelt.
    pub protocol: ProtocolChoice,
    /// How histograms are sent.
    pub histograms: HistogramForm,
    /// The receiver takes samples that are older than the newest of their series, so live data may overtake a backlog.
    pub out_of_order: bool,
    /// Labels that every series gets on the way to this endpoint.
    pub labels: BTreeMap<String, String>,
    /// Extra request headers, such as `X-Scope-OrgID`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// As whom requests are sent.
    pub authentication: Authentication,
    /// How an https endpoint is checked, and what it is shown.
    pub tls: Tls,
    /// What waits while the endpoint is away.
    pub queue: QueueBounds,
}

#[cfg(test)]
mod tests;
