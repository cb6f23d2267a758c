//! The sockets of the HTTP probe.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::{Host, Url};
use xprober_proto::{HttpSpec, ProbeSpec, Target};

use super::exchange::{exchange, request};
use super::progress::Progress;
use super::redirect::{Hop, MAX_REDIRECTS, Next};
use super::resolve::Resolver;
pub use super::trust::HttpProberError;
use super::trust::{NotAfter, Trust};
use super::{HttpReason, Stage, candidates};
use crate::probe::HttpResult;

/// Probes HTTP and HTTPS targets, each time over fresh connections.
#[derive(Debug)]
pub struct HttpProber {
    resolver: Resolver,
    trust: Trust,
    allowed_networks: Vec<IpNet>,
}

impl HttpProber {
    /// Builds a prober that trusts the system's certificate authorities and those in the PEM file `ca_file`, and that
    /// connects to addresses inside `allowed_networks` only; an empty list forbids every address.
    ///
    /// # Errors
    /// `ca_file` cannot be read or holds no usable certificate.
    pub fn new(ca_file: Option<&Path>, allowed_networks: Vec<IpNet>) -> Result<Self, HttpProberError> {
        Ok(Self {
            resolver: Resolver::system(),
            trust: Trust::load(ca_file)?,
            allowed_networks,
        })
    }

    /// Resolves names by `resolver` instead of as the system does.
    #[cfg(test)]
    pub(super) fn with_resolver(self, resolver: Resolver) -> Self {
        Self { resolver, ..self }
    }

    /// Probes `target` once; takes no longer than its timeout.
    ///
    /// Whatever goes wrong is in the result. A target of another kind fails with reason `protocol` and sends nothing.
    pub async fn probe(&self, target: Arc<Target>) -> HttpResult {
        let mut progress = Progress::start(Instant::now());
        let ended = match &target.probe {
            ProbeSpec::Http(spec) => tokio::time::timeout(target.timeout, self.follow(spec, &mut progress))
                .await
                .unwrap_or(Err(HttpReason::Timeout)),
            ProbeSpec::Icmp(_) | ProbeSpec::Tcp(_) => Err(HttpReason::Protocol),
        };
        progress.finish(target, ended, Instant::now())
    }

    /// Sends the request of `spec` and follows redirects to the answer.
    async fn follow(&self, spec: &HttpSpec, progress: &mut Progress) -> Result<(), HttpReason> {
        let mut hop = Hop::first(spec);
        loop {
            hop = match self.request(&hop, spec, progress).await? {
                Next::Answer => return Ok(()),
                Next::Follow(next) if progress.redirects < MAX_REDIRECTS => next,
                Next::Follow(_) | Next::Nowhere => return Err(HttpReason::Redirect),
            };
            progress.redirects += 1;
            progress.clock.begin(Stage::Resolve, Instant::now());
        }
    }

    /// Makes one connection and sends `hop` over it.
    async fn request(&self, hop: &Hop, spec: &HttpSpec, progress: &mut Progress) -> Result<Next, HttpReason> {
        let request = request(hop)?;
        let addresses = self.resolve(&hop.url).await?;
        progress.begin_connect(&hop.url);
        let tcp = self.connect(&addresses).await?;
        if hop.url.scheme() == "https" {
            progress.clock.begin(Stage::Tls, Instant::now());
            let tls = self.handshake(&hop.url, tcp, &progress.not_after).await?;
            exchange(tls, request, hop, spec, progress).await
        } else {
            // As in blackbox_exporter: every target has all stages.
            progress.clock.pass_over(Stage::Tls);
            exchange(tcp, request, hop, spec, progress).await
        }
    }

    async fn resolve(&self, url: &Url) -> Result<Vec<SocketAddr>, HttpReason> {
        let port = url.port_or_known_default().ok_or(HttpReason::Protocol)?;
        match url.host().ok_or(HttpReason::Protocol)? {
            Host::Ipv4(address) => Ok(vec![(address, port).into()]),
            Host::Ipv6(address) => Ok(vec![(address, port).into()]),
            Host::Domain(name) => match self.resolver.resolve(name, port).await {
                Ok(addresses) if !addresses.is_empty() => Ok(addresses),
                Ok(_) | Err(_) => Err(HttpReason::Dns),
            },
        }
    }

    async fn connect(&self, resolved: &[SocketAddr]) -> Result<TcpStream, HttpReason> {
        let mut reason = HttpReason::Forbidden;
        for address in candidates(resolved, &self.allowed_networks) {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // Without effect on a request that is one write; a kernel that refuses is no reason to fail.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) => reason = connect_reason(&error),
            }
        }
        Err(reason)
    }

    async fn handshake(
        &self,
        url: &Url,
        tcp: TcpStream,
        not_after: &Arc<NotAfter>,
    ) -> Result<TlsStream<TcpStream>, HttpReason> {
        let config = self.trust.client_config(not_after).map_err(|_| HttpReason::Tls)?;
        let name = server_name(url).ok_or(HttpReason::Tls)?;
        TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await
            .map_err(|_| HttpReason::Tls)
    }
}

/// Name that the certificate must be for; a name's trailing dot is no part of it (RFC 6066 section 3).
fn server_name(url: &Url) -> Option<ServerName<'static>> {
    match url.host()? {
        Host::Ipv4(address) => Some(ServerName::IpAddress(IpAddr::V4(address).into())),
        Host::Ipv6(address) => Some(ServerName::IpAddress(IpAddr::V6(address).into())),
        Host::Domain(name) => ServerName::try_from(name.trim_end_matches('.').to_owned()).ok(),
    }
}

/// The kernel gave up before the probe's deadline, or the peer or the network said no.
fn connect_reason(error: &io::Error) -> HttpReason {
    if error.kind() == io::ErrorKind::TimedOut {
        HttpReason::Timeout
    } else {
        HttpReason::Refused
    }
}
