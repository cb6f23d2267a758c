//! The proxy: one listener, one task for each connection.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::debug;

use super::attempts::{Begun, Ending};
use super::book::Book;
use super::open::{Count, Open};
use super::{Account, Disturbance, Fault};
use crate::error::LabError;
use crate::fetch::{self, Fetched};
use crate::namespace::Namespace;
use crate::remote_write::Spelling;
use crate::remote_write::message::WriteRequest;
use crate::servers::{Body, Spawner, Tasks, answer, listen, serve_connection};
use crate::wan::random::Random;

/// Time for the receiver to answer.
const FORWARD_LIMIT: Duration = Duration::from_secs(10);
/// Time for everything to end once the port is to be closed: longer than the receiver has for its last answer.
const CLOSE_LIMIT: Duration = Duration::from_secs(15);
/// Senders give up a request after that time; those of more patience are judged more kindly.
pub const SENDER_TIMEOUT: Duration = Duration::from_secs(2);

/// A running judge.
#[derive(Debug)]
pub struct Judge {
    state: Arc<State>,
    disturb: watch::Sender<Option<Disturbance>>,
    tasks: Tasks,
    port: u16,
}

#[derive(Debug)]
struct State {
    receiver: String,
    account: watch::Sender<Account>,
    disturbance: watch::Receiver<Option<Disturbance>>,
    open: Count,
    senders: Mutex<BTreeMap<IpAddr, Sender>>,
    seed: u64,
    drawn: AtomicU64,
    spawner: Spawner,
}

/// What is open of one sender.
#[derive(Debug, Default, Clone)]
struct Sender {
    connections: Count,
    /// Requests that are passed on although it gave them up.
    abandoned: Count,
}

impl Judge {
    /// Starts a judge on a port of a namespace in front of a receiver with that base URL; the seed decides which requests
    /// a disturbance hits.
    ///
    /// # Errors
    /// [`LabError::Io`] when the port cannot be opened.
    pub fn start(namespace: &Namespace, port: u16, receiver: &str, seed: u64) -> Result<Self, LabError> {
        let listener = listen(namespace, SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))?;
        let port = listener
            .local_addr()
            .map_err(LabError::io("reading the judge's address"))?
            .port();
        let (disturb, disturbance) = watch::channel(None);
        let tasks = Tasks::default();
        let state = Arc::new(State {
            receiver: receiver.to_owned(),
            account: watch::Sender::new(Account::default()),
            disturbance,
            open: Count::default(),
            senders: Mutex::default(),
            seed,
            drawn: AtomicU64::new(0),
            spawner: tasks.spawner(),
        });
        let open = (listener, state.open.open());
        tasks.spawn(accept(open, namespace.clone(), port, Arc::clone(&state)));
        Ok(Self {
            state,
            disturb,
            tasks,
            port,
        })
    }

    /// Port on which it listens, on all of its host's addresses.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Disturbs requests from now on, or lets them pass again.
    pub fn disturb(&self, disturbance: Option<Disturbance>) {
        self.disturb.send_replace(disturbance);
    }

    /// Closes the port as [`Fault::Refuse`] does, and waits until no connection is left and no request is on its way: until
    /// the next disturbance the receiver takes nothing, and all that it took is in the book.
    ///
    /// # Errors
    /// [`LabError::Timeout`] when something is still open although the receiver has had its time to answer.
    pub async fn close(&self) -> Result<(), LabError> {
        self.disturb(Some(Disturbance {
            fault: Fault::Refuse,
            share: 1.0,
        }));
        self.state.open.wait_until_none(CLOSE_LIMIT).await
    }

    /// Looks at what was seen so far.
    pub fn account<T>(&self, look: impl FnOnce(&Account) -> T) -> T {
        look(&self.state.account.borrow())
    }

    /// Waits until the receiver has begun to take so many more snapshots of a sender.
    ///
    /// # Errors
    /// [`LabError::Timeout`].
    pub async fn wait_for_snapshots(&self, sender: IpAddr, more: usize, limit: Duration) -> Result<(), LabError> {
        let count = |account: &Account| account.snapshots.get(&sender).map_or(0, |snapshots| snapshots.count);
        let wanted = self.account(count) + more;
        let mut account = self.state.account.subscribe();
        let took = tokio::time::timeout(limit, account.wait_for(|account| count(account) >= wanted)).await;
        took.map(drop).map_err(|_| LabError::Timeout {
            what: format!("taking {more} more snapshots of {sender}"),
            limit,
            detail: String::new(),
        })
    }

    /// Waits until nothing more can come of a sender that has ended, and forgets its attempts: the next of that address counts
    /// anew.
    ///
    /// # Errors
    /// [`LabError::Timeout`] when a connection of it is still open.
    pub async fn gone(&self, sender: IpAddr) -> Result<(), LabError> {
        let connections = self.state.sender(sender).connections;
        connections.wait_until_none(CLOSE_LIMIT).await?;
        self.forget(sender);
        Ok(())
    }

    /// Forgets the attempts of a sender that is told to end, and may try at once then.
    pub fn forget(&self, sender: IpAddr) {
        self.state
            .account
            .send_modify(|account| account.attempts.forget(&sender));
    }

    /// Ends the judge.
    pub async fn stop(&self) {
        self.tasks.stop().await;
    }
}

