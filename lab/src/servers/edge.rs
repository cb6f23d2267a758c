//! What stands at the edge of every host: its cloud's metadata endpoint and its DNS server.

use super::dns::DnsSettings;
use super::dns::task::Dns;
use super::metadata::{Metadata, MetadataMode};
use crate::error::LabError;
use crate::namespace::Namespace;
use crate::topology::HostPlan;

/// The servers of one host.
#[derive(Debug)]
pub struct Edge {
    /// The endpoint at 169.254.169.254.
    pub metadata: Metadata,
    /// The name server at 127.0.0.53.
    pub dns: Dns,
}

impl Edge {
    /// Starts both, the metadata endpoint in version 2.
    ///
    /// # Errors
    /// [`LabError::Io`] when a socket cannot be bound.
    pub async fn start(namespace: &Namespace, plan: &HostPlan, names: DnsSettings) -> Result<Self, LabError> {
        let metadata = Metadata::new(namespace.clone(), plan.clone());
        metadata.set_mode(MetadataMode::default()).await?;
        Ok(Self {
            metadata,
            dns: Dns::start(namespace, names)?,
        })
    }

    /// Ends both.
    pub async fn stop(&self) {
        self.metadata.stop().await;
        self.dns.stop().await;
    }
}
