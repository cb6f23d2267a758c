//! `tls:` of an endpoint.

use std::path::PathBuf;

use xprober_proto::HostName;

use crate::reader::Mapping;
use crate::value::{InvalidValue, Parsed, file_path, quote};

/// How an https endpoint is checked, and what it is shown. Files are read by the agent, again whenever they change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// PEM file with the certificate authorities of the endpoint, beside the system's.
    pub ca_file: Option<PathBuf>,
    /// What the agent shows of itself.
    pub certificate: Option<ClientCertificate>,
    /// Name that is asked for and that the certificate must be for, where it differs from the URL's.
    pub server_name: Option<String>,
}

/// A certificate that the agent shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// PEM file with the certificate and those between it and the authority.
    pub cert_file: PathBuf,
    /// PEM file with its private key.
    pub key_file: PathBuf,
}

pub(super) fn read(mut mapping: Mapping<'_>) -> Tls {
    let ca_file = mapping.take("ca_file").read(file_path);
    let (cert, key) = (mapping.take("cert_file"), mapping.take("key_file"));
    if cert.is_given() != key.is_given() {
        let missing = if cert.is_given() { &key } else { &cert };
        missing.problem("is missing: cert_file and key_file go together");
    }
    let certificate = cert
        .read(file_path)
        .zip(key.read(file_path))
        .map(|(cert_file, key_file)| ClientCertificate { cert_file, key_file });
    let server_name = mapping.take("server_name").read(server_name);
    mapping.finish();
    Tls {
        ca_file,
        certificate,
        server_name,
    }
}

fn server_name(text: &str) -> Parsed<String> {
    match text.parse::<HostName>() {
        Ok(HostName::Name(name)) => Ok(name),
        Ok(HostName::Address(_)) | Err(_) => Err(InvalidValue::new(format!(
            "{} is not a host name: use the name that the certificate is for, as in tsdb.example.com",
            quote(text)
        ))),
    }
}
