//! Runs a release to its end. The caller holds the lock.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::refusal::of_error;
use super::{Caller, Connections, Refusal, Session, held};
use crate::engine::{Engine, Operation, RunResult, Sink, Start, StopReason};
use crate::journal::history::JournaledRelease;
use crate::journal::replica::JournalReplica;
use crate::journal::{self, Journal};
use crate::lock::Lock;
use crate::plan::LastLook;
use crate::release::{Cost, Event, Outcome, Release, Resumed, Started, Timeline};
use crate::spec::Spec;
use crate::suggestions::{Inspection, Repeated, Situation};
use crate::survey::{Fleet, survey};
use crate::world::World;

/// How long the last inspection may take after a release that was not successful.
const LAST_LOOK: Duration = Duration::from_secs(3);

/// The same limit after the caller has asked to stop.
const HURRIED_LOOK: Duration = Duration::from_secs(2);

/// The result of a command that was not refused.
#[derive(Debug)]
pub enum Ending {
    /// There was nothing to do. The text is the reason.
    Nothing(String),
    /// A release was run.
    Ran(Box<Run>),
}

/// A release that was run.
#[derive(Debug)]
pub struct Run {
    /// The result of the run.
    pub ended: RunResult,
    /// The spec of the release.
    pub spec: Arc<Spec>,
    /// Its journal on this machine.
    pub journal: PathBuf,
    /// The state of all systems after a release that was not successful.
    pub fleet: Option<Fleet>,
    /// The arguments of suggested commands.
    pub repeated: Repeated,
    /// What it cost.
    pub cost: Option<Cost>,
}

/// Adds up what a run costs, on the way of its events to a reporter.
struct Costs<'a> {
    reporter: &'a mut dyn Sink,
    timeline: Timeline,
}

impl Sink for Costs<'_> {
    fn event(&mut self, event: &Event, release: &Release) {
        self.timeline.take(event);
        self.reporter.event(event, release);
    }
}

impl Run {
    /// Returns the next commands and their purposes.
    #[must_use]
    pub fn next(&self) -> Vec<(String, String)> {
        let release = &self.ended.release;
        let Some(finished) = &release.finished else {
            return vec![("show every node".to_owned(), self.repeated.command("status", []))];
        };
        let (spec, released) = (&*self.spec, Some(&*self.spec));
        // What did not answer in a short look after a stop is no reason against a command.
        let is_hurried = finished.result == Outcome::Stopped;
        let fleet = self.fleet.as_ref().filter(|fleet| !(is_hurried && fleet.cut_short));
        let seen = fleet.map(|fleet| LastLook { spec, fleet, released });
        let seen = seen.as_ref().map(|seen| -> &dyn Inspection { seen });
        let situation = Situation::new(release, finished.result, &self.repeated);
        Situation { seen, ..situation }.commands()
    }
}

/// The inputs of a run.
pub(super) struct Job<'a, W> {
    pub(super) session: &'a Session,
    pub(super) connections: &'a Connections<W>,
    pub(super) lock: &'a Arc<Lock<W>>,
    pub(super) spec: &'a Arc<Spec>,
    /// The operator does not want to be asked for confirmation.
    pub(super) yes: bool,
    /// The release follows its journal, although the playbook's file was changed and can replace it.
    pub(super) file_was_changed: bool,
}

impl<W: World> Job<'_, W> {
    fn repeated(&self) -> Repeated {
        let file_was_changed = self.file_was_changed;
        Repeated { file_was_changed, ..self.session.repeated(self.yes) }
    }

    /// Runs a new release to its end.
    pub(super) async fn begin<C: Caller>(
        &self,
        caller: &mut C,
        operation: Operation,
        started: Started,
    ) -> Result<Ending, Refusal> {
        let journal = Journal::create(&self.session.state, &self.session.inputs.release);
        let journal = journal.map_err(|error| of_error(&error))?;
        let begin = Start::Started(Box::new(started));
        self.run(caller, operation, begin, journal, Vec::new()).await
    }

    /// Resumes a release that ended or was interrupted.
    pub(super) async fn resume<C: Caller>(
        &self,
        caller: &mut C,
        past: JournaledRelease,
        resumed: Resumed,
    ) -> Result<Ending, Refusal> {
        let journal = Journal::take_over(&self.session.state, &past.id, &past.bytes);
        let journal = journal.map_err(|error| of_error(&error))?;
        let begin = Start::Resumed(Box::new(past.release), resumed);
        self.run(caller, Operation::Deploy, begin, journal, past.bytes).await
    }

    async fn run<C: Caller>(
        &self,
        caller: &mut C,
        operation: Operation,
        begin: Start,
        journal: Journal,
        so_far: Vec<u8>,
    ) -> Result<Ending, Refusal> {
        let Self { session, connections, lock, spec, .. } = *self;
        let id = &session.inputs.release;
        let path = journal.path().to_owned();
        let since = match &begin {
            Start::Resumed(release, _) => release.begun,
            Start::Started(_) => None,
        };
        let since = since.unwrap_or_else(|| connections.world.now());
        let copy = connections.shared().map(|consul| {
            JournalReplica::new(consul, lock.fence(), &spec.service, id, since, so_far)
        });
        let stop = caller.stop();
        let engine = Engine {
            world: connections.world.clone(),
            consul: connections.consul_of_release.clone(),
            spec: spec.clone(),
            operation,
            stop: stop.clone(),
            lock: lock.clone(),
            holds: held::holds(session, connections),
            copy,
            repeated: self.repeated(),
        };
        let ended = {
            // A live view must leave the terminal before anything else is printed.
            let mut reporter = match &begin {
                Start::Resumed(release, _) => caller.reporter(release),
                Start::Started(_) => caller.reporter(&Release::default()),
            };
            let mut costs = Costs { reporter: &mut *reporter, timeline: Timeline::default() };
            let ended = Box::pin(engine.run(id, begin, journal, &mut costs)).await;
            (ended, Cost::of(&costs.timeline.finish()))
        };
        let (ended, cost) = ended;
        let ended = ended.map_err(|error| of_error(&error))?;
        // This is safe only under the lock: no other process writes journals here.
        journal::prune(&session.state);
        // The lock is released during the inspection, because a cancelled job has little time left.
        let look = Box::pin(last_look(&ended, connections, spec, &stop));
        let ((), fleet) = tokio::join!(lock.release(), look);
        let (spec, repeated) = (spec.clone(), self.repeated());
        Ok(Ending::Ran(Box::new(Run { ended, spec, journal: path, fleet, repeated, cost })))
    }
}

/// Inspects all systems once more, so that the report shows the actual state.
async fn last_look<W: World>(
    ended: &RunResult,
    connections: &Connections<W>,
    spec: &Arc<Spec>,
    stop: &watch::Receiver<StopReason>,
) -> Option<Fleet> {
    let finished = ended.release.finished.as_ref()?;
    if finished.result == Outcome::Done {
        return None;
    }
    let hurried = matches!(*stop.borrow(), StopReason::Requested(_));
    let time = if hurried { HURRIED_LOOK } else { LAST_LOOK };
    let mut fleet = survey(&connections.world, &connections.consul_of_release, spec, time).await;
    fleet.take_for_out(|node| ended.release.nodes.get(node)?.taken_out());
    Some(fleet)
}
