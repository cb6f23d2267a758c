//! A server that answers by a script, over plain TCP or TLS.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{HandshakeKind, ServerConfig};
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// What the server does after it read a request; at the end it closes.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Send(Vec<u8>),
    Wait(Duration),
    Hang,
}

/// Sends `text`.
pub(super) fn send(text: impl AsRef<[u8]>) -> Step {
    Step::Send(text.as_ref().to_vec())
}

/// A whole response with a body of known length.
pub(super) fn respond(status: &str, headers: &str, body: &str) -> Vec<Step> {
    let length = body.len();
    vec![send(format!(
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    ))]
}

pub(super) fn ok() -> Vec<Step> {
    respond("200 OK", "", "hello")
}

type Script = dyn Fn(&str) -> Vec<Step> + Send + Sync;

#[derive(Default)]
struct Seen {
    requests: Mutex<Vec<String>>,
    handshakes: Mutex<Vec<HandshakeKind>>,
    parted: Mutex<Vec<bool>>,
}

/// How connections are taken.
#[derive(Default)]
pub(super) struct Accept {
    /// Connections are refused a place in the queue until this passed; the kernel asks again after one second.
    pub(super) connect_delay: Option<Duration>,
    /// Time between the connection and the handshake.
    pub(super) handshake_delay: Duration,
    pub(super) tls: Option<Arc<ServerConfig>>,
}

/// A running server; dropped, it is gone with all its connections.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    scheme: &'static str,
    seen: Arc<Seen>,
    task: JoinHandle<()>,
    _filler: Option<std::net::TcpStream>,
}

impl Server {
    pub(super) fn http(script: impl Fn(&str) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::start(Accept::default(), script)
    }

    pub(super) fn https(tls: Arc<ServerConfig>, script: impl Fn(&str) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let accept = Accept {
            tls: Some(tls),
            ..Accept::default()
        };
        Self::start(accept, script)
    }

    pub(super) fn start(accept: Accept, script: impl Fn(&str) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        socket
            .listen(if accept.connect_delay.is_some() { 0 } else { 64 })
            .unwrap();
        socket.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(socket.into()).unwrap();
        let address = listener.local_addr().unwrap();
        // A queue of length zero holds one connection.
        let filler = accept
            .connect_delay
            .map(|_| std::net::TcpStream::connect(address).unwrap());
        let seen = Arc::new(Seen::default());
        let scheme = if accept.tls.is_some() { "https" } else { "http" };
        let task = tokio::spawn(serve(listener, accept, Arc::new(script), Arc::clone(&seen)));
        Self {
            address,
            scheme,
            seen,
            task,
            _filler: filler,
        }
    }

    /// URL of `path` under the name `host`.
    pub(super) fn url(&self, host: &str, path: &str) -> String {
        format!("{}://{host}:{}{path}", self.scheme, self.address.port())
    }

    /// Heads of the requests in the order of their arrival.
    pub(super) fn requests(&self) -> Vec<String> {
        self.seen.requests.lock().unwrap().clone()
    }

    pub(super) fn handshakes(&self) -> Vec<HandshakeKind> {
        self.seen.handshakes.lock().unwrap().clone()
    }

    /// Says of each connection that the server closed whether the prober closed it in order.
    pub(super) fn parted(&self) -> Vec<bool> {
        self.seen.parted.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, accept: Accept, script: Arc<Script>, seen: Arc<Seen>) {
    if let Some(delay) = accept.connect_delay {
        tokio::time::sleep(delay).await;
    }
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (script, seen) = (Arc::clone(&script), Arc::clone(&seen));
        connections.spawn(connection(
            stream,
            accept.tls.clone(),
            accept.handshake_delay,
            script,
            seen,
        ));
    }
}

async fn connection(
    stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    handshake_delay: Duration,
    script: Arc<Script>,
    seen: Arc<Seen>,
) {
    let Some(tls) = tls else {
        return answer(stream, script, seen).await;
    };
    tokio::time::sleep(handshake_delay).await;
    if let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await {
        let kind = stream.get_ref().1.handshake_kind().unwrap();
        seen.handshakes.lock().unwrap().push(kind);
        answer(stream, script, seen).await;
    }
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, script: Arc<Script>, seen: Arc<Seen>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    seen.requests.lock().unwrap().push(head.clone());
    for step in script(&head) {
        match step {
            // The prober may have gone away.
            Step::Send(bytes) => {
                if stream.write_all(&bytes).await.is_err() || stream.flush().await.is_err() {
                    return;
                }
            }
            Step::Wait(delay) => tokio::time::sleep(delay).await,
            Step::Hang => std::future::pending().await,
        }
    }
    let _ = stream.shutdown().await;
    let parted = stream.read(&mut [0]).await.is_ok_and(|bytes| bytes == 0);
    seen.parted.lock().unwrap().push(parted);
}

/// A certificate authority of its own.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
}

impl Authority {
    /// Valid until the end of June of the year `until`.
    pub(super) fn new(until: i32) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(until, 6, 30);
        let certificate = params.self_signed(&key).unwrap();
        Self {
            certificate: certificate.der().clone(),
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// Writes the certificate for a prober to trust.
    pub(super) fn write(&self, path: &Path) {
        std::fs::write(path, &self.pem).unwrap();
    }

    /// A server for `name` whose certificate ends with `until`, presented together with the authority's.
    pub(super) fn server(&self, name: &str, until: (i32, u8, u8)) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(until.0, until.1, until.2);
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        let chain = vec![leaf.der().clone(), self.certificate.clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Arc::new(config)
    }
}
