//! A schedule from its beginning to its end: one operator after the other, or several at once, and what must be true
//! when all of them are gone.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rollgate::engine::{Ended, journal};
use rollgate::event::Outcome;

use crate::ear::{Ear, until_killed};
use crate::invariants::{Rule, Violation};
use crate::operator::{Operator, Task};
use crate::schedule::{After, Kill, Meanwhile, Schedule};
use crate::sim::{Shared, Sim};
use crate::world::State;

/// Longer than any release of a schedule may take.
const FOREVER: Duration = Duration::from_secs(6 * 3600);

/// What may still be on its way when a release has ended.
pub(crate) const SETTLES: u64 = 30_000;

/// A time that does not come.
const NEVER: u64 = 1 << 32;

/// How long a release may take to be safe once it is asked to stop.
const SAFE_WITHIN: u64 = 5_000;

/// How long somebody waits for the lock of one who is gone: a session, a lock-delay, elections.
const PATIENCE: Duration = Duration::from_secs(300);

/// How long a paused operator does nothing, at least.
const PAUSED: u64 = 60_000;

/// Until every gateway follows again when nothing is wrong any more.
const HEALS: u64 = 60_000;

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// Before anything was changed.
    Refused(Vec<String>),
    /// Somebody else has the lock.
    Locked,
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

impl End {
    fn is_done(&self) -> bool {
        matches!(self, Self::Finished(_, 0))
    }
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
    /// How the first release ended.
    pub(crate) end: End,
    /// How each command ended, in order.
    pub(crate) ends: Vec<(Task, End)>,
    pub(crate) violations: Vec<Violation>,
    /// Every event of the first release, as one line; where a history is kept.
    pub(crate) events: String,
    pub(crate) durable: u64,
    pub(crate) history: Vec<String>,
    pub(crate) requests: u64,
    pub(crate) lost_by_faults: u64,
    pub(crate) calls: u64,
    /// Virtual milliseconds.
    pub(crate) took: u64,
}

/// A command that somebody runs.
#[derive(Debug, Clone, Copy)]
struct Act {
    task: Task,
    machine: usize,
    kill: Option<Kill>,
    wait: Duration,
    breaks: bool,
    /// Whether it hears the schedule's signals.
    hears: bool,
    meanwhile: Option<Meanwhile>,
}

impl Act {
    fn new(task: Task, machine: usize) -> Self {
        Self {
            task,
            machine,
            kill: None,
            wait: PATIENCE,
            breaks: false,
            hears: true,
            meanwhile: None,
        }
    }
}

/// How a command went.
struct Attempt {
    act: Act,
    end: End,
    ended: Option<Ended>,
    events: String,
    durable: u64,
    ended_at: u64,
    /// Those who did something at the same time.
    others: Vec<Attempt>,
}

/// Where journals are kept: in memory, where the machine has such a place.
pub(crate) fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a temporary folder")
}

/// Runs a schedule from its beginning to its end.
pub(crate) fn run(schedule: &Schedule, scratch: &Path, history: bool) -> Ran {
    // rollgate's own chance, where it has any, is a part of the schedule.
    fastrand::seed(schedule.seed);
    let root = schedule.state_folder(scratch);
    let shared = Arc::new(Mutex::new(State::new(schedule, history)));
    let mut story = Story { schedule, root: &root, shared, clock: 0, history, ends: Vec::new() };
    story.look(|state| state.watch.lock = Some(|key| key == crate::fence::LOCK));
    let first = story.first();
    let goes_on = journal::latest(&story.folder(0)).is_some() && first.end != End::Hangs;
    if goes_on && let Some(after) = schedule.after {
        story.go_on(&first, after);
    }
    let (ends, clock) = (std::mem::take(&mut story.ends), story.clock);
    let ran = story.look(|state| Ran {
        end: first.end,
        ends,
        violations: std::mem::take(&mut state.watch.violations),
        events: first.events,
        durable: first.durable,
        history: state.history(),
        requests: state.clients.sent,
        lost_by_faults: state.clients.lost_by_faults,
        calls: state.made,
        took: clock,
    });
    let _ = std::fs::remove_dir_all(&root);
    ran
}

