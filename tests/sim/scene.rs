//! A scene: commands in one world, and what they print.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::attempt::{Act, Attempt, End, Place, finished};
use crate::invariants::Rule;
use crate::label::untrue;
use crate::operator::Task;
use crate::schedule::Schedule;
use crate::shape::Shape;
use crate::sim::Shared;
use crate::story::scratch;
use crate::suggested::{Suggested, suggested};
use crate::typed::Typed;
use crate::world::State;

/// The time between two commands.
const PAUSE: u64 = 60_000;

/// A change of the world between two commands.
pub(crate) type Change = fn(&mut State);

/// A change of the playbook's file between two commands.
type Edit = fn(&mut Shape);

/// A part of a situation.
#[derive(Clone, Copy)]
enum Part {
    Act(Act),
    Change(Change),
    Edit(Edit),
}

/// A situation: commands in one world, and what they print.
pub(crate) struct Scene {
    schedule: Schedule,
    /// The shape before any edit of the file.
    shape: Shape,
    /// What has happened so far.
    parts: Vec<Part>,
    /// Whether each suggested command is typed in a copy of this world.
    types: bool,
    /// What was tried since the last command that can change something.
    tried: BTreeSet<String>,
    root: tempfile::TempDir,
    shared: Shared,
    clock: u64,
    /// The time between two commands.
    pause: u64,
    /// Whether the plan before the question is shown, and what the first operator sees meanwhile.
    is_whole: bool,
    text: String,
}

impl Scene {
    pub(crate) fn new(heading: &str, schedule: Schedule) -> Self {
        // rollgate's own randomness is a part of the schedule.
        fastrand::seed(schedule.seed);
        let shared = Arc::new(Mutex::new(State::new(&schedule, true)));
        let text = format!("\n== {heading}\n");
        let (parts, types, tried) = (Vec::new(), true, BTreeSet::new());
        let (root, clock, pause, is_whole) = (scratch(), 0, PAUSE, false);
        let shape = schedule.shape.clone();
        let scene = Self {
            schedule,
            shape,
            parts,
            types,
            tried,
            root,
            shared,
            clock,
            pause,
            is_whole,
            text,
        };
        scene.look(|state| state.watch.lock = Some(|key| key == crate::fence::LOCK));
        scene
    }

    /// The next command follows after a second.
    pub(crate) fn soon(self) -> Self {
        self.after(1_000)
    }

    /// The next command follows after this time.
    pub(crate) fn after(self, pause: u64) -> Self {
        Self { pause, ..self }
    }

    /// No suggested command is typed.
    pub(crate) fn untyped(self) -> Self {
        Self { types: false, ..self }
    }

    /// Shows every line.
    pub(crate) fn whole(self) -> Self {
        Self { is_whole: true, ..self }
    }

