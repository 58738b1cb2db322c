//! Marks a node down and up.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use tokio::time::Instant;

use super::Needs;
use crate::engine::outcome::{StepError, StepOutcome};
use crate::engine::worker::NodeWorker;
use crate::mark::Mark;
use crate::registry::{Error, Switch, Written};
use crate::release::{EventKind, NodeState, Step};
use crate::text;
use crate::world::World;

/// Maximum number of attempts for a write that is answered but does not show, or that conflicts with other writers.
const ATTEMPTS: u32 = 5;

/// The pause before the next attempt after a failed read or write; it doubles up to [`LONGEST_PAUSE`].
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long a read of the registry lasts until an operator hears of it: the node may be out of rotation meanwhile.
const NO_ANSWER: Duration = Duration::from_secs(2);

/// How long Consul may not list an instance after its service was started.
const COMES_BACK: Duration = Duration::from_secs(30);

/// Retries failed reads and writes until the step's deadline.
struct Patience {
    deadline: Instant,
    pause: Duration,
    /// The problem was reported as a warning.
    told: bool,
}

impl Patience {
    fn until(deadline: Instant) -> Self {
        Self { deadline, pause: LOOK_AGAIN, told: false }
    }

    /// Returns the next pause, or `None` once no time is left.
    fn next(&mut self, now: Instant) -> Option<Duration> {
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        (now + pause < self.deadline).then_some(pause)
    }
}

impl<W: World> NodeWorker<W> {
    /// Marks the node down or up. The previous value is in the journal before the change.
    pub(in crate::engine) async fn set_down(
        &mut self,
        step: Step,
        down: bool,
    ) -> Result<StepOutcome, StepError> {
        let context = self.context.clone();
        let registry = &context.registry;
        let mut patience = Patience::until(Instant::now() + self.confirm_time());
        // A node that a gateway does not list counts as out only if rollgate removed it. To leave it unchanged as out,
        // the gateway must also list no server that was added by hand since.
        let taken = self.state(|state| state.may_be_down() || state.may_be_half_done());
        // A write whose effect is unknown, or only a part of one, may have changed something.
        let mut may_be_changed = self.state(|state| state.writing.is_some());
        self.is_answered = false;
        let mut was_taken = taken || self.planned.was_out || self.planned.taken_out;
        let mut unanswered = None;
        let mut attempts = 0;
        while attempts < ATTEMPTS {
            let switch = match self.find_switch(step, &mut patience).await {
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
            let key = switch.name.clone();
            if switch.mark == Mark::of(down) {
                self.written = Instant::now();
                let modify_index = switch.modify_index;
                let written = EventKind::RegistryWritten { key, down, modify_index };
                self.record(Some(step), written).await?;
                return Ok(said(&switch, down, modify_index));
            }
            if !switch.is_fenced() {
                self.permit(Needs::Lock).ask().await?;
            }
            self.record(Some(step), switch.writing(down)).await?;
            if down && !self.may_still_leave(step).await? {
                self.not_written(step, may_be_changed).await?;
                self.make_room(step).await?;
                continue;
            }
            let guard = context.lock.fence().now();
            match registry.write(&guard, &self.node, &switch, down).await {
                Ok(Written::Done(modify_index)) => {
                    self.written = Instant::now();
                    let written = EventKind::RegistryWritten { key, down, modify_index };
                    self.record(Some(step), written).await?;
                    return Ok(said(&switch, down, modify_index));
                }
                // Another writer changed the key meanwhile: its change stays, and this change is applied on top of it.
                Ok(Written::Conflict) => {
                    unanswered = None;
                    attempts += 1;
                    self.not_written(step, may_be_changed).await?;
                }
                Ok(Written::NotHeld) => {
                    attempts += 1;
                    self.not_written(step, may_be_changed).await?;
                    if context.lock.refused(&guard).await.is_err() {
                        return Err(StepError::Halt);
                    }
                }
                // The write may or may not have taken effect: read again.
                Err(Error::Unknown(problem)) => {
                    (was_taken, may_be_changed) = (true, true);
                    self.wait_quietly(step, &mut patience, problem).await?;
                }
                Err(Error::NotShown(problem)) => {
                    (was_taken, may_be_changed) = (true, true);
                    unanswered = Some(problem);
                    attempts += 1;
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                Err(Error::HalfDone(problem)) => {
                    self.is_answered = !may_be_changed;
                    return Err(StepError::from(problem));
                }
                Err(Error::Away(problem)) => {
                    self.not_written(step, may_be_changed).await?;
                    self.wait_for(step, &mut patience, problem).await?;
                }
                Err(Error::Gone(problem) | Error::Failed(problem)) => {
                    self.not_written(step, may_be_changed).await?;
                    return Err(StepError::from(problem));
                }
            }
        }
        Err(StepError::from(unanswered.unwrap_or_else(|| {
            let key = context.spec.place(&self.node.address);
            format!("{key} was changed by another writer {ATTEMPTS} times in a row")
        })))
    }

    /// Waits before a retry while the registry is unreachable. Reports it once as a warning, and then as progress.
    async fn wait_for(
        &self,
        step: Step,
        patience: &mut Patience,
        problem: String,
    ) -> Result<(), StepError> {
        self.warn(step, patience, &problem).await?;
        self.wait_quietly(step, patience, problem).await
    }

    /// Warns once that the step waits.
    async fn warn(
        &self,
        step: Step,
        patience: &mut Patience,
        problem: &str,
    ) -> Result<(), StepError> {
        if std::mem::replace(&mut patience.told, true) {
            return Ok(());
        }
        let left = text::duration(patience.deadline.saturating_duration_since(Instant::now()));
        let message =
            format!("{}: {problem}; `{step}` is retried for up to {left}", self.node.name);
        self.record(Some(step), EventKind::Warning { message }).await
    }

    /// Reads the node's switch. Warns if the answer takes long.
    async fn read_switch(&self, step: Step, patience: &mut Patience) -> Result<Switch, Error> {
        let mut read = pin!(self.context.registry.read(&self.node));
        tokio::select! {
            biased;
            found = &mut read => return found,
            () = tokio::time::sleep(NO_ANSWER) => {}
        }
        let problem = format!("no answer from the registry for {}", text::duration(NO_ANSWER));
        // A warning that cannot be recorded stops the step at its next event.
        let (_, found) = tokio::join!(self.warn(step, patience, &problem), read);
        found
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

    /// Reads the node's switch. An instance that deregistered itself during a restart gets time to register again.
    async fn find_switch(&self, step: Step, patience: &mut Patience) -> Result<Switch, Error> {
        let is_stopped = self.state(NodeState::is_stopped);
        let deadline = Instant::now() + COMES_BACK;
        loop {
            match self.read_switch(step, patience).await {
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

    /// The servers outside the playbook that gateways listed when rollgate removed the node from rotation.
    fn strangers(&self) -> BTreeSet<String> {
        self.state(NodeState::strangers_when_marked)
            .unwrap_or_else(|| self.planned.strangers.clone())
    }

    /// Records that nothing was changed, unless an earlier write may have changed something.
    async fn not_written(&self, step: Step, may_be_changed: bool) -> Result<(), StepError> {
        if may_be_changed {
            return Ok(());
        }
        self.record(Some(step), EventKind::RegistryRefused {}).await
    }
}

fn said(switch: &Switch, down: bool, index: u64) -> StepOutcome {
    let (consul, key) = (if switch.is_in_consul() { "consul " } else { "" }, &switch.name);
    let index = if index == 0 { String::new() } else { format!(" (index {index})") };
    StepOutcome::from(format!("{consul}{key} down={}{index}", u8::from(down)))
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
