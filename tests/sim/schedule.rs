//! A schedule: a seed becomes a fleet and a list of faults with their times.

use std::path::Path;

use fastrand::Rng;
use serde_json::{Value, json};

use crate::by_plan::ByPlan;
use crate::faults::{Fate, Fault, When};
use crate::follow::Follows;
use crate::gateway::{Gateway, Kind, Lie};
use crate::held::KEY;
use crate::node::Node;
use crate::operator::Task;
use crate::process::{Start, StopWay};
use crate::shape::{Shape, one};
use crate::world::{Happening, State};

/// The prefix of the nodes' keys.
pub(crate) const PREFIX: &str = "upstreams/app/";

/// The prefix of the marks of gateways with an API of their own, where others follow the nodes' keys.
pub(crate) const OWN_PREFIX: &str = "own/app/";

/// When rollgate is killed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kill {
    /// Right after this event is on the disk, counted from 1.
    AfterEvent(u64),
    /// At this time of the world's clock.
    At(u64),
}

impl Kill {
    /// The same for a process that begins at `clock`.
    pub(crate) fn after(self, clock: u64) -> Self {
        match self {
            Self::At(at) => Self::At(clock + at),
            event @ Self::AfterEvent(_) => event,
        }
    }
}

/// What operators do after the first release has ended or was killed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct After {
    /// How much later.
    pub(crate) delay: u64,
    pub(crate) task: Task,
    /// The machine: 0 is the same, another one has only what Consul keeps.
    pub(crate) machine: usize,
    /// When that process is killed, if it is.
    pub(crate) kill: Option<Kill>,
    /// Whether it breaks the lock instead of waiting for it.
    pub(crate) breaks: bool,
    /// The machine of the last command, which runs without faults.
    pub(crate) last_machine: usize,
    /// They type what rollgate suggests, in place of `task`.
    pub(crate) follows: Option<Follows>,
}

impl After {
    /// A command right after the first one, and the last one on `last_machine`.
    pub(crate) fn soon(task: Task, machine: usize, last_machine: usize) -> Self {
        let (kill, follows) = (None, None);
        Self { delay: 100, task, machine, kill, breaks: false, last_machine, follows }
    }
}

/// What happens during the first release.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Meanwhile {
    /// Another operator runs a command, and perhaps breaks the lock first.
    Rival { at: u64, waits: bool, task: Task, machine: usize, breaks: bool },
    /// Its process is paused while another operator resumes the release; its own clock continues unless its machine
    /// is suspended.
    Pause { at: u64, suspends: bool, machine: usize, breaks: bool, kill: Option<Kill> },
}

/// A whole run.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    pub(crate) seed: u64,
    pub(crate) shape: Shape,
    pub(crate) faults: Vec<(When, Fault)>,
    pub(crate) kill: Option<Kill>,
    pub(crate) after: Option<After>,
    pub(crate) meanwhile: Option<Meanwhile>,
    /// The first release runs a plan file.
    pub(crate) by_plan: Option<ByPlan>,
    /// Nodes on which the new version is bad, and how it starts there.
    pub(crate) bad: Vec<(usize, Start)>,
}

impl Schedule {
    /// A plain release without faults.
    pub(crate) fn plain() -> Self {
        Self {
            seed: 1,
            shape: Shape::plain(),
            faults: Vec::new(),
            kill: None,
            after: None,
            meanwhile: None,
            by_plan: None,
            bad: Vec::new(),
        }
    }

    /// The first node cannot be drained and returns to rotation, but one worker keeps the list without it.
    pub(crate) fn with_a_worker_that_stays_behind(seed: u64) -> Self {
        let mut plain = Self::plain();
        let shape = &mut plain.shape;
        shape.gateways.truncate(1);
        (shape.gateways[0].workers, shape.gateways[0].named) = (4, true);
        (shape.artifact, shape.identity, shape.max_failures) = (false, false, 1);
        (shape.slow_of, shape.slowest, shape.drain_timeout) = (1, 30_000, 1_000);
        // The tenth event is the beginning of the drain.
        let stuck = Fault::Stuck { gateway: 0, worker: 3, lasts: 3_600_000 };
        Self { seed, faults: vec![(When::Event(10), stuck)], ..plain }
    }

