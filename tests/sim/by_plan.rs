//! Releases that run a plan file: `plan --out`, and `deploy --plan` some time later.

use fastrand::Rng;

use crate::attempt::{Act, Attempt, End};
use crate::faults::Fault;
use crate::gateway::Lie;
use crate::invariants::Rule;
use crate::operator::Task;
use crate::reports::plain;
use crate::scene::{Change, Scene, printed, typed};
use crate::schedule::{Kill, OWN_PREFIX, PREFIX, Schedule};
use crate::shape::one;
use crate::story::{NEVER_ENDS, Story, run, scratch};
use crate::world::State;

/// How long gateways need at most to follow an edited key, and a process to serve.
const FOLLOWS: u64 = 10_000;

/// The plan file of a schedule.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ByPlan {
    /// How much later it runs.
    delay: u64,
    between: Between,
}

/// What is changed between the plan and its release.
#[derive(Debug, Clone, Copy)]
enum Between {
    Nothing,
    /// Another writer edits the key of a node.
    Edit(usize),
    /// The process of a node ends and starts again.
    Restart(usize),
    /// Another operator releases everything first.
    Release,
}

impl ByPlan {
    pub(crate) fn random(rng: &mut Rng, nodes: usize) -> Self {
        let delay = one(rng, &[0, 2_000, 60_000]);
        let node = rng.usize(0..nodes);
        let changes = [Between::Edit(node), Between::Restart(node), Between::Release];
        let between = if rng.bool() { Between::Nothing } else { one(rng, &changes) };
        Self { delay, between }
    }
}

/// What an inspection can see of the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Visible {
    /// By node: its process, and its `current` link.
    nodes: Vec<(Option<(u32, u64)>, String)>,
    /// The keys of the nodes, with the index of their last change.
    keys: Vec<(String, u64)>,
    /// The list of each gateway; `None` while its workers differ.
    lists: Vec<Option<Vec<bool>>>,
}

impl Visible {
    fn of(state: &State) -> Self {
        let nodes = state.nodes.iter().map(|node| {
            let process = node.process.as_ref().map(|process| (process.pid, process.started));
            (process, node.current.clone())
        });
        let keys = state.consul.store.keys.iter();
        let keys = keys.filter(|(key, _)| key.starts_with(PREFIX) || key.starts_with(OWN_PREFIX));
        let keys = keys.map(|(key, pair)| (key.clone(), pair.modified));
        let lists = state.gateways.iter().map(|gateway| {
            let mut lists = gateway.workers.iter().map(|worker| &worker.up);
            let first = lists.next()?;
            lists.all(|list| list == first).then(|| first.clone())
        });
        Self { nodes: nodes.collect(), keys: keys.collect(), lists: lists.collect() }
    }

    fn differs(&self, now: &Self) -> bool {
        let mut lists = self.lists.iter().zip(&now.lists);
        let differs = lists.any(|lists| matches!(lists, (Some(then), Some(now)) if then != now));
        differs || self.nodes != now.nodes || self.keys != now.keys
    }
}

impl Story<'_> {
    /// Makes a plan file and changes what the schedule says. Returns the command that releases.
    pub(crate) fn make_plan(&mut self, by_plan: ByPlan) -> Task {
        if !self.save_plan() {
            return Task::Deploy;
        }
        self.change(by_plan.between);
        self.pass(by_plan.delay);
        if !self.is_plan_stale() {
            return Task::DeployPlan;
        }
        self.attempt(undisturbed(Task::DeployPlan), 1_000, false);
        if self.save_plan() { Task::DeployPlan } else { Task::Deploy }
    }

    fn save_plan(&mut self) -> bool {
        let path = self.folder(0).with_extension("plan.json");
        let _ = std::fs::remove_file(&path);
        self.attempt(undisturbed(Task::PlanOut), 0, false);
        self.planned = Some(self.look(|state| Visible::of(state)));
        path.exists()
    }

    fn change(&mut self, between: Between) {
        match between {
            Between::Nothing => return,
            Between::Edit(node) => self.look(|state| state.strike(&Fault::ForeignEdit(node))),
            Between::Restart(node) => self.look(|state| restart(state, node)),
            Between::Release => drop(self.attempt(undisturbed(Task::Deploy), 1_000, false)),
        }
        self.pass(FOLLOWS);
    }

    pub(crate) fn is_plan_stale(&mut self) -> bool {
        let Some(then) = self.planned.clone() else { return false };
        self.look(|state| then.differs(&Visible::of(state)))
    }

    /// Something was changed before this release began: it has changed nothing.
    pub(crate) fn check_stale(&mut self, attempt: &Attempt) {
        if attempt.durable > 0 || attempt.ended.is_some() {
            let text = format!("{:?} after {} events", attempt.end, attempt.durable);
            self.look(|state| state.violate(Rule::StalePlanRan, text));
        }
    }
}

