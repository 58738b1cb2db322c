//! Waits until a node is healthy, and reports the observations if it is not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::checks::{CheckResult, describe};
use super::gate::Gate;
use super::process::{LISTENER_TIMEOUT, Unproven};
use super::streak::Streak;
use super::tries::Tries;
use crate::consul::Index;
use crate::release::Failure;
use crate::spec::NodeSpec;
use crate::text;
use crate::world::World;

/// How much of a body is kept for the report, in characters.
pub(crate) const BODY_SHOWN: usize = 1024;

/// A healthy node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Healthy {
    /// As text: how many attempts, which process.
    pub message: String,
}

/// The observations of the attempts, for the report.
#[derive(Debug, Clone, Default)]
struct Seen {
    tries: u32,
    /// Attempts that something answered, or that failed in another way than by a refused connection.
    wrong: u32,
    successes: u32,
    best: u32,
    reasons: BTreeMap<String, u32>,
    last: Option<CheckResult>,
    process: Option<String>,
}

impl<W: World> Gate<W> {
    /// Waits until the node is healthy. `tell` receives the current state after each attempt, as text.
    ///
    /// # Errors
    ///
    /// At the deadline: the observations.
    pub async fn wait(self: Arc<Self>, tell: impl Fn(String)) -> Result<Healthy, Failure> {
        let health = &self.node.health;
        let begun = Instant::now();
        let mut streak = Streak::new(health.rise, health.fall);
        let mut seen = Seen::default();
        let mut tries = Tries::new(self.clone());
        // The first success of the row that made it healthy, or can make it so.
        let mut healthy_since: Option<Instant> = None;
        let told_by_process = health.identity.is_none() || self.any_version || self.same_version;
        loop {
            let answers = streak.is_healthy() || streak.successes() > 0;
            // A node that becomes healthy in time has the time to stay so.
            let stays_until = healthy_since
                .filter(|_| streak.is_healthy())
                .map(|since| since + health.min_healthy_time + health.interval + health.timeout);
            let deadline = stays_until.unwrap_or(begun).max(begun + health.deadline);
            let result = tokio::time::timeout_at(deadline, tries.next(answers)).await;
            let Ok(mut result) = result else { break };
            if !self.any_version {
                result.problem = result.problem.or(result.wrong_version.take());
            }
            let kept = healthy_since.map_or(Duration::ZERO, |since| since.elapsed());
            let kept_long_enough = streak.is_healthy() && kept >= health.min_healthy_time;
            let becomes_healthy = !streak.is_healthy() && streak.would_be_healthy();
            let stayed = kept_long_enough && !health.min_healthy_time.is_zero();
            if result.problem.is_none()
                && ((told_by_process && (becomes_healthy || kept_long_enough)) || stayed)
            {
                let process = tokio::time::timeout_at(deadline, self.process(kept)).await;
                let late = |_| Err(Unproven::from("its process could not be inspected".to_owned()));
                match process.unwrap_or_else(late) {
                    Ok(process) => seen.process = Some(process),
                    Err(unproven) if told_by_process || unproven.restarted => {
                        if unproven.restarted {
                            streak = Streak::new(health.rise, health.fall);
                        }
                        seen.process = Some(unproven.seen);
                        result.problem = Some(unproven.cause);
                    }
                    Err(_) => {}
                }
            }
            seen.take(&result);
            streak.next(result.problem.is_none());
            let in_a_row = streak.is_healthy() || streak.successes() > 0;
            healthy_since = healthy_since.or_else(|| Some(Instant::now())).filter(|_| in_a_row);
            seen.best = seen.best.max(streak.successes());
            let kept =
                healthy_since.is_some_and(|since| since.elapsed() >= health.min_healthy_time);
            if streak.is_healthy() && result.problem.is_none() && kept {
                let mut message = seen.success(health.rise);
                match (&result.wrong_version, &result.version) {
                    (Some(_), Some(version)) => {
                        message += &format!(", runs version {}", version.shown());
                    }
                    (Some(problem), None) => message += &format!(", {problem}"),
                    (None, _) => {}
                }
                return Ok(Healthy { message });
            }
            let streak = streak.successes().min(health.rise);
            let what = result.problem.as_deref().unwrap_or("ok");
            tell(format!("{what}, {streak} of {} passes in a row", health.rise));
        }
        // The process that holds the port is part of the answer, even if no check succeeded.
        if seen.process.is_none()
            && let Ok(process) =
                tokio::time::timeout(LISTENER_TIMEOUT, self.process(Duration::ZERO)).await
        {
            seen.process = Some(process.unwrap_or_else(|unproven| unproven.seen));
        }
        Err(seen.failure(&self.node))
    }

    /// Checks whether the node serves, with any process: it needs as many successes in a row as make it healthy.
    ///
    /// # Errors
    ///
    /// The result of the first failed attempt.
    pub async fn serves(&self) -> Result<(), String> {
        let mut index = Index::default();
        for turn in 0..self.node.health.rise {
            if turn > 0 {
                tokio::time::sleep(self.node.health.interval).await;
            }
            if let Some(problem) = self.attempt(&mut index).await.problem {
                return Err(problem);
            }
        }
        Ok(())
    }
}

impl Seen {
    fn take(&mut self, result: &CheckResult) {
        self.tries += 1;
        match &result.problem {
            None => self.successes += 1,
            Some(problem) => {
                self.wrong += u32::from(!result.is_refused);
                *self.reasons.entry(problem.clone()).or_default() += 1;
            }
        }
        // The last answer that explains the problem is worth more than a later refused connection.
        if result.body.is_some() || self.last.as_ref().is_none_or(|last| last.body.is_none()) {
            self.last = Some(result.clone());
        }
    }

    fn success(&self, rise: u32) -> String {
        let mut message = format!("healthy={rise}/{rise}");
        if self.wrong > 0 {
            message += &format!(" after {}", text::count(self.wrong as usize, "failed check"));
        }
        if let Some(process) = &self.process {
            message += &format!(", {process}");
        }
        message
    }

    fn failure(&self, node: &NodeSpec) -> Failure {
        let health = &node.health;
        let mut failure = Failure {
            reason: format!("not healthy within {}", text::duration(health.deadline)),
            ..Failure::default()
        };
        let checks = describe(health);
        let mut reasons: Vec<_> = self.reasons.iter().collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let reasons: Vec<_> = reasons
            .iter()
            .take(3)
            .map(|(reason, count)| format!("{reason} in {count} of {} tries", self.tries))
            .collect();
        let reasons =
            if reasons.is_empty() { "no check finished".into() } else { reasons.join("; ") };
        failure.seen.push((
            "check".into(),
            format!("{checks}: {reasons}; needed {} in a row, best {}", health.rise, self.best),
        ));
        if let Some(body) = self.last.as_ref().and_then(|last| last.body.as_ref()) {
            failure.seen.push(("last body".into(), text::line(body, BODY_SHOWN)));
        }
        if let Some(process) = &self.process {
            failure.seen.push(("process".into(), process.clone()));
        }
        failure
    }
}
