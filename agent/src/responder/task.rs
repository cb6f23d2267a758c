//! The loop of the responder.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Responder;

/// How long to wait after an error: what is missing (descriptors, memory) does not come back at once.
const BACK_OFF: Duration = Duration::from_millis(100);
/// How often errors are logged.
const WARN_EVERY: Duration = Duration::from_mins(1);

impl Responder {
    /// Accepts and closes until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        info!(address = %self.address, "TCP responder ready");
        let accepting = self.accept();
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = accepting => {}
        }
    }

    async fn accept(&self) {
        let mut warned: Option<Instant> = None;
        loop {
            match self.listener.accept().await {
                Ok((connection, _)) => {
                    drop(connection);
                    self.accepted.send_modify(|accepted| *accepted += 1);
                }
                // The peer was faster with its reset; the next one is not to blame.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    if warned.is_none_or(|warned| warned.elapsed() >= WARN_EVERY) {
                        warn!(address = %self.address, %error, "connection not accepted");
                        warned = Some(Instant::now());
                    }
                    sleep(BACK_OFF).await;
                }
            }
        }
    }
}