/// A command that no signal of the schedule reaches.
fn undisturbed(task: Task) -> Act {
    Act { hears: false, ..Act::new(task, 0) }
}

fn restart(state: &mut State, node: usize) {
    state.strike(&Fault::Crash(node));
    state.spawn(node, false);
}

/// Three nodes of which one must stay.
fn scene() -> Scene {
    Scene::new("by plan", plain(|schedule| schedule.shape.min_available = 1)).untyped()
}

fn versions(state: &State) -> Vec<&str> {
    let versions = state.nodes.iter().map(|node| node.process.as_ref());
    versions.map(|process| process.map_or("", |process| process.version.as_str())).collect()
}

#[test]
fn plan_runs_without_a_question_and_only_once() {
    let scene = scene().then(Task::PlanOut).then(Task::DeployPlan);
    let scene = scene.check(|state| assert_eq!(versions(state), ["2"; 3]));
    let text = scene.then(Task::DeployPlan).then(Task::PlanOut).then(Task::DeployPlan).end();
    let printed = printed(&text);
    let run = "To run exactly this plan: rollgate deploy --plan plan.json\n";
    assert!(printed[0].ends_with(&format!("Nothing was changed. {run}")), "{}", printed[0]);
    assert!(printed[1].contains(" ago by operator-0@here: no change since then"), "{text}");
    assert!(printed[1].contains("DONE") && !printed[1].contains("[y/N]"), "{}", printed[1]);
    assert!(printed[2].contains("is stale"), "{}", printed[2]);
    assert!(printed[2].contains("node-1: its version was changed: 1 -> 2\n"), "{}", printed[2]);
    let again = "hint: `rollgate plan app.yaml --out plan.json --var version=2` makes a new plan\n";
    assert!(printed[2].ends_with(again), "{}", printed[2]);
    assert!(printed[3].contains("Nothing to do") && printed[3].ends_with(run), "{}", printed[3]);
    assert!(printed[4].contains("Nothing to do"), "{}", printed[4]);
}

#[test]
fn plan_changes_nothing_after_any_change_and_a_new_plan_runs() {
    let changes: [(&str, Change, &str); 6] = [
        (
            "a key is edited",
            |state| state.strike(&Fault::ForeignEdit(1)),
            "node-2: key upstreams/app/10.0.1.2:9000 was changed (index ",
        ),
        (
            "a process is restarted",
            |state| restart(state, 1),
            "node-2: its process was restarted: ",
        ),
        (
            "a node boots",
            |state| state.strike(&Fault::Reboot { node: 2, lasts: 5_000 }),
            "node-3: its process was restarted: ",
        ),
        (
            "a link is switched",
            |state| state.nodes[0].current = "/srv/app/releases/app-0-00000000".into(),
            "node-1: its `current` link was changed: ",
        ),
        (
            "a gateway lists other servers",
            |state| state.gateways[1].lie = Some((Lie::OtherUpstream, NEVER_ENDS)),
            "gateway gw-2: ",
        ),
        (
            "a worker of a gateway loses a node",
            |state| {
                state.stick(0, 1, NEVER_ENDS);
                state.gateways[0].workers[1].up[0] = false;
            },
            "gateway gw-1: 10.0.1.1:9000 was changed: routed -> partly routed",
        ),
    ];
    for (what, change, told) in changes {
        let mut before = None;
        let scene = scene().then(Task::PlanOut).change(what, change).after(20_000);
        let scene = scene.then(Task::Status).check(|state| before = Some(Visible::of(state)));
        let text = scene.then(Task::DeployPlan).check(|state| {
            assert_eq!(before.as_ref(), Some(&Visible::of(state)), "{what}");
        });
        let text = text.change("everything is well again", State::heal);
        let text = text.then(Task::PlanOut).then(Task::DeployPlan).end();
        let printed = printed(&text);
        assert!(printed[2].contains("is stale") && printed[2].contains(told), "{what}: {text}");
        assert!(printed[4].contains("DONE"), "{what}: {}", printed[4]);
    }
}

