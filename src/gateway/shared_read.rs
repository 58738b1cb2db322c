//! Reads of one gateway that several callers share, as the registry does for the nodes' marks.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

/// The time between the starts of two reads that serve every waiting caller.
pub(super) const READ_EVERY: Duration = Duration::from_millis(25);

/// The same read for many callers, one at a time. A read serves every caller that asked before it began.
pub(crate) struct SharedRead<T>(Mutex<Latest<T>>);

/// The last read.
struct Latest<T> {
    begun: Option<Instant>,
    /// `None` if its caller was dropped.
    result: Option<T>,
}

impl<T> Default for SharedRead<T> {
    fn default() -> Self {
        Self(Mutex::new(Latest { begun: None, result: None }))
    }
}

impl<T: Clone> SharedRead<T> {
    /// Returns the result of a read that began at `since` or later, and when it began.
    pub(crate) async fn since(
        &self,
        since: Instant,
        read: impl AsyncFnOnce() -> T,
    ) -> (Instant, T) {
        let mut latest = self.0.lock().await;
        if let Some(begun) = latest.begun {
            if let Some(result) = latest.result.as_ref().filter(|_| begun >= since) {
                return (begun, result.clone());
            }
            sleep_until(begun + READ_EVERY).await;
        }
        let begun = Instant::now();
        *latest = Latest { begun: Some(begun), result: None };
        let result = read().await;
        latest.result = Some(result.clone());
        (begun, result)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::task::JoinSet;
    use tokio::time::{sleep, timeout};

    use super::*;

    const TAKES: Duration = Duration::from_millis(10);

    /// Counts the reads. Each one returns its number.
    #[derive(Default)]
    struct Counted {
        shared: SharedRead<u32>,
        reads: AtomicU32,
    }

    impl Counted {
        async fn since(&self, since: Instant) -> u32 {
            let read = async || {
                let number = self.reads.fetch_add(1, Ordering::Relaxed) + 1;
                sleep(TAKES).await;
                number
            };
            self.shared.since(since, read).await.1
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_read_serves_every_caller_that_asked_before_it_began() {
        let counted = Arc::new(Counted::default());
        let mut callers = JoinSet::new();
        for _ in 0..40 {
            let counted = counted.clone();
            callers.spawn(async move { counted.since(Instant::now()).await });
        }
        assert_eq!(callers.join_all().await, [1; 40]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_under_way_does_not_serve_a_new_caller() {
        let counted = Counted::default();
        let begun = Instant::now();
        let later = async {
            sleep(TAKES / 2).await;
            counted.since(Instant::now()).await
        };
        assert_eq!(tokio::join!(counted.since(begun), later), (1, 2));
        assert_eq!(counted.since(begun).await, 2, "the last read serves an earlier question");
    }

    #[tokio::test(start_paused = true)]
    async fn reads_are_spaced_even_if_callers_give_up() {
        let counted = Counted::default();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(1) {
            timeout(TAKES / 2, counted.since(Instant::now())).await.expect_err("given up");
        }
        assert_eq!(counted.reads.load(Ordering::Relaxed), 41, "every 25 ms, from 0 to 1 s");
    }
}
