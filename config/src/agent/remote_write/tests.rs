//! Endpoints: one or several, as whom, with which labels.

use super::*;
use crate::agent::{AgentOverrides, AgentSettings};
use crate::{Override, Problems};

fn parse(text: &str, url: Option<&str>) -> Result<Vec<RemoteWrite>, Problems> {
    let overrides = AgentOverrides {
        remote_write_url: url.map(|url| Override {
            value: url.to_owned(),
            origin: "--remote-write.url".to_owned(),
        }),
        ..AgentOverrides::default()
    };
    AgentSettings::parse("agent.yml", text, &overrides).map(|settings| settings.remote_write)
}

fn one(keys: &str) -> RemoteWrite {
    let text = format!("remote_write: {{url: 'http://tsdb/w', {keys}}}");
    parse(&text, None)
        .unwrap_or_else(|problems| panic!("{problems}"))
        .remove(0)
}

fn problem(keys: &str) -> String {
    let text = format!("remote_write: {{url: 'http://tsdb/w', {keys}}}");
    parse(&text, None).unwrap_err().to_string()
}

#[test]
fn one_mapping_is_the_endpoint_called_default() {
    let endpoint = one("");
    assert_eq!(endpoint.name.as_str(), "default");
    assert_eq!(endpoint.protocol, ProtocolChoice::V1);
    assert_eq!(endpoint.histograms, HistogramForm::Classic);
    assert_eq!(endpoint.authentication, Authentication::None);
    assert_eq!(
        (endpoint.out_of_order, endpoint.labels.len(), endpoint.tls),
        (false, 0, Tls::default())
    );
    let bounds = QueueBounds {
        max_bytes: 1 << 30,
        max_age: Duration::from_hours(24),
    };
    assert_eq!(endpoint.queue, bounds);
    assert_eq!(one("name: eu-1").name.as_str(), "eu-1");
}

#[test]
fn a_list_keeps_its_order_and_each_item_its_own_keys() {
    let text = "remote_write:\n\
                - {name: b, url: 'http://b/w', protocol: auto, histograms: both, out_of_order: true, labels: {dc: fra}}\n\
                - {name: a, url: 'https://a/w', protocol: zstd, tls: {server_name: tsdb.example.com}}\n";
    let endpoints = parse(text, None).unwrap();
    let names: Vec<&str> = endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect();
    assert_eq!(names, ["b", "a"]);
    let protocols: Vec<_> = endpoints.iter().map(|endpoint| endpoint.protocol).collect();
    assert_eq!(protocols, [ProtocolChoice::Auto, ProtocolChoice::Zstd]);
    assert_eq!(endpoints[0].labels, [("dc".to_owned(), "fra".to_owned())].into());
    assert!(endpoints[0].out_of_order && endpoints[0].histograms == HistogramForm::Both);
    assert_eq!(endpoints[1].tls.server_name.as_deref(), Some("tsdb.example.com"));
}

#[test]
fn problems_of_a_list_name_the_item() {
    let text = "remote_write:\n- {name: a, url: 'http://a/w'}\n- {name: a, url: 'http://b/w'}\n- {url: 'http://c/w'}\n- {name: ../d}\n-\n";
    insta::assert_snapshot!(parse(text, None).unwrap_err());
    let empty = parse("remote_write: []", None).unwrap_err().to_string();
    assert!(
        empty.starts_with("agent.yml:1: remote_write: is an empty list: say where samples go"),
        "{empty}"
    );
}

