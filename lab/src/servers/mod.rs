//! Servers that hosts need around them, running in this process but listening inside the hosts' namespaces.
//!
//! [`edge`] joins what every host has ([`metadata`], [`dns`]); [`http`] are the targets that agents fetch, [`sink`] records
//! what Alertmanager sends, [`receiver`] plays a bad remote-write endpoint.

pub mod edge;

pub mod metadata;

pub mod dns;

pub mod http;

pub mod certificates;

pub mod sink;

pub mod receiver;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::error::LabError;
use crate::namespace::Namespace;

/// The body type of all servers here.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The tasks of one server; they end when it is stopped or dropped.
#[derive(Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Tasks {
    /// Runs a task until it ends or the server is stopped.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        spawn_on(&self.tracker, &self.stop, task);
    }

    /// Makes a handle with which a task of the server can start more of them.
    #[must_use]
    pub fn spawner(&self) -> Spawner {
        Spawner {
            tracker: self.tracker.clone(),
            stop: self.stop.clone(),
        }
    }

    /// Ends all tasks and waits until they are gone.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// Starts tasks that belong to a server.
#[derive(Debug, Clone)]
pub struct Spawner {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Spawner {
    /// Runs a task until it ends or the server is stopped.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        spawn_on(&self.tracker, &self.stop, task);
    }
}

fn spawn_on(tracker: &TaskTracker, stop: &CancellationToken, task: impl Future<Output = ()> + Send + 'static) {
    let stop = stop.clone();
    tracker.spawn(async move {
        stop.run_until_cancelled(task).await;
    });
}

/// Listens for TCP connections inside a namespace; port 0 lets the kernel choose.
///
/// # Errors
/// [`LabError::Io`] when the address cannot be bound. Needs a running tokio runtime.
pub fn listen(namespace: &Namespace, address: SocketAddr) -> Result<TcpListener, LabError> {
    let doing = || LabError::io(format!("listening on {address}"));
    let listener = namespace
        .run(|| std::net::TcpListener::bind(address))?
        .map_err(doing())?;
    listener.set_nonblocking(true).map_err(doing())?;
    TcpListener::from_std(listener).map_err(doing())
}

/// Serves HTTP/1.1 on one connection until it is closed.
pub async fn serve_connection<F>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    keep_alive: bool,
    handler: impl Fn(Request<Incoming>) -> F,
) where
    F: Future<Output = Option<Response<Body>>>,
{
    let service = service_fn(|request| {
        let answer = handler(request);
        async {
            answer
                .await
                .ok_or_else(|| std::io::Error::other("connection is dropped without an answer"))
        }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server.keep_alive(keep_alive);
    if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
        debug!(%error, "connection ended");
    }
}

/// Accepts connections for ever and serves HTTP/1.1 on each; a handler that answers nothing closes the connection.
pub fn serve_http<F>(
    tasks: &Tasks,
    listener: TcpListener,
    handler: impl Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
) where
    F: Future<Output = Option<Response<Body>>> + Send + 'static,
{
    let spawner = tasks.spawner();
    tasks.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let handler = handler.clone();
            spawner.spawn(async move { serve_connection(stream, true, handler).await });
        }
    });
}

/// Makes an answer of a status and a text.
#[must_use]
pub fn answer(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(text.into()).boxed_unsync());
    *response.status_mut() = status;
    response
}
