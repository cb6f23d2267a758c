//! TLS towards an endpoint: whom we trust, and what we show.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
use tracing::warn;
use xprober_config::agent::remote_write::Tls;

use super::file::{FileError, Reading, WatchedFile};

/// Says why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file is no PEM.
    #[error("{} is damaged", path.display())]
    Pem {
        /// The configured file.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// The file holds no certificate that can be used.
    #[error("{} holds no usable certificate: it must be a PEM file with at least one", path.display())]
    NoCertificate {
        /// The configured file.
        path: PathBuf,
    },
    /// Certificate and key do not fit, or the library refuses them.
    #[error("use the certificate of {} with its key", path.display())]
    Certificate {
        /// The configured file of the certificate.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// An https endpoint, and nothing to check its certificate with.
    #[error(
        "no certificate authority for an https remote-write URL: install the system's ca-certificates or set tls.ca_file"
    )]
    NoAuthorities,
    /// The library cannot do TLS.
    #[error("set up TLS for remote write")]
    Library(#[source] rustls::Error),
}

/// The files behind the TLS settings of an endpoint, and the system's authorities.
#[derive(Debug)]
pub struct TlsFiles {
    system: RootCertStore,
    authorities: Option<WatchedFile>,
    certificate: Option<(WatchedFile, WatchedFile)>,
}

impl TlsFiles {
    /// Reads everything for the first time.
    ///
    /// # Errors
    ///
    /// When a file cannot be read.
    pub fn open(settings: &Tls) -> Result<Self, TlsError> {
        let mut system = RootCertStore::empty();
        let loaded = rustls_native_certs::load_native_certs();
        system.add_parsable_certificates(loaded.certs);
        for error in loaded.errors {
            warn!(%error, "a part of the system's certificate authorities was not loaded");
        }
        let authorities = settings.ca_file.as_deref().map(WatchedFile::open).transpose()?;
        let certificate = match &settings.certificate {
            Some(shown) => Some((
                WatchedFile::open(&shown.cert_file)?,
                WatchedFile::open(&shown.key_file)?,
            )),
            None => None,
        };
        Ok(Self {
            system,
            authorities,
            certificate,
        })
    }

    /// Looks at every file again; tells whether one changed.
    ///
    /// # Errors
    ///
    /// When one cannot be read; what it held before stays in use.
    pub async fn refresh(&mut self, reading: Reading) -> Result<bool, FileError> {
        let (certificate, key) = self
            .certificate
            .as_mut()
            .map_or((None, None), |(c, k)| (Some(c), Some(k)));
        let mut changed = false;
        for file in [self.authorities.as_mut(), certificate, key].into_iter().flatten() {
            changed |= file.refresh(reading).await?;
        }
        Ok(changed)
    }

    /// Makes TLS settings of what the files hold.
    ///
    /// # Errors
    ///
    /// When what they hold cannot be used.
    pub fn config(&self) -> Result<ClientConfig, TlsError> {
        let builder = Self::builder()?.with_root_certificates(self.roots()?);
        let Some((certificate, key)) = &self.certificate else {
            return Ok(builder.with_no_client_auth());
        };
        let chain = certificates(certificate)?;
        let key_der = PrivateKeyDer::from_pem_slice(key.content()).map_err(|source| TlsError::Pem {
            path: key.path().to_owned(),
            source,
        })?;
        builder
            .with_client_auth_cert(chain, key_der)
            .map_err(|source| TlsError::Certificate {
                path: certificate.path().to_owned(),
                source,
            })
    }

    /// TLS settings that trust nobody, for a URL without TLS.
    ///
    /// # Errors
    ///
    /// When the library cannot do TLS.
    pub fn unused() -> Result<ClientConfig, TlsError> {
        Ok(Self::builder()?
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth())
    }

    fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Library)
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = self.system.clone();
        if let Some(file) = &self.authorities {
            let (added, _) = roots.add_parsable_certificates(certificates(file)?);
            if added == 0 {
                return Err(TlsError::NoCertificate {
                    path: file.path().to_owned(),
                });
            }
        }
        if roots.is_empty() {
            return Err(TlsError::NoAuthorities);
        }
        Ok(roots)
    }
}

fn certificates(file: &WatchedFile) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let path = || file.path().to_owned();
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(file.content()).collect();
    let certificates = read.map_err(|source| TlsError::Pem { path: path(), source })?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate { path: path() });
    }
    Ok(certificates)
}
