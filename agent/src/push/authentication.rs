//! As whom requests are sent: secrets in, headers out.

use std::fmt;
use std::time::SystemTime;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{AUTHORIZATION, InvalidHeaderValue};
use http::{HeaderMap, HeaderValue};
use xprober_config::agent::remote_write::{Authentication, Credential};

use super::file::{FileError, Reading, WatchedFile};
use super::sigv4::{self, Keys, Unsigned};

/// Writes the headers that say as whom a request is sent. Secrets never leave it but in those headers.
#[derive(Debug)]
pub struct Authenticator {
    method: Method,
}

#[derive(Debug)]
enum Method {
    None,
    Basic {
        username: String,
        password: Source,
    },
    Header {
        scheme: String,
        credentials: Source,
    },
    SigV4 {
        region: String,
        service: String,
        access_key: String,
        secret_key: Source,
        session_token: Option<Source>,
    },
}

/// Where a secret comes from, and what it is.
enum Source {
    Inline(xprober_config::secret::Secret),
    File(WatchedFile),
}

impl fmt::Debug for Source {
    /// Names the file and hides what is in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(secret) => secret.fmt(f),
            Self::File(file) => file.path().fmt(f),
        }
    }
}

/// A secret cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It cannot stand in a header; the text does not say what it is.
    #[error("a secret has characters that no header can carry")]
    Header(#[source] InvalidHeaderValue),
    /// Its file is no text.
    #[error("{} holds no text", .0.display())]
    Text(std::path::PathBuf),
    /// Its file is empty.
    #[error("{} is empty", .0.display())]
    Empty(std::path::PathBuf),
}

impl Authenticator {
    /// Reads the files with secrets for the first time.
    ///
    /// # Errors
    ///
    /// When one cannot be read.
    pub fn open(settings: &Authentication) -> Result<Self, FileError> {
        let method = match settings {
            Authentication::None => Method::None,
            Authentication::Basic { username, password } => Method::Basic {
                username: username.clone(),
                password: Source::open(password)?,
            },
            Authentication::Header { scheme, credentials } => Method::Header {
                scheme: scheme.clone(),
                credentials: Source::open(credentials)?,
            },
            Authentication::SigV4(keys) => Method::SigV4 {
                region: keys.region.clone(),
                service: keys.service.clone(),
                access_key: keys.access_key.clone(),
                secret_key: Source::open(&keys.secret_key)?,
                session_token: keys.session_token.as_ref().map(Source::open).transpose()?,
            },
        };
        Ok(Self { method })
    }

    /// Looks at every file again; tells whether a secret changed.
    ///
    /// # Errors
    ///
    /// When a file cannot be read; what it held before stays in use.
    pub async fn refresh(&mut self, reading: Reading) -> Result<bool, FileError> {
        let sources: [Option<&mut Source>; 2] = match &mut self.method {
            Method::None => [None, None],
            Method::Basic { password: one, .. } | Method::Header { credentials: one, .. } => [Some(one), None],
            Method::SigV4 {
                secret_key,
                session_token,
                ..
            } => [Some(secret_key), session_token.as_mut()],
        };
        let mut changed = false;
        for source in sources.into_iter().flatten() {
            if let Source::File(file) = source {
                changed |= file.refresh(reading).await?;
            }
        }
        Ok(changed)
    }

    /// Adds the headers for one attempt.
    ///
    /// # Errors
    ///
    /// When a secret cannot be sent.
    pub fn write(&self, request: &Unsigned<'_>, now: SystemTime, headers: &mut HeaderMap) -> Result<(), SecretError> {
        let authorization = match &self.method {
            Method::None => return Ok(()),
            Method::SigV4 {
                region,
                service,
                access_key,
                secret_key,
                session_token,
            } => {
                let keys = Keys {
                    region,
                    service,
                    access_key,
                    secret_key: secret_key.reveal()?,
                    session_token: session_token.as_ref().map(Source::reveal).transpose()?,
                };
                return sigv4::sign(keys, request, now, headers).map_err(SecretError::Header);
            }
            Method::Basic { username, password } => {
                let pair = format!("{username}:{}", password.reveal()?);
                format!("Basic {}", BASE64_STANDARD.encode(pair))
            }
            Method::Header { scheme, credentials } => format!("{scheme} {}", credentials.reveal()?),
        };
        let mut value = HeaderValue::from_str(&authorization).map_err(SecretError::Header)?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
        Ok(())
    }
}

impl Source {
    fn open(credential: &Credential) -> Result<Self, FileError> {
        Ok(match credential {
            Credential::Inline(secret) => Self::Inline(secret.clone()),
            Credential::File(path) => Self::File(WatchedFile::open(path)?),
        })
    }

    /// The secret, without the white space that editors leave around it in a file.
    fn reveal(&self) -> Result<&str, SecretError> {
        match self {
            Self::Inline(secret) => Ok(secret.reveal()),
            Self::File(file) => {
                let text =
                    std::str::from_utf8(file.content()).map_err(|_| SecretError::Text(file.path().to_owned()))?;
                match text.trim() {
                    "" => Err(SecretError::Empty(file.path().to_owned())),
                    secret => Ok(secret),
                }
            }
        }
    }
}
