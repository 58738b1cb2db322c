//! One command: how it is run by an operator of its own, alone or while others do something, and how it ended.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rollgate::engine::RunResult;
use rollgate::release::Outcome;

use crate::ear::{Ear, until_killed};
use crate::operator::{Operator, Task};
use crate::schedule::{Kill, Meanwhile, Schedule};
use crate::screen::Screen;
use crate::sim::{Shared, Sim};
use crate::suggested::Suggested;
use crate::typed::Typed;

/// Longer than any release of a schedule may take.
pub(crate) const FOREVER: Duration = Duration::from_secs(6 * 3600);

/// What a refusal and a failure say if too few nodes would stay in rotation.
pub(crate) const CAPACITY: &str = " would route to ";

/// A time that does not come.
const NEVER: u64 = 1 << 32;

/// How long a command waits for the lock of a dead holder: a session, a lock-delay, elections.
const PATIENCE: Duration = Duration::from_secs(300);

/// How long a paused operator does nothing, at least.
pub(crate) const PAUSED: u64 = 60_000;

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// Before anything was changed.
    Refused(Vec<String>),
    /// Something was changed since its plan was made.
    Stale(String),
    /// Somebody else has the lock.
    Locked,
    /// It was typed wrongly.
    Invalid(String),
    /// There was nothing to do.
    Nothing,
    /// It has shown something and changed nothing.
    Shown,
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
    pub(crate) fn is_done(&self) -> bool {
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
            Self::Stale(_) => write!(formatter, "Stale"),
            end => write!(formatter, "{end:?}"),
        }
    }
}

/// A command of an operator.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Act {
    pub(crate) task: Task,
    pub(crate) machine: usize,
    pub(crate) kill: Option<Kill>,
    pub(crate) wait: Duration,
    pub(crate) breaks: bool,
    /// Whether it hears the schedule's signals.
    pub(crate) hears: bool,
    pub(crate) meanwhile: Option<Meanwhile>,
    /// The command line that is typed in place of the task alone.
    pub(crate) line: Option<&'static str>,
}

impl Act {
    pub(crate) fn new(task: Task, machine: usize) -> Self {
        Self {
            task,
            machine,
            kill: None,
            wait: PATIENCE,
            breaks: false,
            hears: true,
            meanwhile: None,
            line: None,
        }
    }

    /// The command that is typed.
    fn typed(&self) -> Typed {
        self.line.map_or_else(|| self.task.into(), Typed::read)
    }
}

/// How a command went.
pub(crate) struct Attempt {
    pub(crate) act: Act,
    pub(crate) end: End,
    pub(crate) ended: Option<RunResult>,
    pub(crate) events: String,
    /// What its operator saw, where a history is kept.
    pub(crate) screen: String,
    /// The commands that it suggested at its end.
    pub(crate) next: Vec<Suggested>,
    pub(crate) began_at: u64,
    pub(crate) durable: u64,
    pub(crate) ended_at: u64,
    /// Those who did something at the same time.
    pub(crate) others: Vec<Attempt>,
}

/// Where operators are.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) schedule: &'a Schedule,
    pub(crate) root: &'a Path,
    pub(crate) shared: &'a Shared,
}

impl Place<'_> {
    /// An operator runs a command in a process, and thus a runtime, of its own.
    pub(crate) fn attempt(self, act: Act, since: u64, history: bool) -> Attempt {
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
        // A signal reaches a sleeping task, too: a task must read the world when it comes.
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
        let work = tokio::time::timeout(FOREVER, operator.work(act.typed(), &mut ear));
        let work = async {
            let work = async { (work.await, sim.clock()) };
            tokio::join!(work, self.rival(act, history))
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
        let screen = ear.screen.as_ref().map(Screen::text).unwrap_or_default();
        let (next, began_at) = (ear.next, since);
        Attempt { act, end, ended, events, screen, next, began_at, durable, ended_at, others }
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
    async fn rival(self, act: Act, history: bool) -> Option<Attempt> {
        let Some(Meanwhile::Rival { at, waits, task, machine, breaks }) = act.meanwhile else {
            return None;
        };
        tokio::time::sleep(Duration::from_millis(at)).await;
        let wait = if waits { FOREVER } else { Duration::ZERO };
        let rival = Act { wait, breaks, hears: false, ..Act::new(task, machine) };
        let (sim, operator) = self.operator(rival, at);
        let mut ear = Ear::new(&sim, history, None);
        let (end, ended) = match operator.work(task.into(), &mut ear).await {
            Ok(ended) => (End::Unfinished, Some(ended)),
            Err(end) => (end, None),
        };
        let (durable, ended_at) = (ear.durable, sim.clock());
        let screen = ear.screen.as_ref().map(Screen::text).unwrap_or_default();
        let (events, others, next, began_at) = (String::new(), Vec::new(), ear.next, at);
        let act = rival;
        Some(Attempt { act, end, ended, events, screen, next, began_at, durable, ended_at, others })
    }
}

impl Attempt {
    /// Whether a node failed because it could not leave rotation: too few others serve.
    pub(crate) fn lacks_capacity(&self) -> bool {
        let failures = self.ended.iter().flat_map(|ended| ended.release.nodes.values());
        let mut reasons = failures.filter_map(|node| node.failure.as_ref());
        reasons.any(|failure| failure.reason.contains(CAPACITY))
    }
}

/// How it ended, as far as the release itself tells.
pub(crate) fn finished(end: &End, ended: Option<&RunResult>) -> End {
    let finished = ended.and_then(|ended| ended.release.finished.as_ref());
    finished.map_or(end.clone(), |finished| End::Finished(finished.result, finished.exit_code))
}
