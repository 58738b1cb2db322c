//! One node's way through its steps: to the end, into a failure, or to a safe place when the release stops.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

use super::guard::Guard;
use super::pool::Part;
use super::run::{Mode, Record, Shared, Stop};
use crate::node::Mark;
use crate::playbook::OnFailure;
use crate::release::Release;
use crate::release::{Drained, Fact, Failure, Planned, Step};
use crate::spec::{Action, NodeSpec};
use crate::world::{NotPermitted, World};

/// How long a registry write that is under way may still take once the release is to stop.
const WRITE_GRACE: Duration = Duration::from_secs(1);

/// How long the last log lines of a failed node, or the deletion of old releases, may still take then.
pub(super) const COURTESY_GRACE: Duration = Duration::from_millis(500);

/// Between two signs of life of a command.
const BEAT: Duration = Duration::from_secs(5);

/// A node on its way.
pub(super) struct NodeRun<W> {
    pub(super) shared: Arc<Shared<W>>,
    pub(super) node: NodeSpec,
    /// What was planned for it.
    pub(super) planned: Planned,
    /// The folder of the release that it ran before, where that is known.
    pub(super) ran: Option<String>,
    /// When the registry took the last write.
    pub(super) written: Instant,
    /// Processes of this release are younger than this.
    pub(super) mark: Option<Mark>,
    /// Marked down by this release, or perhaps.
    pub(super) down: bool,
    /// What gateways listed besides the playbook's nodes when it was marked down.
    pub(super) strangers: BTreeSet<String>,
    /// A write was begun and its result is not known: it may still be done later.
    pub(super) unanswered: bool,
    /// The service was ended or changed by this release, or perhaps.
    pub(super) stopped: bool,
    /// Where it goes.
    pub(super) bound: Bound,
    /// Keeps it out while it is out.
    pub(super) guard: Option<Guard<W>>,
    /// What need not be done again; nothing is known of a node that is not taken up again.
    done: Option<Vec<Step>>,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    /// For what the release brings.
    Forward,
    /// For what it ran before.
    Back,
    /// Out of rotation: it was done and is not well any more.
    Out,
}

/// Why a step did not end well.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It failed.
    Failed(Failure),
    /// The node could not be reached: what was to be done there was certainly never begun.
    NotBegun(String),
    /// The link to the node was lost while a command ran: its effect is unknown.
    Lost(String),
    /// A gateway could not be read in the end, however long it was asked.
    Blind(String),
    /// Others have failed meanwhile: the node is not taken.
    NotTaken,
    /// The journal cannot be written, or the lock is lost: nothing new may be begun.
    Halt,
}

impl Trouble {
    /// The failure that it amounts to for the node.
    pub(super) fn into_failure(self) -> Failure {
        let unknown = matches!(self, Self::Lost(_));
        let reason = match self {
            Self::Failed(failure) => return failure,
            Self::Lost(problem) => format!("{problem}; whether it took effect is unknown"),
            Self::NotBegun(problem) | Self::Blind(problem) => problem,
            Self::NotTaken => "too many others have failed".to_owned(),
            Self::Halt => "nothing new may be begun".to_owned(),
        };
        Failure { reason, unknown, ..Failure::default() }
    }

    /// The same of a second try: the first one may have begun it.
    pub(super) fn of_second_try(self) -> Self {
        match self {
            Self::NotBegun(problem) => Self::from(problem),
            other => other,
        }
    }
}

impl From<NotPermitted> for Trouble {
    fn from(refused: NotPermitted) -> Self {
        if refused.is_final { Self::Halt } else { Self::NotBegun(refused.reason) }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<String> for Trouble {
    fn from(reason: String) -> Self {
        Self::Failed(Failure { reason, ..Failure::default() })
    }
}

/// What a step found, in words, and what a drain saw.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) message: String,
    pub(super) drained: Option<Drained>,
}

impl From<String> for Found {
    fn from(message: String) -> Self {
        Self { message, drained: None }
    }
}

/// How the steps ended for the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arrival {
    Done,
    Failed,
    Interrupted,
}

/// How a step ended for the node.
enum Ending {
    Done,
    Trouble(Trouble),
    Interrupted,
}