/// A schedule on its way.
struct Story<'a> {
    schedule: &'a Schedule,
    root: &'a Path,
    shared: Shared,
    clock: u64,
    history: bool,
    ends: Vec<(Task, End)>,
}

impl Story<'_> {
    fn folder(&self, machine: usize) -> PathBuf {
        self.root.join(format!("machine-{machine}"))
    }

    fn look<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        with(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Time passes.
    fn pass(&mut self, milliseconds: u64) {
        self.clock += milliseconds;
        self.look(|state| state.advance(self.clock));
    }

    /// The release itself.
    fn first(&mut self) -> Attempt {
        let after = self.schedule.after.map_or(SETTLES, |after| after.delay);
        let act = Act {
            kill: self.schedule.kill,
            wait: Duration::ZERO,
            meanwhile: self.schedule.meanwhile,
            ..Act::new(Task::Deploy, 0)
        };
        let settles = if act.kill.is_some() { after.min(SETTLES) } else { SETTLES };
        self.attempt(act, settles, true)
    }

    /// Somebody runs a command; then what was still on its way arrives, and everything is judged.
    fn attempt(&mut self, act: Act, settles: u64, tells: bool) -> Attempt {
        self.look(State::listen);
        let place = Place { schedule: self.schedule, root: self.root, shared: &self.shared };
        let mut attempt = place.attempt(act, self.clock, self.history);
        let task = act.task;
        // Who did something meanwhile may have gone further than this clock.
        self.clock = self.look(|state| {
            state.note(|| format!("--- the {task:?} has ended: {:?} ---", attempt.end));
            let others = attempt.others.iter().map(|other| other.ended_at).max();
            state.clock.max(attempt.ended_at).max(others.unwrap_or(0))
        });
        self.pass(settles);
        let path = journal::latest(&self.folder(act.machine));
        let told = tells && attempt.others.iter().all(|other| other.durable == 0);
        let (ended_at, end) = (attempt.ended_at, attempt.end.clone());
        attempt.end = self.look(|state| {
            if told {
                judge(state, self.schedule, &end, attempt.ended.as_ref(), path.as_deref(), ended_at)
            } else {
                finished(&end, attempt.ended.as_ref())
            }
        });
        self.judge_others(&mut attempt);
        self.ends.push((task, attempt.end.clone()));
        attempt
    }

    /// Who was paused while the lock went does nothing any more, and says so.
    fn judge_others(&mut self, attempt: &mut Attempt) {
        for other in &mut attempt.others {
            other.end = finished(&other.end, other.ended.as_ref());
            self.ends.push((other.act.task, other.end.clone()));
        }
        let paused = matches!(attempt.act.meanwhile, Some(Meanwhile::Pause { .. }));
        let taken = attempt.others.iter().any(|other| other.durable > 0);
        let lost = matches!(
            attempt.end,
            // Who is told to stop at the same moment may be gone before it looks at its lock.
            End::Finished(Outcome::LockLost | Outcome::Stopped, _)
                | End::Refused(_)
                | End::Locked
                | End::Nothing
        );
        if paused && taken && !lost {
            let text = format!("paused while another had the lock, and ends {:?}", attempt.end);
            self.look(|state| state.violate(Rule::LossUnnoticed, text));
        }
    }

    /// What operators do after the first one.
    fn go_on(&mut self, first: &Attempt, after: After) {
        let crowded = !first.others.is_empty();
        let mut stale = after.machine != 0 && !self.copy_is_true();
        if !crowded && (!first.end.is_done() || after.task == Task::Rollback) {
            let act = Act {
                kill: after.kill.map(|kill| kill.after(self.clock)),
                breaks: after.breaks,
                ..Act::new(after.task, after.machine)
            };
            let quiet = self.schedule.faults.is_empty();
            let next = self.attempt(act, if quiet { 1_000 } else { SETTLES }, !stale);
            stale |= next.end == End::Killed
                && after.last_machine != after.machine
                && !self.copy_is_true();
        }
        self.look(State::heal);
        self.pass(if self.schedule.faults.is_empty() { SETTLES / 3 } else { HEALS });
        let undoes = self.look(|state| state.watch.undoes);
        let known = |(task, end): &(Task, End)| {
            *task == Task::Rollback && !matches!(end, End::Refused(_) | End::Nothing)
        };
        let again = after.task == Task::Rollback && !undoes && self.ends.iter().any(known);
        let task = if again { Task::Rollback } else { Task::Resume };
        let was_done = self.ends.iter().any(|(_, end)| end.is_done());
        // Nobody else knows of a release that was killed before Consul did.
        let machine = if first.durable > 1 { after.last_machine } else { 0 };
        let act = Act::new(task, machine);
        let last = self.attempt(act, SETTLES / 3, !stale && !crowded);
        // A rollback that finds nothing to do leaves those that were never changed, and those that went back by themselves.
        let idle = task == Task::Rollback && last.end == End::Nothing;
        let turned = idle
            || last.ended.as_ref().is_some_and(|ended| {
                ended.release.nodes.values().any(rollgate::engine::release::NodeState::goes_back)
            });
        let reached = match &last.end {
            End::Finished(_, 0) => true,
            // Killed after its last word, perhaps.
            End::Nothing => {
                let killed = self.ends.iter().any(|(_, end)| *end == End::Killed);
                was_done || crowded || undoes || idle || killed
            }
            End::Finished(_, 20 | 21) => turned,
            _ => false,
        };
        if !reached {
            let text = format!("when everything was well again: {:?}", self.ends);
            return self.look(|state| state.violate(Rule::NotResumed, text));
        }
        self.look(|state| state.check_settled(turned));
        if turned {
            return;
        }
        let nothing = self.attempt(Act::new(Task::Resume, 0), 0, false);
        if nothing.end != End::Nothing {
            let text = format!("a resume of what is done: {:?}", nothing.end);
            self.look(|state| state.violate(Rule::NotResumed, text));
        }
    }

    /// Whether Consul's copy of the journal tells the truth; it must, unless Consul was not well.
    fn copy_is_true(&mut self) -> bool {
        let well = self.schedule.consul_is_well();
        let may_cut = self.schedule.shape.on_timeout == "proceed";
        self.look(|state| state.check_copy(may_cut, well))
    }
}

