//! A receiver on loopback that answers by script; for tests.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use xprober_config::agent::{AgentOverrides, AgentSettings, RemoteWrite};
use xprober_proto::remote_write::WriteRequest;

/// A body that is always answered with 500.
pub(crate) const POISON: &[u8] = b"poison";

/// How the receiver answers one request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reply {
    /// A status with further header lines, each ended by CRLF, and a body.
    Status(u16, &'static str, &'static str),
    /// Bytes that are not HTTP.
    Garbage,
    /// Closes the connection without a word.
    Close,
    /// Never answers.
    Hang,
}

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// Header lines in lower case.
    pub(crate) head: String,
    /// The compressed body.
    pub(crate) body: Vec<u8>,
    /// The reply it got.
    pub(crate) reply: Reply,
}

impl Received {
    pub(crate) fn decoded(&self) -> WriteRequest {
        let body = snap::raw::Decoder::new().decompress_vec(&self.body).unwrap();
        WriteRequest::decode(body.as_slice()).unwrap()
    }

    pub(crate) fn accepted(&self) -> bool {
        matches!(self.reply, Reply::Status(200..=299, ..))
    }
}

/// Answers by script, then 204 to everything.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    count: watch::Receiver<usize>,
    server: JoinHandle<()>,
}

impl Receiver {
    pub(crate) async fn start(script: impl IntoIterator<Item = Reply>) -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into(), script).await
    }

    pub(crate) async fn start_at(address: SocketAddr, script: impl IntoIterator<Item = Reply>) -> Self {
        Self::start_on(TcpListener::bind(address).await.unwrap(), script)
    }

    pub(crate) fn start_on(listener: TcpListener, script: impl IntoIterator<Item = Reply>) -> Self {
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let script = Arc::new(Mutex::new(script.into_iter().collect::<VecDeque<_>>()));
        let (counter, count) = watch::channel(0);
        let log = Arc::clone(&received);
        let server = tokio::spawn(async move {
            // The connections end with the server.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (log, script, counter) = (Arc::clone(&log), Arc::clone(&script), counter.clone());
                connections.spawn(async move {
                    serve(stream, &script, |request| {
                        let mut log = log.lock().unwrap();
                        log.push(request);
                        counter.send_replace(log.len());
                    })
                    .await;
                });
            }
        });
        Self {
            address,
            received,
            count,
            server,
        }
    }

    /// Waits until `count` requests came.
    pub(crate) async fn wait_for(&mut self, count: usize) -> Vec<Received> {
        let waited = self.count.wait_for(|seen| *seen >= count);
        tokio::time::timeout(Duration::from_secs(20), waited)
            .await
            .unwrap()
            .unwrap();
        self.requests()
    }

    pub(crate) fn requests(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// Stops and closes every connection.
    pub(crate) async fn stop(self) -> Vec<Received> {
        self.server.abort();
        let _ = self.server.await;
        self.received.lock().unwrap().clone()
    }
}

/// A port where nobody listens, kept from others for as long as the socket lives.
pub(crate) fn closed_port() -> (SocketAddr, TcpSocket) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    (socket.local_addr().unwrap(), socket)
}

/// Settings as a file says them; `keys` come after the URL.
pub(crate) fn remote_write_with(url: &str, keys: &str) -> RemoteWrite {
    let text = format!("remote_write: {{url: '{url}', headers: {{X-Scope-OrgID: tenant}}, {keys}}}");
    let settings = AgentSettings::parse("agent.yml", &text, &AgentOverrides::default());
    settings.unwrap().remote_write.remove(0)
}

pub(crate) fn remote_write(address: SocketAddr) -> RemoteWrite {
    remote_write_with(&format!("http://{address}/api/v1/write"), "")
}

async fn serve(mut stream: TcpStream, script: &Mutex<VecDeque<Reply>>, log: impl Fn(Received)) {
    let mut buffer = Vec::new();
    while let Some((head, body)) = read_request(&mut stream, &mut buffer).await {
        let next = || script.lock().unwrap().pop_front();
        let reply = if body == POISON {
            Reply::Status(500, "", "poisoned")
        } else {
            next().unwrap_or(Reply::Status(204, "", ""))
        };
        // Logged before the answer: who sees the answer finds the request in the log.
        log(Received { head, body, reply });
        let answer = match reply {
            Reply::Status(status, headers, body) => {
                let length = body.len();
                format!("HTTP/1.1 {status} x\r\n{headers}content-length: {length}\r\n\r\n{body}")
            }
            Reply::Garbage => "\u{1}not http\r\n\r\n".to_owned(),
            Reply::Close => return,
            Reply::Hang => std::future::pending().await,
        };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).to_lowercase();
            let length: usize = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .unwrap_or("0")
                .parse()
                .ok()?;
            if buffer.len() >= end + 4 + length {
                let body = buffer[end + 4..end + 4 + length].to_vec();
                buffer.drain(..end + 4 + length);
                return Some((head, body));
            }
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}
