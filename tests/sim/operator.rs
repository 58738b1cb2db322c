//! An operator: does over the simulated world what the command line does over the real one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rollgate::engine::{Begin, Ended, Engine, Mode, Stop};
use rollgate::foreign::Recorded;
use rollgate::journal::Journal;
use rollgate::journal::history::{self, Past};
use rollgate::journal::replica::Copy;
use rollgate::lock::{Attempt, FileLock, Lock, LockError, break_lock};
use rollgate::plan::{Plan, Selection};
use rollgate::plan::{WayBack, missing_releases, restore_points};
use rollgate::plan::{objections, resumptions};
use rollgate::playbook::Playbook;
use rollgate::registry::Registry;
use rollgate::release::Inputs;
use rollgate::release::{CommandKind, Outcome, Resumed, Started, Will};
use rollgate::spec::{Spec, spec_of_release};
use rollgate::survey::{Fleet, PATIENCE, survey};
use rollgate::world::World;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::attempt::End;
use crate::ear::Ear;
use crate::schedule::Schedule;
use crate::sim::Sim;
use crate::site::{Site, holder};

/// How many past releases are looked at.
const RELEASES: usize = 20;

/// A command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    Deploy,
    Resume,
    Rollback,
}

impl Task {
    fn kind(self) -> CommandKind {
        match self {
            Self::Deploy => CommandKind::Deploy,
            Self::Resume => CommandKind::Resume,
            Self::Rollback => CommandKind::Rollback,
        }
    }
}

/// Somebody who runs a command.
pub(crate) struct Operator {
    sim: Arc<Sim>,
    site: Site,
    /// The state folder of their machine.
    folder: PathBuf,
    /// How long they wait for the lock.
    wait: Duration,
    /// Whether they break the lock first.
    breaks: bool,
    stop: watch::Receiver<Stop>,
    /// Keeps `stop` open where nobody asks.
    _nobody: Option<watch::Sender<Stop>>,
}

type Work = Result<Ended, End>;

