//! The WAN's thread: waits for packets and due times, and does what the [`Router`] decided.
//!
//! A thread and not a tokio task, because it must wake within some ten microseconds: tokio's timers count milliseconds.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::time::TimeSpec;
use rustix::process::setpriority_process;
use rustix::thread::gettid;
use tokio::sync::watch;
use tracing::{debug, error, warn};

use super::control::Counters;
use super::due::DueQueue;
use super::socket::{FRAME_CAPACITY, OFFLOAD_HEADER_LENGTH, Port};
use super::{Fate, Matrix, Router, corrupt, packet};
use crate::error::LabError;

/// Nice value of the thread.
const URGENT: i32 = -10;

/// Frames taken from one port before the others get their turn.
const BURST: usize = 64;

/// The running thread; ends when it is stopped or dropped.
#[derive(Debug)]
pub struct WanThread {
    /// Closing it wakes and ends the thread.
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl WanThread {
    /// Starts forwarding between the ports; port number = host number of the router.
    ///
    /// # Errors
    /// [`LabError::Io`] when no pipe or thread can be had.
    pub fn start(
        ports: Vec<Port>,
        router: Router,
        matrix: watch::Receiver<Matrix>,
        counters: Arc<Counters>,
    ) -> Result<Self, LabError> {
        let (stopped, stop) = nix::unistd::pipe().map_err(LabError::errno("making the WAN's stop pipe"))?;
        let forwarder = Forwarder {
            ports,
            router,
            matrix,
            counters,
            waiting: DueQueue::default(),
            start: Instant::now(),
            early: Duration::ZERO,
        };
        let thread = std::thread::Builder::new()
            .name("wan".to_owned())
            .spawn(move || {
                // A line must not become slow because the machine is busy. Only root may say so, and others go on without.
                if let Err(errno) = setpriority_process(Some(gettid()), URGENT) {
                    debug!(error = %errno, "WAN thread keeps its priority");
                }
                // One nanosecond instead of the usual 50 us by which the kernel may lump timers together.
                if let Err(errno) = nix::sys::prctl::set_timerslack(1) {
                    warn!(error = %errno, "WAN timers keep their slack");
                }
                if let Err(errno) = forwarder.run(&stopped) {
                    error!(error = %errno, "WAN stopped forwarding");
                }
            })
            .map_err(LabError::io("starting the WAN's thread"))?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for WanThread {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!("WAN thread panicked");
        }
    }
}

struct Forwarder {
    ports: Vec<Port>,
    router: Router,
    matrix: watch::Receiver<Matrix>,
    counters: Arc<Counters>,
    waiting: DueQueue<Frame>,
    start: Instant,
    /// How much before a packet's time the thread asks to be woken, because it is woken late: an idle processor of a
    /// virtual machine takes up to some hundred microseconds, a busy one ten.
    early: Duration,
}

impl Forwarder {
    fn run(mut self, stopped: &OwnedFd) -> Result<(), Errno> {
        let mut buffer = vec![0; FRAME_CAPACITY];
        loop {
            let ready = self.wait(stopped)?;
            if ready.first() == Some(&true) {
                return Ok(());
            }
            self.deliver();
            for (port, _) in ready[1..].iter().enumerate().filter(|(_, ready)| **ready) {
                self.collect(port, &mut buffer);
            }
            self.deliver();
        }
    }

    /// Sleeps until a packet comes or is due; answers who is readable, the stop pipe first.
    fn wait(&mut self, stopped: &OwnedFd) -> Result<Vec<bool>, Errno> {
        let mut polled: Vec<PollFd<'_>> = std::iter::once(stopped.as_fd())
            .chain(self.ports.iter().map(Port::as_fd))
            .map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN))
            .collect();
        let wake_at = self.waiting.next_due().map(|at| at.saturating_sub(self.early));
        let pause = wake_at.map(|at| TimeSpec::from(at.saturating_sub(self.start.elapsed())));
        match nix::poll::ppoll(&mut polled, pause, None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        let ready: Vec<_> = polled.iter().map(|entry| entry.any().unwrap_or(false)).collect();
        let slept = pause.is_some_and(|pause| Duration::from(pause) > Duration::ZERO);
        if slept
            && let Some(wake_at) = wake_at
            && !ready.contains(&true)
        {
            let late = self.start.elapsed().saturating_sub(wake_at);
            self.early = late
                .max(self.early.saturating_sub(self.early / EARLY_DECAY))
                .min(EARLY_LIMIT);
        }
        Ok(ready)
    }

    fn collect(&mut self, from: usize, buffer: &mut [u8]) {
        for _ in 0..BURST {
            let (frame, age) = match self.ports[from].receive(buffer) {
                Ok(Some(received)) => received,
                Ok(None) => return,
                Err(errno) => {
                    debug!(port = from, error = %errno, "WAN could not receive");
                    return;
                }
            };
            let Some(ethernet) = frame.get_mut(OFFLOAD_HEADER_LENGTH..) else {
                continue;
            };
            let Some(headers) = packet::read(ethernet) else {
                continue;
            };
            let arrived = self.start.elapsed().saturating_sub(age);
            let fate = self.router.route(&self.matrix.borrow(), from, &headers, arrived);
            self.counters.count(fate);
            if let Fate::Deliver {
                path,
                host,
                at,
                copies,
                damage,
            } = fate
            {
                if self.waiting.len() >= MOST_WAITING {
                    self.counters.count_overflow(path);
                    continue;
                }
                packet::take_hop(ethernet);
                if damage.is_some_and(|damage| corrupt::damage(ethernet, damage)) {
                    self.counters.count_corrupted(path);
                }
                for _ in 0..copies {
                    self.waiting.push(
                        at,
                        Frame {
                            path,
                            host,
                            bytes: frame.to_vec(),
                        },
                    );
                }
            }
        }
    }

    fn deliver(&mut self) {
        while let Some(frame) = self.waiting.pop_due(self.start.elapsed() + LEAD) {
            if let Err(errno) = self.ports[frame.host].send(&frame.bytes) {
                self.counters.count_overflow(frame.path);
                debug!(port = frame.host, error = %errno, "WAN could not deliver");
            }
        }
    }
}

/// A packet under way, offload header first.
struct Frame {
    path: usize,
    host: usize,
    bytes: Vec<u8>,
}

/// Packets that may be under way at once: 40,000 per second for five seconds.
const MOST_WAITING: usize = 200_000;

/// Longest time that the thread is woken early and then polls without sleeping; rarer stalls are not worth it.
const EARLY_LIMIT: Duration = Duration::from_micros(400);

/// Each on-time wake-up takes this fraction off the margin again.
const EARLY_DECAY: u32 = 32;

/// How much before its time a packet is handed to the kernel: a send after a pause takes 30-60 us, and the packet gets its
/// time stamp about halfway (2 ms to 42 ms paths, packets some 10 ms apart).
const LEAD: Duration = Duration::from_micros(20);
