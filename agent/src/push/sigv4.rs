//! Signatures of AWS, version 4: request in, headers out.
//!
//! Source: "Create a signed AWS API request" (AWS Identity and Access Management user guide). Every attempt is signed anew,
//! because a signature is good for minutes.

use std::fmt::Write as _;
use std::time::SystemTime;

use http::header::{AUTHORIZATION, InvalidHeaderValue};
use http::{HeaderMap, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::{digest, hmac};
use time::OffsetDateTime;
use url::Url;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const DATE: &str = "x-amz-date";
const TOKEN: &str = "x-amz-security-token";

/// Everything but the unreserved characters of RFC 3986, section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// With what is signed.
#[derive(Clone, Copy)]
pub struct Keys<'a> {
    /// Region of the service.
    pub region: &'a str,
    /// Signing name of the service, `aps` for Amazon Managed Service for Prometheus.
    pub service: &'a str,
    /// Access key id.
    pub access_key: &'a str,
    /// Secret access key.
    pub secret_key: &'a str,
    /// Token of temporary keys.
    pub session_token: Option<&'a str>,
}

/// What is signed.
#[derive(Debug, Clone, Copy)]
pub struct Unsigned<'a> {
    /// `POST` or `GET`.
    pub method: &'a str,
    /// Path and query of the request.
    pub url: &'a Url,
    /// The `Host` header.
    pub host: &'a str,
    /// Further headers that the signature covers, names in lower case.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a [u8],
}

/// Adds the headers of the signature to `headers`.
///
/// # Errors
///
/// When a key or token cannot stand in a header.
pub fn sign(
    keys: Keys<'_>,
    request: &Unsigned<'_>,
    now: SystemTime,
    headers: &mut HeaderMap,
) -> Result<(), InvalidHeaderValue> {
    let time = stamp(now);
    let day = &time[..8];
    let mut covered = vec![("host", request.host), (DATE, time.as_str())];
    covered.extend(keys.session_token.map(|token| (TOKEN, token)));
    covered.extend_from_slice(request.headers);
    covered.sort_unstable();
    let names: Vec<&str> = covered.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");

    let scope = format!("{day}/{}/{}/aws4_request", keys.region, keys.service);
    let canonical = hash(canonical(request, &covered, &names).as_bytes());
    let text = format!("{ALGORITHM}\n{time}\n{scope}\n{canonical}");
    let mut key = hmac_of(format!("AWS4{}", keys.secret_key).as_bytes(), day);
    for part in [keys.region, keys.service, "aws4_request"] {
        key = hmac_of(key.as_ref(), part);
    }
    let signature = hex(hmac_of(key.as_ref(), &text).as_ref());

    let authorization = format!(
        "{ALGORITHM} Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
        keys.access_key
    );
    headers.insert(AUTHORIZATION, secret(&authorization)?);
    headers.insert(DATE, HeaderValue::from_str(&time)?);
    if let Some(token) = keys.session_token {
        headers.insert(TOKEN, secret(token)?);
    }
    Ok(())
}

fn secret(text: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut value = HeaderValue::from_str(text)?;
    value.set_sensitive(true);
    Ok(value)
}