/// Accepts while the port is to be open. Connections end when it is closed, as they do with a process that is gone.
async fn accept(open: (TcpListener, Open), namespace: Namespace, port: u16, state: Arc<State>) {
    let mut disturbance = state.disturbance.clone();
    let mut open = Some(open);
    loop {
        let refuses = disturbance
            .borrow_and_update()
            .is_some_and(|now| now.fault == Fault::Refuse);
        if refuses {
            open = None;
        } else if open.is_none() {
            match listen(&namespace, SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))) {
                Ok(listener) => open = Some((listener, state.open.open())),
                Err(error) => {
                    debug!(%error, "port is not free again");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            }
        }
        let accepted = async {
            match &open {
                Some((listener, _)) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = disturbance.changed() => if changed.is_err() {
                return;
            },
            accepted = accepted => if let Ok((stream, peer)) = accepted {
                let mut refusing = disturbance.clone();
                let serving = Arc::clone(&state);
                let open = (state.open.open(), state.sender(peer.ip()).connections.open());
                state.spawner.spawn(async move {
                    let _until_it_is_closed = open;
                    let handler = |request| judge(Arc::clone(&serving), peer.ip(), request);
                    tokio::select! {
                        () = serve_connection(stream, true, handler) => {}
                        _ = refusing.wait_for(|now| now.is_some_and(|now| now.fault == Fault::Refuse)) => {}
                    }
                });
            },
        }
    }
}

impl State {
    fn sender(&self, address: IpAddr) -> Sender {
        let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        senders.entry(address).or_default().clone()
    }

    /// The fault for the next request, if it is hit.
    fn draw(&self) -> Option<Fault> {
        let disturbance = (*self.disturbance.borrow())?;
        let number = self.drawn.fetch_add(1, Ordering::Relaxed);
        let mut random = Random::new(self.seed.wrapping_add(number));
        (random.unit() < disturbance.share).then_some(disturbance.fault)
    }
}

/// An attempt under way; one that is dropped because the connection went away has failed.
struct Attempt {
    state: Arc<State>,
    sender: IpAddr,
    begun: Option<Begun>,
}

impl Attempt {
    fn begin(state: Arc<State>, sender: IpAddr, begun: Begun) -> Self {
        state.account.send_modify(|account| {
            let breaches = account.attempts.begin(sender, &begun);
            account.note(sender, breaches);
        });
        Self {
            state,
            sender,
            begun: Some(begun),
        }
    }

    /// Something else than an attempt.
    fn none(state: &Arc<State>, sender: IpAddr) -> Self {
        Self {
            state: Arc::clone(state),
            sender,
            begun: None,
        }
    }

    fn end(&mut self, ending: Ending) {
        self.end_at(ending, Instant::now());
    }

