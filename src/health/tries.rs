//! Attempts of a node's checks. They begin in time even while older ones hang: a service that becomes ready is
//! noticed within one interval, whatever happens to earlier attempts. While nothing listens, an attempt costs the
//! service nothing, and the next one follows sooner: the first listener is noticed within a small part of its start.
//!
//! The first answer ends all other running attempts: they were started before that answer, and several answers at
//! one moment show no more than one. After a service has answered well, an attempt that hangs is a failure like any
//! other, and rollgate waits for it: attempts are then made one by one.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::checks::CheckResult;
use super::gate::Gate;
use crate::consul::Index;
use crate::world::World;

/// The most attempts that run at the same time.
pub(super) const AT_ONCE: u32 = 32;

/// The shortest pause after a refused connection.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

/// The pause after a refused connection is this part of the time since the first attempt.
const PAUSE_PART: u32 = 32;

/// The attempts of one gate.
pub(super) struct Tries<W> {
    gate: Arc<Gate<W>>,
    under_way: JoinSet<(Index, CheckResult)>,
    /// The most that may run.
    most: u32,
    /// When the next one begins.
    next: Instant,
    /// When the first one began, at the earliest.
    since: Instant,
    /// When the last one began.
    begun: Instant,
    index: Index,
}

impl<W: World> Tries<W> {
    /// No attempts yet. The first one begins at once.
    pub(super) fn new(gate: Arc<Gate<W>>) -> Self {
        // A user's command may not support running twice at the same time.
        let most = if gate.node.health.run.is_some() { 1 } else { AT_ONCE };
        let (now, index) = (Instant::now(), Index::default());
        Self { under_way: JoinSet::new(), most, next: now, since: now, begun: now, index, gate }
    }

    /// Returns the next answer. With `one_by_one`, any answer is returned.
    pub(super) async fn next(&mut self, one_by_one: bool) -> CheckResult {
        let most = if one_by_one { 1 } else { self.most as usize };
        loop {
            tokio::select! {
                biased;
                Some(ended) = self.under_way.join_next() => {
                    self.under_way = JoinSet::new();
                    let (index, result) = ended.unwrap_or_else(|error| {
                        (self.index, CheckResult::wrong(format!("the check crashed: {error}"), None))
                    });
                    self.index = index;
                    self.next = self.begun + self.pause(&result);
                    return result;
                }
                () = tokio::time::sleep_until(self.next), if self.under_way.len() < most => {
                    self.begin();
                }
            }
        }
    }

    /// The pause from the beginning of an attempt with this result to the next one.
    fn pause(&self, result: &CheckResult) -> Duration {
        let health = &self.gate.node.health;
        let interval = health.interval;
        // A user's command is not run more often than the user has said.
        if !result.is_refused || health.run.is_some() {
            return interval;
        }
        interval.min(SHORTEST_PAUSE.max(self.since.elapsed() / PAUSE_PART))
    }

    fn begin(&mut self) {
        let (gate, mut index) = (self.gate.clone(), self.index);
        self.begun = Instant::now();
        self.next = self.begun + self.pace();
        self.under_way.spawn(async move {
            let result = gate.attempt(&mut index).await;
            (index, result)
        });
    }

    /// The time between two attempts while none answers: the oldest reaches its timeout before there are too many.
    fn pace(&self) -> Duration {
        let health = &self.gate.node.health;
        health.interval.max(health.timeout / self.most)
    }
}