impl<W: World> NodeRun<W> {
    pub(super) fn new(shared: &Arc<Shared<W>>, release: &Release, name: &str) -> Option<Self> {
        let planned = release.planned().iter().find(|plan| plan.node == name)?;
        let state = release.nodes.get(name)?;
        Some(Self {
            shared: shared.clone(),
            node: if state.goes_back() {
                shared.spec.back.get(name)?.clone()
            } else {
                shared.spec.node(name)?.clone()
            },
            bound: if state.goes_back() { Bound::Back } else { Bound::Forward },
            planned: planned.clone(),
            ran: release.ran_before(name),
            written: Instant::now(),
            mark: state.mark,
            down: state.down == Some(true),
            strangers: &state.known_strangers() | &planned.strangers,
            unanswered: false,
            stopped: state.is_stopped(),
            guard: None,
            done: state.resumed.then(|| state.done.clone()),
            looked: None,
            again_until: None,
        })
    }

    /// Goes through every step, and back to what ran before if that is asked for and the way is known.
    pub(super) async fn go(mut self) {
        let mut arrived = self.walk().await;
        if arrived == Arrival::Failed && self.turn_back().await {
            arrived = self.walk().await;
        }
        if arrived == Arrival::Done {
            let interrupted = stopped_for(self.shared.stop.clone(), COURTESY_GRACE);
            tokio::select! {
                biased;
                () = self.prune() => {}
                () = interrupted => {}
            }
        }
        if arrived == Arrival::Done {
            let part = if self.goes_back() { Part::RolledBack } else { Part::Done };
            self.shared.pool.join(&self.node.name, part);
        }
    }

    /// The node was done and is not well any more: goes back to what ran before if that is asked for and the way is known, and
    /// leaves rotation otherwise, if the release has changed it.
    pub(super) async fn fall(mut self, failure: Failure) {
        self.bound = Bound::Out;
        if !self.tell_failure(Step::Health, failure).await {
            return;
        }
        if !self.turn_back().await {
            // A node that no step has changed keeps its place.
            if self.stopped {
                self.withdraw().await;
            }
        } else if self.walk().await == Arrival::Done {
            self.shared.pool.join(&self.node.name, Part::RolledBack);
        }
    }

    /// What it goes back to when it fails, if there is a way back, and somebody wants it.
    pub(super) fn way_back(&self) -> Option<&NodeSpec> {
        let wanted =
            matches!(self.shared.spec.on_failure, OnFailure::RollbackNode | OnFailure::RollbackAll);
        self.shared.spec.back.get(&self.node.name).filter(|_| wanted)
    }

    /// Turns a failed node around. Returns whether it goes back.
    async fn turn_back(&mut self) -> bool {
        let Some(old) = self.way_back().cloned() else { return false };
        if self.goes_back()
            || !self.stopped
            || self.shared.mode != Mode::Deploy
            || self.stop_requested()
        {
            return false;
        }
        let version = old.version().unwrap_or_default();
        self.node = old;
        self.bound = Bound::Back;
        self.done = Some(Vec::new());
        // The way back has its own time.
        self.again_until = None;
        self.record(None, Fact::NodeRollingBack { version }).await.is_ok()
    }

    async fn walk(&mut self) -> Arrival {
        let begun = Instant::now();
        let mode = self.shared.mode;
        let steps = self.node.steps.clone();
        let left = |action: &&Action| {
            mode.includes(action.step)
                && !self.done.iter().flatten().any(|done| *done == action.step)
        };
        let left: Vec<_> = steps.iter().filter(left).collect();
        let proven_before = self.done.iter().flatten().any(|done| *done == Step::ConfirmOut);
        // Who broke off after it was enabled is in again, and only what is left is proven.
        if proven_before && self.down && mode == Mode::Deploy {
            self.guard = Some(Guard::new(&self.shared, &self.node));
        }
        for action in left {
            let ending = if self.stop_requested() {
                Ending::Interrupted
            } else {
                self.step_guarded(action).await
            };
            match ending {
                Ending::Done => {}
                Ending::Interrupted | Ending::Trouble(Trouble::Halt) => {
                    self.interrupt(action.step).await;
                    return Arrival::Interrupted;
                }
                Ending::Trouble(trouble) => {
                    self.fail(action.step, trouble).await;
                    return Arrival::Failed;
                }
            }
        }
        let elapsed_ms = millis(begun);
        let arrived = if self.goes_back() {
            Fact::NodeRolledBack { elapsed_ms }
        } else {
            Fact::NodeDone { elapsed_ms }
        };
        match self.record(None, arrived).await {
            Ok(()) => Arrival::Done,
            Err(_) => Arrival::Interrupted,
        }
    }