    /// The run of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let shape = Shape::random(&mut rng);
        let count = one(&mut rng, &[0, 1, 1, 2, 2, 3, 5, 8]);
        // Most faults strike while a step runs.
        let span = 10_000 + 12_000 * shape.nodes as u64;
        let mut faults: Vec<_> = (0..count)
            .map(|_| {
                let when = match rng.u8(0..4) {
                    0 => When::Call(rng.u64(1..=1_500 * shape.nodes as u64)),
                    1 => When::Event(rng.u64(1..=30 * shape.nodes as u64)),
                    _ => When::At(rng.u64(0..span)),
                };
                (when, fault(&mut rng, &shape))
            })
            .collect();
        match rng.u8(0..10) {
            0 => faults.push((When::At(rng.u64(0..span)), Fault::Signal)),
            1 => faults.push((When::Event(rng.u64(1..=30 * shape.nodes as u64)), Fault::Signal)),
            _ => {}
        }
        // Two faults at once: a write that hangs, and a signal.
        if rng.u8(0..12) == 0 {
            let event = When::Event(rng.u64(1..=30 * shape.nodes as u64));
            let write = one(
                &mut rng,
                &[Fate::Late(9_000), Fate::Late(2_500), Fate::AnswerSilent, Fate::Vanishes],
            );
            faults.push((event, Fault::NextWrite(write)));
            faults.push((event, Fault::SignalSoon(rng.u64(1..3_000))));
        }
        let kill = match rng.u8(0..8) {
            0 => Some(Kill::AfterEvent(rng.u64(1..=60 * shape.nodes as u64))),
            1 => Some(Kill::At(rng.u64(0..span))),
            _ => None,
        };
        let meanwhile = meanwhile(&mut rng, span);
        // A process that is killed has no other disturbance.
        let kill = kill.filter(|_| meanwhile.is_none());
        let mut after = after(&mut rng, &shape, span);
        let bad = bad(&mut rng, &shape);
        let mut shape = shape;
        if shape.artifact && rng.u8(0..6) == 0 {
            shape.install_first(&mut rng);
        }
        shape.held = shape.out.iter().copied().filter(|_| rng.bool()).collect();
        if shape.empty.len() == shape.nodes {
            // One of those that are not held may leave rotation.
            let most = (shape.nodes - shape.held.len()).saturating_sub(1);
            shape.min_available = shape.min_available.min(most);
        }
        // A restart leaves an empty node as it is.
        shape.restarts = rng.u8(0..8) == 0 && shape.empty.is_empty();
        if shape.restarts {
            // There is nothing to roll back.
            after.task = Task::Resume;
        }
        if rng.u8(0..5) < 2 {
            after.follows = Some(Follows { choice: rng.usize(0..12), waits: rng.bool() });
        }
        if rng.u8(0..6) == 0 {
            shape.mix();
            if shape.is_mixed() && rng.u8(0..4) == 0 {
                let gateway = shape.gateways.len() - 1;
                let lasts = one(&mut rng, &[3_000, 20_000, 3_600_000]);
                let refuses = Fault::Lies { gateway, lie: Lie::RefusesChanges, lasts };
                faults.push((When::At(rng.u64(0..span)), refuses));
            }
        }
        let by_plan = (rng.u8(0..6) == 0).then(|| ByPlan::random(&mut rng, shape.nodes));
        Self { seed, shape, faults, kill, after: Some(after), meanwhile, by_plan, bad }
    }

    /// Whether no fault strikes Consul or a request to it.
    pub(crate) fn consul_is_well(&self) -> bool {
        let quiet = |fault: &Fault| {
            !matches!(
                fault,
                Fault::Election(_)
                    | Fault::ServerDown { .. }
                    | Fault::NextWrite(_)
                    | Fault::NextRead(_)
                    | Fault::EditFirst(_)
                    | Fault::ForeignEdit(_)
                    | Fault::SessionsLost
            )
        };
        self.faults.iter().all(|(_, fault)| quiet(fault)) && self.meanwhile.is_none()
    }

    /// Whether no fault strikes a place where nodes are marked: Consul, or a gateway with an API of its own.
    pub(crate) fn registries_are_well(&self) -> bool {
        let marks = |gateway: &usize| self.shape.gateways[*gateway].kind == Kind::OwnApi;
        let quiet = |fault: &Fault| match fault {
            Fault::Lies { gateway, .. } | Fault::Frozen { gateway, .. } => !marks(gateway),
            _ => true,
        };
        self.consul_is_well() && self.faults.iter().all(|(_, fault)| quiet(fault))
    }

    /// Whether a request to Consul can stay without an answer.
    pub(crate) fn loses_answers(&self) -> bool {
        let loses = |fault: &Fault| matches!(fault, Fault::NextWrite(_) | Fault::NextRead(_));
        self.faults.iter().any(|(_, fault)| loses(fault))
    }

    /// Creates the fleet in the world.
    pub(crate) fn furnish(&self, state: &mut State) {
        let shape = &self.shape;
        let up: Vec<_> = (0..shape.nodes).map(|node| !shape.out.contains(&node)).collect();
        for (number, up) in up.iter().enumerate() {
            let new = crate::site::new_release();
            let old = crate::site::old_release();
            let release = if shape.done.contains(&number) { &new } else { &old };
            let mut node = Node::new(number, release);
            node.was_out = !up;
            node.keeps = shape.restarts.then(|| node.current.clone());
            // A node with the new release also has the old one.
            node.releases.insert(old);
            node.keeps_running = !shape.has_stop();
            if shape.empty.contains(&number) {
                node.empty();
            }
            let bad = self.bad.iter().find(|(node, _)| *node == number);
            node.bad_version = bad.map(|(_, start)| *start);
            let value = format!("{{\"weight\":1,\"max_fails\":2,\"down\":{}}}", u8::from(!*up));
            let own = shape.is_mixed().then_some(OWN_PREFIX);
            for prefix in own.into_iter().chain([PREFIX]) {
                state.consul.store.set(&format!("{prefix}{}", node.address), value.as_bytes(), 0);
            }
            state.nodes.push(node);
        }
        let (journal, lines) = crate::site::past(self);
        state.consul.store.set(&journal, lines.as_bytes(), 0);
        if !shape.held.is_empty() {
            let by = json!({ "by": "operator@there", "since": "2025-06-14T12:00:00Z" });
            let held = shape.held.iter().map(|node| (format!("node-{}", node + 1), by.clone()));
            let value = Value::Object(held.collect()).to_string();
            state.consul.store.set(KEY, value.as_bytes(), 0);
        }
        state.consul.store.changes.clear();
        for (number, gateway) in shape.gateways.iter().enumerate() {
            let name = format!("gw-{}", number + 1);
            let mut own = Gateway::new(name, gateway.kind, gateway.interval, gateway.workers, &up);
            own.named = gateway.named;
            if shape.is_mixed() && gateway.kind == Kind::OwnApi {
                own.prefix = OWN_PREFIX;
            }
            (own.server, own.uneven) = (gateway.server, gateway.is_uneven());
            if gateway.checks {
                own.checks = Some(vec![(0, false); shape.nodes]);
                let delay = state.rng.u64(0..1_000);
                state.after(delay, Happening::Checks { gateway: number });
            }
            for (worker, own) in own.workers.iter().enumerate() {
                let generation = own.generation;
                let delay = state.rng.u64(0..=gateway.interval);
                state.after(delay, Happening::Follows { gateway: number, worker, generation });
                let delay = state.rng.u64(0..shape.pause);
                state.clients.begin(number, worker, delay);
            }
            state.gateways.push(own);
        }
        (state.clients.pause, state.clients.slow_of) = (shape.pause, shape.slow_of);
        state.clients.slowest = shape.slowest;
    }

    /// Whether the release must be done.
    pub(crate) fn nothing_goes_wrong(&self) -> bool {
        let shape = &self.shape;
        let drained = shape.slow_of == 0 || shape.slowest + 1_000 < shape.drain_timeout;
        let alone = self.meanwhile.is_none() && self.bad.is_empty();
        self.faults.is_empty() && alone && (drained || shape.on_timeout == "proceed")
    }

    /// The command that runs this schedule again.
    pub(crate) fn replay(&self) -> String {
        format!(
            "ROLLGATE_SIM_SEED={} cargo test --test sim random_schedules -- --nocapture",
            self.seed
        )
    }

    /// The folder of the state of a run.
    pub(crate) fn state_folder(&self, root: &Path) -> std::path::PathBuf {
        root.join(format!("{:x}", self.seed))
    }
}

