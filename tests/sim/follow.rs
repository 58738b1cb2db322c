//! An operator of a random schedule who types the commands that rollgate suggests.

use std::collections::BTreeSet;

use rollgate::engine::RunResult;
use rollgate::release::NodeState;

use crate::attempt::{Act, Attempt, CAPACITY, End};
use crate::invariants::Rule;
use crate::label::untrue;
use crate::operator::Task;
use crate::schedule::After;
use crate::story::{SETTLES, Story};
use crate::suggested::{Suggested, try_parsed};
use crate::typed::Typed;

/// Which suggested commands an operator types.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Follows {
    /// Chooses among the commands.
    pub(crate) choice: usize,
    /// The first command is typed only after everything was repaired.
    pub(crate) waits: bool,
}

/// How many suggested commands an operator types after everything was repaired, at most.
const MOST: usize = 5;

/// How long Consul keeps the lock of a killed process, at most.
const FREED: u64 = 45_000;

/// How long the inspection at the end of a release takes, at most.
const LOOK: u64 = 3_000;

/// A suggested command that is typed.
struct Typing<'a> {
    suggested: &'a Suggested,
    /// Since when only a fault can be why it is refused; `None` if there is no fault any more.
    since: Option<u64>,
    /// It was suggested before everything was repaired.
    is_early: bool,
    tells: bool,
}

impl Story<'_> {
    /// Types what the end of the first release suggests, then what `status` suggests until it suggests nothing more.
    pub(crate) fn follow(&mut self, first: &Attempt, after: After, follows: Follows) {
        let crowded = !first.others.is_empty();
        let mut is_repaired = false;
        let mut machine = 0;
        // Whether nodes may run what they ran before.
        let mut mixed = crowded || !first.end.is_done();
        if !crowded && !first.end.is_done() {
            machine = self.machine(0, after.machine);
            let (next, since) = self.suggested(first, machine);
            if let Some(suggested) = pick(&next, follows.choice) {
                is_repaired = follows.waits || suggested.label.contains("after a fix");
                if is_repaired {
                    self.repair();
                }
                let kill = after.kill.map(|kill| kill.after(self.clock));
                let act = Act { kill, breaks: after.breaks, ..Act::new(Task::Status, machine) };
                let since = Some(since).filter(|_| !is_repaired);
                let typing = Typing { suggested, since, is_early: true, tells: true };
                let Some(is_mixed) = self.types(act, &typing) else { return };
                mixed = is_mixed;
            }
        }
        if !is_repaired {
            self.repair();
        }
        if self.ends.iter().any(|(_, end)| *end == End::Killed) {
            // Until then, `status` cannot know on another machine that the holder has ended.
            self.pass(FREED);
        }
        machine = self.machine(machine, after.last_machine);
        let mut typed = BTreeSet::new();
        for turn in 1..=MOST {
            let mut next = self.status(machine).next;
            // A rollback that has found nothing to do may be suggested again.
            let is_known = |suggested: &Suggested| typed.contains(&suggested.command);
            let idle = (Task::Rollback, End::Nothing);
            let was_idle = self.ends.contains(&idle);
            if next.is_empty() || (was_idle && next.iter().all(is_known)) {
                let held = &self.schedule.shape.held;
                return self.look(|state| state.check_settled(mixed, held));
            }
            next.retain(|suggested| !is_known(suggested));
            let Some(suggested) = pick(&next, follows.choice / turn) else { break };
            typed.insert(suggested.command.clone());
            let typing = Typing { suggested, since: None, is_early: false, tells: !crowded };
            let Some(is_mixed) = self.types(Act::new(Task::Status, machine), &typing) else {
                return;
            };
            mixed = is_mixed;
        }
        let text = format!("`status` suggests more after {typed:?}: {:?}", self.ends);
        self.look(|state| state.violate(Rule::SuggestionUntrue, text));
    }

    /// What the end of a release suggests, or else `status`; and since when that is true, without a further fault.
    fn suggested(&mut self, first: &Attempt, machine: usize) -> (Vec<Suggested>, u64) {
        if first.next.is_empty() {
            let status = self.status(machine);
            return (status.next, status.began_at);
        }
        (first.next.clone(), first.ended_at.saturating_sub(LOOK))
    }

    fn status(&mut self, machine: usize) -> Attempt {
        self.attempt(Act { hears: false, ..Act::new(Task::Status, machine) }, 100, false)
    }

    /// The machine of the next command. Another one than the last knows the last release by its replica only.
    fn machine(&mut self, last: usize, wanted: usize) -> usize {
        let is_known =
            wanted == last || (self.look(|state| state.has_copy()) && self.copy_is_true());
        if is_known { wanted } else { last }
    }

    /// Types a suggested command. Returns whether nodes may run what they ran before; `None` if only an operator
    /// could let the release go on.
    fn types(&mut self, act: Act, typing: &Typing<'_>) -> Option<bool> {
        let Typing { suggested, since, is_early, tells } = typing;
        if let Err(error) = try_parsed(&suggested.command) {
            self.violate_suggestion(suggested, &format!("is not accepted: {error}"));
            return None;
        }
        let Suggested { label, command } = suggested;
        self.look(|state| state.note(|| format!("--- types `{label}: {command}` ---")));
        let line: &'static str = command.clone().leak();
        let act = Act { line: Some(line), task: Typed::read(line).task, ..act };
        let attempt = self.attempt(act, SETTLES, *tells);
        // Enough other nodes are a part of the fix: those that an operator holds, or that were out before.
        if since.is_none() && label.contains("after a fix") && attempt.lacks_capacity() {
            return None;
        }
        let wrong = match (&attempt.end, since) {
            (End::Invalid(why), _) => Some(why.clone()),
            (End::Refused(why), Some(since)) => {
                let disturbed =
                    self.look(|state| state.disturbed_at.is_some_and(|at| at >= *since));
                (!disturbed).then(|| format!("is refused as before: {why:?}"))
            }
            // Nodes that are out are a part of the fix, and a repair does not return them.
            (End::Refused(why), None)
                if *is_early
                    && label.contains("after a fix")
                    && why.iter().any(|why| why.contains(CAPACITY)) =>
            {
                None
            }
            (End::Killed, _) | (_, Some(_)) => None,
            (end, None) => self.look(|state| untrue(state, suggested, act.task, end)),
        };
        if let Some(wrong) = wrong {
            self.violate_suggestion(suggested, &wrong);
        }
        let updates = matches!(act.task, Task::Deploy | Task::DeployPlan | Task::Resume)
            && attempt.end.is_done();
        let goes_back = |ended: RunResult| ended.release.nodes.values().any(NodeState::goes_back);
        Some(!updates || attempt.ended.is_none_or(goes_back))
    }

    fn violate_suggestion(&mut self, suggested: &Suggested, wrong: &str) {
        let Suggested { label, command } = suggested;
        let text = format!("`{label}: {command}`: {wrong}");
        self.look(|state| state.violate(Rule::SuggestionUntrue, text));
    }
}

fn pick(next: &[Suggested], choice: usize) -> Option<&Suggested> {
    next.get(choice % next.len().max(1))
}
