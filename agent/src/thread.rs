//! A thread with an executor of its own, for what has to wake on time and often: it wakes nobody else, nobody else's work
//! stands in its way, and a wake-up costs it one system call.
//!
//! What its future spawns, and the sockets and timers of tokio, stay with the runtime from which the thread was started;
//! only [`sleep_until`] is its own.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// When a thread has to wake.
#[derive(Debug, Clone, Copy)]
enum Alarm {
    /// The thread is not one of ours.
    Elsewhere,
    /// Nobody waits for a moment.
    Unset,
    /// The earliest moment that somebody waits for.
    At(Instant),
}

thread_local! {
    static ALARM: Cell<Alarm> = const { Cell::new(Alarm::Elsewhere) };
}

/// Runs `future` on a new thread called `name`; the answer is ready when it has ended, with an error when it failed. Must
/// be called inside a runtime.
///
/// # Errors
///
/// The system gives us no thread.
pub fn run<F>(name: &str, future: F) -> io::Result<oneshot::Receiver<()>>
where
    F: Future<Output = ()> + Send + 'static,
{
    let (ended, end) = oneshot::channel();
    let runtime = Handle::current();
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        let _inside = runtime.enter();
        block_on(future);
        // Nobody waits any more when the agent was told to stop at once.
        let _ = ended.send(());
    })?;
    Ok(end)
}

/// Waits until `at`.
///
/// On a thread of [`run`] it must be polled whenever its future is, as `select!` and `join!` do: whoever hides it behind
/// wakers of his own is not woken. On other threads it is tokio's.
pub async fn sleep_until(at: Instant) {
    if matches!(ALARM.get(), Alarm::Elsewhere) {
        return tokio::time::sleep_until(at.into()).await;
    }
    poll_fn(|_| {
        if Instant::now() >= at {
            return Poll::Ready(());
        }
        ALARM.set(match ALARM.get() {
            Alarm::At(earlier) => Alarm::At(earlier.min(at)),
            Alarm::Unset | Alarm::Elsewhere => Alarm::At(at),
        });
        Poll::Pending
    })
    .await;
}

struct Sleeper {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::Release) {
            self.thread.unpark();
        }
    }
}

fn block_on(future: impl Future<Output = ()>) {
    let sleeper = Arc::new(Sleeper {
        thread: thread::current(),
        woken: AtomicBool::new(false),
    });
    let waker = Waker::from(Arc::clone(&sleeper));
    let mut future = pin!(future);
    loop {
        ALARM.set(Alarm::Unset);
        if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            return;
        }
        while !sleeper.woken.swap(false, Ordering::Acquire) && !rest() {}
    }
}

/// Sleeps until somebody wakes us or the alarm goes off; tells whether it was the alarm.
fn rest() -> bool {
    let Alarm::At(at) = ALARM.get() else {
        thread::park();
        return false;
    };
    let left = at.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        thread::park_timeout(left);
    }
    at <= Instant::now()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn the_end_of_the_thread_is_told_and_so_is_its_failure() {
        let end = run("good", async { tokio::task::yield_now().await }).unwrap();
        assert!(end.await.is_ok());
        let end = run("bad", async { assert!(std::hint::black_box(false), "as intended") }).unwrap();
        assert!(end.await.is_err());
    }

    #[tokio::test]
    async fn the_earliest_of_several_waits_ends_first_and_a_channel_wakes_in_between() {
        let (orders, mut queue) = mpsc::channel::<&str>(1);
        let (told, mut happened) = mpsc::channel(8);
        let start = Instant::now();
        let after = move |millis| sleep_until(start + Duration::from_millis(millis));
        let end = run("waits", async move {
            let mut last = pin!(after(600_000));
            let mut first = pin!(after(1));
            tokio::select! {
                () = &mut last => told.send("last").await.unwrap(),
                () = &mut first => told.send("first").await.unwrap(),
            }
            tokio::select! {
                () = &mut last => told.send("last").await.unwrap(),
                order = queue.recv() => told.send(order.unwrap()).await.unwrap(),
            }
        });
        assert_eq!(happened.recv().await, Some("first"));
        orders.send("woken").await.unwrap();
        assert_eq!(happened.recv().await, Some("woken"));
        assert!(end.unwrap().await.is_ok());
    }

    #[tokio::test]
    async fn the_runtime_stays_at_hand() {
        let end = run("spawns", async {
            let elsewhere = tokio::spawn(async {
                sleep_until(Instant::now()).await;
                matches!(ALARM.get(), Alarm::Elsewhere)
            });
            assert!(elsewhere.await.unwrap(), "spawned tasks run in the runtime");
            assert!(matches!(ALARM.get(), Alarm::Unset | Alarm::At(_)));
            tokio::time::sleep(Duration::from_millis(1)).await;
        });
        assert!(end.unwrap().await.is_ok());
    }
}
