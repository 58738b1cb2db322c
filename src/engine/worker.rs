//! Runs one node through its steps until it finishes, fails, or reaches a safe state when the release stops.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, Semaphore};
use tokio::time::Instant;

use super::context::{Context, Noted, Operation, millis};
use super::outcome::{NodeResult, StepError, StepResult};
use super::pool::Part;
use super::stop::{COURTESY_TIME, WRITE_TIME};
use super::watchdog::Watchdog;
use crate::release::{EventKind, Failure, NodeState, Planned, RestorePoint, STILL_RUNNING, Step};
use crate::spec::{Action, NodeSpec, Shell};
use crate::world::World;

/// Pause between two progress reports of a command or a check.
const BEAT: Duration = Duration::from_secs(5);

/// How long a command or a check lasts until it is reported: most of them are short.
const FIRST_BEAT: Duration = Duration::from_secs(1);

/// Runs one node through its steps.
pub(super) struct NodeWorker<W> {
    pub(super) context: Arc<Context<W>>,
    pub(super) node: Arc<NodeSpec>,
    /// The plan for the node.
    pub(super) planned: Arc<Planned>,
    /// The folder of the release that the node ran before, if it is known.
    pub(super) ran: Option<String>,
    /// The time of the last registry write.
    pub(super) written: Instant,
    /// The last registry write was done only in part, and nothing of it can still take effect.
    pub(super) is_answered: bool,
    /// Keeps the node out of rotation after its removal.
    pub(super) watchdog: Option<Watchdog<W>>,
    /// The last read of the gateways that decided whether the node may leave.
    pub(super) looked: Option<Looked>,
    /// The deadline for repeated confirmations that the node is out, set by the first repetition. All repetitions in
    /// one direction share this time.
    again_until: Option<Instant>,
    /// What is recorded together with the next fact.
    noted: Mutex<Vec<Noted>>,
}

/// A read of the gateways that permits a node to leave.
#[derive(Debug, Clone, Copy)]
pub(super) struct Looked {
    pub(super) at: Instant,
    /// Nothing listened at the node's address: its removal has no client impact.
    pub(super) is_dead: bool,
}

