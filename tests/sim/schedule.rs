//! A schedule: a seed becomes a fleet and a list of what goes wrong and when.

use std::path::Path;

use fastrand::Rng;

use crate::faults::{Fate, Fault, When};
use crate::gateway::{Gateway, Lie};
use crate::node::Node;
use crate::process::{Start, StopWay};
use crate::shape::{Shape, one};
use crate::world::{Happening, State};

/// Where the nodes' keys are.
pub(crate) const PREFIX: &str = "upstreams/app/";

/// When rollgate itself is killed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kill {
    /// Right after this event is on the disk, counted from 1.
    AfterEvent(u64),
    /// At this time of the world's clock.
    At(u64),
}

/// A whole run.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    pub(crate) seed: u64,
    pub(crate) shape: Shape,
    pub(crate) faults: Vec<(When, Fault)>,
    pub(crate) kill: Option<Kill>,
}

impl Schedule {
    /// A plain release in which nothing goes wrong.
    pub(crate) fn plain() -> Self {
        Self { seed: 1, shape: Shape::plain(), faults: Vec::new(), kill: None }
    }

    /// The first node is put back because it cannot be drained, but one worker goes on without it.
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
        // Most of what can go wrong does so while something is going on.
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
        // Two things at once: a write that hangs, and somebody who does not want to wait for it.
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
        Self { seed, shape, faults, kill }
    }

    /// Puts the fleet into the world.
    pub(crate) fn furnish(&self, state: &mut State) {
        let shape = &self.shape;
        let up: Vec<_> = (0..shape.nodes).map(|node| !shape.out.contains(&node)).collect();
        for (number, up) in up.iter().enumerate() {
            let new = crate::operator::new_release();
            let release = if shape.done.contains(&number) { new.as_str() } else { "app-1" };
            let node = Node::new(number, release);
            let value = format!("{{\"weight\":1,\"max_fails\":2,\"down\":{}}}", u8::from(!*up));
            state.consul.store.set(&format!("{PREFIX}{}", node.address), value.as_bytes(), 0);
            state.nodes.push(node);
        }
        state.consul.store.changes.clear();
        for (number, gateway) in shape.gateways.iter().enumerate() {
            let name = format!("gw-{}", number + 1);
            let mut own = Gateway::new(name, gateway.kind, gateway.interval, gateway.workers, &up);
            own.named = gateway.named;
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
                state.after(delay, Happening::Asks { gateway: number, worker });
            }
            state.gateways.push(own);
        }
        (state.clients.pause, state.clients.slow_of) = (shape.pause, shape.slow_of);
        state.clients.slowest = shape.slowest;
    }

    /// Whether there is no reason for the release not to be done.
    pub(crate) fn nothing_goes_wrong(&self) -> bool {
        let shape = &self.shape;
        let drained = shape.slow_of == 0 || shape.slowest + 1_000 < shape.drain_timeout;
        self.faults.is_empty() && (drained || shape.on_timeout == "proceed")
    }

    /// How to see this run again.
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
    match rng.u8(0..24) {
        0 => Fault::Election(lasts),
        1 => Fault::ServerDown { server: rng.usize(0..shape.servers), lasts },
        2 => Fault::NextWrite(leader_lost),
        3 => Fault::NextWrite(one(rng, &effects)),
        4 => Fault::NextWrite(Fate::Late(rng.u64(5_000..20_000))),
        5 => Fault::NextRead(one(rng, &effects)),
        6 => Fault::ForeignEdit(node),
        7 => Fault::SessionsLost,
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
        _ => Fault::Signal,
    }
}
