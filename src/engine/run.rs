//! The loop of a release: start a batch, run the steps of its nodes, verify the pool at the end, write every event
//! before it counts.
//!
//! The nodes of a batch run in parallel. Each node requests the recording of its events and continues only when they
//! are on disk. So the order in the journal is the order in which actions were permitted.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::context::{Context, Known, LiveRelease, Operation, Record, Sink, millis};
use super::end::conclude;
use super::pool::{Fallen, Pool};
use super::recorder::Recorder;
use super::scheduler::{NextAction, next_action};
use super::stop::{Stop, StopReason, Stopper};
use super::worker::NodeWorker;
use crate::consul::Client;
use crate::gateway::{GatewayMonitor, GatewaySpec, QueryClient};
use crate::holds::Holds;
use crate::journal::Journal;
use crate::journal::replica::JournalReplica;
use crate::lock::Lock;
use crate::registry::Registry;
use crate::release::{EventKind, Finished, Release, Resumed, Started};
use crate::spec::{RegistrySpec, Spec};
use crate::suggestions::{Repeated, Situation};
use crate::world::World;

/// How a run begins.
#[derive(Debug)]
pub enum Start {
    /// As a new release.
    Started(Box<Started>),
    /// At the point where an earlier run of the release ended or was interrupted.
    Resumed(Box<Release>, Resumed),
}

/// The dependencies of a release.
pub struct Engine<W> {
    /// The world.
    pub world: Arc<W>,
    /// Consul.
    pub consul: Arc<Client<W>>,
    /// The specification of the release.
    pub spec: Arc<Spec>,
    /// The operation on each node.
    pub operation: Operation,
    /// Becomes [`StopReason::Requested`] when the release must stop.
    pub stop: watch::Receiver<StopReason>,
    /// The lock that excludes other releases.
    pub lock: Arc<Lock<W>>,
    /// The arguments that suggested commands repeat.
    pub repeated: Repeated,
    /// The journal's replica for other machines.
    pub copy: Option<JournalReplica<W>>,
    /// The nodes that operators hold.
    pub holds: Holds<W>,
}

/// The result of a finished run.
#[derive(Debug)]
pub struct RunResult {
    /// The state of the release.
    pub release: Release,
    /// The internal error, if the run ended because of one.
    pub failed: Option<anyhow::Error>,
    /// Why its journal is incomplete.
    pub unwritten: Option<anyhow::Error>,
}

impl<W: World> Engine<W> {
    /// Runs a release until it is done, fails, or stops on request.
    ///
    /// # Errors
    ///
    /// When the journal refuses the first event; no action was done then.
    pub async fn run(
        self,
        id: &str,
        begin: Start,
        journal: Journal,
        sink: &mut dyn Sink,
    ) -> Result<RunResult> {
        let clock = Instant::now();
        let (sender, records) = mpsc::channel(256);
        let (fell, fallen) = mpsc::unbounded_channel();
        let halt = Stopper::new();
        let stop = halt.watch();
        let asked = tokio::spawn(pass_on(self.stop, self.lock.lost(), halt.clone()));
        let (release, first) = match begin {
            Start::Started(started) => (Release::default(), EventKind::ReleaseStarted(started)),
            Start::Resumed(release, resumed) => (*release, EventKind::ReleaseResumed(resumed)),
        };
        let mut recorder = Recorder {
            world: self.world.as_ref(),
            id: id.to_owned(),
            release: LiveRelease::new(release),
            journal,
            copy: self.copy,
            lines: String::new(),
            pending: Vec::new(),
            waiting: Vec::new(),
            sink,
            moved: Instant::now(),
            lock: &self.lock,
            halt,
            unwritten: None,
            failed: None,
        };
        recorder.tell(first).await?;
        let questions = QueryClient::new(self.world.clone(), Some(&self.consul));
        let gateways = self.spec.gateways.iter();
        let live = recorder.release.clone();
        let (nodes, pool) = {
            let release = live.read();
            (Known::all(&self.spec, &release), Pool::new(&self.spec, &release, fell))
        };
        let context = Arc::new(Context {
            registry: Registry::new(&self.world, &self.consul, &self.spec)
                .permitted(&self.lock.permit()),
            gateways: gateways.map(|gateway| monitor(&questions, &self.spec, gateway)).collect(),
            pool,
            nodes,
            world: self.world.clone(),
            consul: self.consul,
            spec: self.spec,
            operation: self.operation,
            lock: self.lock.clone(),
            holds: self.holds,
            release: live,
            turn: Arc::default(),
            stop: stop.clone(),
            records: sender,
            tidying: std::sync::Mutex::default(),
        });
        let mut floor = Floor { context: context.clone(), records, fallen, stop: stop.clone() };
        let mut watch = JoinSet::new();
        if self.operation == Operation::Deploy {
            watch.spawn(context.clone().watch_pool());
        }
        if self.operation == Operation::Deploy {
            floor.return_unchanged(&mut recorder).await;
        }
        let staged = self.operation != Operation::Deploy || floor.stage(&mut recorder).await;
        let verified = !staged || floor.take_all(&mut recorder).await;
        floor.drive(context.take_tidying(), &mut recorder).await;
        watch.shutdown().await;
        recorder.ask_for_the_lock().await;
        note_stop(&mut recorder, &stop);
        let finished = conclude(&recorder, &context.spec, staged, verified, &stop, millis(clock));
        let next = {
            let release = &*recorder.release.read();
            Situation::new(release, finished.result, &self.repeated).commands()
        };
        let finished = Finished { next, ..finished };
        let _ = recorder.tell(EventKind::ReleaseFinished(finished)).await;
        recorder.close().await;
        asked.abort();
        let release = recorder.release.read().clone();
        Ok(RunResult { release, failed: recorder.failed, unwritten: recorder.unwritten })
    }
}