fn meanwhile(rng: &mut Rng, span: u64) -> Option<Meanwhile> {
    let at = rng.u64(500..span);
    match rng.u8(0..12) {
        0 => {
            let task = one(rng, &[Task::Deploy, Task::Resume]);
            let (waits, machine, breaks) = (rng.bool(), rng.usize(0..2), rng.u8(0..3) == 0);
            Some(Meanwhile::Rival { at, waits, task, machine, breaks })
        }
        1 | 2 => {
            let kill = (rng.u8(0..3) == 0).then(|| Kill::AfterEvent(rng.u64(1..60)));
            let machine = usize::from(rng.u8(0..5) > 0);
            let (suspends, breaks) = (rng.bool(), rng.u8(0..3) == 0);
            Some(Meanwhile::Pause { at, suspends, machine, breaks, kill })
        }
        _ => None,
    }
}

fn after(rng: &mut Rng, shape: &Shape, span: u64) -> After {
    let kill = match rng.u8(0..4) {
        0 => Some(Kill::AfterEvent(rng.u64(1..=40 * shape.nodes as u64))),
        1 => Some(Kill::At(rng.u64(0..span))),
        _ => None,
    };
    // Without versions the release that ran before is unknown.
    let back = shape.artifact && rng.u8(0..4) == 0;
    After {
        delay: one(rng, &[0, 100, 2_000, 20_000, 90_000]),
        task: if back { Task::Rollback } else { Task::Resume },
        machine: rng.usize(0..2),
        kill,
        breaks: rng.u8(0..6) == 0,
        last_machine: rng.usize(0..2),
        follows: None,
    }
}

