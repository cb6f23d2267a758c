//! The thread of the Linux backend: it sleeps until requests come or something has to be looked at.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::mpsc;

use crate::probe::icmp::prober::{Prober, Request};
use crate::probe::icmp::socket::EchoSocket;
use crate::samples::Event;

/// Starts the thread; it ends when the sender of `requests` is gone and the last window has closed, or when nobody takes
/// events any more.
///
/// # Errors
///
/// The system gives us no thread.
pub fn spawn<S: EchoSocket + 'static>(
    prober: Prober<S>,
    requests: Receiver<Vec<Request>>,
    events: mpsc::Sender<Event>,
) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name("echo".to_owned())
        .spawn(move || run(prober, &requests, &events))
}

fn run<S: EchoSocket>(mut prober: Prober<S>, requests: &Receiver<Vec<Request>>, events: &mpsc::Sender<Event>) {
    let mut open = true;
    while open || !prober.is_idle() {
        let wake = prober.wake();
        let batch = match wait(requests, wake, open) {
            Ok(batch) => Some(batch),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                open = false;
                None
            }
        };
        match batch {
            // Replies are taken after each part of it.
            Some(batch) => {
                prober.check(wake);
                prober.send(&batch);
            }
            None => prober.look(wake),
        }
        for event in prober.close(Instant::now()) {
            if events.blocking_send(event).is_err() {
                return;
            }
        }
    }
}

fn wait(
    requests: &Receiver<Vec<Request>>,
    wake: Option<Instant>,
    open: bool,
) -> Result<Vec<Request>, RecvTimeoutError> {
    let Some(wake) = wake else {
        return requests.recv().map_err(|_| RecvTimeoutError::Disconnected);
    };
    let pause = wake.saturating_duration_since(Instant::now());
    if open {
        return requests.recv_timeout(pause);
    }
    std::thread::sleep(pause);
    Err(RecvTimeoutError::Timeout)
}