/// Maximum number of nodes that receive the artifact in parallel.
const STAGED_AT_ONCE: usize = 16;

/// The result of the verification of every node that serves.
enum Verified {
    Well,
    Fell,
    /// A stop was requested before the result was known.
    Stopped,
}

/// Runs the tasks of nodes. Receives their recording requests and the failures of serving nodes.
struct Floor<W> {
    context: Arc<Context<W>>,
    records: mpsc::Receiver<Record>,
    fallen: mpsc::UnboundedReceiver<Fallen>,
    stop: Stop,
}

impl<W: World> Floor<W> {
    /// Returns the nodes to rotation that a failed release has only marked down. The nodes that roll back may need them
    /// there.
    async fn return_unchanged(&mut self, recorder: &mut Recorder<'_, W>) {
        if !self.context.spec.stops_after(recorder.failures()) {
            return;
        }
        let left = recorder.release.read().to_return();
        let mut tasks = JoinSet::new();
        for run in left.iter().filter_map(|name| NodeWorker::new(&self.context, name)) {
            tasks.spawn(run.return_unchanged());
        }
        if !tasks.is_empty() {
            self.drive(tasks, recorder).await;
        }
    }

    /// Stages the artifact on every node before any of them leaves rotation. Returns whether the release may continue.
    async fn stage(&mut self, recorder: &mut Recorder<'_, W>) -> bool {
        let spec = self.context.spec.clone();
        // A failed release that is resumed does not bring the new version to further nodes.
        if spec.artifact.is_none() || spec.stops_after(recorder.failures()) {
            return true;
        }
        let waiting = recorder.release.read().to_update();
        let mut tasks = JoinSet::new();
        let places = Arc::new(tokio::sync::Semaphore::new(STAGED_AT_ONCE));
        for name in waiting {
            // A node that only stops needs no artifact.
            let run = NodeWorker::new(&self.context, &name).filter(|run| !run.node.stays_out());
            if let Some(run) = run {
                tasks.spawn(run.stage(places.clone()));
            }
        }
        self.drive(tasks, recorder).await;
        !spec.stops_after(recorder.failures()) && recorder.failed.is_none()
    }

    /// Runs batches until no action is left and every node that serves is verified as healthy. Returns whether that
    /// could be verified.
    async fn take_all(&mut self, recorder: &mut Recorder<'_, W>) -> bool {
        while recorder.failed.is_none() {
            // Nodes may have failed between two batches.
            self.find_unwell(recorder).await;
            note_stop(recorder, &self.stop);
            let NextAction::Take { number, nodes, back } = self.next(recorder) else {
                if self.context.operation != Operation::Deploy {
                    return true;
                }
                if self.stop.is_requested() {
                    return false;
                }
                match self.verify(recorder).await {
                    Ok(Verified::Well) => return true,
                    // The failed nodes may have to roll back, and others with them.
                    Ok(Verified::Fell) => continue,
                    Ok(Verified::Stopped) => {
                        note_stop(recorder, &self.stop);
                        return false;
                    }
                    Err(problem) => {
                        let reason = format!("final verification failed: {problem}");
                        let _ = recorder.tell(EventKind::ReleaseStopping { reason }).await;
                        return false;
                    }
                }
            };
            let taken = EventKind::BatchStarted { number, nodes: nodes.clone(), back };
            if recorder.tell(taken).await.is_err() {
                return true;
            }
            let mut tasks = JoinSet::new();
            for name in nodes {
                if let Some(run) = NodeWorker::new(&self.context, &name) {
                    tasks.spawn(run.go());
                }
            }
            self.drive(tasks, recorder).await;
        }
        true
    }

    /// Finds out which nodes serve. Nodes that do not serve are updated first.
    async fn find_unwell(&mut self, recorder: &mut Recorder<'_, W>) {
        let context = self.context.clone();
        self.unless_stopped(recorder, async move { context.find_unwell().await }).await;
    }

    fn next(&self, recorder: &Recorder<'_, W>) -> NextAction {
        let stops = self.stop.is_requested();
        let is_dead = |name: &str| {
            let known = self.context.nodes.get(name);
            known.is_some_and(|known| self.context.pool.is_dead(&known.node))
        };
        next_action(&self.context.spec, &recorder.release.read(), stops, is_dead)
    }

