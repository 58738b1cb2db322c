//! The hold of a node that an operator takes out of rotation, or returns.

use tokio::time::{Instant, timeout_at};

use super::context::Operation;
use super::outcome::StepError;
use super::stop::HOLD_TIME;
use super::worker::NodeWorker;
use crate::holds::NotChanged;
use crate::release::{EventKind, NodeState};
use crate::world::World;

impl<W: World> NodeWorker<W> {
    /// Records the hold of a node that leaves rotation by hand, before it is marked down. A release that finds it out
    /// then knows that it must stay out.
    pub(super) async fn hold(&self) -> Result<(), StepError> {
        match &self.planned.held {
            Some(hold) if self.context.operation == Operation::Out => {
                let until = Instant::now() + self.confirm_time();
                let set =
                    self.context.holds.set(&self.context.lock, &self.node.name, Some(hold), until);
                set.await.map_err(|error| failed("recorded", error))
            }
            _ => Ok(()),
        }
    }

    /// Ends the hold of a node that is confirmed in rotation. The node is done only after that.
    pub(super) async fn end_hold(&self) -> Result<(), StepError> {
        if self.planned.held.is_none() || self.context.operation == Operation::Out {
            return Ok(());
        }
        self.unhold(Instant::now() + self.confirm_time()).await
    }

    /// Ends the hold of a node that stays in rotation, because it could not be taken out.
    pub(super) async fn withdraw_hold(&self) {
        let is_up = !self.planned.was_out && !self.state(NodeState::may_be_down);
        let is_ours = !self.context.stop.is_lock_lost();
        if self.context.operation != Operation::Out || !is_up || !is_ours {
            return;
        }
        let stop = &self.context.stop;
        let time = if stop.is_requested() { HOLD_TIME } else { self.confirm_time() };
        let until = stop.until(time);
        let late = |_| Err(StepError::from("no answer in time".to_owned()));
        let ended = timeout_at(until, self.unhold(until)).await;
        if let Err(trouble) = ended.unwrap_or_else(late) {
            let (name, why) = (&self.node.name, trouble.into_failure().reason);
            let message =
                format!("{name} is in rotation, but still held: {why}; `node in` ends the hold");
            let _ = self.record(None, EventKind::Warning { message }).await;
        }
    }

    async fn unhold(&self, until: Instant) -> Result<(), StepError> {
        let ended = self.context.holds.set(&self.context.lock, &self.node.name, None, until);
        ended.await.map_err(|error| failed("ended", error))
    }
}

fn failed(what: &str, error: NotChanged) -> StepError {
    match error {
        NotChanged::LockLost => StepError::Halt,
        NotChanged::Failed(problem) => {
            StepError::from(format!("its hold could not be {what}: {problem}"))
        }
    }
}
