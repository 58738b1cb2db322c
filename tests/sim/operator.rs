//! An operator: a person at a machine who runs a command, confirms it, and asks it to stop.
//!
//! What the command does is rollgate's own, the functions that the command line calls.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use rollgate::cli::page;
use rollgate::cli::status::Page;
use rollgate::engine::{RunResult, Sink, StopReason};
use rollgate::ops::binding::bind;
use rollgate::ops::doctor::doctor;
use rollgate::ops::lock::{break_lock, show as show_lock};
use rollgate::ops::node::Direction;
use rollgate::ops::past::{Filter, past};
use rollgate::ops::plan::plan;
use rollgate::ops::status::status;
use rollgate::ops::{
    Bound, Caller, Cause, Connections, Ending, Identity, Question, Refusal, Session, deploy, node,
    plan_file, resume, rollback, show,
};
use rollgate::plan::Selection;
use rollgate::release::Release;
use rollgate::spec::Spec;
use rollgate::world::World;
use tokio::sync::watch;

use crate::attempt::End;
use crate::ear::Ear;
use crate::invariants::Rule;
use crate::schedule::Schedule;
use crate::sim::Sim;
use crate::site;
use crate::suggested::Suggested;
use crate::told;
use crate::typed::Typed;

/// A command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Task {
    #[default]
    Deploy,
    Resume,
    Rollback,
    /// For this node, counted from 0.
    NodeOut(usize),
    NodeIn(usize),
    Plan,
    /// Writes a plan file.
    PlanOut,
    /// Runs the plan file that was written last on this machine.
    DeployPlan,
    Status,
    Doctor,
    ShowLock,
    BreakLock,
    History,
    Show,
}

/// The result of a command that was not refused.
enum Shown {
    Ended(Ending),
    Page(String, Vec<Suggested>),
}

/// A person who runs a command.
pub(crate) struct Operator {
    session: Session,
    connections: Connections<Sim>,
    selection: Selection,
    identity: Identity,
    /// How long they wait for the lock.
    wait: Duration,
    /// They name the version.
    is_named: bool,
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

    async fn confirm(&self, question: Question<'_>) -> Result<(), Refusal> {
        if let Some(plan) = question.plan {
            self.ear.print(plan);
        }
        self.ear.print(&format!("{} [y/N] y\n", question.prompt));
        Ok(())
    }

    fn waiting(&self, what: &str) {
        self.ear.print(&format!("waiting: {what}\n"));
    }

    fn waiting_for_lock(&self, why: &str) {
        self.waiting(why);
    }