#[test]
fn the_flag_is_for_the_only_endpoint_or_the_one_called_default() {
    let flag = Some("http://flag/w");
    let urls = |text: &str| {
        let endpoints = parse(text, flag)?;
        Ok::<_, Problems>(
            endpoints
                .into_iter()
                .map(|endpoint| endpoint.url.to_string())
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(urls("").unwrap(), ["http://flag/w"]);
    assert_eq!(urls("remote_write: {url: 'http://file/w'}").unwrap(), ["http://flag/w"]);
    assert_eq!(
        urls("remote_write: [{name: a, url: 'http://a/w'}]").unwrap(),
        ["http://flag/w"]
    );
    let list = "remote_write: [{name: a, url: 'http://a/w'}, {name: default, url: 'http://b/w'}]";
    assert_eq!(urls(list).unwrap(), ["http://a/w", "http://flag/w"]);
    let told = urls("remote_write: [{name: a, url: 'http://a/w'}, {name: b, url: 'http://b/w'}]").unwrap_err();
    assert_eq!(
        told.to_string(),
        "agent.yml: --remote-write.url: names the URL of one endpoint, and remote_write lists several: call one of them \
         default, or leave it out"
    );
}

#[test]
fn every_way_to_authenticate_keeps_its_secrets_to_itself() {
    let inline = |text: &str| Credential::Inline(crate::secret::Secret::new(text));
    let endpoints = [
        one("basic_auth: {username: u, password: sesame}"),
        one("authorization: {credentials: sesame}"),
        one("authorization: {type: Token, credentials_file: /token}"),
        one("sigv4: {region: eu-central-1, access_key: AKID, secret_key: sesame, session_token_file: /session}"),
        one("headers: {Authorization: Bearer sesame}"),
    ];
    let expected = [
        Authentication::Basic {
            username: "u".to_owned(),
            password: inline("sesame"),
        },
        Authentication::Header {
            scheme: "Bearer".to_owned(),
            credentials: inline("sesame"),
        },
        Authentication::Header {
            scheme: "Token".to_owned(),
            credentials: Credential::File("/token".into()),
        },
        Authentication::SigV4(SigV4 {
            region: "eu-central-1".to_owned(),
            service: "aps".to_owned(),
            access_key: "AKID".to_owned(),
            secret_key: inline("sesame"),
            session_token: Some(Credential::File("/session".into())),
        }),
        Authentication::None,
    ];
    for (endpoint, expected) in endpoints.into_iter().zip(expected) {
        assert_eq!(endpoint.authentication, expected);
        assert!(!format!("{endpoint:?}").contains("sesame"), "{endpoint:?}");
    }
}

#[test]
fn headers_that_someone_else_sets_are_refused() {
    for (name, keys) in [
        ("Content-Encoding", ""),
        ("content-type", ""),
        ("X-Prometheus-Remote-Write-Version", ""),
        ("User-Agent", ""),
        ("Retry-Attempt", ""),
        ("Host", ""),
        ("Transfer-Encoding", ""),
        ("Authorization", ", basic_auth: {username: u, password: p}"),
        ("Authorization", ", authorization: {credentials: c}"),
        ("Authorization", ", sigv4: {region: r, access_key: a, secret_key: s}"),
        ("X-Amz-Date", ", sigv4: {region: r, access_key: a, secret_key: s}"),
    ] {
        let told = problem(&format!("headers: {{{name}: x}}{keys}"));
        let expected = format!("agent.yml:1: remote_write.headers.{name}: cannot be set: ");
        assert!(told.starts_with(&expected) && told.lines().count() == 1, "{told}");
    }
    assert_eq!(one("headers: {Authorization: x, X-Amz-Date: y}").headers.len(), 2);
}

#[test]
fn extra_labels_are_none_of_our_own() {
    for name in OWN_LABELS {
        assert!(
            problem(&format!("labels: {{{name}: x}}")).contains("own series carry"),
            "{name}"
        );
    }
    for name in ["Dc", "_dc", "__name__", "d-c", "1dc"] {
        assert!(
            problem(&format!("labels: {{{name}: x}}")).contains("not the name of an extra label"),
            "{name}"
        );
    }
    let many: Vec<String> = (0..17).map(|number| format!("l{number}: x")).collect();
    assert!(problem(&format!("labels: {{{}}}", many.join(", "))).contains("are 17: use at most 16"));
    assert_eq!(one("labels: {dc: 'fra 1'}").labels["dc"], "fra 1");
}
