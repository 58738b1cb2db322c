//! One node's way through its steps: to the end, into a failure, or to a safe place when the release stops.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use super::context::{Context, Mode, Record, StopReason, millis, stopped_for};
use super::outcome::{NodeResult, StepError, StepResult};
use super::pool::Part;
use super::watchdog::Watchdog;
use crate::playbook::OnFailure;
use crate::release::{EventKind, Failure, NodeState, Planned, Step};
use crate::spec::{Action, NodeSpec, Shell};
use crate::world::World;

/// How long a registry write that is under way may still take once the release is stopping.
const WRITE_GRACE: Duration = Duration::from_secs(1);

/// How long the last log lines of a failed node, or the deletion of old releases, may still take then.
pub(super) const COURTESY_GRACE: Duration = Duration::from_millis(500);

/// Between two signs of life of a command.
const BEAT: Duration = Duration::from_secs(5);

/// Takes one node through its steps.
pub(super) struct NodeWorker<W> {
    pub(super) context: Arc<Context<W>>,
    pub(super) node: Arc<NodeSpec>,
    /// What was planned for it.
    pub(super) planned: Arc<Planned>,
    /// The folder of the release that it ran before, where that is known.
    pub(super) ran: Option<String>,
    /// When the registry took the last write.
    pub(super) written: Instant,
    /// Keeps it out while it is out.
    pub(super) watchdog: Option<Watchdog<W>>,
    /// When the gateways were looked at last whether it may leave.
    pub(super) looked: Option<Looked>,
    /// Until when the node may be proven out anew, once it had to be: all repeated proofs of one way together have that
    /// time.
    again_until: Option<Instant>,
}

/// A look at the gateways after which a node may leave.
#[derive(Debug, Clone, Copy)]
pub(super) struct Looked {
    pub(super) at: Instant,
    /// Nothing listened at its address: without it no user is served less.
    pub(super) is_dead: bool,
}

/// Where a node is bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Bound {
    /// For what the release brings.
    #[default]
    Forward,
    /// For what it ran before.
    Back,
    /// Out of rotation: it was done and is not well any more.
    Out,
}

impl<W: World> NodeWorker<W> {
    pub(super) fn new(context: &Arc<Context<W>>, name: &str) -> Option<Self> {
        let known = context.nodes.get(name)?;
        let goes_back = context.release.node(name, NodeState::goes_back);
        Some(Self {
            context: context.clone(),
            node: if goes_back { known.back.clone()? } else { known.node.clone() },
            planned: known.planned.clone()?,
            ran: context.release.read().ran_before(name),
            written: Instant::now(),
            watchdog: None,
            looked: None,
            again_until: None,
        })
    }

    /// Reads something of the node's state.
    pub(super) fn state<T: Default>(&self, read: impl FnOnce(&NodeState) -> T) -> T {
        self.context.release.node(&self.node.name, read)
    }

    /// Goes through every step, and back to what ran before if that is asked for and the way is known.
    pub(super) async fn go(mut self) {
        let mut arrived = self.walk().await;
        if arrived == NodeResult::Failed && self.turn_back().await {
            arrived = self.walk().await;
        }
        if arrived == NodeResult::Done {
            let interrupted = stopped_for(self.context.stop.clone(), COURTESY_GRACE);
            tokio::select! {
                biased;
                () = self.prune() => {}
                () = interrupted => {}
            }
        }
        if arrived == NodeResult::Done {
            let part = if self.goes_back() { Part::RolledBack } else { Part::Done };
            self.context.pool.join(&self.node.name, part);
        }
    }

    /// The node was done and is not well any more: goes back to what ran before if that is asked for and the way is known, and
    /// leaves rotation otherwise, if the release has changed it.
    pub(super) async fn fall(mut self, failure: Failure) {
        if !self.tell_failure(Step::Health, failure).await {
            return;
        }
        if !self.turn_back().await {
            // A node that no step has changed keeps its place.
            if self.state(NodeState::is_stopped) {
                self.withdraw().await;
            }
        } else if self.walk().await == NodeResult::Done {
            self.context.pool.join(&self.node.name, Part::RolledBack);
        }
    }

    /// What it goes back to when it fails, if there is a way back, and somebody wants it.
    pub(super) fn way_back(&self) -> Option<&Arc<NodeSpec>> {
        let wanted = matches!(
            self.context.spec.on_failure,
            OnFailure::RollbackNode | OnFailure::RollbackAll
        );
        self.context.nodes.get(&self.node.name)?.back.as_ref().filter(|_| wanted)
    }

