//! The page and a store that answers, refuses, or says nothing. Real stores are asked in the lab's `e2e_page`.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{RawForm, State};
use axum::http::HeaderMap;
use axum::routing::post;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;
use xprober_planner::query::question::Question;
use xprober_planner::query::task::REFRESH;

use crate::support::{LIMIT, Running, http, start};

/// A page takes this long at most, however its store is: the moment that it waits for values, and a busy machine. A page that
/// waited for a silent store would take the 8 s that the store is given.
const PAGE_LIMIT: Duration = Duration::from_secs(7);

/// What a store was asked: the Authorization header and the form.
type Asked = Arc<Mutex<Vec<(String, String)>>>;

/// A store on loopback that knows one pair, and what it was asked.
async fn store() -> (String, Asked) {
    let asked = Asked::default();
    let routes = Router::new()
        .route("/tsdb/api/v1/query", post(answer))
        .with_state(Arc::clone(&asked));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/tsdb/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (url, asked)
}

async fn answer(State(asked): State<Asked>, headers: HeaderMap, RawForm(form): RawForm) -> String {
    let who = headers
        .get("authorization")
        .map(|value| value.to_str().unwrap().to_owned());
    let form = String::from_utf8(form.to_vec()).unwrap();
    let known = form.starts_with("query=region_pair%3Axprober_rtt_seconds%3Ap99_1m")
        || form.starts_with("query=region_pair%3Axprober_loss%3Aratio_1m");
    asked.lock().unwrap().push((who.unwrap_or_default(), form));
    let series = r#"{"metric":{"source_region":"a","target_region":"b","probe":"icmp"},"value":[0,"0.0123"]}"#;
    let series = if known { series } else { "" };
    format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{series}]}}}}"#)
}

/// Reads a page again and again until it shows a text.
async fn page_with(planner: &Running, path: &str, text: &str) -> String {
    let deadline = Instant::now() + LIMIT;
    loop {
        let (_, page) = http(planner.web, "GET", path).await;
        if page.contains(text) {
            return page;
        }
        assert!(Instant::now() < deadline, "{text:?} is not on the page:\n{page}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// What was asked, when no set of questions is under way: while nobody looks, none begins.
async fn whole_sets(asked: &Asked) -> Vec<(String, String)> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let asked = asked.lock().unwrap().clone();
        if asked.len().is_multiple_of(Question::ALL.len()) {
            return asked;
        }
        assert!(Instant::now() < deadline, "{asked:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_hundred_browsers_ask_the_store_once_and_see_its_values() {
    let (url, asked) = store().await;
    let planner = start(&format!(
        "query_url: {url}\nquery_headers: {{Authorization: Bearer sesame}}\n"
    ))
    .await;
    let web = planner.web;
    let began = Instant::now();
    let mut browsers = JoinSet::new();
    for _ in 0..100 {
        browsers.spawn(async move { http(web, "GET", "/").await.0 });
    }
    while let Some(code) = browsers.join_next().await {
        assert_eq!(code.unwrap(), 200);
    }
    page_with(&planner, "/", "12.3 ms").await;
    let asked = whole_sets(&asked).await;
    let elapsed = began.elapsed();
    let sets = u32::try_from(asked.len() / Question::ALL.len()).unwrap();
    assert!(
        REFRESH * (sets - 1) <= elapsed,
        "{sets} sets of questions in {elapsed:?}"
    );
    assert!(
        asked
            .iter()
            .all(|(who, form)| who == "Bearer sesame" && form.contains("nocache=1"))
    );
    let (_, json) = http(planner.web, "GET", "/api/v1/matrix").await;
    assert!(
        json.contains(
            r#""source_region":"a","target_region":"b","state":"unjudged","rtt_p50_seconds":null,"rtt_p99_seconds":0.0123"#
        ),
        "{json}"
    );
    assert!(!json.contains("sesame"));
    planner.end().await;
}

#[tokio::test]
async fn a_store_that_says_nothing_holds_up_neither_page_nor_planner() {
    // Connections are accepted by the kernel and never read.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let planner = start(&format!("query_url: http://{}\n", silent.local_addr().unwrap())).await;
    for path in ["/", "/api/v1/matrix", "/", "/readyz"] {
        let start = Instant::now();
        assert_eq!(http(planner.web, "GET", path).await.0, 200);
        assert!(start.elapsed() < PAGE_LIMIT, "{path} took {:?}", start.elapsed());
    }
    page_with(
        &planner,
        "/",
        "No values since the planner started: </b>no answer within 8 s",
    )
    .await;
    // Also with a question under way the planner ends at once.
    let start = Instant::now();
    planner.end().await;
    assert!(start.elapsed() < PAGE_LIMIT, "the end took {:?}", start.elapsed());
}

#[tokio::test]
async fn a_store_that_is_away_or_no_store_is_named_with_the_reason() {
    // Kept from others, and whoever connects is refused.
    let kept = TcpSocket::new_v4().unwrap();
    kept.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let planner = start(&format!("query_url: http://{}\n", kept.local_addr().unwrap())).await;
    let page = page_with(
        &planner,
        "/",
        "No values since the planner started: </b>the store does not answer",
    )
    .await;
    assert!(page.contains("refused"), "{page}");
    planner.end().await;

    // Another planner's port is no store.
    let other = start("").await;
    let planner = start(&format!("query_url: http://{}\n", other.web)).await;
    page_with(&planner, "/", "(status 404) is not one of Prometheus' API").await;
    planner.end().await;
    other.end().await;
}
