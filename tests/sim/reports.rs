//! What an operator sees in each situation, on one page: `tests/snapshots/reports.txt`.
//!
//! rollgate's own commands run in the simulated world and print by its own reporters. `UPDATE=1` writes the page.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::attempt::{Act, Attempt, Place};
use crate::faults::{Fault, When};
use crate::gateway::Lie;
use crate::operator::Task;
use crate::process::Start;
use crate::schedule::{Kill, Meanwhile, Schedule};
use crate::sim::Shared;
use crate::story::{NEVER_ENDS, run, scratch};
use crate::world::State;

/// The time between two commands.
const PAUSE: u64 = 60_000;

/// A situation: commands in one world, and what they print.
struct Scene {
    schedule: Schedule,
    root: tempfile::TempDir,
    shared: Shared,
    clock: u64,
    /// Whether the plan before the question is shown, and what the first operator sees meanwhile.
    is_whole: bool,
    text: String,
}

impl Scene {
    fn new(heading: &str, schedule: Schedule) -> Self {
        // rollgate's own randomness is a part of the schedule.
        fastrand::seed(schedule.seed);
        let shared = Arc::new(Mutex::new(State::new(&schedule, true)));
        let text = format!("\n== {heading}\n");
        let scene = Self { schedule, root: scratch(), shared, clock: 0, is_whole: false, text };
        scene.look(|state| state.watch.lock = Some(|key| key == crate::fence::LOCK));
        scene
    }

    /// Shows every line.
    fn whole(self) -> Self {
        Self { is_whole: true, ..self }
    }