    /// Turns a failed node around. Returns whether it goes back.
    async fn turn_back(&mut self) -> bool {
        let Some(old) = self.way_back().cloned() else { return false };
        if self.goes_back()
            || !self.state(NodeState::is_stopped)
            || self.context.mode != Mode::Deploy
            || self.stop_requested()
        {
            return false;
        }
        let version = old.version().unwrap_or_default();
        self.node = old;
        // The way back has its own time.
        self.again_until = None;
        self.record(None, EventKind::NodeRollingBack { version }).await.is_ok()
    }

    async fn walk(&mut self) -> NodeResult {
        let begun = Instant::now();
        let mode = self.context.mode;
        let steps = &self.node.clone().steps;
        let done = self.state(|state| state.done.clone());
        let is_left = |action: &&Action| mode.includes(action.step) && !done.contains(&action.step);
        let proven_before = done.contains(&Step::ConfirmOut);
        let is_down = self.state(NodeState::may_be_down);
        // Interrupted after `enable`: it is in rotation already, and only what is left is proven.
        if proven_before && is_down && mode == Mode::Deploy {
            self.watchdog = Some(Watchdog::new(&self.context, &self.node));
        }
        for action in steps.iter().filter(is_left) {
            let ending = if self.stop_requested() {
                StepResult::Interrupted
            } else {
                self.step_watched(action).await
            };
            match ending {
                StepResult::Done => {}
                StepResult::Interrupted | StepResult::Failed(StepError::Halt) => {
                    self.interrupt(action.step).await;
                    return NodeResult::Interrupted;
                }
                StepResult::Failed(trouble) => {
                    self.fail(action.step, trouble).await;
                    return NodeResult::Failed;
                }
            }
        }
        let elapsed_ms = millis(begun);
        let arrived = if self.goes_back() {
            EventKind::NodeRolledBack { elapsed_ms }
        } else {
            EventKind::NodeDone { elapsed_ms }
        };
        match self.record(None, arrived).await {
            Ok(()) => NodeResult::Done,
            Err(_) => NodeResult::Interrupted,
        }
    }

    /// Does a step; nothing is stopped while a gateway may route to the node again, or while another node may be failing.
    async fn step_watched(&mut self, action: &Action) -> StepResult {
        let command = action.command.as_ref();
        match action.step {
            Step::Stop | Step::Restart => match self.may_stop().await {
                StepResult::Done => {}
                other => return other,
            },
            Step::Enable => {
                let stop = stopped_for(self.context.stop.clone(), Duration::ZERO);
                let may = tokio::select! {
                    biased;
                    may = self.may_enable() => may,
                    () = stop => return StepResult::Interrupted,
                };
                if let Err(trouble) = may {
                    return StepResult::Failed(trouble);
                }
                self.end_watchdog().await;
            }
            _ => {}
        }
        let ending = self.step(action.step, command).await;
        if action.step == Step::ConfirmOut
            && self.context.mode == Mode::Deploy
            && matches!(ending, StepResult::Done)
        {
            self.watchdog = Some(Watchdog::new(&self.context, &self.node));
        }
        ending
    }

    /// Makes sure that the nodes that are done are well, and that this one is out still; proves it out again where it is not.
    async fn may_stop(&mut self) -> StepResult {
        loop {
            // What brought others down is not brought to a node that still serves.
            if !self.goes_back() && !self.state(NodeState::is_stopped) {
                let stop = stopped_for(self.context.stop.clone(), Duration::ZERO);
                tokio::select! {
                    biased;
                    () = self.context.verify_done() => {}
                    () = stop => return StepResult::Interrupted,
                }
                if self.context.too_many_failed() {
                    return StepResult::Interrupted;
                }
            }
            let stop = stopped_for(self.context.stop.clone(), Duration::ZERO);
            let stayed = tokio::select! {
                biased;
                stayed = self.stayed_out() => stayed,
                () = stop => return StepResult::Interrupted,
            };
            let Err(why) = stayed else { return StepResult::Done };
            if let Err(trouble) = self.may_prove_again(&why) {
                return StepResult::Failed(trouble);
            }
            for again in [Step::ConfirmOut, Step::Drain] {
                match self.step(again, None).await {
                    StepResult::Done => {}
                    other => return other,
                }
            }
        }
    }

    async fn stayed_out(&self) -> Result<(), String> {
        match &self.watchdog {
            Some(watchdog) => watchdog.stayed_out().await,
            None => Ok(()),
        }
    }

    /// Bounds how long a node is proven out again and again.
    pub(super) fn may_prove_again(&mut self, why: &str) -> Result<(), StepError> {
        let until = Instant::now() + self.confirm_time();
        if Instant::now() >= *self.again_until.get_or_insert(until) {
            return Err(StepError::from(format!("it does not stay out of rotation: {why}")));
        }
        Ok(())
    }

