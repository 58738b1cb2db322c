//! Health: what proves that a node's *new* process can serve.
//!
//! Every try asks all checks at once. `rise` successes in a row make the node healthy, `fall` failures in a row
//! unmake it, and it must stay healthy for `min_healthy_time` from the first of these successes on, served by the same
//! process. A success counts only if the answer came from the process that this release started: told by `identity`
//! where the playbook has one, else by the process that listens on the node's port, which must be younger than the
//! mark taken before the start.

mod checks;
mod streak;
mod tries;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::consul::{Client, Index};
use crate::node::{Listener, Mark, Operation};
use crate::release::Failure;
use crate::spec::NodeSpec;
use crate::text;
use crate::world::{Command, World};

pub(crate) use checks::describe;
pub use checks::{Try, Unreached, identity_of};
pub use streak::Streak;

use tries::Tries;

/// For looking at a node's listener.
const LISTENER_TIMEOUT: Duration = Duration::from_secs(10);

/// How much of a body is kept for the report, in characters.
pub(crate) const BODY_SHOWN: usize = 1024;

/// By how much a process may be younger than the first success that was seen of it: clocks of processes are coarse.
const COARSE: Duration = Duration::from_millis(500);

/// A node being watched until it is healthy.
pub struct Gate<W> {
    /// The world.
    pub world: Arc<W>,
    /// Consul, for the check of that kind.
    pub consul: Arc<Client<W>>,
    /// The node.
    pub node: NodeSpec,
    /// The process must be younger than this; `None` when nothing was started by us (`node in`).
    pub mark: Option<Mark>,
    /// Commands run through `sudo -n`.
    pub sudo: bool,
    /// Any version will do (`node in`).
    pub any_version: bool,
    /// The version cannot tell the new process from the old one: the same was running before.
    pub same_version: bool,
}

/// A node that is healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Healthy {
    /// In words: how many tries, which process.
    pub message: String,
}

/// Why the process that listens is not proven to be the new one.
#[derive(Debug)]
struct Unproven {
    /// The same at every try, so that tries can be counted by it.
    cause: String,
    /// With what passes, such as the process's age.
    seen: String,
    /// It began after the first success: what answered then has ended.
    restarted: bool,
}

impl From<String> for Unproven {
    fn from(cause: String) -> Self {
        Self { seen: cause.clone(), cause, restarted: false }
    }
}

/// What the tries have seen, for the report.
#[derive(Debug, Clone, Default)]
struct Seen {
    tries: u32,
    successes: u32,
    best: u32,
    reasons: BTreeMap<String, u32>,
    last: Option<Try>,
    process: Option<String>,
}

