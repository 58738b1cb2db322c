//! Runs a schedule from its beginning to its end, with one operator after the other or several at once, and checks the
//! rules when all of them have finished.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rollgate::journal;
use rollgate::release::Outcome;

use crate::attempt::{Act, Attempt, End, PAUSED, Place, finished};
use crate::by_plan::Visible;
use crate::ends::judge;
use crate::invariants::{Rule, Violation};
use crate::operator::Task;
use crate::schedule::{After, Meanwhile, Schedule};
use crate::sim::{Shared, time_of_day};
use crate::world::State;

/// How long effects of a release can still arrive after its end.
pub(crate) const SETTLES: u64 = 30_000;

/// The duration of a fault that outlasts every release, in milliseconds.
pub(crate) const NEVER_ENDS: u64 = 24 * 3_600_000;

/// How long a request to Consul can stay without an answer.
const UNANSWERED: u64 = 6_000;

/// The time until every gateway follows again after the last fault.
const HEALS: u64 = 60_000;

/// The result of a run.
pub(crate) struct Ran {
    /// How the first release ended.
    pub(crate) end: End,
    /// How each command ended, in order.
    pub(crate) ends: Vec<(Task, End)>,
    pub(crate) violations: Vec<Violation>,
    /// Every event of the first release, as one line; only where a history is kept.
    pub(crate) events: String,
    pub(crate) durable: u64,
    pub(crate) history: Vec<String>,
    pub(crate) requests: u64,
    pub(crate) lost_by_faults: u64,
    pub(crate) calls: u64,
    /// By gateway: how often it was read, by second.
    pub(crate) reads: Vec<Vec<u64>>,
    /// The duration in virtual milliseconds.
    pub(crate) took: u64,
}

impl Ran {
    /// Returns how many events the release has written up to the first that contains `text`.
    pub(crate) fn events_until(&self, text: &str) -> u64 {
        let mut events = self.history.iter().filter(|line| line.contains("EVENT "));
        events.position(|line| line.contains(text)).expect("the event is written") as u64 + 1
    }

    /// Returns when the text first appears in the history, in milliseconds.
    pub(crate) fn moment(&self, text: &str) -> u64 {
        self.moment_after(0, text)
    }

    /// The same from a moment on.
    pub(crate) fn moment_after(&self, from: u64, text: &str) -> u64 {
        let mut told = self.history.iter().filter(|line| line.contains(text)).map(|line| {
            let time = line.split_whitespace().next().and_then(|time| time.split_once('.'));
            let (seconds, millis) = time.expect("a time");
            let seconds: u64 = seconds.parse().expect("seconds");
            seconds * 1_000 + millis.parse::<u64>().expect("millis")
        });
        told.find(|moment| *moment >= from).expect("the text is in the history")
    }
}

/// The folder for journals: in memory, where the machine has such a file system.
pub(crate) fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a temporary folder")
}

/// Runs a schedule from its beginning to its end.
pub(crate) fn run(schedule: &Schedule, scratch: &Path, history: bool) -> Ran {
    // rollgate's own randomness is a part of the schedule.
    fastrand::seed(schedule.seed);
    let root = schedule.state_folder(scratch);
    let shared = Arc::new(Mutex::new(State::new(schedule, history)));
    let (ends, planned) = (Vec::new(), None);
    let mut story = Story { schedule, root: &root, shared, clock: 0, history, ends, planned };
    story.look(|state| state.watch.lock = Some(|key| key == crate::fence::LOCK));
    let first = story.first();
    let goes_on = journal::latest(&story.folder(0)).is_some() && first.end != End::Hangs;
    if goes_on && let Some(after) = schedule.after {
        match after.follows {
            Some(follows) => story.follow(&first, after, follows),
            None => story.go_on(&first, after),
        }
    }
    if goes_on {
        story.shows_its_end();
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
        reads: state.gateways.iter().map(|gateway| gateway.reads.clone()).collect(),
        took: clock,
    });
    let _ = std::fs::remove_dir_all(&root);
    ran
}

/// A schedule under way.
pub(crate) struct Story<'a> {
    pub(crate) schedule: &'a Schedule,
    root: &'a Path,
    shared: Shared,
    pub(crate) clock: u64,
    history: bool,
    pub(crate) ends: Vec<(Task, End)>,
    /// What there was when the last plan file was written.
    pub(crate) planned: Option<Visible>,
}

