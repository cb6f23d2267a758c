//! The lab's own certificate authority, for HTTPS targets that agents can verify.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::error::LabError;

const DAY: Duration = Duration::from_hours(24);

/// How long certificates are valid unless told otherwise.
pub const DEFAULT_VALIDITY: Duration = Duration::from_hours(24 * 365);

/// A certificate authority whose certificate lies in the work folder.
pub struct CertificateAuthority {
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
}

impl std::fmt::Debug for CertificateAuthority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("CertificateAuthority")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl CertificateAuthority {
    /// Makes a new authority and writes its certificate to `ca.pem` in a folder.
    ///
    /// # Errors
    /// [`LabError::Certificate`], or [`LabError::Io`] when the file cannot be written.
    pub fn create(folder: &Path) -> Result<Self, LabError> {
        let failed = |error: rcgen::Error| certificate_error("making the certificate authority", &error);
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "xprober lab");
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = (SystemTime::now() - DAY).into();
        params.not_after = (SystemTime::now() + 10 * DEFAULT_VALIDITY).into();
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.self_signed(&key).map_err(failed)?;
        let file = folder.join("ca.pem");
        fs::write(&file, certificate.pem()).map_err(LabError::io(format!("writing {}", file.display())))?;
        Ok(Self {
            issuer: Issuer::new(params, key),
            file,
        })
    }

    /// The authority's certificate in PEM, for agents to trust.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Makes the TLS settings of a server with these names (DNS names or IP addresses), valid from yesterday until
    /// `validity` from now.
    ///
    /// # Errors
    /// [`LabError::Certificate`].
    pub fn server(&self, names: &[String], validity: Duration) -> Result<Arc<ServerConfig>, LabError> {
        let failed = |error: rcgen::Error| certificate_error("making a server certificate", &error);
        let mut params = CertificateParams::new(names.to_vec()).map_err(failed)?;
        params
            .distinguished_name
            .push(DnType::CommonName, names.first().map_or("lab", String::as_str));
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_before = (SystemTime::now() - DAY).into();
        params.not_after = (SystemTime::now() + validity).into();
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                builder
                    .with_no_client_auth()
                    .with_single_cert(vec![certificate.der().clone()], key)
            })
            .map_err(|error| certificate_error("using a server certificate", &error))?;
        Ok(Arc::new(config))
    }
}

fn certificate_error(doing: &'static str, error: &dyn std::error::Error) -> LabError {
    LabError::Certificate {
        doing,
        reason: error.to_string(),
    }
}
