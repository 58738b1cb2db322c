//! The operator: runs a whole release over the simulated world, as the command line does over the real one.

use std::fmt::{self, Write};
use std::future::Future;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use rollgate::consul::{Client, Settings};
use rollgate::engine::copy::Copy;
use rollgate::engine::journal::{self, Journal};
use rollgate::engine::release::Release;
use rollgate::engine::{Begin, Ended, Engine, Mode, Sink, Stop};
use rollgate::event::{Event, Outcome, Started, Will};
use rollgate::lock::{Holder, Lock};
use rollgate::plan::{Plan, Selection};
use rollgate::playbook::load_text;
use rollgate::registry::Registry;
use rollgate::secret::Redactor;
use rollgate::spec::{Digest, Inputs, Spec};
use rollgate::survey::{PATIENCE, survey};
use rollgate::world::World;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::invariants::{Rule, Violation};
use crate::schedule::{Kill, Schedule};
use crate::sim::Sim;
use crate::world::State;

/// Longer than any release of a schedule may take.
const FOREVER: Duration = Duration::from_secs(6 * 3600);

/// What may still be on its way when a release has ended.
const SETTLES: u64 = 30_000;

/// A time that does not come.
const NEVER: u64 = 1 << 32;

/// How long a release may take to be safe once it is asked to stop.
const SAFE_WITHIN: u64 = 5_000;

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// Before anything was changed.
    Refused(Vec<String>),
    /// There was nothing to do.
    Nothing,
    /// With this result.
    Finished(Outcome, u8),
    /// The journal could not be written.
    Unfinished,
    /// It was killed.
    Killed,
    /// It was still going on after a very long time.
    Hangs,
}

impl fmt::Display for End {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Names and numbers are others every time.
            Self::Refused(problems) => {
                let why = problems.first().map_or("", String::as_str);
                let why: String = why.chars().filter(|letter| !letter.is_ascii_digit()).collect();
                write!(formatter, "Refused: {why:.60}")
            }
            end => write!(formatter, "{end:?}"),
        }
    }
}

/// What a run left.
pub(crate) struct Ran {
    pub(crate) end: End,
    pub(crate) violations: Vec<Violation>,
    /// Every event, journalled or not, as one line; where a history is kept.
    pub(crate) events: String,
    pub(crate) durable: u64,
    pub(crate) history: Vec<String>,
    pub(crate) requests: u64,
    pub(crate) lost_by_faults: u64,
    pub(crate) calls: u64,
    /// Virtual milliseconds.
    pub(crate) took: u64,
}

/// Hears of events; kills the release after one of them.
struct Ear {
    sim: Arc<Sim>,
    events: Option<String>,
    durable: u64,
    kill_after: Option<u64>,
}

/// The end of a killed release.
struct Killed;

impl Sink for Ear {
    fn event(&mut self, event: &Event, _release: &Release) {
        if let Some(events) = &mut self.events {
            let _ = writeln!(events, "{}", event.to_line());
        }
        if !event.is_durable() {
            return;
        }
        self.durable += 1;
        let line = || {
            let step = event.step.map(|step| step.to_string()).unwrap_or_default();
            format!("EVENT {} {step}: {:?}", event.node.as_deref().unwrap_or(""), event.fact)
        };
        self.sim.look(|state| state.written_down(self.durable, line));
        if self.kill_after == Some(self.durable) {
            // As kill -9 would: nobody hears that the event is on the disk, and nothing else happens.
            resume_unwind(Box::new(Killed));
        }
    }
}

/// Lets a future run until it ends or is killed from within.
async fn until_killed<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = Box::pin(future);
    std::future::poll_fn(|context| {
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(value)) => Poll::Ready(Some(value)),
            Err(cause) if cause.is::<Killed>() => Poll::Ready(None),
            Err(cause) => resume_unwind(cause),
        }
    })
    .await
}

/// Where journals are kept: in memory, where the machine has such a place.
pub(crate) fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a temporary folder")
}

/// The artifact: a file of this machine that is made once.
fn artifact() -> &'static (tempfile::TempDir, Digest) {
    static ARTIFACT: OnceLock<(tempfile::TempDir, Digest)> = OnceLock::new();
    ARTIFACT.get_or_init(|| {
        let folder = scratch();
        let file = folder.path().join("app-2.tar.gz");
        std::fs::write(&file, archive()).expect("an artifact");
        let settings = rollgate::spec::ArtifactSpec { file, expected: None, digest: None, keep: 2 };
        let digest = rollgate::artifact::read(&settings).expect("a digest");
        (folder, digest)
    })
}

/// An archive with one small file, the same every time.
fn archive() -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_size(9);
    header.set_mode(0o755);
    let encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(encoder);
    archive.append_data(&mut header, "run", b"version 2".as_slice()).expect("in memory");
    archive.into_inner().and_then(flate2::write::GzEncoder::finish).expect("in memory")
}

