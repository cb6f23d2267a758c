//! Counts what may still bring a sample to the receiver: the port, connections, requests on their way.

use std::time::Duration;

use tokio::sync::watch;

use crate::error::LabError;

/// How many are open; clones count the same.
#[derive(Debug, Default, Clone)]
pub struct Count(watch::Sender<usize>);

/// One of them; it is closed when this is dropped.
#[derive(Debug)]
pub struct Open(watch::Sender<usize>);

impl Count {
    /// Counts one until it is dropped.
    #[must_use]
    pub fn open(&self) -> Open {
        self.0.send_modify(|open| *open += 1);
        Open(self.0.clone())
    }

    /// Waits until none is open.
    ///
    /// # Errors
    /// [`LabError::Timeout`].
    pub async fn wait_until_none(&self, limit: Duration) -> Result<(), LabError> {
        let mut open = self.0.subscribe();
        match tokio::time::timeout(limit, open.wait_for(|open| *open == 0)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(LabError::Timeout {
                what: "the end of everything that was open at the judge".to_owned(),
                limit,
                detail: format!("; {} still open", *self.0.borrow()),
            }),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_ends_with_the_last_that_was_open() {
        let count = Count::default();
        count.wait_until_none(Duration::ZERO).await.unwrap();
        let (one, other) = (count.open(), count.open());
        drop(one);
        let error = count.wait_until_none(Duration::from_millis(1)).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the end of everything that was open at the judge did not happen within 1ms; 1 still open"
        );
        let closing = async {
            tokio::task::yield_now().await;
            drop(other);
        };
        let (waited, ()) = tokio::join!(count.wait_until_none(Duration::from_mins(1)), closing);
        waited.unwrap();
    }
}