#[test]
fn plan_has_the_selection_of_its_operator_and_the_holds_that_it_saw() {
    let held = || scene().then(Task::NodeOut(2));
    let plan =
        "rollgate plan app.yaml --var version=2 --include-held --skip node-1 --out plan.json";
    let text = held().act(typed(plan)).then(Task::DeployPlan);
    let text = text.check(|state| {
        assert_eq!(versions(state), ["1", "2", "2"]);
        assert!(state.held().is_empty());
    });
    text.end();
    // A node that is held meanwhile, and one that is not held any more.
    let text = scene().then(Task::PlanOut).then(Task::NodeOut(2)).then(Task::DeployPlan).end();
    assert!(printed(&text)[2].contains("node-3: it is held out of rotation now, by "), "{text}");
    let text = held().then(Task::PlanOut).then(Task::NodeIn(2)).then(Task::DeployPlan).end();
    assert!(printed(&text)[3].contains("node-3: it is not held any more (was held by "), "{text}");
}

#[test]
fn plan_of_a_restart_restarts_exactly_what_runs() {
    let plan = "rollgate plan app.yaml --restart --only node-2 --out plan.json";
    let text = scene().act(typed(plan)).then(Task::DeployPlan).then(Task::DeployPlan).end();
    let printed = printed(&text);
    assert!(printed[1].contains("DONE") && printed[1].contains("version 1 kept"), "{text}");
    assert!(printed[2].contains("node-2: its process was restarted: pid "), "{text}");
    let again = "`rollgate plan app.yaml --only node-2 --restart --out plan.json` makes a new plan";
    assert!(printed[2].contains(again), "{}", printed[2]);
}

#[test]
fn edited_playbook_makes_a_plan_stale_before_the_lock_is_taken() {
    let scene = scene().then(Task::PlanOut);
    let scene = scene.edit("edited", |shape| shape.stop = "svc stop --hard");
    let text = scene.then(Task::DeployPlan).then(Task::ShowLock).end();
    let told = "app.yaml: stop was changed: \"svc stop\" -> \"svc stop --hard\"\n";
    assert!(printed(&text)[1].contains(told), "{text}");
    assert!(printed(&text)[2].ends_with("free\n"), "{text}");
}

#[test]
fn release_by_plan_is_resumed_after_a_kill_like_any_other() {
    for event in [5, 12, 30] {
        let kill = Some(Kill::AfterEvent(event));
        let scene = scene().then(Task::PlanOut);
        let scene = scene.act(Act { kill, ..Act::new(Task::DeployPlan, 0) });
        let text = scene.act(Act::new(Task::Resume, 1)).end();
        assert!(printed(&text)[2].contains("DONE"), "{event}: {text}");
    }
}

/// Each kind of change, in a schedule with its rules.
#[test]
fn schedules_by_plan_break_no_rule() {
    let scratch = scratch();
    for between in [Between::Nothing, Between::Edit(0), Between::Restart(1), Between::Release] {
        let by_plan = Some(ByPlan { delay: 2_000, between });
        let schedule = Schedule { by_plan, ..Schedule::plain() };
        let ran = run(&schedule, scratch.path(), false);
        crate::judge(&schedule, &ran, scratch.path());
        let ends: Vec<_> = ran.ends.iter().filter(|(task, _)| *task == Task::DeployPlan).collect();
        let is_stale = |end: &&(Task, End)| matches!(end, (_, End::Stale(_)));
        let stale = usize::from(!matches!(between, Between::Nothing));
        assert_eq!(ends.iter().copied().filter(is_stale).count(), stale, "{:?}", ran.ends);
        assert_eq!(ends.len(), stale + 1, "{:?}", ran.ends);
    }
}
