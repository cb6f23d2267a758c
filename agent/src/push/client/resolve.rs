//! From the host of the URL to addresses.

use std::io;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Host;
use xprober_config::agent::RemoteWrite;

/// A name that does not resolve.
#[derive(Debug, thiserror::Error)]
#[error("resolve {host}")]
pub(super) struct ResolveError {
    host: String,
    #[source]
    source: io::Error,
}

/// Asks the system.
#[derive(Debug)]
pub(super) struct Resolver {
    /// The host to connect to where the name in the URL is the one for TLS.
    behind: Option<String>,
}

impl Resolver {
    /// Resolves for one endpoint.
    pub(super) fn new(settings: &RemoteWrite) -> Self {
        let host = settings.url.host().map(|host| match host {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        });
        let behind = host.filter(|_| settings.tls.server_name.is_some());
        Self { behind }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let host = self.behind.clone().unwrap_or_else(|| name.as_str().to_owned());
        Box::pin(async move {
            // The URL's port replaces this one.
            let found = tokio::net::lookup_host((host.as_str(), 0)).await;
            match found.map(Iterator::collect::<Vec<_>>) {
                Ok(found) => Ok(Box::new(found.into_iter()) as Addrs),
                Err(source) => Err(ResolveError { host, source }.into()),
            }
        })
    }
}
