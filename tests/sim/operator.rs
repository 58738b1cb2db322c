//! An operator: a person at a machine who runs a command, confirms it, and asks it to stop.
//!
//! What the command does is rollgate's own, the functions that the command line calls.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rollgate::engine::{RunResult, Sink, StopReason};
use rollgate::ops::lock::break_lock;
use rollgate::ops::{
    Caller, Cause, Connections, Ending, Identity, Question, Refusal, Session, deploy, resume,
    rollback,
};
use rollgate::plan::Selection;
use rollgate::release::Release;
use tokio::sync::watch;

use crate::attempt::End;
use crate::ear::Ear;
use crate::schedule::Schedule;
use crate::sim::Sim;
use crate::site;

/// A command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    Deploy,
    Resume,
    Rollback,
}

/// A person who runs a command.
pub(crate) struct Operator {
    session: Session,
    connections: Connections<Sim>,
    selection: Selection,
    identity: Identity,
    /// How long they wait for the lock.
    wait: Duration,
    /// Whether they break the lock first.
    breaks: bool,
    stop: watch::Receiver<StopReason>,
    /// Keeps `stop` open if no stop is ever requested.
    _stopper: Option<watch::Sender<StopReason>>,
}

/// The same person while a command runs.
struct Person<'a> {
    identity: Identity,
    stop: watch::Receiver<StopReason>,
    ear: &'a mut Ear,
}

impl Caller for Person<'_> {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn stop(&self) -> watch::Receiver<StopReason> {
        self.stop.clone()
    }

    async fn confirm(&self, _: Question<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    fn waiting(&self, _: &str) {}

    fn waiting_for_lock(&self, _: &str) {}

    fn notice(&self, _: &str) {}

    fn reporter(&mut self, _: &Release) -> Box<dyn Sink + '_> {
        Box::new(&mut *self.ear)
    }
}

impl Operator {
    pub(crate) fn new(
        sim: &Arc<Sim>,
        schedule: &Schedule,
        folder: PathBuf,
        wait: Duration,
        breaks: bool,
    ) -> Self {
        let release = format!("r{}", sim.operator + 1);
        let session = site::session(schedule, &release, folder);
        let connections = site::connections(sim, schedule, &session);
        let (selection, stop) =
            (site::selection(schedule), sim.look(|state| state.stop.subscribe()));
        let actor = format!("operator {}", sim.operator);
        let identity = Identity { actor, host: "here".into(), pid: 1 };
        Self { session, connections, selection, identity, wait, breaks, stop, _stopper: None }
    }

    /// Nobody asks this one to stop.
    pub(crate) fn undisturbed(self) -> Self {
        let (stopper, stop) = watch::channel(StopReason::No);
        Self { stop, _stopper: Some(stopper), ..self }
    }

    /// Runs a command from its beginning to its end.
    pub(crate) async fn work(self, task: Task, ear: &mut Ear) -> Result<RunResult, End> {
        match Box::pin(self.run(task, ear)).await {
            Ok(Ending::Ran(run)) => Ok(run.ended),
            Ok(Ending::Nothing(_)) => Err(End::Nothing),
            Err(refusal) => match refusal.cause {
                Cause::Locked => Err(End::Locked),
                Cause::Refused | Cause::Stopped => Err(End::Refused(vec![refusal.reason])),
                Cause::Internal | Cause::Invalid => panic!("{}", refusal.reason),
            },
        }
    }

    async fn run(self, task: Task, ear: &mut Ear) -> Result<Ending, Refusal> {
        let Self { session, connections, selection, identity, wait: lock_wait, .. } = &self;
        let (identity, stop) = (identity.clone(), self.stop.clone());
        let mut person = Person { identity, stop, ear };
        if self.breaks {
            let _ = break_lock(session, connections, &person, true).await;
        }
        // Confirmed as a person does it, not beforehand.
        let (yes, lock_wait) = (false, *lock_wait);
        match task {
            Task::Deploy => {
                let (spec, selection) = (session.spec()?, selection.clone());
                let request = deploy::Request { selection, yes, lock_wait };
                deploy::deploy(session, connections, &mut person, &spec, &request).await
            }
            Task::Resume => {
                let request = resume::Request { id: None, yes, lock_wait };
                resume::resume(session, connections, &mut person, &request).await
            }
            Task::Rollback => {
                let only = Vec::new();
                let request = rollback::Request { id: None, only, yes, lock_wait };
                rollback::rollback(session, connections, &mut person, &request).await
            }
        }
    }
}