fn bad(rng: &mut Rng, shape: &Shape) -> Vec<(usize, Start)> {
    if !shape.artifact || rng.u8(0..4) > 0 {
        return Vec::new();
    }
    let start = match rng.u8(0..3) {
        0 => Start::Never,
        1 => Start::Crashes,
        _ => Start::ServesThenCrashes(rng.u64(50..2_000), rng.u64(100..20_000)),
    };
    (0..shape.nodes).filter(|_| rng.bool()).map(|node| (node, start)).collect()
}

fn fault(rng: &mut Rng, shape: &Shape) -> Fault {
    let node = rng.usize(0..shape.nodes);
    let gateway = rng.usize(0..shape.gateways.len());
    let worker = rng.usize(0..shape.gateways[gateway].workers);
    let lasts = one(rng, &[200, 1_000, 3_000, 10_000, 40_000]);
    let effects = [Fate::AnswerLost, Fate::AnswerSilent, Fate::Vanishes];
    let leader_lost = Fate::CommittedThen500(lasts);
    let lies = [
        Lie::Refuses,
        Lie::Silent,
        Lie::Status500,
        Lie::Garbage,
        Lie::OtherUpstream,
        Lie::NothingListed,
    ];
    match rng.u8(0..25) {
        0 => Fault::Election(lasts),
        1 => Fault::ServerDown { server: rng.usize(0..shape.servers), lasts },
        2 => Fault::NextWrite(leader_lost),
        3 => Fault::NextWrite(one(rng, &effects)),
        4 => Fault::NextWrite(Fate::Late(rng.u64(5_000..20_000))),
        5 => Fault::NextRead(one(rng, &effects)),
        6 if rng.bool() => Fault::ForeignEdit(node),
        6 => Fault::EditFirst(node),
        7 => Fault::SessionsLost,
        // Only the number of workers shows that one of them does not answer at all.
        8 if shape.gateways[gateway].named && shape.gateways[gateway].counted && rng.bool() => {
            Fault::Frozen { gateway, worker, lasts: lasts * 3 }
        }
        8 => Fault::Stuck { gateway, worker, lasts: lasts * 3 },
        9 => Fault::WorkerRestarts { gateway, worker },
        10 => Fault::Reload { gateway, old_list: rng.bool() },
        11 | 12 => Fault::Lies { gateway, lie: one(rng, &lies), lasts },
        13 => Fault::Crash(node),
        14 => Fault::Reboot { node, lasts: rng.u64(5_000..60_000) },
        15 => Fault::Unreachable { node, lasts },
        16 | 17 => Fault::NextCommand { node, fate: one(rng, &effects) },
        18 | 19 => {
            let start = match rng.u8(0..5) {
                0 => Start::After(rng.u64(5_000..40_000)),
                1 => Start::Never,
                2 => Start::Crashes,
                3 => Start::ServesThenCrashes(rng.u64(50..2_000), rng.u64(100..20_000)),
                _ => Start::Fails,
            };
            Fault::NextStart { node, start }
        }
        20 | 21 => {
            let stop = match rng.u8(0..3) {
                0 => StopWay::After(rng.u64(1_000..19_000)),
                1 => StopWay::Ignores,
                _ => StopWay::KeepsPort,
            };
            Fault::NextStop { node, stop }
        }
        22 => Fault::DiskFull(node),
        23 => Fault::SlowConnection { node, takes: rng.u64(500..15_000) },
        _ => Fault::Signal,
    }
}