    fn end_at(&mut self, ending: Ending, at: Instant) {
        if let Some(begun) = self.begun.take() {
            let sender = self.sender;
            self.state
                .account
                .send_modify(|account| account.attempts.end(sender, begun, at, ending));
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        // Its sender may have left long before we notice.
        let left = self.begun.as_ref().map(|begun| begun.at + SENDER_TIMEOUT);
        let now = Instant::now();
        self.end_at(Ending::Failed(None), left.map_or(now, |left| left.min(now)));
    }
}

async fn judge(state: Arc<State>, sender: IpAddr, request: Request<Incoming>) -> Option<Response<Body>> {
    let (head, mut body) = request.into_parts();
    let url = format!("{}{}", state.receiver, head.uri);
    let headers: BTreeMap<_, _> = head
        .headers
        .iter()
        .filter(|(name, _)| !["host", "content-length", "connection"].contains(&name.as_str()))
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
        .collect();
    if head.method != Method::POST {
        // A question, e.g. which protocols the receiver knows.
        let body = body.collect().await.ok()?.to_bytes();
        return pass_on(head.method, &url, &headers, body).await.map(respond);
    }
    let fault = state.draw();
    let number = head.headers.get("retry-attempt").and_then(|value| value.to_str().ok());
    let mut begun = Begun {
        at: Instant::now(),
        number: number.and_then(|number| number.parse().ok()).unwrap_or_default(),
        body: None,
    };
    if fault.is_some() {
        state.account.send_modify(|account| account.disturbed += 1);
    }
    if fault == Some(Fault::CutBody) {
        let _attempt = Attempt::begin(state, sender, begun);
        let _a_part_of_it = body.frame().await;
        return None;
    }
    let body = body.collect().await.ok()?.to_bytes();
    begun.body = Some(body.clone());
    let decoded = Spelling::of(&head.headers).and_then(|spelling| spelling.decode(&body));
    // A request without a series asks whether its protocol is understood, and may be asked again at any time.
    let is_question = decoded.as_ref().is_ok_and(|request| request.timeseries.is_empty());
    let mut attempt = if is_question {
        Attempt::none(&state, sender)
    } else {
        Attempt::begin(Arc::clone(&state), sender, begun)
    };
    state.account.send_modify(|account| match &decoded {
        Ok(request) => account.note(sender, Book::inspect(request, now_millis())),
        Err(reason) => account.note(sender, [format!("a request that cannot be read: {reason}")]),
    });
    let cut = match fault {
        Some(Fault::Status(code, after)) => {
            let retry = after.map(|seconds| Duration::from_secs(seconds.into()));
            attempt.end(Ending::Failed(retry));
            let mut response = answer(
                StatusCode::from_u16(code).unwrap_or(StatusCode::IM_A_TEAPOT),
                "disturbed",
            );
            if let Some(seconds) = after {
                response.headers_mut().insert("retry-after", seconds.into());
            }
            return Some(response);
        }
        Some(Fault::Hang | Fault::Refuse) => std::future::pending().await,
        Some(Fault::CutAnswer) => true,
        Some(Fault::CutBody) | None => false,
    };
    // One that its sender has given up may be slower than the next, which would come before it at the receiver: nobody's order
    // but ours.
    let abandoned = state.sender(sender).abandoned;
    abandoned.wait_until_none(CLOSE_LIMIT).await.ok()?;
    // On a task of its own: a sender that goes away must not leave us without knowledge of what the receiver did.
    let (mut tell, told) = tokio::sync::oneshot::channel();
    let spawner = state.spawner.clone();
    let open = state.open.open();
    spawner.spawn(async move {
        let _until_it_is_in_the_book = open;
        let forwarded = forward(&state, sender, &url, &headers, body, decoded.unwrap_or_default());
        let mut forwarded = pin!(forwarded);
        tokio::select! {
            biased;
            forwarded = &mut forwarded => {
                let _sender_may_be_gone = tell.send(forwarded);
            }
            () = tell.closed() => {
                let _until_it_has_ended = abandoned.open();
                forwarded.await;
            }
        }
    });
    let fetched = told.await.ok().flatten()?;
    if cut {
        return None;
    }
    let is_final = !fetched.status.is_server_error() && fetched.status != StatusCode::TOO_MANY_REQUESTS;
    attempt.end(if is_final {
        Ending::Settled
    } else {
        Ending::Failed(None)
    });
    Some(respond(fetched))
}

fn respond(fetched: Fetched) -> Response<Body> {
    let mut response = answer(fetched.status, fetched.body);
    for (name, value) in &fetched.headers {
        if !["content-length", "transfer-encoding", "connection"].contains(&name.as_str()) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}

async fn pass_on(method: Method, url: &str, headers: &BTreeMap<String, String>, body: Bytes) -> Option<Fetched> {
    let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let fetched = fetch::send(method, url, &headers.collect(), body, FORWARD_LIMIT).await;
    fetched
        .inspect_err(|error| debug!(%error, "receiver does not answer"))
        .ok()
}

/// Passes a request on and enters it into the book if the receiver took it.
async fn forward(
    state: &State,
    sender: IpAddr,
    url: &str,
    headers: &BTreeMap<String, String>,
    body: Bytes,
    decoded: WriteRequest,
) -> Option<Fetched> {
    let fetched = pass_on(Method::POST, url, headers, body).await?;
    state.account.send_modify(|account| {
        if fetched.status.is_success() {
            let series = decoded.timeseries.iter().flat_map(|series| &series.samples);
            account.took(sender, series.map(|sample| sample.timestamp).max());
            let breaches = account.book.enter(decoded);
            account.note(sender, breaches);
        } else {
            account.refused += 1;
            if fetched.status.is_client_error() {
                account.note(
                    sender,
                    [format!(
                        "the receiver refused a request: {} {}",
                        fetched.status,
                        fetched.text().trim()
                    )],
                );
            }
        }
    });
    Some(fetched)
}

fn now_millis() -> i64 {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
