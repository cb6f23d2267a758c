//! The loop around a [`Prober`]: it sleeps until requests come or something has to be looked at.

use std::time::Instant;

use tokio::sync::mpsc;

use super::prober::{Prober, Request};
use super::socket::EchoSocket;
use crate::samples::Event;
use crate::thread::sleep_until;

/// Probes what is requested until the sender of `requests` is gone and the last window has closed, or until nobody takes
/// events any more.
pub async fn run<S: EchoSocket>(
    mut prober: Prober<S>,
    mut requests: mpsc::Receiver<Vec<Request>>,
    events: mpsc::Sender<Event>,
) {
    let mut open = true;
    while open || !prober.is_idle() {
        let wake = prober.wake();
        let mut batch = None;
        tokio::select! {
            next = requests.recv(), if open => match next {
                Some(requests) => batch = Some(requests),
                None => open = false,
            },
            () = prober.socket().wait() => {}
            () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
        }
        match batch {
            // Replies are taken after each part of it.
            Some(batch) => {
                let behind = prober.check(wake);
                prober.send(&batch, behind);
            }
            None => prober.look(wake),
        }
        for event in prober.close(Instant::now()) {
            if events.send(event).await.is_err() {
                return;
            }
        }
    }
}
