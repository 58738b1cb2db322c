//! An instant on two clocks: one stops while the machine is suspended, the other can be set.

use std::time::Duration;

use tokio::time::Instant;

/// An instant on both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct DualInstant {
    /// On the clock that cannot be set.
    steady: Instant,
    /// On the wall clock.
    wall: jiff::Timestamp,
}

impl DualInstant {
    pub(super) fn now(wall: jiff::Timestamp) -> Self {
        Self { steady: Instant::now(), wall }
    }

    /// The time until a later instant, on the clock that shows more.
    pub(super) fn until(self, later: Self) -> Duration {
        let wall = later.wall.duration_since(self.wall).unsigned_abs();
        later.steady.duration_since(self.steady).max(wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn clock_that_shows_more_time_counts() {
        let wall = |second| jiff::Timestamp::from_second(second).expect("a time");
        let begun = DualInstant::now(wall(1_000));
        assert_eq!(
            begun.until(DualInstant::now(wall(1_060))),
            Duration::from_secs(60),
            "suspended"
        );
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(begun.until(DualInstant::now(wall(1_020))), Duration::from_secs(20));
        assert_eq!(begun.until(DualInstant::now(wall(1_000))), Duration::from_secs(20), "set back");
        assert_eq!(begun.until(DualInstant::now(wall(910))), Duration::from_secs(90), "far back");
    }
}