    fn look<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        with(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Runs a command a minute later, on the first machine.
    fn then(self, task: Task) -> Self {
        self.act(Act::new(task, 0))
    }

    fn act(mut self, act: Act) -> Self {
        self.look(State::listen);
        let place =
            Place { schedule: &self.schedule, root: self.root.path(), shared: &self.shared };
        let attempt = place.attempt(act, self.clock, true);
        if attempt.others.is_empty() || self.is_whole {
            self.show(&attempt);
        }
        for other in &attempt.others {
            self.text += "\n(meanwhile, on another machine)\n";
            self.show(other);
        }
        let others = attempt.others.iter().map(|other| other.ended_at);
        self.clock = others.fold(attempt.ended_at, u64::max) + PAUSE;
        self.look(|state| state.advance(self.clock));
        self
    }

    fn show(&mut self, attempt: &Attempt) {
        let command = match attempt.act.task {
            Task::Deploy => "deploy app.yaml --var version=2",
            Task::Plan => "plan app.yaml --var version=2",
            Task::Resume => "resume app.yaml",
            Task::Rollback => "rollback app.yaml",
            Task::NodeOut(_) => "node out app.yaml node-1",
            Task::NodeIn(_) => "node in app.yaml node-1",
            Task::Status => "status app.yaml",
            Task::Doctor => "doctor app.yaml",
            Task::ShowLock => "lock show app.yaml",
            Task::BreakLock => "lock break app.yaml",
        };
        let mut screen = attempt.screen.clone();
        for machine in ["machine-0", "machine-1"] {
            let folder = self.root.path().join(machine).display().to_string();
            screen = screen.replace(&folder, ".rollgate/app");
            screen = screen.replace(&format!("{machine}/app.yaml"), "app.yaml");
        }
        if attempt.act.task == Task::Deploy && !self.is_whole {
            screen = without_plan(&screen);
        }
        self.text += &format!("\n$ rollgate {command}\n{screen}");
    }

    /// Changes the world between two commands.
    fn change(mut self, what: &str, with: impl FnOnce(&mut State)) -> Self {
        self.text += &format!("\n({what})\n");
        self.look(with);
        self
    }

    fn end(self) -> String {
        let violations = self.look(|state| std::mem::take(&mut state.watch.violations));
        let violations: Vec<_> = violations.iter().map(ToString::to_string).collect();
        assert!(violations.is_empty(), "{}\n{}", self.text, violations.join("\n"));
        self.text
    }
}

/// A screen from the question on: most plans are equal.
fn without_plan(screen: &str) -> String {
    let Some((plan, rest)) = screen.split_once("\nPlan: ") else { return screen.to_owned() };
    let (_, rest) = rest.split_once('\n').expect("a line");
    let before = plan.lines().take_while(|line| line.starts_with("waiting: "));
    let before: String = before.flat_map(|line| [line, "\n"]).collect();
    format!("{before}(the plan)\n{rest}")
}

/// Makes a schedule from the plain one.
fn plain(change: impl FnOnce(&mut Schedule)) -> Schedule {
    let mut schedule = Schedule::plain();
    change(&mut schedule);
    schedule
}

/// Adds a fault that strikes with the first event whose line in the history contains `event`.
fn with(mut schedule: Schedule, event: &str, fault: Fault) -> Schedule {
    let event = run(&schedule, scratch().path(), true).events_until(event);
    schedule.faults.push((When::Event(event), fault));
    schedule
}

/// A version that never becomes healthy on these nodes.
fn bad(schedule: &mut Schedule, nodes: &[usize]) {
    schedule.bad = nodes.iter().map(|node| (*node, Start::Never)).collect();
}

/// Another operator's command at this time.
fn meanwhile(at: u64, task: Task) -> Act {
    let rival = Meanwhile::Rival { at, waits: false, task, machine: 1, breaks: false };
    Act { meanwhile: Some(rival), ..Act::new(Task::Deploy, 0) }
}

fn killed(event: u64) -> Act {
    Act { kill: Some(Kill::AfterEvent(event)), ..Act::new(Task::Deploy, 0) }
}

fn plans() -> Vec<String> {
    let capacity = plain(|schedule| {
        (schedule.shape.out, schedule.shape.left_out) = (vec![2], vec![2]);
    });
    let mixed = plain(|schedule| {
        schedule.shape.nodes = 5;
        (schedule.shape.done, schedule.shape.left_out) = (vec![1], vec![2]);
        schedule.shape.out = vec![4];
    });
    let lies = Fault::Lies { gateway: 1, lie: Lie::Refuses, lasts: NEVER_ENDS };
    let unreadable = plain(|schedule| schedule.faults = vec![(When::At(0), lies)]);
    let away = Fault::Unreachable { node: 1, lasts: NEVER_ENDS };
    let away = plain(|schedule| schedule.faults = vec![(When::At(0), away)]);
    vec![
        Scene::new("Plan of a release of three nodes.", plain(|_| {})).then(Task::Plan).end(),
        Scene::new(
            "Plan of a release: node-2 runs the version already, node-3 is excluded, node-5 is out.",
            mixed,
        )
        .then(Task::Plan)
        .end(),
        Scene::new("Every node runs the version already.", plain(|schedule| {
            schedule.shape.done = vec![0, 1, 2];
        }))
        .then(Task::Plan)
        .then(Task::Deploy)
        .end(),
        Scene::new("The release would leave too few nodes in rotation.", capacity)
            .then(Task::Plan)
            .then(Task::Deploy)
            .end(),
        Scene::new("A gateway refuses connections.", unreadable)
            .then(Task::Plan)
            .then(Task::Deploy)
            .then(Task::Doctor)
            .then(Task::Status)
            .then(Task::NodeOut(0))
            .end(),
        Scene::new("SSH login to a node is refused.", away)
            .then(Task::Plan)
            .then(Task::Deploy)
            .then(Task::Doctor)
            .then(Task::Status)
            .end(),
        Scene::new("The token may not write the keys of the upstreams.", plain(|_| {}))
            .change("the token may only read upstreams/", |state| {
                state.consul.read_only = vec!["upstreams/".into()];
            })
            .then(Task::Deploy)
            .then(Task::Doctor)
            .end(),
        Scene::new("The token may not write the lock.", plain(|_| {}))
            .change("the token may only read rollgate/", |state| {
                state.consul.read_only = vec!["rollgate/".into()];
            })
            .then(Task::Deploy)
            .then(Task::Doctor)
            .end(),
        Scene::new("Consul has no leader.", plain(|schedule| {
            schedule.faults = vec![(When::At(0), Fault::Election(NEVER_ENDS))];
        }))
        .then(Task::Deploy)
        .then(Task::Doctor)
        .then(Task::Status)
        .then(Task::ShowLock)
        .end(),
    ]
}

fn releases() -> Vec<String> {
    let fails = |on_failure: &'static str| {
        plain(|schedule| {
            schedule.shape.on_failure = on_failure;
            bad(schedule, &[1]);
        })
    };
    let slow = |on_timeout: &'static str| {
        plain(|schedule| {
            let shape = &mut schedule.shape;
            (shape.slow_of, shape.slowest, shape.drain_timeout) = (1, 60_000, 2_000);
            shape.on_timeout = on_timeout;
        })
    };
    let stuck = Fault::Stuck { gateway: 0, worker: 1, lasts: NEVER_ENDS };
    let unconfirmed = with(plain(|_| {}), "node-1 disable: StepStarted", stuck);
    vec![
        Scene::new("A release that succeeds.", plain(|_| {}))
            .whole()
            .then(Task::Status)
            .then(Task::Doctor)
            .then(Task::ShowLock)
            .then(Task::Deploy)
            .then(Task::Status)
            .then(Task::ShowLock)
            .then(Task::BreakLock)
            .then(Task::Resume)
            .end(),
        Scene::new(
            "node-2 fails its health check; on_failure is stop. Then a rollback.",
            fails("stop"),
        )
        .then(Task::Deploy)
        .then(Task::Status)
        .then(Task::Rollback)
        .then(Task::Status)
        .end(),
        Scene::new("node-2 fails its health check; on_failure is continue.", fails("continue"))
            .then(Task::Deploy)
            .end(),
        Scene::new(
            "node-2 fails its health check; on_failure is rollback_node.",
            fails("rollback_node"),
        )
        .then(Task::Deploy)
        .then(Task::Status)
        .end(),
        Scene::new(
            "node-2 fails its health check; on_failure is rollback_all.",
            fails("rollback_all"),
        )
        .then(Task::Deploy)
        .then(Task::Status)
        .end(),
        Scene::new("The drain of node-1 times out; on_timeout is fail.", slow("fail"))
            .then(Task::Deploy)
            .end(),
        Scene::new("The drain of each node times out; on_timeout is proceed.", slow("proceed"))
            .then(Task::Deploy)
            .end(),
        Scene::new("A worker of gw-1 does not stop routing to node-1.", unconfirmed)
            .then(Task::Deploy)
            .then(Task::Status)
            .end(),
    ]
}