/// The direction of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Bound {
    /// To the new version.
    #[default]
    Forward,
    /// Back to the previous version.
    Back,
    /// Out of rotation: it finished and is no longer healthy.
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
            ran: known.ran.clone(),
            written: Instant::now(),
            is_answered: false,
            watchdog: None,
            looked: None,
            again_until: None,
            noted: Mutex::default(),
        })
    }

    /// Reads a value from the node's state.
    pub(super) fn state<T: Default>(&self, read: impl FnOnce(&NodeState) -> T) -> T {
        self.context.release.node(&self.node.name, read)
    }

    /// Runs every step. After a failure it rolls back, if the playbook says so and a restore point exists.
    pub(super) async fn go(mut self) {
        drop(self.tidying().await);
        let mut arrived = self.walk().await;
        if arrived == NodeResult::Failed && self.turn_back().await {
            arrived = self.walk().await;
        }
        if arrived != NodeResult::Done {
            return self.withdraw_hold().await;
        }
        if !self.node.stays_out() {
            let part = if self.goes_back() { Part::RolledBack } else { Part::Done };
            self.context.pool.join(&self.node.name, part);
        }
        let context = self.context.clone();
        context.tidy_up(self.pruned());
    }

    /// Deletes old releases, beside the nodes that follow.
    async fn pruned(mut self) {
        let _turn = self.tidying().await;
        let interrupted = self.context.stop.passed(COURTESY_TIME);
        tokio::select! {
            biased;
            () = self.prune() => {}
            () = interrupted => {}
        }
    }

    /// Waits until nothing else tidies up on the node.
    async fn tidying(&self) -> Option<OwnedMutexGuard<()>> {
        let known = self.context.nodes.get(&self.node.name)?;
        Some(known.tidying.clone().lock_owned().await)
    }

    /// Handles the failure of a finished node. It rolls back if the playbook says so and a restore point exists.
    /// Otherwise it leaves rotation, if the release has changed it.
    pub(super) async fn fall(mut self, failure: Failure) {
        drop(self.tidying().await);
        if !self.tell_failure(Step::Health, failure).await {
            return;
        }
        if !self.turn_back().await {
            // A node that no step has changed stays in rotation.
            if self.state(NodeState::is_stopped) {
                self.withdraw().await;
            }
        } else if self.walk().await == NodeResult::Done && !self.node.stays_out() {
            self.context.pool.join(&self.node.name, Part::RolledBack);
        }
    }

    /// Returns the rollback specification for a failure, if a restore point exists and the playbook wants a rollback.
    pub(super) fn way_back(&self) -> Option<&Arc<NodeSpec>> {
        let wanted = self.context.spec.rolls_back();
        self.context.nodes.get(&self.node.name)?.back.as_ref().filter(|_| wanted)
    }

    /// Starts the rollback of a failed node. Returns whether it rolls back.
    async fn turn_back(&mut self) -> bool {
        let Some(old) = self.way_back().cloned() else { return false };
        if self.goes_back()
            || !self.state(NodeState::is_stopped)
            || self.context.operation != Operation::Deploy
            || self.stop_requested()
        {
            return false;
        }
        let no_version = || RestorePoint::NO_VERSION.to_owned();
        let version =
            if old.stays_out() { no_version() } else { old.version().unwrap_or_default() };
        self.node = old;
        // The rollback has its own time limit.
        self.again_until = None;
        self.record(None, EventKind::NodeRollingBack { version }).await.is_ok()
    }

    async fn walk(&mut self) -> NodeResult {
        let begun = Instant::now();
        let operation = self.context.operation;
        let steps = &self.node.clone().steps;
        let done = self.state(|state| state.done.clone());
        let is_left =
            |action: &&Action| operation.includes(action.step) && !done.contains(&action.step);
        let proven_before = done.contains(&Step::ConfirmOut);
        let is_down = self.state(NodeState::may_be_down);
        // Interrupted after `enable`: the node is already in rotation, and only the remaining steps run.
        if proven_before && is_down && operation == Operation::Deploy {
            self.watchdog = Some(Watchdog::new(&self.context, &self.node));
        }
        for action in steps.iter().filter(is_left) {
            let ending = if self.stop_requested() {
                StepResult::Interrupted
            } else {
                self.step_watched(action).await
            };
            if !matches!(ending, StepResult::Done) {
                self.record_noted().await;
                self.context.catch_up().await;
            }
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

    /// Runs a step. It stops nothing while a gateway may route to the node again, or while another node may be failing.
    async fn step_watched(&mut self, action: &Action) -> StepResult {
        let command = action.command.as_ref();
        match action.step {
            Step::Stop | Step::Restart => {
                self.record_noted().await;
                match self.may_stop(action.step).await {
                    StepResult::Done => {}
                    other => return other,
                }
            }
            Step::Enable => {
                self.record_noted().await;
                let stop = self.context.stop.requested();
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
            && self.context.operation == Operation::Deploy
            && matches!(ending, StepResult::Done)
        {
            self.watchdog = Some(Watchdog::new(&self.context, &self.node));
        }
        ending
    }

    /// Makes sure that the finished nodes are healthy and that this node is still out. If it is not, confirms again
    /// that it is out.
    async fn may_stop(&mut self, next: Step) -> StepResult {
        loop {
            // A node that still serves must not receive a version that failed on other nodes.
            if !self.goes_back() && !self.state(NodeState::is_stopped) {
                let stop = self.context.stop.requested();
                tokio::select! {
                    biased;
                    () = self.context.verify_done() => {}
                    () = stop => return StepResult::Interrupted,
                    never = self.beat(next, None, "checking the finished nodes") => match never {},
                }
                if self.context.too_many_failed() {
                    return StepResult::Interrupted;
                }
            }
            let stop = self.context.stop.requested();
            let stayed = tokio::select! {
                biased;
                stayed = self.stayed_out() => stayed,
                () = stop => return StepResult::Interrupted,
                never = self.beat(next, None, "checking that the node is still out of rotation") => match never {},
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

    /// Reports periodically what the node waits for, at most for `limit`, and never ends.
    fn beat(
        &self,
        step: Step,
        limit: Option<Duration>,
        message: &'static str,
    ) -> impl Future<Output = Infallible> + use<W> {
        let (context, name) = (self.context.clone(), self.node.name.clone());
        let begun = Instant::now();
        async move {
            let mut pause = FIRST_BEAT;
            loop {
                tokio::time::sleep(pause).await;
                let left = limit.map(|limit| limit.saturating_sub(begun.elapsed()));
                context.tell(&name, step, progress(message.to_owned(), None, left));
                pause = BEAT;
            }
        }
    }

    async fn stayed_out(&self) -> Result<(), String> {
        match &self.watchdog {
            Some(watchdog) => watchdog.stayed_out().await,
            None => Ok(()),
        }
    }

    /// Limits the time for repeated confirmations that the node is out.
    pub(super) fn may_prove_again(&mut self, why: &str) -> Result<(), StepError> {
        let until = Instant::now() + self.confirm_time();
        if Instant::now() >= *self.again_until.get_or_insert(until) {
            return Err(StepError::from(format!("it does not stay out of rotation: {why}")));
        }
        Ok(())
    }

    /// Returns the deadline for the confirmation that the node is out.
    pub(super) fn proven_out_until(&self) -> Instant {
        let own = Instant::now() + self.confirm_time();
        self.again_until.map_or(own, |until| until.min(own))
    }

    /// Ends the watchdog: from here on only the node's own steps write its key.
    pub(super) async fn end_watchdog(&mut self) {
        if let Some(watchdog) = self.watchdog.take() {
            watchdog.end().await;
        }
    }

    /// Stages the artifact on the node once a slot is free.
    pub(super) async fn stage(mut self, places: Arc<Semaphore>) {
        let stop = self.context.stop.requested();
        let place = tokio::select! {
            biased;
            place = places.acquire() => place,
            () = stop => return,
        };
        if place.is_err() {
            return;
        }
        let ending = self.step(Step::Stage, None).await;
        self.record_noted().await;
        match ending {
            StepResult::Done | StepResult::Interrupted | StepResult::Failed(StepError::Halt) => {}
            StepResult::Failed(trouble) => {
                let failed = EventKind::NodeFailed(Box::new(trouble.into_failure()));
                let _ = self.record(Some(Step::Stage), failed).await;
            }
        }
    }

    async fn step(&mut self, step: Step, command: Option<&Shell>) -> StepResult {
        let stopped_before = self.state(NodeState::is_stopped);
        if step == Step::Drain {
            self.expect_commands();
        }
        if self.record(Some(step), EventKind::StepStarted {}).await.is_err() {
            return StepResult::Failed(StepError::Halt);
        }
        let begun = Instant::now();
        // A write in progress gets a short time: its result is worth the wait.
        let time = match step {
            Step::Disable | Step::Enable => WRITE_TIME,
            _ => Duration::ZERO,
        };
        let interrupted = self.context.stop.passed(time);
        let beat = self.beat(step, command.map(|shell| shell.timeout), STILL_RUNNING);
        let beat = async {
            // Other steps report their own progress.
            if !step.touches_service() {
                std::future::pending::<()>().await;
            }
            beat.await
        };
        let result = tokio::select! {
            biased;
            result = self.act(step, command) => result,
            () = interrupted => return StepResult::Interrupted,
            never = beat => match never {},
        };
        match result {
            Ok(found) => {
                let finished = EventKind::StepFinished {
                    elapsed_ms: millis(begun),
                    message: found.message,
                    drained: found.drained,
                };
                self.note(step, finished);
                StepResult::Done
            }
            Err(StepError::NotTaken) => StepResult::Interrupted,
            Err(StepError::NotBegun(reason)) if step.touches_service() => {
                let failure = self.not_begun(step, stopped_before, reason).await;
                StepResult::Failed(StepError::Failed(failure))
            }
            Err(trouble) => StepResult::Failed(trouble),
        }
    }

    /// Prepares for the commands on the node that follow.
    fn expect_commands(&self) {
        if self.context.operation != Operation::Deploy {
            return;
        }
        let own = self.node.layout.is_some().then_some(self.context.spec.sudo);
        let theirs =
            self.node.steps.iter().filter_map(|action| Some(action.command.as_ref()?.sudo));
        for sudo in own.into_iter().chain(theirs).collect::<BTreeSet<_>>() {
            self.context.world.expect(&self.node.host, sudo);
        }
    }

    /// Returns the node's direction.
    pub(super) fn bound(&self) -> Bound {
        self.state(|state| match state {
            NodeState { fell: true, .. } => Bound::Out,
            state if state.goes_back() => Bound::Back,
            _ => Bound::Forward,
        })
    }

    /// Whether the node is rolling back to its previous version.
    pub(super) fn goes_back(&self) -> bool {
        self.bound() == Bound::Back
    }

    fn stop_requested(&self) -> bool {
        self.context.stop.is_requested()
    }

    /// Records a fact, after the noted ones, and returns when it is on disk.
    pub(super) async fn record(
        &self,
        step: Option<Step>,
        fact: EventKind,
    ) -> Result<(), StepError> {
        let mut facts = self.take_noted();
        facts.push((step, fact));
        Ok(self.context.record(&self.node.name, facts).await?)
    }

    /// Notes a fact that is recorded together with the next one: on its own, it permits nothing.
    fn note(&self, step: Step, fact: EventKind) {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).push((Some(step), fact));
    }

    fn take_noted(&self) -> Vec<Noted> {
        std::mem::take(&mut *self.noted.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Records the noted facts now, without waiting for the write.
    async fn record_noted(&self) {
        let facts = self.take_noted();
        if !facts.is_empty() {
            self.context.note(&self.node.name, facts).await;
        }
    }

    /// Reports the progress of a step. The report is dropped when the recorder's queue is full.
    pub(super) fn tell(
        &self,
        step: Step,
        message: String,
        in_flight: Option<u64>,
        left: impl Into<Option<Duration>>,
    ) {
        self.context.tell(&self.node.name, step, progress(message, in_flight, left.into()));
    }
}

/// The progress of a step that gives up after the time that is left, if it does.
fn progress(message: String, in_flight: Option<u64>, left: Option<Duration>) -> EventKind {
    let whole = |left: Duration| left.as_secs() + u64::from(left.subsec_nanos() > 0);
    EventKind::StepProgress { message, in_flight, deadline_s: left.map(whole) }
}