    fn look<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        with(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Runs a command a minute later, on the first machine.
    pub(crate) fn then(self, task: Task) -> Self {
        self.act(Act::new(task, 0))
    }

    pub(crate) fn act(mut self, act: Act) -> Self {
        let attempt = self.run(act);
        if self.types {
            if attempt.end != End::Shown {
                self.tried.clear();
            }
            for attempt in [&attempt].into_iter().chain(&attempt.others) {
                self.type_suggestions(attempt);
            }
        }
        if attempt.others.is_empty() || self.is_whole {
            self.show(&attempt);
        }
        for other in &attempt.others {
            let same = other.act.machine == attempt.act.machine;
            let machine = if same { "the same machine" } else { "another machine" };
            self.text += &format!("\n(meanwhile, on {machine})\n");
            self.show(other);
        }
        self
    }

    /// Runs a command, and waits for a minute.
    fn run(&mut self, act: Act) -> Attempt {
        self.parts.push(Part::Act(act));
        self.look(State::listen);
        let place =
            Place { schedule: &self.schedule, root: self.root.path(), shared: &self.shared };
        let attempt = place.attempt(act, self.clock, true);
        let others = attempt.others.iter().map(|other| other.ended_at);
        self.clock = others.fold(attempt.ended_at, u64::max) + self.pause;
        self.look(|state| state.advance(self.clock));
        attempt
    }

    /// Types each command that was suggested, each in a world in which the same has happened so far.
    fn type_suggestions(&mut self, attempt: &Attempt) {
        for suggested in suggested(&attempt.screen) {
            if !self.tried.insert(suggested.command.clone()) {
                continue;
            }
            let pause = self.pause;
            let begun = Schedule { shape: self.shape.clone(), ..self.schedule.clone() };
            let mut copy = Self { types: false, pause, ..Self::new("", begun) };
            for part in &self.parts {
                match part {
                    Part::Act(act) => drop(copy.run(*act)),
                    Part::Change(with) => copy.look(with),
                    Part::Edit(with) => with(&mut copy.schedule.shape),
                }
            }
            if suggested.label.contains("after a fix") {
                copy.look(State::heal);
                copy.clock += PAUSE;
                copy.look(|state| state.advance(copy.clock));
            }
            let line = suggested.command.clone().leak();
            let task = Typed::read(line).task;
            let act = Act { line: Some(line), ..Act::new(task, attempt.act.machine) };
            let typed = copy.run(act);
            copy.judge(&suggested, &typed);
        }
    }

    /// Checks that a suggested command did what its label says.
    fn judge(&self, suggested: &Suggested, attempt: &Attempt) {
        let end = finished(&attempt.end, attempt.ended.as_ref());
        let untrue = self.look(|state| untrue(state, suggested, attempt.act.task, &end));
        let Suggested { label, command } = suggested;
        let told = format!("{}\n{label}: {command}\n{end:?}\n{}", self.text, attempt.screen);
        assert!(untrue.is_none(), "{untrue:?}\n{told}");
    }

    fn show(&mut self, attempt: &Attempt) {
        let typed = attempt.act.line.map(|line| line.trim_start_matches("rollgate "));
        let command = match attempt.act.task {
            _ if typed.is_some() => typed.unwrap_or_default(),
            Task::Deploy => "deploy app.yaml --var version=2",
            Task::Plan => "plan app.yaml --var version=2",
            Task::PlanOut => "plan app.yaml --var version=2 --out plan.json",
            Task::DeployPlan => "deploy --plan plan.json",
            Task::Resume => "resume app.yaml",
            Task::Rollback => "rollback app.yaml",
            Task::NodeOut(node) => &format!("node out app.yaml node-{}", node + 1),
            Task::NodeIn(node) => &format!("node in app.yaml node-{}", node + 1),
            Task::Status => "status app.yaml",
            Task::Doctor => "doctor app.yaml",
            Task::ShowLock => "lock show app.yaml",
            Task::BreakLock => "lock break app.yaml",
            Task::History => "history app.yaml",
            Task::Show => "show app.yaml",
        };
        let mut screen = attempt.screen.clone();
        for machine in ["machine-0", "machine-1"] {
            let folder = self.root.path().join(machine).display().to_string();
            screen = screen.replace(&format!("{folder}.plan.json"), "plan.json");
            screen = screen.replace(&folder, ".rollgate/app");
            screen = screen.replace(&format!("{machine}/app.yaml"), "app.yaml");
        }
        screen = with_one_id(&screen);
        if attempt.act.task == Task::Deploy && !self.is_whole {
            screen = without_plan(&screen);
        }
        self.text += &format!("\n$ rollgate {command}\n{screen}");
    }

    /// Changes the world between two commands.
    pub(crate) fn change(mut self, what: &str, with: Change) -> Self {
        self.text += &format!("\n({what})\n");
        self.parts.push(Part::Change(with));
        self.look(with);
        self
    }

    /// Edits the playbook's file between two commands.
    pub(crate) fn edit(mut self, what: &str, with: Edit) -> Self {
        self.text += &format!("\n({what})\n");
        self.parts.push(Part::Edit(with));
        with(&mut self.schedule.shape);
        self
    }

    /// Looks at the world between two commands.
    pub(crate) fn check(self, with: impl FnOnce(&State)) -> Self {
        self.look(|state| with(state));
        self
    }

    /// Ignores rules that a change of the world has broken, not rollgate.
    pub(crate) fn ignoring(self, rules: &[Rule]) -> Self {
        self.look(|state| state.watch.violations.retain(|it| !rules.contains(&it.rule)));
        self
    }

    /// Returns what was printed, after no rule was broken.
    pub(crate) fn end(self) -> String {
        let violations = self.look(|state| std::mem::take(&mut state.watch.violations));
        let violations: Vec<_> = violations.iter().map(ToString::to_string).collect();
        assert!(violations.is_empty(), "{}\n{}", self.text, violations.join("\n"));
        self.text
    }
}

/// A command line that an operator types.
pub(crate) fn typed(line: &'static str) -> Act {
    Act { line: Some(line), ..Act::new(Typed::read(line).task, 0) }
}

/// What each command printed.
pub(crate) fn printed(text: &str) -> Vec<&str> {
    text.split("\n$ ").skip(1).collect()
}

/// A screen in which each plan file has the same id: it depends on the folder of the test.
fn with_one_id(screen: &str) -> String {
    let mut parts = screen.split("plan ");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let id = part.split(|letter: char| !letter.is_ascii_hexdigit()).next().unwrap_or_default();
        let rest = if id.len() == 8 { &part[8..] } else { part };
        let id = if id.len() == 8 { "7f3a19c2" } else { "" };
        text += &format!("plan {id}{rest}");
    }
    text
}

/// A screen from the question on: most plans are equal.
fn without_plan(screen: &str) -> String {
    let Some((plan, rest)) = screen.split_once("\nPlan: ") else { return screen.to_owned() };
    let (_, rest) = rest.split_once('\n').expect("a line");
    let before = plan.lines().take_while(|line| !line.starts_with("app  "));
    let before: String = before.flat_map(|line| [line, "\n"]).collect();
    format!("{before}(the plan)\n{rest}")
}
