//! Marking a node down and up.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::Needs;
use crate::engine::outcome::{StepError, StepOutcome};
use crate::engine::worker::NodeWorker;
use crate::registry::{Error, Switch, Written};
use crate::release::{EventKind, NodeState, Step};
use crate::spec::RegistrySpec;
use crate::text;
use crate::world::World;

/// How often a write is tried that was answered and is not seen to be done, or while others write the same key.
const ATTEMPTS: u32 = 5;

/// The pause before looking again at what could not be read or written; it doubles up to [`LONGEST_PAUSE`].
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The longest pause between two looks.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long an instance may be unknown to Consul after its service was started.
const COMES_BACK: Duration = Duration::from_secs(30);

/// Looks again and again at what cannot be read or written at the moment, until the step's deadline.
struct Patience {
    deadline: Instant,
    pause: Duration,
    /// The trouble was told as a warning.
    told: bool,
}

impl Patience {
    fn until(deadline: Instant) -> Self {
        Self { deadline, pause: LOOK_AGAIN, told: false }
    }

    /// How long to wait now, or nothing once there is no time left.
    fn next(&mut self, now: Instant) -> Option<Duration> {
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        (now + pause < self.deadline).then_some(pause)
    }
}

impl<W: World> NodeWorker<W> {
    /// Marks the node down or up: what was there is in the journal before it is changed.
    pub(in crate::engine) async fn set_down(
        &mut self,
        step: Step,
        down: bool,
    ) -> Result<StepOutcome, StepError> {
        let context = self.context.clone();
        let registry = &context.registry;
        let mut patience = Patience::until(Instant::now() + self.confirm_time());
        // What a gateway does not list is out only if rollgate took it out. To be left alone as one that is out, the gateway must
        // not list anything that was added by hand since.
        let taken = self.state(|state| state.may_be_down() || state.may_be_half_done());
        let mut was_taken = taken || self.planned.was_out || self.planned.taken_out;
        let mut unanswered = None;
        let mut attempts = 0;
        while attempts < ATTEMPTS {
            let switch = match self.find_switch(step).await {
                Ok(switch) => switch,
                Err(Error::Away(problem)) => {
                    self.wait_for(step, &mut patience, problem).await?;
                    continue;
                }
                Err(error) => return Err(StepError::from(error.to_string())),
            };
            let is_out = was_taken && (!down || switch.strangers.is_subset(&self.strangers()));
            if let Some(absent) = switch.absent.as_ref().filter(|_| !is_out) {
                return Err(StepError::from(absent.clone()));
            }
            let (key, modify_index) = (switch.name.clone(), switch.modify_index);
            if switch.down == Some(down) {
                self.written = Instant::now();
                let written = EventKind::RegistryWritten { key: key.clone(), down, modify_index };
                self.record(Some(step), written).await?;
                return Ok(self.said(&key, down, modify_index));
            }
            if !registry.is_fenced() {
                self.permit(Needs::Lock).ask().await?;
            }
            let original = switch.original.clone();
            let strangers = switch.strangers_kept(down);
            let writing = EventKind::RegistryWriting {
                key: key.clone(),
                down,
                original,
                modify_index,
                strangers,
            };
            self.record(Some(step), writing).await?;
            if down && !self.may_still_leave(step).await? {
                self.not_written(step).await?;
                self.make_room(step).await?;
                continue;
            }
            let guard = context.lock.fence().now();
            match registry.write(&guard, &self.node, &switch, down).await {
                Ok(Written::Done(modify_index)) => {
                    self.written = Instant::now();
                    let written =
                        EventKind::RegistryWritten { key: key.clone(), down, modify_index };
                    self.record(Some(step), written).await?;
                    return Ok(self.said(&key, down, modify_index));
                }
                // Somebody else changed the key meanwhile: their change stays, ours is made on top of it.
                Ok(Written::Conflict) => {
                    unanswered = None;
                    attempts += 1;
                    self.not_written(step).await?;
                }
                Ok(Written::NotHeld) => {
                    attempts += 1;
                    self.not_written(step).await?;
                    if context.lock.refused(&guard).await.is_err() {
                        return Err(StepError::Halt);
                    }
                }
                // It may or may not have been done: look.
                Err(Error::Unknown(problem)) => {
                    was_taken = true;
                    self.wait_quietly(step, &mut patience, problem).await?;
                }
                Err(Error::NotShown(problem)) => {
                    (was_taken, unanswered) = (true, Some(problem));
                    attempts += 1;
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                Err(Error::Away(problem)) => {
                    self.not_written(step).await?;
                    self.wait_for(step, &mut patience, problem).await?;
                }
                Err(Error::Gone(problem) | Error::Failed(problem)) => {
                    self.not_written(step).await?;
                    return Err(StepError::from(problem));
                }
            }
        }
        Err(StepError::from(unanswered.unwrap_or_else(|| {
            let key = context.spec.registry.place(&self.node.address);
            format!("{key} was changed by another writer {ATTEMPTS} times in a row")
        })))
    }

    /// Waits for what cannot be reached at the moment. That is told once, and then as progress.
    async fn wait_for(
        &self,
        step: Step,
        patience: &mut Patience,
        problem: String,
    ) -> Result<(), StepError> {
        if !patience.told {
            patience.told = true;
            let left = text::duration(patience.deadline.saturating_duration_since(Instant::now()));
            let message =
                format!("{}: {problem}; `{step}` is retried for up to {left}", self.node.name);
            self.record(Some(step), EventKind::Warning { message }).await?;
        }
        self.wait_quietly(step, patience, problem).await
    }

    async fn wait_quietly(
        &self,
        step: Step,
        patience: &mut Patience,
        problem: String,
    ) -> Result<(), StepError> {
        let now = Instant::now();
        let Some(pause) = patience.next(now) else { return Err(StepError::from(problem)) };
        let left = patience.deadline.saturating_duration_since(now);
        self.tell(step, format!("retrying: {problem}"), None, left);
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// Reads the node's switch. An instance that has deregistered itself while it restarts gets the time to come back.
    async fn find_switch(&self, step: Step) -> Result<Switch, Error> {
        let is_stopped = self.state(NodeState::is_stopped);
        let deadline = Instant::now() + COMES_BACK;
        loop {
            match self.context.registry.read(&self.node).await {
                Err(Error::Gone(problem)) if is_stopped && Instant::now() < deadline => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    self.tell(
                        step,
                        format!("waiting until Consul lists the instance: {problem}"),
                        None,
                        left,
                    );
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                found => return found,
            }
        }
    }

    fn said(&self, key: &str, down: bool, index: u64) -> StepOutcome {
        let consul =
            if self.context.spec.registry == RegistrySpec::Gateway { "" } else { "consul " };
        let index = if index == 0 { String::new() } else { format!(" (index {index})") };
        StepOutcome::from(format!("{consul}{key} down={}{index}", u8::from(down)))
    }

    /// What gateways listed besides the playbook's nodes when rollgate took the node out.
    fn strangers(&self) -> BTreeSet<String> {
        self.state(NodeState::strangers_when_marked)
            .unwrap_or_else(|| self.planned.strangers.clone())
    }

    async fn not_written(&self, step: Step) -> Result<(), StepError> {
        self.record(Some(step), EventKind::RegistryRefused {}).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_away_is_looked_for_more_and_more_rarely_until_the_deadline() {
        let begun = Instant::now();
        let mut patience = Patience::until(begun + Duration::from_secs(60));
        let mut pauses = Vec::new();
        while let Some(pause) = patience.next(Instant::now()) {
            tokio::time::sleep(pause).await;
            pauses.push(pause.as_millis());
        }
        assert_eq!(pauses[..5], [200, 400, 800, 1600, 2000]);
        assert!(pauses[4..].iter().all(|pause| *pause == 2000));
        let waited = begun.elapsed();
        assert!((58..60).contains(&waited.as_secs()), "{waited:?}");
    }
}
