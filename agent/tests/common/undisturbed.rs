//! Tests whose subject is real time, on a machine that may stand still.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(10);
/// A longer time between two ticks is a machine that stood still.
const MAX_GAP: Duration = Duration::from_millis(100);
const MOST_RUNS: usize = 5;

/// Runs a test's body, again and in a new runtime where it failed while the machine stood still: such times say nothing.
pub(crate) fn undisturbed<F: Future<Output = ()>>(body: impl Fn() -> F) {
    for run in 1.. {
        let ticker = Ticker::start();
        let ended = catch_unwind(AssertUnwindSafe(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(body());
        }));
        let gap = ticker.longest_gap();
        match ended {
            Ok(()) => return,
            Err(_) if gap > MAX_GAP && run < MOST_RUNS => {}
            Err(failure) => resume_unwind(failure),
        }
    }
}

struct Ticker {
    end: Sender<()>,
    thread: JoinHandle<Duration>,
}

impl Ticker {
    fn start() -> Self {
        let (end, ended) = channel();
        let thread = std::thread::spawn(move || {
            let (mut longest, mut last) = (Duration::ZERO, Instant::now());
            loop {
                let tick = ended.recv_timeout(TICK);
                longest = longest.max(last.elapsed());
                if tick != Err(RecvTimeoutError::Timeout) {
                    return longest;
                }
                last = Instant::now();
            }
        });
        Self { end, thread }
    }

    fn longest_gap(self) -> Duration {
        drop(self.end);
        self.thread.join().unwrap()
    }
}