/// Where operators are.
#[derive(Clone, Copy)]
struct Place<'a> {
    schedule: &'a Schedule,
    root: &'a Path,
    shared: &'a Shared,
}

impl Place<'_> {
    /// An operator runs a command in a process, and thus a runtime, of its own.
    fn attempt(self, act: Act, since: u64, history: bool) -> Attempt {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(self.work(act, since, history))
    }

    async fn work(self, act: Act, since: u64, history: bool) -> Attempt {
        let (sim, operator) = self.operator(act, since);
        let kill_after = match act.kill {
            Some(Kill::AfterEvent(event)) => Some(event),
            Some(Kill::At(_)) | None => None,
        };
        let mut ear = Ear::new(&sim, history, kill_after);
        let killed = async {
            match act.kill {
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
        let mut others = Vec::new();
        let pause = async {
            if let Some(Meanwhile::Pause { at, suspends, .. }) = act.meanwhile {
                sim.until(at).await;
                others.push(self.freeze(&sim, act, suspends).await);
            }
            std::future::pending::<()>().await;
        };
        let work = tokio::time::timeout(FOREVER, operator.work(act.task, &mut ear));
        let work = async {
            let work = async { (work.await, sim.clock()) };
            tokio::join!(work, self.rival(act))
        };
        let ended = tokio::select! {
            biased;
            () = killed => None,
            () = signals => None,
            () = pause => None,
            ended = until_killed(work) => ended,
        };
        let (ended, ended_at) = match ended {
            Some(((ended, at), rival)) => {
                others.extend(rival);
                (Some(ended), at)
            }
            None => (None, sim.clock()),
        };
        let (end, ended) = match ended {
            None => (End::Killed, None),
            Some(Err(_)) => (End::Hangs, None),
            Some(Ok(Err(end))) => (end, None),
            Some(Ok(Ok(ended))) => (End::Unfinished, Some(ended)),
        };
        let (durable, events) = (ear.durable, ear.events.take().unwrap_or_default());
        Attempt { act, end, ended, events, durable, ended_at, others }
    }

    fn operator(self, act: Act, since: u64) -> (Arc<Sim>, Operator) {
        let number = {
            let mut state = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
            state.operators += 1;
            state.operators - 1
        };
        let sim = Arc::new(Sim::reach(self.shared, number, since));
        let folder = self.root.join(format!("machine-{}", act.machine));
        let operator = Operator::new(&sim, self.schedule, folder, act.wait, act.breaks);
        let operator = if act.hears { operator } else { operator.undisturbed() };
        (sim, operator)
    }

    /// Nothing of this operator lives while another one runs a command; then it wakes.
    async fn freeze(self, sim: &Sim, act: Act, suspends: bool) -> Attempt {
        let Some(Meanwhile::Pause { machine, breaks, kill, .. }) = act.meanwhile else {
            unreachable!("only who is paused freezes");
        };
        let from = sim.clock();
        sim.look(|state| state.note(|| "--- paused ---".into()));
        let rival = Act {
            breaks,
            kill: kill.map(|kill| kill.after(from)),
            hears: false,
            ..Act::new(Task::Resume, machine)
        };
        let seed = self.schedule.seed ^ 1;
        let other = std::thread::scope(|scope| {
            let process = scope.spawn(move || {
                fastrand::seed(seed);
                self.attempt(rival, from, false)
            });
            process.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause))
        });
        let until = other.ended_at.max(from + PAUSED);
        sim.look(|state| {
            state.fence.slept(sim.operator, from, until);
            // Who sleeps hears nothing.
            state.stopped_at = state.stopped_at.map(|asked| asked.max(until));
            state.note(|| format!("--- goes on, the other one: {:?} ---", other.end));
        });
        if suspends {
            sim.slept(until - from);
        } else {
            tokio::time::advance(Duration::from_millis(until - from)).await;
        }
        other
    }

    /// Somebody else runs a command at the same time.
    async fn rival(self, act: Act) -> Option<Attempt> {
        let Some(Meanwhile::Rival { at, waits, task, machine }) = act.meanwhile else {
            return None;
        };
        tokio::time::sleep(Duration::from_millis(at)).await;
        let wait = if waits { FOREVER } else { Duration::ZERO };
        let rival = Act { wait, hears: false, ..Act::new(task, machine) };
        let (sim, operator) = self.operator(rival, at);
        let mut ear = Ear::new(&sim, false, None);
        let (end, ended) = match operator.work(task, &mut ear).await {
            Ok(ended) => (End::Unfinished, Some(ended)),
            Err(end) => (end, None),
        };
        let (durable, ended_at) = (ear.durable, sim.clock());
        let events = String::new();
        Some(Attempt { act: rival, end, ended, events, durable, ended_at, others: Vec::new() })
    }
}

