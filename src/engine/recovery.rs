//! Handles a node that does not finish. A node that was only marked down returns to rotation; any other node stays as
//! it is.

use std::time::Duration;

use tokio::time::Instant;

use super::outcome::StepError;
use super::pool::Part;
use super::stop::{COURTESY_TIME, PUT_BACK_TIME};
use super::worker::NodeWorker;
use crate::release::{EventKind, Failure, NodeState, Step};
use crate::world::World;

/// Maximum time to confirm a returned node, beyond twice the gateways' lag, after a step that failed because a gateway
/// could not be read. Most likely the gateway is still unreadable.
const BLIND_TIME: Duration = Duration::from_secs(5);

impl<W: World> NodeWorker<W> {
    /// Handles the failure of the node. If it was only marked down, it returns to rotation; otherwise it stays as it
    /// is.
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
        if self.tell_failure(step, failure).await && put_back {
            self.put_back_in_time(step, patience).await;
        }
    }

    /// Returns a node to rotation that an earlier run of the failed release has only marked down.
    pub(super) async fn return_unchanged(mut self) {
        if self.may_be_put_back(false) {
            self.put_back_in_time(Step::Disable, self.confirm_time()).await;
        }
    }

    /// Puts the node back, for a short time only once a stop is requested.
    async fn put_back_in_time(&mut self, step: Step, patience: Duration) {
        let deadline = Instant::now() + self.confirm_time();
        let interrupted = self.context.stop.passed(PUT_BACK_TIME);
        tokio::select! {
            biased;
            () = self.put_back(step, deadline, patience) => {}
            () = interrupted => {}
        }
    }

    /// Records a failure, with the last log lines of the service if they can explain it: the service was stopped or is
    /// unhealthy. Returns whether the failure is recorded.
    pub(super) async fn tell_failure(&self, step: Step, mut failure: Failure) -> bool {
        let concerns_service = step == Step::Health || self.state(NodeState::is_stopped);
        if concerns_service && !failure.put_back {
            let interrupted = self.context.stop.passed(COURTESY_TIME);
            failure.log = tokio::select! {
                biased;
                log = self.last_log_lines(step) => log,
                () = interrupted => Vec::new(),
            };
        }
        self.record(Some(step), EventKind::NodeFailed(Box::new(failure))).await.is_ok()
    }

    /// Removes an unhealthy node from rotation, if enough other nodes serve at every gateway.
    pub(super) async fn withdraw(&mut self) {
        let step = Step::Disable;
        let name = self.node.name.clone();
        let interrupted = self.context.stop.passed(PUT_BACK_TIME);
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

    /// Handles a step on the service that was certainly never begun. The service from before still runs, unless the
    /// node is unreachable because it is dead. So the node returns to rotation only if its health check passes.
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
        let interrupted = self.context.stop.requested();
        let serves = tokio::select! {
            biased;
            serves = gate.serves() => serves,
            () = interrupted => Err("the release is stopping".to_owned()),
        };
        match serves {
            Ok(()) => failure.put_back = true,
            Err(problem) => {
                failure
                    .seen
                    .push(("not returned to rotation".into(), format!("health check: {problem}")));
            }
        }
        failure
    }

    /// The release must stop: brings the node to a safe state at once.
    pub(super) async fn interrupt(&mut self, step: Step) {
        self.end_watchdog().await;
        // A write may have begun that is not recorded yet.
        self.context.catch_up().await;
        if self.may_be_put_back(false) {
            self.put_back(step, self.context.stop.until(PUT_BACK_TIME), PUT_BACK_TIME).await;
        }
        let _ = self.record(Some(step), EventKind::NodeInterrupted {}).await;
    }

    /// Without a health check, only a node that served before and was not changed since returns to rotation, and only
    /// while this release holds the lock. `serves` reports that the action of the step was never begun.
    fn may_be_put_back(&self, serves: bool) -> bool {
        let ours = !self.context.stop.is_lock_lost();
        let (down, stopped) = self.state(|state| (state.may_be_down(), state.is_stopped()));
        ours && down && (serves || !stopped) && !self.planned.was_out
    }

    /// Marks the node up, with retries until `deadline`, and waits until then for the confirmation that it is in
    /// rotation, but no longer than `patience`.
    async fn put_back(&mut self, step: Step, deadline: Instant, patience: Duration) {
        // A write without an answer may still take effect after the next write. A further write of the same kind
        // settles that: the unanswered write cannot take effect after it.
        self.looked = None;
        let settled = async {
            if !self.is_answered && self.state(|state| state.writing.is_some()) {
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
        let (proven, problem) = match self.confirm(step, true, deadline).await {
            Ok(_) => (true, None),
            Err(StepError::Failed(Failure { reason, .. }) | StepError::Blind(reason)) => {
                (false, Some(reason))
            }
            Err(_) => (false, None),
        };
        let _ = self.record(Some(step), EventKind::NodePutBack { proven, problem }).await;
    }
}