fn interruptions() -> Vec<String> {
    let drain = "node-2 drain: StepStarted";
    let signal = with(plain(|_| {}), drain, Fault::Signal);
    let whole = run(&plain(|_| {}), scratch().path(), true);
    let (drains, at) = (whole.events_until(drain), whole.moment(drain) + 100);
    let health = whole.moment("node-1 health: StepStarted") + 100;
    let elsewhere = |task| Act::new(task, 1);
    let election = with(plain(|_| {}), drain, Fault::Election(20_000));
    let full = plain(|schedule| schedule.faults = vec![(When::At(0), Fault::DiskFull(1))]);
    vec![
        Scene::new("A signal stops the release at node-2. Then a resume.", signal)
            .then(Task::Deploy)
            .then(Task::Status)
            .then(Task::Resume)
            .end(),
        Scene::new(
            "rollgate is killed at node-2. Another machine resumes the release.",
            plain(|_| {}),
        )
        .act(killed(drains))
        .act(Act { wait: Duration::ZERO, ..Act::new(Task::Deploy, 1) })
        .then(Task::ShowLock)
        .then(Task::Status)
        .act(elsewhere(Task::Resume))
        .act(elsewhere(Task::Status))
        .end(),
        Scene::new("rollgate is killed at node-2. Then a rollback.", plain(|_| {}))
            .act(killed(drains))
            .then(Task::Rollback)
            .end(),
        Scene::new("Another program has changed node-1 before a resume.", plain(|_| {}))
            .act(killed(drains))
            .change("node-1 runs version 3 now", |state| {
                let process = state.nodes[0].process.as_mut().expect("a process");
                process.version = "3".into();
                process.pid += 1;
            })
            .then(Task::Resume)
            .end(),
        Scene::new("A rollback of a release that succeeded.", plain(|_| {}))
            .then(Task::Deploy)
            .then(Task::Rollback)
            .then(Task::Status)
            .then(Task::Rollback)
            .end(),
        Scene::new("Another operator looks while a release is in progress.", plain(|_| {}))
            .act(meanwhile(health, Task::Status))
            .end(),
        Scene::new(
            "Another operator runs the doctor while a release is in progress.",
            plain(|_| {}),
        )
        .act(meanwhile(health, Task::Doctor))
        .end(),
        Scene::new("Another operator deploys while a release is in progress.", plain(|_| {}))
            .act(meanwhile(health, Task::Deploy))
            .end(),
        Scene::new(
            "Another operator breaks the lock while a release is in progress.",
            plain(|_| {}),
        )
        .whole()
        .act(meanwhile(at, Task::BreakLock))
        .then(Task::Status)
        .end(),
        Scene::new("Consul has no leader for 20 s during the drain of node-2.", election)
            .then(Task::Deploy)
            .end(),
        Scene::new("The disk of node-2 is full.", full).then(Task::Deploy).end(),
        Scene::new("A node is taken out of rotation by hand, and returned.", plain(|_| {}))
            .then(Task::NodeOut(0))
            .then(Task::Status)
            .then(Task::NodeIn(0))
            .then(Task::Status)
            .end(),
    ]
}

#[test]
fn reports_page_shows_every_situation() {
    let mut page = String::from("What an operator sees. Written by tests/sim/reports.rs.\n");
    page += &[plans(), releases(), interruptions()].concat().concat();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/reports.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &page).expect("written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == page, "{}: run the test with UPDATE=1", path.display());
}