/// How it ended, as far as the release itself tells.
fn finished(end: &End, ended: Option<&Ended>) -> End {
    let finished = ended.and_then(|ended| ended.release.finished.as_ref());
    finished.map_or(end.clone(), |finished| End::Finished(finished.result, finished.exit_code))
}

/// Everything that must be true once a release has ended, or was killed.
pub(crate) fn judge(
    state: &mut State,
    schedule: &Schedule,
    end: &End,
    ended: Option<&Ended>,
    path: Option<&Path>,
    ended_at: u64,
) -> End {
    let may_cut = schedule.shape.on_timeout == "proceed";
    let end = finished(end, ended);
    if let Some(ended) = ended {
        if let Some(path) = path {
            state.check_journal(path, &ended.release);
        }
        let finished = ended.release.finished.as_ref();
        let exit = finished.map_or(22, |finished| finished.exit_code);
        state.check_told(&ended.release, Some(exit), may_cut);
        state.check_exit(&ended.release, exit, schedule.consul_is_well());
    } else if let Some(path) = path
        && end == End::Killed
    {
        // What a successor would go by.
        match journal::read(path) {
            Ok((_, release)) => state.check_told(&release, None, may_cut),
            Err(error) => state.violate(Rule::JournalUntrue, format!("{error:#}")),
        }
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
    let fine = matches!(
        end,
        End::Refused(_) | End::Locked | End::Nothing | End::Finished(_, 0) | End::Killed
    );
    if schedule.nothing_goes_wrong() && !fine {
        state.violate(Rule::NotDone, format!("{end:?}"));
    }
    end
}
