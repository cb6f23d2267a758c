//! Which certificates are trusted, and until when the presented ones are valid.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tracing::warn;

/// Says why an HTTP prober cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum HttpProberError {
    /// The file with certificate authorities cannot be read or is not PEM.
    #[error("cannot read certificate authorities from {}", path.display())]
    ReadCaFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// The file holds no certificate at all.
    #[error("no certificate in {}: PEM blocks starting with BEGIN CERTIFICATE are needed", path.display())]
    EmptyCaFile {
        /// The file.
        path: PathBuf,
    },
    /// A certificate of the file cannot be a trust anchor.
    #[error("cannot trust a certificate of {}", path.display())]
    RejectedCa {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Error,
    },
    /// The TLS library refuses the settings.
    #[error("cannot set up certificate verification")]
    Verifier(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Trusted authorities; makes a TLS configuration for each connection.
#[derive(Debug, Clone)]
pub(super) struct Trust {
    provider: Arc<CryptoProvider>,
    /// `None` when the machine knows no authority: every server is then untrusted, and plain HTTP still works.
    verifier: Option<Arc<WebPkiServerVerifier>>,
}

impl Trust {
    /// Trusts the machine's authorities and those of `ca_file`.
    ///
    /// # Errors
    /// `ca_file` is given and not usable. A machine without authorities is only warned about.
    pub(super) fn load(ca_file: Option<&Path>) -> Result<Self, HttpProberError> {
        let mut roots = RootCertStore::empty();
        let native = rustls_native_certs::load_native_certs();
        for error in &native.errors {
            warn!(%error, "cannot load some of the system's certificate authorities");
        }
        let (_, ignored) = roots.add_parsable_certificates(native.certs);
        if ignored > 0 {
            warn!(ignored, "some of the system's certificate authorities are not usable");
        }
        if let Some(path) = ca_file {
            add_file(&mut roots, path)?;
        }
        if roots.is_empty() {
            warn!("no certificate authority is known: every https probe will fail");
        }
        Self::from_roots(roots)
    }

    fn from_roots(roots: RootCertStore) -> Result<Self, HttpProberError> {
        let provider = Arc::new(ring::default_provider());
        let verifier = if roots.is_empty() {
            None
        } else {
            let built = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
            Some(built.map_err(|error| HttpProberError::Verifier(error.into()))?)
        };
        let trust = Self { provider, verifier };
        trust
            .client_config(&Arc::default())
            .map_err(|error| HttpProberError::Verifier(error.into()))?;
        Ok(trust)
    }

    /// Configures one connection: HTTP/1.1, a full handshake, and the end of validity written to `not_after`.
    ///
    /// # Errors
    /// The provider supports no protocol version: found at the start, by [`Trust::load`].
    pub(super) fn client_config(&self, not_after: &Arc<NotAfter>) -> Result<ClientConfig, Error> {
        let verifier = RecordingVerifier {
            provider: Arc::clone(&self.provider),
            verifier: self.verifier.clone(),
            not_after: Arc::clone(not_after),
        };
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        // A resumed session would leave out what the stage is there to measure.
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), HttpProberError> {
    let unreadable = |source| HttpProberError::ReadCaFile {
        path: path.to_owned(),
        source,
    };
    let mut added = false;
    for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
        roots
            .add(certificate.map_err(unreadable)?)
            .map_err(|source| HttpProberError::RejectedCa {
                path: path.to_owned(),
                source,
            })?;
        added = true;
    }
    if added {
        Ok(())
    } else {
        Err(HttpProberError::EmptyCaFile { path: path.to_owned() })
    }
}

/// End of validity of the chain last seen, seconds since the Unix epoch.
#[derive(Debug)]
pub(super) struct NotAfter(AtomicI64);

impl NotAfter {
    /// No certificate ends then: ASN.1 times start in the year 0.
    const UNSEEN: i64 = i64::MIN;

    fn record(&self, seconds: i64) {
        self.0.store(seconds, Ordering::Relaxed);
    }

    /// The end of validity, if a chain was seen.
    pub(super) fn get(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|seconds| *seconds != Self::UNSEEN)
    }
}

impl Default for NotAfter {
    fn default() -> Self {
        Self(AtomicI64::new(Self::UNSEEN))
    }
}

/// Notes until when the presented chain is valid, then verifies it as usual.
///
/// It notes first because an expired certificate is the one whose date people look for.
#[derive(Debug)]
struct RecordingVerifier {
    provider: Arc<CryptoProvider>,
    verifier: Option<Arc<WebPkiServerVerifier>>,
    not_after: Arc<NotAfter>,
}

impl ServerCertVerifier for RecordingVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = std::iter::once(end_entity).chain(intermediates);
        if let Some(earliest) = chain.filter_map(not_after).min() {
            self.not_after.record(earliest);
        }
        self.verifier
            .as_ref()
            .ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// End of validity of one certificate; `None` when it cannot be parsed.
fn not_after(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(parsed.validity().not_after.timestamp())
}
