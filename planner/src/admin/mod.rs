//! The HTTP side: `/metrics`, `/healthz`, `/readyz`, `/-/reload`, `/api/v1/plan`, `/api/v1/matrix` and the live page at `/`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::matrix::Facts;
use crate::metrics::Metrics;
use crate::plan::task::{Description, Event, Published};
use crate::query::task::Looker;
use crate::reload::ConfigState;
use crate::reload::task::Request;

mod api;

pub mod listener;

mod page;

use page::{Page, View};

/// How long a page may wait for another task; both answer within milliseconds unless the machine is stuck.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// What the handlers read.
#[derive(Debug, Clone)]
pub struct Admin {
    /// To the owner of the registry.
    pub events: mpsc::Sender<Event>,
    /// The latest plan.
    pub published: watch::Receiver<Published>,
    /// Where the configuration stands.
    pub config: watch::Receiver<ConfigState>,
    /// To the reloader.
    pub reload: mpsc::Sender<Request>,
    /// Measured values.
    pub values: Looker,
    /// The catalogue.
    pub metrics: Arc<Metrics>,
    /// Cancelled when the planner stops.
    pub stop: CancellationToken,
}

type Plain = ([(HeaderName, &'static str); 1], String);

fn plain(text: impl Into<String>) -> Plain {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text.into())
}

/// Builds all routes; another method than the one that is meant answers 405.
pub fn routes(admin: Admin) -> Router {
    let policy: Arc<str> = page::policy().into();
    Router::new()
        .route("/", get(|admin, query| show_page(admin, query, policy)))
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { plain("ok\n") }))
        .route("/readyz", get(ready))
        .route("/-/reload", post(reload))
        .route("/api/v1/plan", get(plan))
        .route("/api/v1/matrix", get(matrix))
        .with_state(admin)
}

async fn metrics(State(admin): State<Admin>) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match admin.metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, plain(format!("{error}\n"))).into_response(),
    }
}

/// Both ports were bound and the settings loaded before the first request could arrive, so only the end is unready.
async fn ready(State(admin): State<Admin>) -> (StatusCode, Plain) {
    if admin.stop.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, plain("stopping\n"));
    }
    (StatusCode::OK, plain("ready\n"))
}

async fn reload(State(admin): State<Admin>) -> (StatusCode, Plain) {
    let (reply, answer) = oneshot::channel();
    let asked = async {
        admin.reload.send(reply).await.ok()?;
        answer.await.ok()
    };
    match timeout(ANSWER_LIMIT, asked).await {
        Ok(Some(Ok(()))) => (StatusCode::OK, plain("reloaded\n")),
        Ok(Some(Err(problems))) => (StatusCode::INTERNAL_SERVER_ERROR, plain(format!("{problems}\n"))),
        Ok(None) => (StatusCode::SERVICE_UNAVAILABLE, plain("stopping\n")),
        Err(_) => (
            StatusCode::GATEWAY_TIMEOUT,
            plain("the file could not be read in time\n"),
        ),
    }
}

async fn plan(State(admin): State<Admin>) -> Response {
    let plan = Arc::clone(&admin.published.borrow().plan);
    json(api::json(&plan))
}

async fn matrix(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Response {
    let Some(members) = members(&admin).await else {
        return stopping();
    };
    let reading = admin.values.look().await;
    let settings = Arc::clone(&admin.published.borrow().settings);
    let now = Instant::now();
    let facts = Facts {
        regions: &page::regions(&members),
        lines: &settings.lines,
        probe: View::read(query.as_deref(), &settings.mesh.probes).probe.as_str(),
        values: reading.values(now).map(AsRef::as_ref),
    };
    json(api::matrix::json(&facts, &reading, now))
}

fn json(written: serde_json::Result<String>) -> Response {
    match written {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, plain(format!("{error}\n"))).into_response(),
    }
}

async fn show_page(State(admin): State<Admin>, RawQuery(query): RawQuery, policy: Arc<str>) -> Response {
    let Some(members) = members(&admin).await else {
        return stopping();
    };
    let reading = admin.values.look().await;
    let published = admin.published.borrow().clone();
    let config = admin.config.borrow().clone();
    let page = page::render(&Page {
        view: View::read(query.as_deref(), &published.settings.mesh.probes),
        members: &members,
        published: &published,
        config: &config,
        reading: &reading,
        now: Instant::now(),
    });
    let headers = [
        (header::CONTENT_SECURITY_POLICY, &*policy),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, Html(page.into_string())).into_response()
}

fn stopping() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, plain("stopping\n")).into_response()
}

async fn members(admin: &Admin) -> Option<Vec<Description>> {
    let (reply, answer) = oneshot::channel();
    let asked = async {
        admin.events.send(Event::Describe(reply)).await.ok()?;
        answer.await.ok()
    };
    timeout(ANSWER_LIMIT, asked).await.ok().flatten()
}
