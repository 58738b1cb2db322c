//! When a node does not get to its end: what was only marked down is put back, everything else stays as it is.

use std::time::Duration;

use tokio::time::Instant;

use super::context::{StopReason, stopped_for};
use super::outcome::StepError;
use super::pool::Part;
use super::worker::{COURTESY_GRACE, NodeWorker};
use crate::release::{EventKind, Failure, NodeState, Step};
use crate::world::World;

/// How long a node that is put back may take to be proven in, beyond twice the gateways' lag, when the step failed because
/// one of them could not be read in the end: most likely it cannot be read now.
const BLIND_TIME: Duration = Duration::from_secs(5);

/// How long a node that is put back may take to be proven in, once the release is stopping: the whole must fit
/// into the five seconds that a cancelled CI job has.
const PUT_BACK_GRACE: Duration = Duration::from_secs(2);

impl<W: World> NodeWorker<W> {
    /// The node has failed: what was only marked down is put back, everything else stays as it is.
    pub(super) async fn fail(&mut self, step: Step, trouble: StepError) {
        self.end_watchdog().await;
        let patience = match trouble {
            StepError::Blind(_) => BLIND_TIME + 2 * self.lag(),
            _ => self.confirm_time(),
        };
        let mut failure = trouble.into_failure();
        if !self.goes_back() {
            self.context.pool.fails(&self.node.name);
        }
        failure.put_back = self.may_be_put_back(failure.put_back);
        let put_back = failure.put_back;
        if !self.tell_failure(step, failure).await || !put_back {
            return;
        }
        let deadline = Instant::now() + self.confirm_time();
        let interrupted = stopped_for(self.context.stop.clone(), PUT_BACK_GRACE);
        tokio::select! {
            biased;
            () = self.put_back(step, deadline, patience) => {}
            () = interrupted => {}
        }
    }

    /// Records a failure, with what the service said last unless the node will be put back. Returns whether it is recorded.
    pub(super) async fn tell_failure(&self, step: Step, mut failure: Failure) -> bool {
        if !failure.put_back {
            let interrupted = stopped_for(self.context.stop.clone(), COURTESY_GRACE);
            failure.log = tokio::select! {
                biased;
                log = self.last_log_lines(step) => log,
                () = interrupted => Vec::new(),
            };
        }
        self.record(Some(step), EventKind::NodeFailed(Box::new(failure))).await.is_ok()
    }

    /// Takes a node that is not well out of rotation, if enough others serve at every gateway.
    pub(super) async fn withdraw(&mut self) {
        let step = Step::Disable;
        let name = self.node.name.clone();
        let interrupted = stopped_for(self.context.stop.clone(), PUT_BACK_GRACE);
        let left = async {
            self.make_room(step).await?;
            self.set_down(step, true).await?;
            self.confirm(step, false, Instant::now() + self.confirm_time()).await
        };
        let trouble = tokio::select! {
            biased;
            left = left => left.err(),
            () = interrupted => Some(StepError::from("the release is stopping".to_owned())),
        };
        let Some(trouble) = trouble.filter(|trouble| !matches!(trouble, StepError::Halt)) else {
            return;
        };
        let stays =
            if self.state(NodeState::may_be_down) { "is marked down" } else { "stays in rotation" };
        let reason = trouble.into_failure().reason;
        let message = format!("{name} is unhealthy and {stays}: {reason}");
        let _ = self.record(None, EventKind::Warning { message }).await;
    }

    /// What a step to the service was to do was certainly never begun. What served before then still does, unless the
    /// node cannot be reached because it is dead: only one that is seen to serve may be put back.
    pub(super) async fn not_begun(
        &mut self,
        step: Step,
        stopped_before: bool,
        reason: String,
    ) -> Failure {
        let mut failure = Failure { reason, not_begun: true, ..Failure::default() };
        if stopped_before || !self.state(NodeState::may_be_down) || self.planned.was_out {
            return failure;
        }
        let health = &self.node.health;
        let longest = (health.timeout + health.interval) * health.rise;
        self.tell(
            step,
            format!("{}; checking whether it still serves", failure.reason),
            None,
            longest,
        );
        let gate = self.gate();
        let interrupted = stopped_for(self.context.stop.clone(), Duration::ZERO);
        let serves = tokio::select! {
            biased;
            serves = gate.serves() => serves,
            () = interrupted => Err("the release is stopping".to_owned()),
        };
        match serves {
            Ok(()) => failure.put_back = true,
            Err(problem) => {
                failure.seen.push(("not put back".into(), format!("health check: {problem}")));
            }
        }
        failure
    }

    /// The release is to stop: go where the pool is safe, at once.
    pub(super) async fn interrupt(&mut self, step: Step) {
        self.end_watchdog().await;
        // A write may have been begun that is not recorded yet.
        self.context.catch_up().await;
        if self.may_be_put_back(false) {
            self.put_back(step, Instant::now() + PUT_BACK_GRACE, PUT_BACK_GRACE).await;
        }
        let _ = self.record(Some(step), EventKind::NodeInterrupted {}).await;
    }

    /// Only what served before and was not touched since goes back without a proof of health, and only by us. `serves` tells
    /// that what the step was to do was never begun.
    fn may_be_put_back(&self, serves: bool) -> bool {
        let ours = !matches!(*self.context.stop.borrow(), StopReason::LockLost(_));
        let (down, stopped) = self.state(|state| (state.may_be_down(), state.is_stopped()));
        ours && down && (serves || !stopped) && !self.planned.was_out
    }

    /// Marks the node up until `deadline`, and waits so long for the proof that it is back in, but no longer than
    /// `patience`.
    async fn put_back(&mut self, step: Step, deadline: Instant, patience: Duration) {
        // A write without an answer may still be done after ours; one more of the same kind, which it then
        // cannot follow, settles that.
        self.looked = None;
        let settled = async {
            if self.state(|state| state.writing.is_some()) {
                self.set_down(step, true).await?;
            }
            self.set_down(step, false).await
        };
        let written = tokio::time::timeout_at(deadline, settled).await;
        match written {
            Ok(Ok(_)) => {}
            Ok(Err(StepError::Halt)) => return,
            Ok(Err(trouble)) => {
                let reason = trouble.into_failure().reason;
                let message =
                    format!("{} could not be returned to rotation: {reason}", self.node.name);
                let _ = self.record(None, EventKind::Warning { message }).await;
                return;
            }
            Err(_) => {
                let message =
                    format!("{} could not be returned to rotation in time", self.node.name);
                let _ = self.record(None, EventKind::Warning { message }).await;
                return;
            }
        }
        self.context.pool.join(&self.node.name, Part::Other);
        let deadline = deadline.min(Instant::now() + patience);
        let proven = match self.confirm(step, true, deadline).await {
            Ok(_) => true,
            Err(StepError::Failed(Failure { reason, .. }) | StepError::Blind(reason)) => {
                let message = format!("{} is marked up; {reason}", self.node.name);
                let _ = self.record(None, EventKind::Warning { message }).await;
                false
            }
            Err(_) => false,
        };
        let _ = self.record(Some(step), EventKind::NodePutBack { proven }).await;
    }
}