/// The folder of the new release on a node.
pub(crate) fn new_release() -> String {
    format!("app-2-{}", &artifact().1.sha256[..8])
}

/// Runs a schedule from its beginning to its end on a paused clock of its own.
pub(crate) fn run(schedule: &Schedule, scratch: &Path, history: bool) -> Ran {
    // rollgate's own chance, where it has any, is a part of the schedule.
    fastrand::seed(schedule.seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let state = schedule.state_folder(scratch);
    let ran = runtime.block_on(release(schedule, &state, history));
    let _ = std::fs::remove_dir_all(&state);
    ran
}

async fn release(schedule: &Schedule, folder: &Path, history: bool) -> Ran {
    let sim = Arc::new(Sim::new(schedule, history));
    let kill_after = match schedule.kill {
        Some(Kill::AfterEvent(event)) => Some(event),
        Some(Kill::At(_)) | None => None,
    };
    let events = history.then(String::new);
    let mut ear = Ear { sim: sim.clone(), events, durable: 0, kill_after };
    let killed = async {
        match schedule.kill {
            Some(Kill::At(clock)) => sim.until(clock).await,
            Some(Kill::AfterEvent(_)) | None => std::future::pending().await,
        }
    };
    // Whoever sleeps hears a signal all the same: somebody must look at the world when it comes.
    let changed = sim.look(|state| state.signals_changed.clone());
    let signals = async {
        loop {
            let next = sim.look(|state| state.signals.first().copied());
            tokio::select! {
                biased;
                () = changed.notified() => {}
                () = sim.until(next.unwrap_or(NEVER)) => {}
            }
        }
    };
    let attempt = {
        let work = tokio::time::timeout(FOREVER, deploy(&sim, schedule, folder, &mut ear));
        tokio::select! {
            biased;
            () = killed => None,
            () = signals => None,
            ended = until_killed(work) => ended,
        }
    };
    let ended_at = sim.clock();
    // What was still on its way arrives.
    sim.look(|state| state.note(|| "--- the release has ended ---".into()));
    sim.until(ended_at + SETTLES).await;
    if attempt.is_none() {
        succeed(&sim).await;
    }
    let path = journal::latest(folder);
    let end = sim.look(|state| {
        let (end, ended) = match attempt {
            None => (End::Killed, None),
            Some(Err(_)) => (End::Hangs, None),
            Some(Ok(Err(end))) => (end, None),
            Some(Ok(Ok(ended))) => (End::Unfinished, Some(ended)),
        };
        judge(state, schedule, end, ended.as_ref(), path.as_deref(), ended_at)
    });
    sim.look(|state| Ran {
        end,
        violations: std::mem::take(&mut state.watch.violations),
        events: ear.events.take().unwrap_or_default(),
        durable: ear.durable,
        history: Vec::new(),
        requests: state.clients.sent,
        lost_by_faults: state.clients.lost_by_faults,
        calls: state.made,
        took: ended_at,
    })
    .with_history(&sim)
}

impl Ran {
    fn with_history(mut self, sim: &Sim) -> Self {
        self.history = sim.history();
        self
    }
}

/// What happens after a killed release and before everything is judged: time passes. This is the place for
/// `resume`, which must reach the end that an undisturbed release has.
async fn succeed(sim: &Sim) {
    sim.until(sim.clock() + SETTLES).await;
}

/// Everything that must be true once a release has ended, or was killed.
pub(crate) fn judge(
    state: &mut State,
    schedule: &Schedule,
    end: End,
    ended: Option<&Ended>,
    path: Option<&Path>,
    ended_at: u64,
) -> End {
    let may_cut = schedule.shape.on_timeout == "proceed";
    let mut end = end;
    if let Some(ended) = ended {
        if let Some(path) = path {
            state.check_journal(path, &ended.release);
        }
        let finished = ended.release.finished.as_ref();
        if let Some(finished) = finished {
            end = End::Finished(finished.result, finished.exit_code);
        }
        let exit = finished.map_or(22, |finished| finished.exit_code);
        state.check_told(&ended.release, Some(exit), may_cut);
    } else if let Some(path) = path {
        // What a successor would go by.
        match journal::read(path) {
            Ok((_, release)) => state.check_told(&release, None, may_cut),
            Err(error) => state.violate(Rule::JournalUntrue, format!("{error:#}")),
        }
    } else {
        state.check_told(&Release::default(), None, may_cut);
    }
    if let Some(asked) = state.stopped_at
        && ended_at > asked.saturating_add(SAFE_WITHIN)
        && !matches!(end, End::Killed)
    {
        let text = format!("asked at {asked}, ended at {ended_at}");
        state.violate(Rule::StoppedLate, text);
    }
    if end == End::Hangs {
        state.violate(Rule::NeverEnds, format!("it takes longer than {FOREVER:?}"));
    }
    let fine = matches!(end, End::Refused(_) | End::Nothing | End::Finished(_, 0) | End::Killed);
    if schedule.nothing_goes_wrong() && !fine {
        state.violate(Rule::NotDone, format!("{end:?}"));
    }
    end
}

/// What `rollgate deploy` does between reading its arguments and printing its report.
async fn deploy(
    sim: &Arc<Sim>,
    schedule: &Schedule,
    folder: &Path,
    ear: &mut Ear,
) -> Result<Ended, End> {
    let site = Site::new(sim, schedule);
    let mut stopped = site.stop.clone();
    let holder = holder(sim);
    let lock =
        Lock::acquire(&site.consul, &site.spec.service, holder, None, Instant::now(), |_| {});
    let lock = tokio::select! {
        biased;
        _ = stopped.changed() => return Err(End::Refused(vec!["stopped".into()])),
        lock = lock => lock.map_err(|error| End::Refused(vec![error.to_string()]))?,
    };
    let result = site.release(&lock, folder, ear).await;
    lock.release().await;
    result
}

fn holder(sim: &Sim) -> Holder {
    let now = sim.now();
    Holder {
        release: "r1".into(),
        command: "deploy".into(),
        by: "simulator".into(),
        host: "here".into(),
        pid: 1,
        since: now,
        seen: now,
        doing: String::new(),
        file: None,
        released: false,
    }
}

/// A playbook with everything that it needs.
struct Site {
    sim: Arc<Sim>,
    playbook: serde_json::Value,
    inputs: Inputs,
    spec: Arc<Spec>,
    consul: Arc<Client<Sim>>,
    stop: watch::Receiver<Stop>,
}

impl Site {
    fn new(sim: &Arc<Sim>, schedule: &Schedule) -> Self {
        let text = schedule.shape.playbook();
        let loaded = load_text("app.yaml", text).unwrap_or_else(|invalid| panic!("{invalid}"));
        let (artifact_folder, digest) = artifact();
        let inputs = Inputs {
            release: "r1".into(),
            folder: PathBuf::from(artifact_folder.path()),
            artifact: schedule.shape.artifact.then(|| digest.clone()),
            ..Inputs::default()
        };
        let spec = Arc::new(Spec::new(&loaded.playbook, &inputs).expect("a complete playbook"));
        let servers = 1..=schedule.shape.servers;
        let settings = Settings {
            addresses: servers.map(|server| format!("http://consul-{server}:8500")).collect(),
            token: None,
            basic_auth: None,
            datacenter: None,
            namespace: None,
            partition: None,
        };
        Self {
            sim: sim.clone(),
            playbook: serde_json::to_value(&loaded.playbook).expect("a playbook is JSON"),
            inputs,
            spec,
            consul: Arc::new(Client::new(sim.clone(), settings)),
            stop: sim.look(|state| state.stop.subscribe()),
        }
    }

    async fn release(
        self,
        lock: &Arc<Lock<Sim>>,
        folder: &Path,
        ear: &mut Ear,
    ) -> Result<Ended, End> {
        let Self { sim, playbook, inputs, spec, consul, stop } = self;
        let mut stopped = stop.clone();
        let refused = |problems: Vec<String>| End::Refused(problems);
        let fleet = tokio::select! {
            biased;
            _ = stopped.changed() => return Err(refused(vec!["stopped".into()])),
            fleet = survey(&sim, &consul, &spec, PATIENCE) => fleet,
        };
        let plan = Plan::new(&spec, &fleet, &Selection::default());
        if !plan.refusals.is_empty() {
            return Err(refused(plan.refusals));
        }
        if plan.count(Will::Update) == 0 {
            return Err(End::Nothing);
        }
        let registry = Registry::new(&sim, &consul, &spec);
        let updates = plan.rows.iter().filter(|row| row.planned.will == Will::Update);
        let addresses = updates.map(|row| row.address.as_str()).collect();
        registry.may_write(&addresses).await.map_err(|error| refused(vec![error.to_string()]))?;
        let started = Started {
            service: spec.service.clone(),
            command: "deploy".into(),
            from: plan.from.clone(),
            to: spec.version.clone(),
            actor: "simulator".into(),
            file: "app.yaml".into(),
            selection: Vec::new(),
            arguments: Vec::new(),
            playbook,
            inputs,
            nodes: plan.planned(),
            pool: fleet.pool(&spec),
            before: Vec::new(),
            toward: Vec::new(),
        };
        let journal = Journal::create(folder, "r1").expect("a journal");
        let copy = Copy::new(&consul, lock.guard(), &spec.service, "r1", sim.now(), Vec::new());
        let engine = Engine {
            world: sim,
            consul,
            spec,
            mode: Mode::Deploy,
            stop,
            redactor: Redactor::default(),
            lock: lock.clone(),
            copy: Some(copy),
        };
        let begin = Begin::Started(Box::new(started));
        Ok(engine.run("r1", begin, journal, ear).await.expect("a journal that can be written"))
    }
}