impl<W: World> Gate<W> {
    /// Waits until the node is healthy; `tell` hears how it stands after each try, in words.
    ///
    /// # Errors
    ///
    /// At the deadline: what was seen.
    pub async fn wait(self: Arc<Self>, tell: impl Fn(String)) -> Result<Healthy, Failure> {
        let health = &self.node.health;
        let begun = Instant::now();
        let mut streak = Streak::new(health.rise, health.fall);
        let mut seen = Seen::default();
        let mut tries = Tries::new(self.clone());
        // The first success of the row that made it healthy, or may make it so.
        let mut healthy_since: Option<Instant> = None;
        let told_by_process = health.identity.is_none() || self.any_version || self.same_version;
        loop {
            let answers = streak.is_healthy() || streak.successes() > 0;
            // Once it is healthy in time, it has the time to stay so.
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
                let late = |_| Err(Unproven::from("its process could not be looked at".to_owned()));
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
                if let Some(version) = &result.wrong_version {
                    message += &format!(", {version}");
                }
                return Ok(Healthy { message });
            }
            let left = text::duration(deadline.saturating_duration_since(Instant::now()));
            let streak = streak.successes().min(health.rise);
            let what = result.problem.as_deref().unwrap_or("ok");
            tell(format!("{what}, streak {streak}/{}, {left} left", health.rise));
        }
        // Whoever still holds the port is part of the answer, also when the checks never got that far.
        if seen.process.is_none()
            && let Ok(process) =
                tokio::time::timeout(LISTENER_TIMEOUT, self.process(Duration::ZERO)).await
        {
            seen.process = Some(process.unwrap_or_else(|unproven| unproven.seen));
        }
        Err(seen.failure(&self.node, begun.elapsed()))
    }

    /// Asks whether the node serves, whatever process answers: as many good tries in a row as make it healthy.
    ///
    /// # Errors
    ///
    /// What the first try that is none has seen.
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

    /// Looks at the process that listens on the node's port, which has answered well for so long: words if it is new, the
    /// problem if not.
    async fn process(&self, kept: Duration) -> Result<String, Unproven> {
        let listener = self.listener().await?;
        let port = self.node.port();
        if !listener.bound {
            return Err(format!("nothing listens on :{port}").into());
        }
        let oldest = listener.owners.iter().min_by_key(|process| process.started.0);
        if let Some(process) = oldest
            && process.age(listener.mark) + COARSE < kept
        {
            let age = text::duration(process.age(listener.mark));
            let told =
                |age: &str| format!("pid {}, started {age}after the first success", process.pid);
            return Err(Unproven {
                cause: told(""),
                seen: told(&format!("{age} ago, ")),
                restarted: true,
            });
        }
        let Some(mark) = self.mark else {
            return Ok(listener.owners.first().map_or_else(
                || format!("something listens on :{port}"),
                |process| format!("pid {} owns :{port}", process.pid),
            ));
        };
        if listener.owners.is_empty() {
            return Err(format!(
                "the process that owns :{port} cannot be seen (set `health.identity` or `ssh.sudo`)"
            )
            .into());
        }
        if let Some(old) = listener.older_than(mark).next() {
            let (pid, age) = (old.pid, text::duration(old.age(listener.mark)));
            let told = |since: &str| {
                format!("pid {pid}, started {since}before this release, still owns :{port}")
            };
            let seen = told(&format!("{age} ago, "));
            return Err(Unproven { cause: told(""), seen, restarted: false });
        }
        let process = &listener.owners[0];
        let age = text::duration(process.age(listener.mark));
        Ok(format!("pid {}, started {age} ago by this release, owns :{port}", process.pid))
    }

    /// The processes that listen on the node's port, each with its start; `None` where they cannot be seen.
    pub async fn owners(&self) -> Option<BTreeSet<(u32, Mark)>> {
        let listener = self.listener().await.ok()?;
        let owners = listener.owners.iter().map(|process| (process.pid, process.started));
        Some(owners.collect()).filter(|owners: &BTreeSet<_>| !owners.is_empty())
    }

    async fn listener(&self) -> Result<Listener, String> {
        let operation = Operation::Listener { port: self.node.port() };
        let command = Command::new(operation, LISTENER_TIMEOUT, self.sudo);
        let output = self.world.run(&self.node.host, command).await;
        let output = output.map_err(|error| format!("its process cannot be looked at: {error}"))?;
        if !output.success() {
            let problem = text::line(&output.stderr_text(), 200);
            return Err(format!("its process cannot be looked at: {problem}"));
        }
        Ok(Listener::parse(&output.stdout_text(), &self.node.address))
    }
}

impl Seen {
    fn take(&mut self, result: &Try) {
        self.tries += 1;
        match &result.problem {
            None => self.successes += 1,
            Some(problem) => *self.reasons.entry(problem.clone()).or_default() += 1,
        }
        // The last answer that explains something is worth more than a later refused connection.
        if result.body.is_some() || self.last.as_ref().is_none_or(|last| last.body.is_none()) {
            self.last = Some(result.clone());
        }
    }

    fn success(&self, rise: u32) -> String {
        let mut message = format!("healthy={rise}/{rise}");
        if self.tries > self.successes {
            message += &format!(" after {} tries", self.tries);
        }
        if let Some(process) = &self.process {
            message += &format!(", {process}");
        }
        message
    }

    fn failure(&self, node: &NodeSpec, elapsed: Duration) -> Failure {
        let health = &node.health;
        let mut failure = Failure {
            reason: format!("not healthy within {}", text::duration(elapsed.max(health.deadline))),
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
        let reasons = if reasons.is_empty() { "no try ended".into() } else { reasons.join("; ") };
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

#[cfg(test)]
mod tests;
