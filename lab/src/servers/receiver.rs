//! A remote-write endpoint that misbehaves on request and records what it was sent.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Request, Response, StatusCode, body::Incoming};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tracing::debug;

use super::{Body, Tasks, answer, listen, serve_connection};
use crate::error::LabError;
use crate::namespace::Namespace;

/// What the endpoint does with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Answers with a status, headers (e.g. `Retry-After`) and a body.
    Status {
        /// The status code.
        code: u16,
        /// Header names and values.
        headers: Vec<(String, String)>,
        /// The body.
        body: String,
    },
    /// Writes bytes that are not HTTP and closes the connection.
    Garbage,
    /// Reads the request and closes the connection without an answer.
    Close,
    /// Answers with 204 after a time.
    Late(Duration),
}

impl Answer {
    /// A bare status.
    #[must_use]
    pub fn status(code: u16) -> Self {
        Self::Status {
            code,
            headers: Vec::new(),
            body: String::new(),
        }
    }

    /// A status with `Retry-After: <seconds>`.
    #[must_use]
    pub fn retry_after(code: u16, seconds: u32) -> Self {
        Self::Status {
            code,
            headers: vec![("retry-after".to_owned(), seconds.to_string())],
            body: String::new(),
        }
    }
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// When its body was complete.
    pub at: Instant,
    /// Method and path.
    pub line: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, undecoded.
    pub body: Bytes,
    /// What was answered.
    pub answer: Answer,
}

/// A running endpoint.
#[derive(Debug)]
pub struct Receiver {
    answer: watch::Sender<Answer>,
    recorded: watch::Receiver<Vec<Arc<Recorded>>>,
    address: SocketAddr,
    tasks: Tasks,
}

impl Receiver {
    /// Starts an endpoint inside a namespace on a port that the kernel chooses; it answers 204 until told otherwise.
    ///
    /// # Errors
    /// [`LabError::Io`] when no port can be opened.
    pub fn start(namespace: &Namespace) -> Result<Self, LabError> {
        Self::start_at(namespace, 0)
    }

    /// Starts an endpoint on a port, e.g. that of one which was stopped; 0 lets the kernel choose.
    ///
    /// # Errors
    /// [`LabError::Io`] when the port cannot be opened.
    pub fn start_at(namespace: &Namespace, port: u16) -> Result<Self, LabError> {
        let listener = listen(namespace, SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))?;
        let address = listener
            .local_addr()
            .map_err(LabError::io("reading the receiver's address"))?;
        let (answer, answers) = watch::channel(Answer::status(204));
        let (records, recorded) = watch::channel(Vec::new());
        let tasks = Tasks::default();
        let spawner = tasks.spawner();
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                spawner.spawn(serve(stream, answers.clone(), records.clone()));
            }
        });
        Ok(Self {
            answer,
            recorded,
            address,
            tasks,
        })
    }

    /// Port on which it listens, on all of its host's addresses.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Changes the answer, from the next request on (each request is a connection of its own).
    pub fn set(&self, answer: Answer) {
        self.answer.send_replace(answer);
    }

    /// All requests so far.
    #[must_use]
    pub fn recorded(&self) -> Vec<Arc<Recorded>> {
        self.recorded.borrow().clone()
    }

    /// Waits until that many requests have come.
    ///
    /// # Errors
    /// [`LabError::Timeout`].
    pub async fn wait_for(&self, count: usize, limit: Duration) -> Result<Vec<Arc<Recorded>>, LabError> {
        let mut recorded = self.recorded.clone();
        match tokio::time::timeout(limit, recorded.wait_for(|all| all.len() >= count)).await {
            Ok(Ok(all)) => Ok(all.clone()),
            Ok(Err(_)) | Err(_) => Err(LabError::Timeout {
                what: format!("request number {count}"),
                limit,
                detail: format!("; {} came", self.recorded.borrow().len()),
            }),
        }
    }

    /// Ends the endpoint.
    pub async fn stop(&self) {
        self.tasks.stop().await;
    }
}

async fn serve(mut stream: TcpStream, answers: watch::Receiver<Answer>, records: watch::Sender<Vec<Arc<Recorded>>>) {
    let wants_garbage = *answers.borrow() == Answer::Garbage;
    if wants_garbage {
        if let Err(error) = write_garbage(&mut stream).await {
            debug!(%error, "garbage was not sent");
        }
        return;
    }
    let handler = |request| respond(request, answers.borrow().clone(), records.clone());
    serve_connection(stream, false, handler).await;
}

/// Reads a little first: closing with unread bytes would reset the connection before the garbage is seen.
async fn write_garbage(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut request = vec![0; 65_536];
    let _any_amount_will_do = stream.read(&mut request).await?;
    stream.write_all(b"\x00\xff this is not HTTP\r\n\r\n").await?;
    stream.shutdown().await
}

async fn respond(
    request: Request<Incoming>,
    wanted: Answer,
    records: watch::Sender<Vec<Arc<Recorded>>>,
) -> Option<Response<Body>> {
    let line = format!("{} {}", request.method(), request.uri());
    let headers = request.headers().clone();
    let body = request.into_body().collect().await.ok()?.to_bytes();
    let record = Arc::new(Recorded {
        at: Instant::now(),
        line,
        headers,
        body,
        answer: wanted.clone(),
    });
    records.send_modify(|all| all.push(record));
    match wanted {
        Answer::Status { code, headers, body } => {
            let mut response = answer(StatusCode::from_u16(code).unwrap_or(StatusCode::IM_A_TEAPOT), body);
            for (name, value) in headers {
                if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                    response.headers_mut().append(name, value);
                }
            }
            Some(response)
        }
        Answer::Garbage | Answer::Close => None,
        Answer::Late(delay) => {
            tokio::time::sleep(delay).await;
            Some(answer(StatusCode::NO_CONTENT, ""))
        }
    }
}
