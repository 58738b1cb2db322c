//! Counts successes and failures in a row, and decides whether a node is healthy. Pure.

/// Successes and failures in a row.
#[derive(Debug, Clone)]
pub struct Streak {
    rise: u32,
    fall: u32,
    successes: u32,
    failures: u32,
    healthy: bool,
}

impl Streak {
    /// An unhealthy node. It needs `rise` successes in a row; once it is healthy, `fall` failures in a row.
    #[must_use]
    pub fn new(rise: u32, fall: u32) -> Self {
        Self { rise: rise.max(1), fall: fall.max(1), successes: 0, failures: 0, healthy: false }
    }

    /// Adds one result.
    pub fn next(&mut self, success: bool) {
        if success {
            self.successes = self.successes.saturating_add(1);
            self.failures = 0;
        } else {
            self.failures = self.failures.saturating_add(1);
            self.successes = 0;
        }
        self.healthy =
            if self.healthy { self.failures < self.fall } else { self.successes >= self.rise };
    }

    /// Returns whether the node is healthy.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.healthy
    }

    /// Returns whether the node is healthy after one more success.
    #[must_use]
    pub fn would_be_healthy(&self) -> bool {
        self.healthy || self.successes + 1 >= self.rise
    }

    /// Successes in a row.
    #[must_use]
    pub fn successes(&self) -> u32 {
        self.successes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn story(rise: u32, fall: u32, results: &str) -> String {
        let mut streak = Streak::new(rise, fall);
        let healthy = |result| {
            streak.next(result == '+');
            if streak.is_healthy() { 'H' } else { '.' }
        };
        results.chars().map(healthy).collect()
    }

    #[test]
    fn health_changes_after_results_in_a_row() {
        assert_eq!(story(1, 1, "+-+"), "H.H");
        assert_eq!(story(3, 2, "++-+++-+--+++"), ".....HHHH...H");
    }
}
