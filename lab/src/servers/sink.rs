//! A webhook that records what Alertmanager sends.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::{HeaderMap, Method, StatusCode};
use serde_json::Value;
use tokio::sync::watch;

use super::{Tasks, answer, listen, serve_http};
use crate::error::LabError;
use crate::namespace::Namespace;

/// One notification.
#[derive(Debug, Clone)]
pub struct Notification {
    /// When it came, monotonic.
    pub at: Instant,
    /// The request's method.
    pub method: Method,
    /// Path that was posted to.
    pub path: String,
    /// What followed the path after a question mark, empty when nothing did.
    pub query: String,
    /// The request's headers.
    pub headers: HeaderMap,
    /// The body, byte for byte.
    pub bytes: Bytes,
    /// The body; a JSON string when it was no JSON.
    pub body: Value,
}

impl Notification {
    /// The alerts in Alertmanager's webhook format: the elements of `alerts`.
    pub fn alerts(&self) -> impl Iterator<Item = &Value> {
        self.body.get("alerts").and_then(Value::as_array).into_iter().flatten()
    }
}

/// A running webhook.
#[derive(Debug)]
pub struct Sink {
    received: watch::Receiver<Vec<Arc<Notification>>>,
    address: SocketAddr,
    tasks: Tasks,
}

impl Sink {
    /// Starts a webhook on the namespace's loopback; port 0 lets the kernel choose.
    ///
    /// # Errors
    /// [`LabError::Io`] when no port can be opened.
    pub fn start(namespace: &Namespace, port: u16) -> Result<Self, LabError> {
        let listener = listen(namespace, SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        let address = listener
            .local_addr()
            .map_err(LabError::io("reading the webhook's address"))?;
        let (sender, received) = watch::channel(Vec::new());
        let tasks = Tasks::default();
        serve_http(&tasks, listener, move |request| {
            let sender = sender.clone();
            async move {
                let (head, body) = request.into_parts();
                let bytes = body.collect().await.ok()?.to_bytes();
                let body = serde_json::from_slice(&bytes)
                    .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
                let notification = Notification {
                    at: Instant::now(),
                    method: head.method,
                    path: head.uri.path().to_owned(),
                    query: head.uri.query().unwrap_or_default().to_owned(),
                    headers: head.headers,
                    bytes,
                    body,
                };
                sender.send_modify(|all: &mut Vec<_>| all.push(Arc::new(notification)));
                Some(answer(StatusCode::OK, ""))
            }
        });
        Ok(Self {
            received,
            address,
            tasks,
        })
    }

    /// URL to write into a webhook receiver's configuration.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Everything received so far, in order of arrival.
    #[must_use]
    pub fn received(&self) -> Vec<Arc<Notification>> {
        self.received.borrow().clone()
    }

    /// Waits for the first notification, old or new, for which the question is answered with yes.
    ///
    /// # Errors
    /// [`LabError::Timeout`].
    pub async fn wait_for(
        &self,
        limit: Duration,
        wanted: impl Fn(&Notification) -> bool,
    ) -> Result<Arc<Notification>, LabError> {
        let find = |all: &[Arc<Notification>]| all.iter().find(|one| wanted(one)).cloned();
        let mut received = self.received.clone();
        let search = tokio::time::timeout(limit, received.wait_for(|all| find(all).is_some())).await;
        let found = search.ok().and_then(|all| all.ok().and_then(|all| find(&all)));
        found.ok_or_else(|| LabError::Timeout {
            what: "the wanted notification".to_owned(),
            limit,
            detail: format!("; {} others came", self.received.borrow().len()),
        })
    }

    /// Ends the webhook.
    pub async fn stop(&self) {
        self.tasks.stop().await;
    }
}