    fn notice(&self, text: &str) {
        self.ear.print(&format!("{text}\n"));
    }

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
        let actor = format!("operator-{}@here", sim.operator);
        let identity = Identity { actor, host: "here".into(), pid: 1 };
        let (is_named, stopper) = (false, None);
        Self {
            session,
            connections,
            selection,
            identity,
            wait,
            is_named,
            breaks,
            stop,
            _stopper: stopper,
        }
    }

    /// Nobody asks this one to stop.
    pub(crate) fn undisturbed(self) -> Self {
        let (stopper, stop) = watch::channel(StopReason::No);
        Self { stop, _stopper: Some(stopper), ..self }
    }

    /// Runs a command from its beginning to its end.
    pub(crate) async fn work(self, typed: Typed, ear: &mut Ear) -> Result<RunResult, End> {
        match Box::pin(self.run(typed, ear)).await {
            Ok(Shown::Page(text, next)) => {
                ear.print(&text);
                ear.next = next;
                Err(End::Shown)
            }
            Ok(Shown::Ended(ending)) => {
                ear.print(&page::ending(&ending));
                match ending {
                    Ending::Ran(run) => {
                        ear.next = suggestions(run.next());
                        Ok(run.ended)
                    }
                    Ending::Nothing(_) => Err(End::Nothing),
                }
            }
            Err(refusal) => {
                ear.print(&page::refusal(&refusal, false));
                match refusal.cause {
                    Cause::Locked => Err(End::Locked),
                    Cause::Stale => Err(End::Stale(refusal.reason)),
                    Cause::Refused | Cause::Stopped => Err(End::Refused(vec![refusal.reason])),
                    Cause::Invalid => Err(End::Invalid(refusal.reason)),
                    Cause::Internal => panic!("{}", refusal.reason),
                }
            }
        }
    }

    async fn run(mut self, typed: Typed, ear: &mut Ear) -> Result<Shown, Refusal> {
        let Typed { task, id, nodes, selection, version, use_current, reason } = typed;
        let bound = (task == Task::DeployPlan).then(|| self.planned()).transpose()?;
        self.selection = selection.unwrap_or(self.selection);
        if let Some(bound) = &bound {
            self.selection.clone_from(&bound.file.plan.selection);
        }
        self.is_named = version.is_some();
        let selects = [Task::Deploy, Task::Plan, Task::PlanOut, Task::DeployPlan];
        self.session.restart = self.selection.restart && selects.contains(&task);
        if self.session.restart {
            (self.session.inputs.variables, self.session.inputs.artifact) = (BTreeMap::new(), None);
        }
        if let Some(version) = version {
            self.session.inputs.variables = [("version".to_owned(), version)].into();
        }
        if let Some(bound) = &bound {
            self.session.inputs.variables.clone_from(&bound.file.plan.variables);
        }
        let Self { session, connections, selection, identity, wait: lock_wait, .. } = &self;
        let (identity, stop) = (identity.clone(), self.stop.clone());
        let mut person = Person { identity, stop, ear };
        if self.breaks {
            let _ = break_lock(session, connections, &person, true).await;
        }
        // Confirmed as a person does it, not beforehand.
        let (yes, lock_wait) = (false, *lock_wait);
        let ending = match task {
            Task::Deploy | Task::DeployPlan => {
                let (spec, selection) = (self.spec()?, selection.clone());
                let request = deploy::Request { selection, yes, lock_wait, bound };
                deploy::deploy(session, connections, &mut person, &spec, &request).await?
            }
            Task::Resume => {
                let request = resume::Request { id, use_current, yes, lock_wait };
                resume::resume(session, connections, &mut person, &request).await?
            }
            Task::Rollback => {
                let only = nodes;
                let request = rollback::Request { id, only, use_current, yes, lock_wait };
                rollback::rollback(session, connections, &mut person, &request).await?
            }
            Task::NodeOut(_) | Task::NodeIn(_) => {
                let direction = match task {
                    Task::NodeOut(_) => Direction::Out,
                    _ => Direction::In,
                };
                let request = node::Request { direction, nodes, reason, lock_wait };
                let unnamed = site::without_arguments(session);
                let is_named = session.inputs.variables.contains_key("version");
                let session = if is_named { session } else { &unnamed };
                let spec = session.spec()?;
                node::switch(session, connections, &mut person, &spec, &request).await?
            }
            Task::Plan
            | Task::PlanOut
            | Task::Status
            | Task::Doctor
            | Task::ShowLock
            | Task::BreakLock
            | Task::History
            | Task::Show => return self.look(task, id.as_deref(), &person).await,
        };
        Ok(Shown::Ended(ending))
    }

    /// The only plan file of this machine.
    fn plan_path(&self) -> PathBuf {
        self.session.state.with_extension("plan.json")
    }

    fn planned(&self) -> Result<Bound, Refusal> {
        let file = plan_file::read(&self.plan_path())?;
        Ok(Bound::new(file, Some(&self.session.file), None))
    }

    /// The spec before the systems are inspected. The artifact has been read.
    fn spec(&self) -> Result<Arc<Spec>, Refusal> {
        let session = &self.session;
        if session.restart { session.clone().spec_with_artifact() } else { session.spec() }
    }

    /// Runs a command that changes nothing on nodes and gateways.
    async fn look(
        &self,
        task: Task,
        id: Option<&str>,
        person: &Person<'_>,
    ) -> Result<Shown, Refusal> {
        let Self { session, connections, selection, .. } = self;
        let text = match task {
            Task::Plan | Task::PlanOut => {
                let spec = self.spec()?;
                let preview = plan(session, connections, person, &spec, selection).await?;
                let is_saved = task == Task::PlanOut && preview.plan.refusals.is_empty();
                let save = || {
                    let (now, by) = (connections.world.now(), person.identity());
                    let plan = bind(session, by, now, selection, &preview)?;
                    let path = self.plan_path();
                    let _ = std::fs::create_dir_all(path.parent().expect("a folder"));
                    plan_file::write(&path, plan)
                };
                let saved = is_saved.then(save).transpose()?;
                page::plan(&preview, session, selection, saved.as_ref())
            }
            Task::ShowLock => page::lock(&show_lock(session, connections, person).await?),
            Task::BreakLock => {
                page::broken(&break_lock(session, connections, person, false).await?)
            }
            Task::Doctor => {
                let unnamed = site::without_arguments(session);
                let session = if self.is_named { session } else { &unnamed };
                doctor(session, connections, person).await?.page(&*session.spec()?)
            }
            Task::History => self.history(person).await?,
            Task::Show => self.show(id, person).await?,
            _ => {
                let session = site::without_arguments(session);
                let spec = session.spec()?;
                let status = status(&session, connections, person, &spec).await?;
                let next = status.next(&session, &spec);
                let text = Page {
                    status: &status,
                    spec: &spec,
                    next: &next,
                    now: connections.world.now(),
                    width: None,
                    together: false,
                    verbose: false,
                    counts: true,
                };
                let text = text.render();
                return Ok(Shown::Page(text, suggestions(next)));
            }
        };
        Ok(Shown::Page(text, Vec::new()))
    }

    async fn history(&self, person: &Person<'_>) -> Result<String, Refusal> {
        let (session, filter) = (&self.session, Filter { limit: 20, ..Filter::default() });
        let past = past(session, &self.connections, person, &filter).await?;
        let page = page::past(&past, session, &filter, (TimeZone::UTC, None));
        Ok(page::unread(&past.problems) + &page)
    }

    async fn show(&self, id: Option<&str>, person: &Person<'_>) -> Result<String, Refusal> {
        let session = site::without_arguments(&self.session);
        let shown = show::show(&session, &self.connections, person, id).await?;
        let (page, wrong) = told::page(&shown);
        let world = &self.connections.world;
        for wrong in wrong {
            world.look(|state| state.violate(Rule::TimesUntrue, wrong));
        }
        Ok(page::unread(&shown.problems) + &page)
    }
}

fn suggestions(next: Vec<(String, String)>) -> Vec<Suggested> {
    next.into_iter().map(|(label, command)| Suggested { label, command }).collect()
}
