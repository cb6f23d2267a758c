//! An HTTPS receiver that asks for a client certificate, and an authority that issues them.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pub(super) pem: String,
}

pub(super) struct Issued {
    pub(super) der: CertificateDer<'static>,
    pub(super) pem: String,
    pub(super) key: KeyPair,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            certificate: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    pub(super) fn issue(&self, name: &str) -> Issued {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Issued {
            der: certificate.der().clone(),
            pem: certificate.pem(),
            key,
        }
    }
}

/// One request as it came over TLS.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) client: Vec<CertificateDer<'static>>,
    pub(super) server_name: Option<String>,
    pub(super) head: String,
}

pub(super) struct TlsReceiver {
    pub(super) address: SocketAddr,
    seen: mpsc::Receiver<Seen>,
    server: JoinHandle<()>,
}

impl TlsReceiver {
    /// Answers 204 over connections of one request to everyone who shows a certificate of the authority.
    pub(super) async fn start(authority: &Authority, name: &str) -> Self {
        let issued = authority.issue(name);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate.clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(
                vec![issued.der],
                PrivateKeyDer::Pkcs8(issued.key.serialize_der().into()),
            )
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, seen) = mpsc::channel(16);
        let server = tokio::spawn(async move {
            let acceptor = TlsAcceptor::from(Arc::new(config));
            while let Ok((stream, _)) = listener.accept().await {
                if let Some(request) = serve(&acceptor, stream).await {
                    let _ = sender.send(request).await;
                }
            }
        });
        Self { address, seen, server }
    }

    pub(super) async fn next(&mut self) -> Seen {
        let next = tokio::time::timeout(std::time::Duration::from_secs(20), self.seen.recv());
        next.await.unwrap().unwrap()
    }
}

impl Drop for TlsReceiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(acceptor: &TlsAcceptor, stream: TcpStream) -> Option<Seen> {
    let mut buffer = [0; 4096];
    let mut stream = match acceptor.accept(stream).into_fallible().await {
        Ok(stream) => stream,
        Err((_, mut stream)) => {
            // Read to the end, so that the alert is not overtaken by a reset.
            while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
            return None;
        }
    };
    let read = stream.read(&mut buffer).await.ok()?;
    let (_, connection) = stream.get_ref();
    let seen = Seen {
        client: connection
            .peer_certificates()
            .unwrap_or_default()
            .iter()
            .cloned()
            .map(CertificateDer::into_owned)
            .collect(),
        server_name: connection.server_name().map(str::to_owned),
        head: String::from_utf8_lossy(&buffer[..read]).to_lowercase(),
    };
    stream
        .write_all(b"HTTP/1.1 204 x\r\nconnection: close\r\n\r\n")
        .await
        .ok()?;
    let _ = stream.shutdown().await;
    Some(seen)
}
