//! HTTP and HTTPS targets whose every stage can be slowed alone.
//!
//! ```text
//!  resolve (dns)   connect (wan: set_syn_delay)   tls              processing           transfer
//!                                                 ClientHello..    request..headers     first half..second half
//! ```
//! Besides what [`Behaviour`] says, `/redirect/N` redirects N times and `/status/N` answers with that status.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use hyper::header::{CONTENT_LENGTH, HeaderValue, LOCATION};
use hyper::{Response, StatusCode};
use rustls::ServerConfig;
use rustls::server::Acceptor;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::LazyConfigAcceptor;
use tracing::debug;

use super::{Body, Tasks, answer, listen, serve_connection};
use crate::error::LabError;
use crate::namespace::Namespace;

/// What a target does with the next request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behaviour {
    /// Time between the client's hello and the server's.
    pub tls_delay: Duration,
    /// Time between the request and the answer's headers.
    pub processing_delay: Duration,
    /// Time between the first and the second half of the body.
    pub transfer_delay: Duration,
    /// Status of the answer.
    pub status: u16,
    /// Length of the body.
    pub body_bytes: usize,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            tls_delay: Duration::ZERO,
            processing_delay: Duration::ZERO,
            transfer_delay: Duration::ZERO,
            status: 200,
            body_bytes: 1_000,
        }
    }
}

/// A running HTTP or HTTPS target.
#[derive(Debug)]
pub struct HttpTarget {
    behaviour: watch::Sender<Behaviour>,
    address: SocketAddr,
    tasks: Tasks,
}

impl HttpTarget {
    /// Starts a target inside a namespace, with TLS if its settings are given; port 0 lets the kernel choose.
    ///
    /// # Errors
    /// [`LabError::Io`] when the address cannot be bound.
    pub fn start(
        namespace: &Namespace,
        address: SocketAddr,
        tls: Option<Arc<ServerConfig>>,
        behaviour: Behaviour,
    ) -> Result<Self, LabError> {
        let listener = listen(namespace, address)?;
        let address = listener
            .local_addr()
            .map_err(LabError::io("reading a target's address"))?;
        let (sender, receiver) = watch::channel(behaviour);
        let tasks = Tasks::default();
        let spawner = tasks.spawner();
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // The headers must not wait for the body, nor the first half for the second.
                if let Err(error) = stream.set_nodelay(true) {
                    debug!(%error, "target keeps small writes back");
                }
                spawner.spawn(serve(stream, tls.clone(), receiver.clone()));
            }
        });
        Ok(Self {
            behaviour: sender,
            address,
            tasks,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what it does, from the next connection or request on.
    pub fn change(&self, change: impl FnOnce(&mut Behaviour)) {
        self.behaviour.send_modify(change);
    }

    /// Ends the target.
    pub async fn stop(&self) {
        self.tasks.stop().await;
    }
}

async fn serve(stream: TcpStream, tls: Option<Arc<ServerConfig>>, behaviour: watch::Receiver<Behaviour>) {
    let handler = |request: hyper::Request<_>| {
        let answer = respond(request.uri().path().to_owned(), behaviour.borrow().clone());
        async { Some(answer.await) }
    };
    let Some(config) = tls else {
        return serve_connection(stream, true, handler).await;
    };
    let hello = match LazyConfigAcceptor::new(Acceptor::default(), stream).await {
        Ok(hello) => hello,
        Err(error) => return debug!(%error, "no TLS hello came"),
    };
    let delay = behaviour.borrow().tls_delay;
    tokio::time::sleep(delay).await;
    match hello.into_stream(config).await {
        Ok(stream) => serve_connection(stream, true, handler).await,
        Err(error) => debug!(%error, "TLS handshake failed"),
    }
}

async fn respond(path: String, behaviour: Behaviour) -> Response<Body> {
    tokio::time::sleep(behaviour.processing_delay).await;
    let number_after = |prefix| path.strip_prefix(prefix)?.parse::<u16>().ok();
    if let Some(left) = number_after("/redirect/") {
        let location = if left <= 1 {
            "/".to_owned()
        } else {
            format!("/redirect/{}", left - 1)
        };
        return redirect(&location);
    }
    let status = number_after("/status/").unwrap_or(behaviour.status);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = Response::new(halves(behaviour.body_bytes, behaviour.transfer_delay));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_LENGTH, HeaderValue::from(behaviour.body_bytes));
    response
}

fn redirect(location: &str) -> Response<Body> {
    let mut response = answer(StatusCode::FOUND, "");
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// A body in two halves with a pause between them; the server flushes the first before it waits for the second.
fn halves(length: usize, pause: Duration) -> Body {
    let (first, second) = (length / 2, length - length / 2);
    let parts = stream::unfold(0, move |part| async move {
        let bytes = match part {
            0 => first,
            1 => {
                tokio::time::sleep(pause).await;
                second
            }
            _ => return None,
        };
        Some((
            Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b'x'; bytes]))),
            part + 1,
        ))
    });
    StreamBody::new(parts).boxed_unsync()
}