    /// Does a step; nothing is stopped while a gateway may route to the node again, or while another node may be failing.
    async fn step_guarded(&mut self, action: &Action) -> Ending {
        let command = action.command.as_ref();
        match action.step {
            Step::Stop | Step::Restart => match self.may_stop().await {
                Ending::Done => {}
                other => return other,
            },
            Step::Enable => {
                let stop = stopped_for(self.shared.stop.clone(), Duration::ZERO);
                let may = tokio::select! {
                    biased;
                    may = self.may_enable() => may,
                    () = stop => return Ending::Interrupted,
                };
                if let Err(trouble) = may {
                    return Ending::Trouble(trouble);
                }
                self.end_guard().await;
            }
            _ => {}
        }
        let ending = self.step(action.step, command).await;
        if action.step == Step::ConfirmOut
            && self.shared.mode == Mode::Deploy
            && matches!(ending, Ending::Done)
        {
            self.guard = Some(Guard::new(&self.shared, &self.node));
        }
        ending
    }

    /// Makes sure that the nodes that are done are well, and that this one is out still; proves it out again where it is not.
    async fn may_stop(&mut self) -> Ending {
        loop {
            // What brought others down is not brought to a node that still serves.
            if !self.goes_back() && !self.stopped {
                let stop = stopped_for(self.shared.stop.clone(), Duration::ZERO);
                tokio::select! {
                    biased;
                    () = self.shared.verify_done() => {}
                    () = stop => return Ending::Interrupted,
                }
                if self.shared.too_many_failed() {
                    return Ending::Interrupted;
                }
            }
            let stop = stopped_for(self.shared.stop.clone(), Duration::ZERO);
            let stayed = tokio::select! {
                biased;
                stayed = self.stayed_out() => stayed,
                () = stop => {
                    // The look may have begun to set the key right.
                    self.unanswered = true;
                    return Ending::Interrupted;
                }
            };
            let Err(why) = stayed else { return Ending::Done };
            if let Err(trouble) = self.may_prove_again(&why) {
                return Ending::Trouble(trouble);
            }
            for again in [Step::ConfirmOut, Step::Drain] {
                match self.step(again, None).await {
                    Ending::Done => {}
                    other => return other,
                }
            }
        }
    }

    async fn stayed_out(&self) -> Result<(), String> {
        match &self.guard {
            Some(guard) => guard.stayed_out().await,
            None => Ok(()),
        }
    }

    /// Bounds how long a node is proven out again and again.
    pub(super) fn may_prove_again(&mut self, why: &str) -> Result<(), Trouble> {
        let until = Instant::now() + self.confirm_time();
        if Instant::now() >= *self.again_until.get_or_insert(until) {
            return Err(Trouble::from(format!("it does not stay out: {why}")));
        }
        Ok(())
    }

    /// When a proof that the node is out has to be found.
    pub(super) fn proven_out_until(&self) -> Instant {
        let own = Instant::now() + self.confirm_time();
        self.again_until.map_or(own, |until| until.min(own))
    }

    /// From here on whoever writes the key is this node's own way.
    pub(super) async fn end_guard(&mut self) {
        if let Some(guard) = self.guard.take() {
            guard.end().await;
        }
    }

    /// Brings the artifact to the node, when there is a place.
    pub(super) async fn stage(mut self, places: Arc<Semaphore>) {
        let stop = stopped_for(self.shared.stop.clone(), Duration::ZERO);
        let place = tokio::select! {
            biased;
            place = places.acquire() => place,
            () = stop => return,
        };
        if place.is_err() {
            return;
        }
        match self.step(Step::Stage, None).await {
            Ending::Done | Ending::Interrupted | Ending::Trouble(Trouble::Halt) => {}
            Ending::Trouble(trouble) => {
                let failed = Fact::NodeFailed(Box::new(trouble.into_failure()));
                let _ = self.record(Some(Step::Stage), failed).await;
            }
        }
    }