fn canonical(request: &Unsigned<'_>, covered: &[(&str, &str)], names: &str) -> String {
    // The path is encoded in the URL already, and services other than S3 sign it encoded twice.
    let path: Vec<String> = request.url.path().split('/').map(encoded).collect();
    let mut query: Vec<String> = request
        .url
        .query_pairs()
        .map(|(name, value)| format!("{}={}", encoded(&name), encoded(&value)))
        .collect();
    query.sort_unstable();
    let mut text = format!("{}\n{}\n{}\n", request.method, path.join("/"), query.join("&"));
    for (name, value) in covered {
        let value: Vec<&str> = value.split_whitespace().collect();
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{name}:{}", value.join(" "));
    }
    let _ = write!(text, "\n{names}\n{}", hash(request.body));
    text
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// `YYYYMMDDThhmmssZ`.
fn stamp(now: SystemTime) -> String {
    let now = OffsetDateTime::from(now);
    let (date, time) = (now.date(), now.time());
    format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

fn hmac_of(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

fn hash(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// 2015-08-30T12:36:00Z, the time of the test suite that AWS published.
    const THEN: Duration = Duration::from_mins(24_015_636);
    const SESSION: &str = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";

    fn signed(method: &str, path: &str, headers: &[(&str, &str)], body: &str, token: Option<&str>) -> HeaderMap {
        let url = format!("https://example.amazonaws.com{path}").parse().unwrap();
        let request = Unsigned {
            method,
            url: &url,
            host: "example.amazonaws.com",
            headers,
            body: body.as_bytes(),
        };
        let keys = Keys {
            region: "us-east-1",
            service: "service",
            access_key: "AKIDEXAMPLE",
            secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            session_token: token,
        };
        let mut signed = HeaderMap::new();
        sign(keys, &request, SystemTime::UNIX_EPOCH + THEN, &mut signed).unwrap();
        assert_eq!(signed[DATE], "20150830T123600Z");
        signed
    }

    #[test]
    fn signatures_are_those_of_the_published_suite() {
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let upper = [("my-header1", "VALUE1")];
        let spaces = [("my-header1", " value1"), ("my-header2", "\"a   b   c\"")];
        let plain = "host;x-amz-date";
        for (name, headers, signature) in [
            (
                "get-vanilla",
                signed("GET", "/", &[], "", None),
                (
                    plain,
                    "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
                ),
            ),
            (
                "post-vanilla",
                signed("POST", "/", &[], "", None),
                (
                    plain,
                    "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
                ),
            ),
            (
                "get-vanilla-query-order-key-case",
                signed("GET", "/?Param2=value2&Param1=value1", &[], "", None),
                (
                    plain,
                    "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
                ),
            ),
            (
                "post-header-value-case",
                signed("POST", "/", &upper, "", None),
                (
                    "host;my-header1;x-amz-date",
                    "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
                ),
            ),
            (
                "get-header-value-trim",
                signed("GET", "/", &spaces, "", None),
                (
                    "host;my-header1;my-header2;x-amz-date",
                    "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
                ),
            ),
            (
                "post-x-www-form-urlencoded",
                signed("POST", "/", &form, "Param1=value1", None),
                (
                    "content-type;host;x-amz-date",
                    "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
                ),
            ),
            (
                "post-sts-header-before",
                signed("POST", "/", &[], "", Some(SESSION)),
                (
                    "host;x-amz-date;x-amz-security-token",
                    "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
                ),
            ),
        ] {
            let (names, signature) = signature;
            let expected = format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                 SignedHeaders={names}, Signature={signature}"
            );
            assert_eq!(headers[AUTHORIZATION], expected.as_str(), "{name}");
            assert!(headers[AUTHORIZATION].is_sensitive(), "{name}");
        }
    }

    #[test]
    fn a_path_is_signed_encoded_twice() {
        let url: Url = "https://h/a b/w".parse().unwrap();
        let request = Unsigned {
            method: "POST",
            url: &url,
            host: "h",
            headers: &[],
            body: b"",
        };
        assert!(canonical(&request, &[], "").starts_with("POST\n/a%2520b/w\n\n"));
    }

    #[test]
    fn what_no_header_can_carry_is_an_error() {
        let url: Url = "https://h/".parse().unwrap();
        let request = Unsigned {
            method: "POST",
            url: &url,
            host: "h",
            headers: &[],
            body: b"",
        };
        let keys = Keys {
            region: "r",
            service: "aps",
            access_key: "a",
            secret_key: "s",
            session_token: Some("a\nb"),
        };
        assert!(sign(keys, &request, SystemTime::UNIX_EPOCH, &mut HeaderMap::new()).is_err());
    }
}
