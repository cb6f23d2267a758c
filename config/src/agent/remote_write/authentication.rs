//! `basic_auth`, `authorization` and `sigv4`: as whom requests are sent.

use std::path::PathBuf;

use crate::reader::{Field, Mapping};
use crate::secret::Secret;
use crate::value::{InvalidValue, Parsed, file_path, quote};

/// Amazon Managed Service for Prometheus.
const SIGV4_SERVICE: &str = "aps";
const AUTHORIZATION_TYPE: &str = "Bearer";

/// As whom requests are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authentication {
    /// As nobody, or as a configured header says.
    None,
    /// With user name and password (RFC 7617).
    Basic {
        /// User name.
        username: String,
        /// Password.
        password: Credential,
    },
    /// With `Authorization: SCHEME CREDENTIALS`, as bearer tokens are (RFC 6750).
    Header {
        /// The scheme.
        scheme: String,
        /// What follows it.
        credentials: Credential,
    },
    /// Signed, as Amazon's services want it.
    SigV4(SigV4),
}

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// In the configuration.
    Inline(Secret),
    /// In a file, which is read again whenever it changes; white space around the secret is not part of it.
    File(PathBuf),
}

/// Keys for signatures of AWS, version 4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigV4 {
    /// Region of the endpoint.
    pub region: String,
    /// Signing name of the service.
    pub service: String,
    /// Access key id; no secret.
    pub access_key: String,
    /// Secret access key.
    pub secret_key: Credential,
    /// Token of temporary keys.
    pub session_token: Option<Credential>,
}

/// Which key says as whom requests are sent, whether or not it says it right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Basic,
    Header,
    SigV4,
}

/// Reads the three keys, at most one of which may be there.
pub(super) fn read(endpoint: &mut Mapping<'_>) -> (Option<Method>, Authentication) {
    let [basic, header, sigv4] = ["basic_auth", "authorization", "sigv4"].map(|key| endpoint.take(key));
    let method = method([
        (Method::Basic, "basic_auth", &basic),
        (Method::Header, "authorization", &header),
        (Method::SigV4, "sigv4", &sigv4),
    ]);
    // All are read, so that all problems are told.
    let basic = basic.is_given().then(|| read_basic(basic.mapping())).flatten();
    let header = header.is_given().then(|| read_header(header.mapping())).flatten();
    let sigv4 = sigv4.is_given().then(|| read_sigv4(sigv4.mapping())).flatten();
    (method, basic.or(header).or(sigv4).unwrap_or(Authentication::None))
}

/// Answers the first that is given, and refuses the others.
fn method(methods: [(Method, &str, &Field<'_>); 3]) -> Option<Method> {
    let mut given = methods.into_iter().filter(|(_, _, field)| field.is_given());
    let (method, key, _) = given.next()?;
    for (_, _, field) in given {
        field.problem(format!(
            "is given beside {key}: use only one of basic_auth, authorization and sigv4"
        ));
    }
    Some(method)
}

fn read_basic(mut mapping: Mapping<'_>) -> Option<Authentication> {
    let username = mapping.take("username").required("give the user name").read(username);
    let password = read_credential(&mut mapping, ["password", "password_file"], true);
    mapping.finish();
    Some(Authentication::Basic {
        username: username?,
        password: password?,
    })
}

fn read_header(mut mapping: Mapping<'_>) -> Option<Authentication> {
    let scheme = mapping.take("type").read(scheme);
    let credentials = read_credential(&mut mapping, ["credentials", "credentials_file"], true);
    mapping.finish();
    Some(Authentication::Header {
        scheme: scheme.unwrap_or_else(|| AUTHORIZATION_TYPE.to_owned()),
        credentials: credentials?,
    })
}

fn read_sigv4(mut mapping: Mapping<'_>) -> Option<Authentication> {
    let region = mapping
        .take("region")
        .required("give the region of the endpoint, as in eu-central-1")
        .read(word);
    let service = mapping.take("service").read(word);
    let access_key = mapping.take("access_key").required("give the access key id").read(word);
    let secret_key = read_credential(&mut mapping, ["secret_key", "secret_key_file"], true);
    let session_token = read_credential(&mut mapping, ["session_token", "session_token_file"], false);
    mapping.finish();
    Some(Authentication::SigV4(SigV4 {
        region: region?,
        service: service.unwrap_or_else(|| SIGV4_SERVICE.to_owned()),
        access_key: access_key?,
        secret_key: secret_key?,
        session_token,
    }))
}

fn read_credential(mapping: &mut Mapping<'_>, keys: [&'static str; 2], required: bool) -> Option<Credential> {
    let [inline_key, file_key] = keys;
    let (inline, file) = (mapping.take(inline_key), mapping.take(file_key));
    if inline.is_given() && file.is_given() {
        file.problem(format!("is given beside {inline_key}: use only one of the two"));
    }
    let inline = if required && !file.is_given() {
        inline.required(&format!("give it, or the file that it is in with {file_key}"))
    } else {
        inline
    };
    let from_file = |field: &Field<'_>| field.read(file_path).map(Credential::File);
    inline.read(secret).map(Credential::Inline).or_else(|| from_file(&file))
}

/// Takes what fits into a header; it is never quoted.
fn secret(text: &str) -> Parsed<Secret> {
    if text.is_empty() || text.contains(char::is_control) {
        return Err(InvalidValue::new("is empty or holds control characters"));
    }
    Ok(Secret::new(text))
}

fn username(text: &str) -> Parsed<String> {
    if text.contains(':') || text.contains(char::is_control) {
        return Err(InvalidValue::new(format!(
            "{} is not a user name: use no colon and no control characters",
            quote(text)
        )));
    }
    Ok(text.to_owned())
}

/// A token of RFC 9110, section 5.6.2, of the letters that schemes have.
fn scheme(text: &str) -> Parsed<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if text.eq_ignore_ascii_case("basic") {
        return Err(InvalidValue::new("cannot be Basic: use basic_auth"));
    }
    if text.is_empty() || !text.chars().all(allowed) {
        return Err(InvalidValue::new(format!(
            "{} is not an authentication scheme: use letters, digits and dashes, as in Bearer",
            quote(text)
        )));
    }
    Ok(text.to_owned())
}

fn word(text: &str) -> Parsed<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if text.is_empty() || text.len() > 128 || !text.chars().all(allowed) {
        return Err(InvalidValue::new(format!(
            "{} is not allowed: use letters, digits, dashes and underscores",
            quote(text)
        )));
    }
    Ok(text.to_owned())
}