    /// Verifies every node that serves. Nodes that fail are handled as the playbook says.
    async fn verify(&mut self, recorder: &mut Recorder<'_, W>) -> Result<Verified, String> {
        let context = self.context.clone();
        let verify = async move { context.verify_all().await };
        match self.unless_stopped(recorder, verify).await {
            (_, fell) if fell > 0 => Ok(Verified::Fell),
            (Some(result), _) => result.map(|()| Verified::Well),
            (None, _) => Ok(Verified::Stopped),
        }
    }

    /// Runs `work` until it ends or a stop is requested, and handles the nodes that fail meanwhile. Returns the result,
    /// unless it was stopped, and the number of nodes that failed.
    async fn unless_stopped<T: Send + 'static>(
        &mut self,
        recorder: &mut Recorder<'_, W>,
        work: impl Future<Output = T> + Send + 'static,
    ) -> (Option<T>, usize) {
        let (answer, mut answered) = oneshot::channel();
        let stop = self.stop.requested();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            tokio::select! {
                biased;
                result = work => { let _ = answer.send(result); }
                () = stop => {}
            }
        });
        let fell = self.drive(tasks, recorder).await;
        (answered.try_recv().ok(), fell)
    }

    /// Runs tasks and records their events until all tasks have ended. Returns the number of serving nodes that failed
    /// meanwhile.
    async fn drive(&mut self, mut tasks: JoinSet<()>, recorder: &mut Recorder<'_, W>) -> usize {
        let patience = self.context.spec.progress_deadline;
        let (mut listening, mut fell) = (true, 0);
        loop {
            let stalled = recorder.moved + patience;
            tokio::select! {
                biased;
                Some(record) = self.records.recv() => {
                    recorder.take(record);
                    // Requests that arrived meanwhile are written in the same write.
                    while let Ok(record) = self.records.try_recv() {
                        recorder.take(record);
                    }
                    recorder.flush().await;
                }
                changed = self.stop.changed(), if listening => {
                    listening = changed;
                    note_stop(recorder, &self.stop);
                }
                () = tokio::time::sleep_until(stalled), if !self.stop.is_requested() => {
                    recorder.stall(patience);
                }
                Some((name, failure)) = self.fallen.recv() => {
                    fell += 1;
                    if let Some(run) = NodeWorker::new(&self.context, &name) {
                        tasks.spawn(run.fall(failure));
                    }
                }
                ended = tasks.join_next() => match ended {
                    None => break,
                    Some(Ok(())) => {}
                    Some(Err(error)) => {
                        recorder.failed.get_or_insert_with(|| anyhow!("a step crashed: {error}"));
                    }
                },
            }
            if recorder.failed.is_some() {
                // No task may act on a fact that cannot be recorded.
                tasks.shutdown().await;
            }
        }
        while let Ok(record) = self.records.try_recv() {
            recorder.take(record);
        }
        recorder.flush().await;
        let failures = recorder.failures();
        if self.context.spec.stops_after(failures) && !recorder.is_stopping() {
            let failed = crate::text::count(failures, "node");
            let limit = self.context.spec.max_failures;
            let reason = format!("{failed} failed (max_failures {limit})");
            let _ = recorder.tell(EventKind::ReleaseStopping { reason }).await;
        }
        fell
    }
}

fn note_stop<W: World>(recorder: &mut Recorder<'_, W>, stop: &Stop) {
    let reason = stop.reason().reason().map(str::to_owned);
    if let Some(reason) = reason
        && !recorder.is_stopping()
    {
        let _ = recorder.record(None, None, EventKind::ReleaseStopping { reason });
    }
}

/// Forwards a requested stop, or the loss of the lock, which overrides every other reason.
async fn pass_on(
    mut asked: watch::Receiver<StopReason>,
    mut lost: watch::Receiver<Option<String>>,
    halt: Stopper,
) {
    let asked_to = async {
        match asked.wait_for(|stop| *stop != StopReason::No).await.map(|stop| stop.clone()) {
            Ok(reason) => halt.stop_first(reason),
            // The sender is gone: no stop can be requested any more.
            Err(_) => std::future::pending().await,
        }
    };
    let dispossessed = async {
        match lost.wait_for(Option::is_some).await.map(|reason| reason.clone()) {
            Ok(reason) => {
                halt.stop(StopReason::LockLost(reason.unwrap_or_default()));
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::join!(asked_to, dispossessed);
}

/// Monitors a gateway. One without an API of its own should follow the registry.
fn monitor<W: World>(
    questions: &QueryClient<W>,
    spec: &Spec,
    gateway: &GatewaySpec,
) -> GatewayMonitor<W> {
    let monitor = GatewayMonitor::new(questions.clone(), gateway);
    match spec.registry_of(gateway) {
        Some(RegistrySpec::ConsulKv { prefix }) => monitor.following(prefix),
        Some(RegistrySpec::ConsulService { service, .. }) => {
            monitor.following(&format!("the service {service} in Consul"))
        }
        Some(RegistrySpec::Gateway) | None => monitor,
    }
}
