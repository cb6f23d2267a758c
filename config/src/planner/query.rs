//! `query_url` and `query_headers`: where the planner's page reads measured values.

use http::{HeaderName, HeaderValue};
use url::Url;

use crate::headers;
use crate::reader::Mapping;
use crate::value::{self, InvalidValue, Parsed};

/// Headers that the request or its connection fixes.
const FIXED_HEADERS: [&str; 11] = [
    "accept",
    "accept-encoding",
    "connection",
    "content-length",
    "content-type",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// Where the planner's page reads measured values, and as whom.
#[derive(Debug, Clone, PartialEq)]
pub struct QuerySettings {
    /// Base URL of Prometheus or `VictoriaMetrics`; the paths of the API come behind it.
    pub url: Url,
    /// Extra request headers, such as `Authorization` or `X-Scope-OrgID`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// Reads both keys; `None` without a URL.
pub(super) fn read(file: &mut Mapping<'_>) -> Option<QuerySettings> {
    let url_field = file.take("query_url");
    let headers_field = file.take("query_headers");
    let url = url_field.read(base_url);
    if headers_field.is_given() && !url_field.is_given() {
        headers_field.problem("belongs to query_url, which is missing: set that, as in http://prometheus:9090");
    }
    let headers = headers::read(headers_field, |name| {
        FIXED_HEADERS
            .contains(&name)
            .then_some("the request or its connection fixes it")
    });
    Some(QuerySettings { url: url?, headers })
}

/// Parses a URL behind which paths can be put.
fn base_url(text: &str) -> Parsed<Url> {
    let url = value::http_url(text)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(InvalidValue::new(
            "has a query or fragment: use the base URL alone, as in http://prometheus:9090",
        ));
    }
    if url.path().trim_end_matches('/').ends_with("/api/v1") || url.path().ends_with("/write") {
        return Err(InvalidValue::new(
            "names a path of the API: use the base URL alone, as in http://prometheus:9090",
        ));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planner::PlannerSettings;

    #[test]
    fn a_base_url_may_have_a_path_and_nothing_behind_it() {
        for text in [
            "http://prometheus:9090",
            "https://mimir.example.com/prometheus/",
            "http://[::1]:8428",
        ] {
            assert!(base_url(text).is_ok(), "{text}");
        }
        for text in [
            "prometheus:9090",
            "http://user:sesame@prometheus:9090",
            "http://prometheus:9090/?a=b",
            "http://prometheus:9090/#graph",
            "http://prometheus:9090/api/v1",
            "http://prometheus:9090/api/v1/write",
            "",
        ] {
            assert!(base_url(text).is_err(), "{text:?} passed");
        }
    }

    #[test]
    fn headers_go_with_the_url_and_are_never_shown() {
        let text =
            "query_url: http://prometheus:9090\nquery_headers: {Authorization: Bearer sesame, X-Scope-OrgID: net}";
        let settings = PlannerSettings::parse("planner.yml", text).unwrap();
        let query = settings.query.clone().unwrap();
        let names: Vec<_> = query.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["authorization", "x-scope-orgid"]);
        assert!(!format!("{settings:?}").contains("sesame"));
    }

    #[test]
    fn headers_without_a_url_and_headers_of_the_connection_are_refused() {
        for (text, complaint) in [
            (
                "query_headers: {X-Scope-OrgID: net}",
                "planner.yml:1: query_headers: belongs to query_url, which is missing",
            ),
            (
                "query_url: http://p:9090\nquery_headers: {Host: a}",
                "planner.yml:2: query_headers.Host: cannot be set",
            ),
        ] {
            let problems = PlannerSettings::parse("planner.yml", text).unwrap_err().to_string();
            assert!(problems.starts_with(complaint), "{problems}");
        }
    }
}