impl Story<'_> {
    /// Whatever journal is there, `show` and `history` tell what it says.
    fn shows_its_end(&mut self) {
        for task in [Task::Show, Task::History] {
            let place = Place { schedule: self.schedule, root: self.root, shared: &self.shared };
            let act = Act { hears: false, ..Act::new(task, 0) };
            let end = place.attempt(act, self.clock, false).end;
            if end != End::Shown {
                let text = format!("{task:?} ends {end:?}");
                self.look(|state| state.violate(Rule::TimesUntrue, text));
            }
        }
    }

    pub(crate) fn folder(&self, machine: usize) -> PathBuf {
        self.root.join(format!("machine-{machine}"))
    }

    pub(crate) fn look<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        with(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, milliseconds: u64) {
        self.clock += milliseconds;
        self.look(|state| state.advance(self.clock));
    }

    /// Runs the release itself.
    fn first(&mut self) -> Attempt {
        let after = self.schedule.after.map_or(SETTLES, |after| after.delay);
        let by_plan = self.schedule.by_plan;
        let task = by_plan.map_or(Task::Deploy, |by_plan| self.make_plan(by_plan));
        let act = Act {
            kill: self.schedule.kill,
            wait: Duration::ZERO,
            meanwhile: self.schedule.meanwhile,
            ..Act::new(task, 0)
        };
        let settles = if act.kill.is_some() { after.min(SETTLES) } else { SETTLES };
        self.attempt(act, settles, true)
    }

    /// Runs a command of an operator, lets pending effects arrive, and checks the rules.
    pub(crate) fn attempt(&mut self, act: Act, settles: u64, tells: bool) -> Attempt {
        self.look(State::listen);
        let is_stale = act.task == Task::DeployPlan && self.is_plan_stale();
        let place = Place { schedule: self.schedule, root: self.root, shared: &self.shared };
        let mut attempt = place.attempt(act, self.clock, self.history);
        let task = act.task;
        if is_stale {
            self.check_stale(&attempt);
        }
        // A parallel operator may have gone further than this clock.
        self.clock = self.look(|state| {
            state.note(|| format!("--- the {task:?} has ended: {:?} ---", attempt.end));
            let others = attempt.others.iter().map(|other| other.ended_at).max();
            state.clock.max(attempt.ended_at).max(others.unwrap_or(0))
        });
        self.pass(settles);
        let last = self.look(|state| state.watch.release.clone());
        let journals = journal::all(&self.folder(act.machine));
        let path = journals.into_iter().find(|(_, release, _)| *release == last);
        let path = path.map(|(_, _, path)| path);
        if let Some(path) = &path {
            self.look(|state| state.check_times(path));
        }
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

    /// A process that was paused while the lock was lost does nothing more, and reports the loss.
    fn judge_others(&mut self, attempt: &mut Attempt) {
        for other in &mut attempt.others {
            other.end = finished(&other.end, other.ended.as_ref());
            self.ends.push((other.act.task, other.end.clone()));
        }
        let paused = match attempt.act.meanwhile {
            // A release that has ended needs its lock no longer, although its process still looks around.
            Some(Meanwhile::Pause { at, .. }) => {
                let release = attempt.ended.as_ref().map(|ended| &ended.release);
                let over = release.filter(|release| release.finished.is_some());
                let last = over.and_then(|release| release.latest);
                last.is_none_or(|last| last > time_of_day(at))
            }
            _ => false,
        };
        let taken = attempt.others.iter().any(|other| other.durable > 0);
        // A process that gets a signal at the same moment can end before it checks its lock.
        let stopping = attempt.ended.as_ref().and_then(|ended| ended.release.stopping.as_deref());
        let lost = stopping == Some("SIGTERM")
            || matches!(
                attempt.end,
                End::Finished(Outcome::LockLost | Outcome::Stopped, _)
                    | End::Refused(_)
                    | End::Stale(_)
                    | End::Locked
                    | End::Nothing
            );
        // A process that ends right after its wake-up, before Consul answers, cannot know of the loss; it writes
        // nothing.
        let woke = attempt.others.iter().map(|other| other.ended_at).max().unwrap_or_default();
        let woke = match attempt.act.meanwhile {
            Some(Meanwhile::Pause { at, .. }) => woke.max(at + PAUSED),
            _ => woke,
        };
        let early = self.schedule.loses_answers() && attempt.ended_at < woke + UNANSWERED;
        if paused && taken && !lost && !early {
            let text = format!("paused while another had the lock, and ends {:?}", attempt.end);
            self.look(|state| state.violate(Rule::LossUnnoticed, text));
        }
    }

    /// Runs the commands after the first release.
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
            let moves = next.end == End::Killed && after.last_machine != after.machine;
            stale |= moves && !self.copy_is_true();
            // Killed before Consul had its journal: for other machines it did not start.
            if moves && act.task == Task::Rollback && next.durable <= 1 {
                self.look(State::forget_release);
            }
        }
        self.repair();
        self.return_split_nodes();
        let undoes = self.look(|state| state.watch.undoes);
        let known = |(task, end): &(Task, End)| {
            *task == Task::Rollback && !matches!(end, End::Refused(_) | End::Nothing)
        };
        let again = after.task == Task::Rollback && !undoes && self.ends.iter().any(known);
        let task = if again { Task::Rollback } else { Task::Resume };
        let was_done = self.ends.iter().any(|(_, end)| end.is_done());
        // Other machines do not know a release that ended before Consul had a replica.
        let machine = if self.look(|state| state.has_copy()) { after.last_machine } else { 0 };
        let act = Act::new(task, machine);
        let last = self.attempt(act, SETTLES / 3, !stale && !crowded);
        // A rollback without work leaves unchanged nodes, and nodes that rolled back by themselves, as they are.
        let idle = task == Task::Rollback && last.end == End::Nothing;
        let turned = idle
            || last.ended.as_ref().is_some_and(|ended| {
                ended.release.nodes.values().any(rollgate::release::NodeState::goes_back)
            });
        let reached = match &last.end {
            End::Finished(_, 0) => true,
            // Perhaps killed after its last event.
            End::Nothing => {
                let killed = self.ends.iter().any(|(_, end)| *end == End::Killed);
                was_done || crowded || undoes || idle || killed
            }
            End::Finished(_, 20 | 21) => turned,
            _ => false,
        };
        // Before a first release, fewer than `min_available` serve: a new node that is partly in rotation may not leave
        // again.
        if !reached && !self.schedule.shape.empty.is_empty() && last.lacks_capacity() {
            return;
        }
        if !reached {
            let text = format!("when everything was well again: {:?}", self.ends);
            return self.look(|state| state.violate(Rule::NotResumed, text));
        }
        let held = &self.schedule.shape.held;
        self.look(|state| state.check_settled(turned, held));
        if turned {
            return;
        }
        // A release was killed right after its end was written: only its own machine knows of the end, and on another
        // one it ends once more.
        let was_killed = self.ends.iter().any(|(_, end)| *end == End::Killed);
        let unheard = was_killed && machine != 0 && last.end == End::Nothing;
        let nothing = self.attempt(Act::new(Task::Resume, 0), 0, false);
        let said_again = unheard && matches!(nothing.end, End::Finished(_, 0));
        if nothing.end != End::Nothing && !said_again {
            let text = format!("a resume of what is done: {:?}", nothing.end);
            self.look(|state| state.violate(Rule::NotResumed, text));
        }
    }

    /// Returns the nodes that their registries mark differently, as `status` suggests. Each of several such nodes can be
    /// the last one at another gateway, and then none of them may leave.
    fn return_split_nodes(&mut self) {
        let split = self.look(|state| state.split());
        if split.len() > 1 {
            for node in split {
                self.attempt(Act::new(Task::NodeIn(node), 0), 1_000, false);
            }
        }
    }

    /// Ends all faults, and lets gateways follow again.
    pub(crate) fn repair(&mut self) {
        self.look(State::heal);
        self.pass(if self.schedule.faults.is_empty() { SETTLES / 3 } else { HEALS });
    }

    /// Whether Consul's replica of the journal is true; it must be, unless Consul was faulty.
    pub(crate) fn copy_is_true(&mut self) -> bool {
        let well = self.schedule.consul_is_well();
        let may_cut = self.schedule.shape.on_timeout == "proceed";
        self.look(|state| state.check_copy(may_cut, well))
    }
}
