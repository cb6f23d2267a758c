//! Where a redirect leads and with which request (RFC 9110 section 15.4).

use ::http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, PROXY_AUTHORIZATION};
use ::http::{HeaderName, HeaderValue, Method, StatusCode};
use url::Url;
use xprober_proto::HttpSpec;

/// Most redirects of one probe; browsers allow 20, curl 50, Go's client 10.
pub const MAX_REDIRECTS: u32 = 10;

/// One request of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// Absolute http or https URL with a host.
    pub url: Url,
    /// Request method.
    pub method: Method,
    /// Configured request headers that this hop may still carry.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// What follows a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing: this response is the answer.
    Answer,
    /// Another request.
    Follow(Hop),
    /// A redirect without a usable `Location`.
    Nowhere,
}

impl Hop {
    /// The request as configured.
    #[must_use]
    pub fn first(spec: &HttpSpec) -> Self {
        Self {
            url: spec.url.clone(),
            method: spec.method.clone(),
            headers: spec.headers.clone(),
        }
    }

    /// Says what follows a response with `status` and `location` to this request.
    ///
    /// A status that `spec` lists as success is the answer, even if it is a redirect. 303 turns every method but HEAD
    /// into GET, 301 and 302 turn POST into GET, 307 and 308 keep the method. A change of origin (scheme, host or port)
    /// drops credentials and a configured `Host`, for good.
    #[must_use]
    pub fn next(&self, spec: &HttpSpec, status: StatusCode, location: Option<&HeaderValue>) -> Next {
        if spec.accepts(status) || !is_redirect(status) {
            return Next::Answer;
        }
        let Some(url) = location.and_then(|location| self.resolve(location)) else {
            return Next::Nowhere;
        };
        let method = method_after(status, &self.method);
        let same_origin = url.origin() == self.url.origin();
        let same_method = method == self.method;
        let headers = self
            .headers
            .iter()
            .filter(|(name, _)| same_origin || ![AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, HOST].contains(name))
            .filter(|(name, _)| same_method || *name != CONTENT_TYPE)
            .cloned()
            .collect();
        Next::Follow(Self { url, method, headers })
    }

    /// Resolves `location` against this request's URL; `None` when it is not an http or https URL with a host.
    fn resolve(&self, location: &HeaderValue) -> Option<Url> {
        let location = std::str::from_utf8(location.as_bytes()).ok()?;
        let url = self.url.join(location).ok()?;
        (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(url)
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn method_after(status: StatusCode, method: &Method) -> Method {
    let rewritten = match status.as_u16() {
        301 | 302 => *method == Method::POST,
        303 => *method != Method::HEAD,
        _ => false,
    };
    if rewritten { Method::GET } else { method.clone() }
}

#[cfg(test)]
mod tests {
    use xprober_proto::StatusRange;

    use super::*;

    fn spec(method: Method) -> HttpSpec {
        let mut spec = HttpSpec::get(Url::parse("https://a.test/dir/page?q=1").unwrap());
        spec.method = method;
        spec.headers = [
            ("authorization", "secret"),
            ("cookie", "c=1"),
            ("host", "virtual.test"),
            ("content-type", "text/plain"),
            ("x-tenant", "t"),
        ]
        .into_iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
        spec
    }

    fn follow(method: Method, status: u16, location: &'static str) -> Next {
        let spec = spec(method);
        let status = StatusCode::from_u16(status).unwrap();
        Hop::first(&spec).next(&spec, status, Some(&HeaderValue::from_static(location)))
    }

    fn followed(method: Method, status: u16, location: &'static str) -> Hop {
        match follow(method, status, location) {
            Next::Follow(hop) => hop,
            other @ (Next::Answer | Next::Nowhere) => panic!("{status} to {location:?}: {other:?}"),
        }
    }

    #[test]
    fn methods_are_rewritten_as_in_rfc_9110() {
        for (status, before, after) in [
            (301, Method::GET, Method::GET),
            (301, Method::POST, Method::GET),
            (302, Method::POST, Method::GET),
            (302, Method::PUT, Method::PUT),
            (303, Method::PUT, Method::GET),
            (303, Method::HEAD, Method::HEAD),
            (307, Method::POST, Method::POST),
            (308, Method::POST, Method::POST),
        ] {
            assert_eq!(
                followed(before.clone(), status, "/").method,
                after,
                "{before} after {status}"
            );
        }
    }

    #[test]
    fn locations_are_resolved_against_the_request() {
        for (location, url) in [
            ("/x", "https://a.test/x"),
            ("x?y=2", "https://a.test/dir/x?y=2"),
            ("//b.test/x", "https://b.test/x"),
            ("http://b.test", "http://b.test/"),
        ] {
            assert_eq!(followed(Method::GET, 302, location).url.as_str(), url, "{location:?}");
        }
    }

    #[test]
    fn locations_outside_http_lead_nowhere() {
        for location in [
            "ftp://a.test/",
            "mailto:a@b.test",
            "http://",
            "https://[::1",
            "file:///etc/passwd",
        ] {
            assert_eq!(follow(Method::GET, 302, location), Next::Nowhere, "{location:?}");
        }
        let spec = spec(Method::GET);
        let hop = Hop::first(&spec);
        assert_eq!(hop.next(&spec, StatusCode::FOUND, None), Next::Nowhere);
        let garbage = HeaderValue::from_bytes(b"/\xff").unwrap();
        assert_eq!(hop.next(&spec, StatusCode::FOUND, Some(&garbage)), Next::Nowhere);
    }

    #[test]
    fn credentials_stay_within_their_origin() {
        let names = |hop: &Hop| -> Vec<String> { hop.headers.iter().map(|(name, _)| name.to_string()).collect() };
        for (location, kept) in [
            ("/x", true),
            ("https://a.test:443/x", true),
            ("https://b.test/", false),
            ("https://a.test:444/", false),
            ("http://a.test/", false),
        ] {
            let hop = followed(Method::GET, 307, location);
            let expected: &[&str] = if kept {
                &["authorization", "cookie", "host", "content-type", "x-tenant"]
            } else {
                &["content-type", "x-tenant"]
            };
            assert_eq!(names(&hop), expected, "{location:?}");
        }
        let rewritten = followed(Method::POST, 303, "/x");
        assert!(!names(&rewritten).contains(&"content-type".to_owned()));
    }

    #[test]
    fn statuses_that_are_no_redirect_or_expected_are_answers() {
        for status in [200, 204, 300, 304, 305, 404, 500] {
            assert_eq!(follow(Method::GET, status, "/x"), Next::Answer, "{status}");
        }
        let mut spec = spec(Method::GET);
        spec.expect_status = StatusRange::new(300, 399).into_iter().collect();
        let location = HeaderValue::from_static("/x");
        assert_eq!(
            Hop::first(&spec).next(&spec, StatusCode::FOUND, Some(&location)),
            Next::Answer
        );
    }
}