    /// When a proof that the node is out has to be found.
    pub(super) fn proven_out_until(&self) -> Instant {
        let own = Instant::now() + self.confirm_time();
        self.again_until.map_or(own, |until| until.min(own))
    }

    /// From here on whoever writes the key is this node's own way.
    pub(super) async fn end_watchdog(&mut self) {
        if let Some(watchdog) = self.watchdog.take() {
            watchdog.end().await;
        }
    }

    /// Brings the artifact to the node, when there is a place.
    pub(super) async fn stage(mut self, places: Arc<Semaphore>) {
        let stop = stopped_for(self.context.stop.clone(), Duration::ZERO);
        let place = tokio::select! {
            biased;
            place = places.acquire() => place,
            () = stop => return,
        };
        if place.is_err() {
            return;
        }
        match self.step(Step::Stage, None).await {
            StepResult::Done | StepResult::Interrupted | StepResult::Failed(StepError::Halt) => {}
            StepResult::Failed(trouble) => {
                let failed = EventKind::NodeFailed(Box::new(trouble.into_failure()));
                let _ = self.record(Some(Step::Stage), failed).await;
            }
        }
    }

    async fn step(&mut self, step: Step, command: Option<&Shell>) -> StepResult {
        let stopped_before = self.state(NodeState::is_stopped);
        if self.record(Some(step), EventKind::StepStarted {}).await.is_err() {
            return StepResult::Failed(StepError::Halt);
        }
        let begun = Instant::now();
        // A write that is under way gets a moment: its result is worth more than the moment.
        let grace = match step {
            Step::Disable | Step::Enable => WRITE_GRACE,
            _ => Duration::ZERO,
        };
        let interrupted = stopped_for(self.context.stop.clone(), grace);
        let beat = beat(self.context.records.clone(), self.node.name.clone(), step);
        let result = tokio::select! {
            biased;
            result = self.act(step, command) => result,
            () = interrupted => return StepResult::Interrupted,
            () = beat => return StepResult::Interrupted,
        };
        match result {
            Ok(found) => {
                let finished = EventKind::StepFinished {
                    elapsed_ms: millis(begun),
                    message: found.message,
                    drained: found.drained,
                };
                match self.record(Some(step), finished).await {
                    Ok(()) => StepResult::Done,
                    Err(halt) => StepResult::Failed(halt),
                }
            }
            Err(StepError::NotTaken) => StepResult::Interrupted,
            Err(StepError::NotBegun(reason)) if step.touches_service() => {
                let failure = self.not_begun(step, stopped_before, reason).await;
                StepResult::Failed(StepError::Failed(failure))
            }
            Err(trouble) => StepResult::Failed(trouble),
        }
    }

    /// Where it is bound.
    pub(super) fn bound(&self) -> Bound {
        self.state(|state| match state {
            NodeState { fell: true, .. } => Bound::Out,
            state if state.goes_back() => Bound::Back,
            _ => Bound::Forward,
        })
    }

    /// Whether it is on its way back to what it ran before.
    pub(super) fn goes_back(&self) -> bool {
        self.bound() == Bound::Back
    }

    fn stop_requested(&self) -> bool {
        *self.context.stop.borrow() != StopReason::No
    }

    /// Records a fact and returns when it is on the disk.
    pub(super) async fn record(
        &self,
        step: Option<Step>,
        fact: EventKind,
    ) -> Result<(), StepError> {
        Ok(self.context.record(&self.node.name, step, fact).await?)
    }

    /// Tells how a step goes on. Lost when nobody has time to listen.
    pub(super) fn tell(&self, step: Step, message: String, in_flight: Option<u64>, left: Duration) {
        let fact = EventKind::StepProgress { message, in_flight, deadline_s: Some(left.as_secs()) };
        self.context.tell(&self.node.name, step, fact);
    }
}

/// Tells now and then that a command still runs, for as long as it does; other steps tell more themselves.
async fn beat(records: mpsc::Sender<Record>, node: String, step: Step) {
    if !step.touches_service() {
        std::future::pending::<()>().await;
    }
    loop {
        tokio::time::sleep(BEAT).await;
        let message = "the command is still running".to_owned();
        let fact = EventKind::StepProgress { message, in_flight: None, deadline_s: None };
        let (node, step, fact) = (Some(node.clone()), Some(step), Some(fact));
        let record = Record { node, step, fact, written: None };
        let _ = records.try_send(record);
    }
}
