//! Why and since when a release stops. Each part of the stop ends a fixed time after the release began to stop, so that
//! several parts in a row cannot add up.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Maximum time from the beginning of the stop until a write in progress has its answer.
pub(super) const WRITE_TIME: Duration = Duration::from_secs(1);

/// Maximum time from the beginning of the stop for what only helps the operator: log lines, old releases.
pub(super) const COURTESY_TIME: Duration = Duration::from_secs(1);

/// Maximum time from the beginning of the stop until nodes are back in rotation or out of it. The whole stop must fit
/// into the five seconds of a cancelled CI job; after this, the journal's copy and the lock's release take up to 2.5 s.
pub(super) const PUT_BACK_TIME: Duration = Duration::from_secs(2);

/// Maximum time from the beginning of the stop until the hold of a node that returned to rotation is ended.
pub(super) const HOLD_TIME: Duration = Duration::from_millis(2250);

/// Why a release must stop, once a stop is requested.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum StopReason {
    /// No stop is requested.
    #[default]
    No,
    /// A signal requested it: the signal's name.
    Requested(&'static str),
    /// The journal cannot be written: nothing new begins, and nodes that were only marked down return to rotation.
    Unwritten(String),
    /// Nothing finished for too long.
    Stalled(String),
    /// The lock is lost: no further action of any kind.
    LockLost(String),
}

impl StopReason {
    /// Returns the reason, if the release must stop.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::No => None,
            Self::Requested(signal) => Some(signal),
            Self::Unwritten(reason) | Self::Stalled(reason) | Self::LockLost(reason) => {
                Some(reason)
            }
        }
    }
}

#[derive(Debug, Default)]
struct Stopping {
    reason: StopReason,
    since: Option<Instant>,
}

/// Stops the release.
#[derive(Debug, Clone)]
pub(super) struct Stopper(Arc<watch::Sender<Stopping>>);

impl Stopper {
    /// Creates one for a release that does not stop.
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Stopping::default())))
    }

    /// Stops the release for this reason, which replaces an earlier one.
    pub(super) fn stop(&self, reason: StopReason) {
        self.0.send_modify(|stopping| {
            stopping.reason = reason;
            stopping.since.get_or_insert_with(Instant::now);
        });
    }

    /// Stops the release for this reason, if it does not stop already.
    pub(super) fn stop_first(&self, reason: StopReason) {
        if !self.watch().is_requested() {
            self.stop(reason);
        }
    }

    pub(super) fn watch(&self) -> Stop {
        Stop(self.0.subscribe())
    }
}

/// Tells whether the release must stop.
#[derive(Debug, Clone)]
pub(super) struct Stop(watch::Receiver<Stopping>);

impl Stop {
    pub(super) fn is_requested(&self) -> bool {
        self.0.borrow().reason != StopReason::No
    }

    pub(super) fn is_lock_lost(&self) -> bool {
        matches!(self.0.borrow().reason, StopReason::LockLost(_))
    }

    pub(super) fn reason(&self) -> StopReason {
        self.0.borrow().reason.clone()
    }

    /// Returns once the reason has changed. `false`: it cannot change any more.
    pub(super) async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }

    /// Returns once the release must stop.
    pub(super) fn requested(&self) -> impl Future<Output = ()> + Send + use<> {
        self.passed(Duration::ZERO)
    }

    /// Returns this long after the release began to stop.
    pub(super) fn passed(&self, time: Duration) -> impl Future<Output = ()> + Send + use<> {
        let mut stop = self.0.clone();
        async move {
            let since = match stop.wait_for(|stop| stop.reason != StopReason::No).await {
                Ok(stopping) => stopping.since,
                Err(_) => None,
            };
            match since {
                Some(since) => tokio::time::sleep_until(since + time).await,
                // The sender is gone: no stop can be requested any more.
                None => std::future::pending().await,
            }
        }
    }

    /// Returns the instant this long after the release began to stop, or from now on if it does not stop.
    pub(super) fn until(&self, time: Duration) -> Instant {
        self.0.borrow().since.unwrap_or_else(Instant::now) + time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn every_limit_counts_from_the_beginning_of_the_stop() {
        let stopper = Stopper::new();
        let stop = stopper.watch();
        let begun = Instant::now();
        stopper.stop_first(StopReason::Requested("SIGTERM"));
        stop.passed(Duration::from_secs(2)).await;
        // A later reason does not begin the stop again.
        stopper.stop(StopReason::LockLost("another release took it".to_owned()));
        stopper.stop_first(StopReason::Requested("SIGINT"));
        stop.passed(Duration::from_secs(3)).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(3));
        assert_eq!(stop.until(Duration::from_secs(4)), begun + Duration::from_secs(4));
        assert!(stop.is_lock_lost());
    }
}