    async fn step(&mut self, step: Step, command: Option<&crate::spec::Shell>) -> Ending {
        if self.record(Some(step), Fact::StepStarted {}).await.is_err() {
            return Ending::Trouble(Trouble::Halt);
        }
        let stopped_before = self.stopped;
        self.stopped |= step.touches_service() && (!matches!(step, Step::Run(_)) || self.down);
        let begun = Instant::now();
        // A write that is under way gets a moment: its result is worth more than the moment.
        let grace = match step {
            Step::Disable | Step::Enable => WRITE_GRACE,
            _ => Duration::ZERO,
        };
        let interrupted = stopped_for(self.shared.stop.clone(), grace);
        let beat = beat(self.shared.records.clone(), self.node.name.clone(), step);
        let result = tokio::select! {
            biased;
            result = self.act(step, command) => result,
            () = interrupted => return Ending::Interrupted,
            () = beat => return Ending::Interrupted,
        };
        match result {
            Ok(found) => {
                let finished = Fact::StepFinished {
                    elapsed_ms: millis(begun),
                    message: found.message,
                    drained: found.drained,
                };
                match self.record(Some(step), finished).await {
                    Ok(()) => Ending::Done,
                    Err(halt) => Ending::Trouble(halt),
                }
            }
            Err(Trouble::NotTaken) => Ending::Interrupted,
            Err(Trouble::NotBegun(reason)) if step.touches_service() => {
                let failure = self.not_begun(step, stopped_before, reason).await;
                Ending::Trouble(Trouble::Failed(failure))
            }
            Err(trouble) => Ending::Trouble(trouble),
        }
    }

    /// Whether it is taken up again: what is found may be half done.
    pub(super) fn is_resumed(&self) -> bool {
        self.done.is_some()
    }

    /// Whether it is on its way back to what it ran before.
    pub(super) fn goes_back(&self) -> bool {
        self.bound == Bound::Back
    }

    fn stop_requested(&self) -> bool {
        *self.shared.stop.borrow() != Stop::No
    }

    /// Records a fact and returns when it is on the disk.
    pub(super) async fn record(&self, step: Option<Step>, fact: Fact) -> Result<(), Trouble> {
        let (written, answer) = oneshot::channel();
        let record =
            Record { node: Some(self.node.name.clone()), step, fact, written: Some(written) };
        self.shared.records.send(record).await.map_err(|_| Trouble::Halt)?;
        answer.await.map_err(|_| Trouble::Halt)
    }

    /// Tells how a step goes on. Lost when nobody has time to listen.
    pub(super) fn tell(&self, step: Step, message: String, in_flight: Option<u64>, left: Duration) {
        let fact = Fact::StepProgress { message, in_flight, deadline_s: Some(left.as_secs()) };
        let record =
            Record { node: Some(self.node.name.clone()), step: Some(step), fact, written: None };
        let _ = self.shared.records.try_send(record);
    }
}

/// Tells now and then that a command still runs, for as long as it does; other steps tell more themselves.
async fn beat(records: tokio::sync::mpsc::Sender<Record>, node: String, step: Step) {
    if !step.touches_service() {
        std::future::pending::<()>().await;
    }
    loop {
        tokio::time::sleep(BEAT).await;
        let message = "the command still runs".to_owned();
        let fact = Fact::StepProgress { message, in_flight: None, deadline_s: None };
        let record = Record { node: Some(node.clone()), step: Some(step), fact, written: None };
        let _ = records.try_send(record);
    }
}

/// Returns once the release is to stop, and then some.
pub(super) async fn stopped_for(mut stop: tokio::sync::watch::Receiver<Stop>, grace: Duration) {
    if stop.wait_for(|stop| *stop != Stop::No).await.is_err() {
        // Nobody is left who could ask.
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(grace).await;
}

pub(super) fn millis(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}