fn refused(problem: impl Into<String>) -> End {
    End::Refused(vec![problem.into()])
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
        let site = Site::new(sim, schedule, &release);
        let stop = sim.look(|state| state.stop.subscribe());
        Self { sim: sim.clone(), site, folder, wait, breaks, stop, _nobody: None }
    }

    /// Nobody asks this one to stop.
    pub(crate) fn undisturbed(self) -> Self {
        let (nobody, stop) = watch::channel(Stop::No);
        Self { stop, _nobody: Some(nobody), ..self }
    }

    /// Runs a command from its beginning to its end.
    pub(crate) async fn work(mut self, task: Task, ear: &mut Ear) -> Work {
        if self.breaks {
            let _ = break_lock(&self.site.consul, "app").await;
        }
        // Which release is meant is asked before the lock, and again under it.
        let id = match task {
            Task::Resume => {
                let found = self.find(None, CommandKind::is_release).await;
                Some(found.map_err(|error| refused(format!("{error:#}")))?.id)
            }
            Task::Deploy | Task::Rollback => None,
        };
        let release = id.clone().unwrap_or_else(|| self.site.inputs.release.clone());
        let mut stop = self.stop.clone();
        let lock = tokio::select! {
            biased;
            _ = stop.changed() => return Err(refused("stopped")),
            lock = self.take(task, &release) => lock?,
        };
        let result = match task {
            Task::Deploy => self.deploy(&lock, ear).await,
            Task::Resume => self.resume(&lock, id.as_deref(), ear).await,
            Task::Rollback => self.rollback(&lock, ear).await,
        };
        lock.release().await;
        result
    }

    async fn take(&self, task: Task, release: &str) -> Result<Arc<Lock<Sim>>, End> {
        let deadline = Instant::now() + self.wait;
        let file = loop {
            match FileLock::take(&self.folder).expect("a state folder") {
                Ok(file) => break file,
                Err(_) if Instant::now() >= deadline => return Err(End::Locked),
                Err(_) => tokio::time::sleep(Duration::from_millis(500)).await,
            }
        };
        let holder = holder(&self.sim, task.kind().as_str(), release);
        let (consul, pending) = (&self.site.consul, Attempt::default());
        let lock = Lock::acquire(consul, "app", holder, Some(file), deadline, &pending, |_| {});
        lock.await.map_err(|error| match error {
            LockError::Held(_) | LockError::Closed(_) => End::Locked,
            error @ LockError::Consul(_) => refused(error.to_string()),
        })
    }

    async fn find(
        &self,
        id: Option<&str>,
        wanted: impl Fn(CommandKind) -> bool,
    ) -> Result<Past, anyhow::Error> {
        history::find(&self.folder, Some(&self.site.consul), "app", id, wanted).await
    }

    async fn look(&mut self, spec: &Arc<Spec>) -> Result<Fleet, End> {
        tokio::select! {
            biased;
            _ = self.stop.changed() => Err(refused("stopped")),
            fleet = survey(&self.sim, &self.site.consul, spec, PATIENCE) => Ok(fleet),
        }
    }

    async fn way_back(&self, spec: &Spec, playbook: &Playbook, fleet: &Fleet) -> WayBack {
        let hurried = self.site.hurried();
        let mut past =
            history::beginnings(&self.folder, Some(&hurried), "app", RELEASES).await.started;
        past.push(self.site.past());
        WayBack::find(spec, playbook, fleet, &past.iter().collect::<Vec<_>>())
    }

    async fn deploy(&mut self, lock: &Arc<Lock<Sim>>, ear: &mut Ear) -> Work {
        let (playbook, inputs) = (self.site.playbook.clone(), self.site.inputs.clone());
        let spec = Arc::new(Spec::new(&playbook, &inputs).expect("a complete playbook"));
        let fleet = self.look(&spec).await?;
        let plan = Plan::new(&spec, &fleet, &self.site.selection);
        let way = self.way_back(&spec, &playbook, &fleet).await;
        let spec = spec_of_release(&playbook, &inputs, &[], &way.targets).expect("a playbook");
        if !plan.refusals.is_empty() {
            return Err(End::Refused(plan.refusals));
        }
        if plan.count(Will::Update) == 0 {
            return Err(End::Nothing);
        }
        let registry = Registry::new(&self.sim, &self.site.consul, &spec);
        let updates = plan.rows.iter().filter(|row| row.planned.will == Will::Update);
        let addresses = updates.map(|row| row.address.as_str()).collect();
        let may_write = tokio::select! {
            biased;
            _ = self.stop.changed() => return Err(refused("stopped")),
            may_write = registry.may_write(&addresses) => may_write,
        };
        may_write.map_err(|error| refused(error.to_string()))?;
        let started = started(Task::Deploy, &playbook, inputs, &spec, &plan, &fleet);
        let started = Started { before: Recorded::new(way.targets), ..started };
        self.begin(lock, spec, started, ear).await
    }

    async fn rollback(&mut self, lock: &Arc<Lock<Sim>>, ear: &mut Ear) -> Work {
        let past = self.find(None, |command| command == CommandKind::Deploy).await;
        let past = past.map_err(|error| refused(format!("{error:#}")))?;
        let playbook = playbook_of(&past)?;
        let toward = restore_points(&past.release, &playbook, &[])
            .map_err(|not| refused(format!("what ran is not known: {not:?}")))?;
        let undone = past.release.started.as_ref().expect("it began");
        let mut inputs = undone.inputs.followed(&playbook).expect("its own variables");
        inputs.release.clone_from(&self.site.inputs.release);
        let Some(most) = toward.iter().max_by_key(|target| target.nodes.len()) else {
            return Err(End::Nothing);
        };
        inputs.variables.clone_from(&most.variables);
        inputs.artifact.clone_from(&most.artifact);
        let spec = spec_of_release(&playbook, &inputs, &toward, &[]).expect("a playbook");
        let spec = Arc::new(spec);
        let fleet = self.look(&spec).await?;
        let only = toward.iter().flat_map(|target| target.nodes.iter().cloned()).collect();
        let selection = Selection { only, ..Selection::default() };
        let mut plan = Plan::new(&spec, &fleet, &selection);
        plan.refusals.extend(missing_releases(&spec, &fleet, &plan));
        if !plan.refusals.is_empty() {
            return Err(End::Refused(plan.refusals));
        }
        if plan.count(Will::Update) == 0 {
            return Err(End::Nothing);
        }
        let way = self.way_back(&spec, &playbook, &fleet).await;
        let started = started(Task::Rollback, &playbook, inputs, &spec, &plan, &fleet);
        let (before, toward) = (Recorded::new(way.targets), Recorded::new(toward));
        let started = Started { before, toward, ..started };
        self.begin(lock, (*spec).clone(), started, ear).await
    }

    async fn resume(&mut self, lock: &Arc<Lock<Sim>>, id: Option<&str>, ear: &mut Ear) -> Work {
        let past = self.find(id, CommandKind::is_release).await;
        let past = past.map_err(|error| refused(format!("{error:#}")))?;
        let started = past.release.started.clone().ok_or_else(|| refused("it never began"))?;
        if past.release.finished.as_ref().is_some_and(|end| end.result == Outcome::Done) {
            return Err(End::Nothing);
        }
        let playbook = playbook_of(&past)?;
        let followed = "what the playbook admits";
        let spec = spec_of_release(
            &playbook,
            &started.inputs.followed(&playbook).expect(followed),
            &started.toward.followed(&playbook).expect(followed),
            &started.before.followed(&playbook).expect(followed),
        );
        let spec = Arc::new(spec.expect("a playbook"));
        let fleet = self.look(&spec).await?;
        let nodes = resumptions(&past.release, &spec, &fleet);
        let problems = objections(&past.release, &spec, &fleet, &nodes);
        if !problems.is_empty() {
            return Err(End::Refused(problems));
        }
        let journal = Journal::take_over(&self.folder, &past.id, &past.bytes).expect("a journal");
        let resumed = Resumed { actor: "simulator".into(), nodes };
        let since = past.release.begun;
        let begin = Begin::Resumed(Box::new(past.release), resumed);
        self.run(lock, &past.id, spec, begin, since, journal, past.bytes, ear).await
    }

    async fn begin(
        &self,
        lock: &Arc<Lock<Sim>>,
        spec: Spec,
        started: Started,
        ear: &mut Ear,
    ) -> Work {
        let id = started.inputs.release().to_owned();
        self.sim.look(|state| state.new_release(started.to.as_deref()));
        let journal = Journal::create(&self.folder, &id).expect("a journal");
        let begin = Begin::Started(Box::new(started));
        self.run(lock, &id, Arc::new(spec), begin, None, journal, Vec::new(), ear).await
    }

    #[expect(clippy::too_many_arguments, reason = "as the engine has it")]
    async fn run(
        &self,
        lock: &Arc<Lock<Sim>>,
        id: &str,
        spec: Arc<Spec>,
        begin: Begin,
        since: Option<jiff::Timestamp>,
        journal: Journal,
        so_far: Vec<u8>,
        ear: &mut Ear,
    ) -> Work {
        let since = since.unwrap_or_else(|| self.sim.now());
        let copy = Copy::new(&self.site.consul, lock.fence(), "app", id, since, so_far);
        let engine = Engine {
            world: self.sim.clone(),
            consul: self.site.consul.clone(),
            spec,
            mode: Mode::Deploy,
            stop: self.stop.clone(),
            lock: lock.clone(),
            copy: Some(copy),
        };
        let ended = engine.run(id, begin, journal, ear).await;
        ended.map_err(|error| refused(format!("{error:#}")))
    }
}

fn playbook_of(past: &Past) -> Result<Playbook, End> {
    let started = past.release.started.as_ref().ok_or_else(|| refused("it never began"))?;
    started.playbook.typed().map_err(refused)
}

fn started(
    task: Task,
    playbook: &Playbook,
    inputs: Inputs,
    spec: &Spec,
    plan: &Plan,
    fleet: &Fleet,
) -> Started {
    Started {
        service: spec.service.clone(),
        command: task.kind(),
        from: plan.from.clone(),
        to: spec.version.clone(),
        actor: "simulator".into(),
        file: "app.yaml".into(),
        selection: Vec::new(),
        arguments: Vec::new(),
        playbook: serde_json::to_value(playbook).expect("a playbook is JSON").into(),
        inputs: Recorded::new(inputs),
        nodes: plan.planned(),
        pool: fleet.pool(spec),
        before: Recorded::default(),
        toward: Recorded::default(),
    }
}
