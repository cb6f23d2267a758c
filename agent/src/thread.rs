//! A thread with a runtime of its own, for what has to wake on time and often: it wakes nobody else, and nobody else's work
//! stands in its way.

use std::future::Future;
use std::io;

use tokio::sync::oneshot;

/// Runs `future` on a new thread called `name`; the answer is ready when it has ended, with an error when it failed.
///
/// # Errors
///
/// The system gives us no thread or no runtime.
pub fn run<F>(name: &str, future: F) -> io::Result<oneshot::Receiver<()>>
where
    F: Future<Output = ()> + Send + 'static,
{
    let (ended, end) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        runtime.block_on(future);
        // Nobody waits any more when the agent was told to stop at once.
        let _ = ended.send(());
    })?;
    Ok(end)
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn the_end_of_the_thread_is_told_and_so_is_its_failure() {
        let end = super::run("good", async { tokio::task::yield_now().await }).unwrap();
        assert!(end.await.is_ok());
        let end = super::run("bad", async { assert!(std::hint::black_box(false), "as intended") }).unwrap();
        assert!(end.await.is_err());
    }
}
