//! A schedule: a seed becomes a fleet, a playbook, and a list of what goes wrong and when.

use std::path::Path;

use fastrand::Rng;

use crate::faults::{Fate, Fault, When};
use crate::gateway::{Gateway, Kind, Lie};
use crate::node::Node;
use crate::process::{Start, StopWay};
use crate::world::{Happening, State};

/// Where the nodes' keys are.
pub(crate) const PREFIX: &str = "upstreams/app/";

/// A gateway of a fleet.
#[derive(Debug, Clone)]
pub(crate) struct GatewayShape {
    kind: Kind,
    workers: usize,
    interval: u64,
    /// Replies name their worker.
    named: bool,
    /// The playbook says how many workers there are.
    counted: bool,
    checks: bool,
}

/// A fleet and how it is released.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) nodes: usize,
    pub(crate) gateways: Vec<GatewayShape>,
    pub(crate) servers: usize,
    /// A versioned artifact; without one the service is only restarted.
    pub(crate) artifact: bool,
    identity: bool,
    restart: bool,
    batches: String,
    min_available: usize,
    max_failures: usize,
    drain: &'static str,
    drain_timeout: u64,
    pub(crate) on_timeout: &'static str,
    /// Its check in Consul counts, too.
    consul_check: bool,
    rise: u32,
    min_healthy: u64,
    health_interval: u64,
    /// Nodes that are out from the start.
    out: Vec<usize>,
    /// Nodes that run the new version already.
    done: Vec<usize>,
    /// Between two requests through a worker, at most.
    pause: u64,
    slow_of: u64,
    slowest: u64,
}

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

fn one<T: Clone>(rng: &mut Rng, choices: &[T]) -> T {
    choices[rng.usize(0..choices.len())].clone()
}

impl Shape {
    /// Three nodes behind two gateways, one after the other, nothing special.
    fn plain() -> Self {
        let gateway = |kind, named| GatewayShape {
            kind,
            workers: 2,
            interval: 500,
            named,
            counted: named,
            checks: false,
        };
        Self {
            nodes: 3,
            gateways: vec![gateway(Kind::Upsync, true), gateway(Kind::Upsync, false)],
            servers: 2,
            artifact: true,
            identity: true,
            restart: false,
            batches: "1".into(),
            min_available: 2,
            max_failures: 0,
            drain: "http",
            drain_timeout: 30_000,
            on_timeout: "fail",
            consul_check: false,
            rise: 2,
            min_healthy: 0,
            health_interval: 500,
            out: Vec::new(),
            done: Vec::new(),
            pause: 100,
            slow_of: 20,
            slowest: 2_000,
        }
    }

    fn random(rng: &mut Rng) -> Self {
        let nodes = one(rng, &[2, 2, 3, 3, 3, 4, 5, 6, 8]);
        let gateways = (0..one(rng, &[1, 1, 2, 2, 3])).map(|_| {
            let kind = one(rng, &[Kind::Upsync, Kind::Upsync, Kind::Table]);
            GatewayShape {
                kind,
                workers: rng.usize(1..=4),
                interval: one(rng, &[50, 200, 500, 500, 2_000, 5_000]),
                named: rng.u8(0..3) > 0,
                counted: rng.u8(0..4) > 0,
                checks: kind == Kind::Upsync && rng.u8(0..3) == 0,
            }
        });
        let gateways: Vec<_> = gateways.collect();
        let artifact = rng.u8(0..4) > 0;
        let counted = gateways.iter().all(|gateway| gateway.kind == Kind::Table);
        let drains: &[_] =
            if counted { &["http", "sockets", "gateways"] } else { &["http", "sockets"] };
        let min_available = rng.usize(1..nodes);
        let mut some =
            |of: u8| -> Vec<usize> { (0..nodes).filter(|_| rng.u8(0..of) == 0).collect() };
        let (out, done) = (some(10), some(12));
        let spare = nodes.saturating_sub(min_available + out.len()).max(1);
        let batches = match rng.u8(0..16) {
            0 => "'100%'".to_owned(),
            1..5 => format!("[1, {spare}]"),
            _ => rng.usize(1..=spare).to_string(),
        };
        Self {
            nodes,
            gateways,
            servers: rng.usize(1..=3),
            artifact,
            identity: artifact && rng.bool(),
            restart: rng.u8(0..4) == 0,
            batches,
            min_available,
            max_failures: one(rng, &[0, 0, 1, 2]),
            drain: one(rng, drains),
            drain_timeout: one(rng, &[2_000, 10_000, 30_000]),
            on_timeout: one(rng, &["fail", "fail", "proceed"]),
            consul_check: rng.u8(0..4) == 0,
            rise: rng.u32(1..=3),
            min_healthy: one(rng, &[0, 0, 1_000, 5_000]),
            health_interval: one(rng, &[200, 500, 1_000]),
            out,
            done: if artifact { done } else { Vec::new() },
            pause: one(rng, &[60, 120, 300]),
            slow_of: one(rng, &[0, 10, 30]),
            slowest: one(rng, &[800, 3_000, 12_000]),
        }
    }

    /// How many nodes must stay routed.
    pub(crate) fn floor(&self) -> usize {
        self.min_available.max(1)
    }

    /// The playbook of this fleet.
    pub(crate) fn playbook(&self) -> String {
        let mut text =
            format!("service: app\nregistry: {{ type: consul-kv, prefix: {PREFIX} }}\ngateways:\n");
        for (number, gateway) in self.gateways.iter().enumerate() {
            let name = format!("gw-{}", number + 1);
            let (kind, place) = match gateway.kind {
                Kind::Upsync => (
                    "nginx-upsync",
                    format!("upstream: app, status_url: 'http://{name}/upstream_list?app'"),
                ),
                Kind::Table => (
                    "http-table",
                    format!(
                        "url: 'http://{name}/peers', list: /peers, address: /name, routed: /up, \
                         in_flight: /conns"
                    ),
                ),
            };
            let mut more = format!(", sync_interval: {}ms", gateway.interval);
            if gateway.counted {
                more += &format!(", workers: {}", gateway.workers);
            }
            if gateway.checks {
                more += &format!(", check_url: 'http://{name}/check?format=json'");
            }
            text += &format!("  - {{ name: {name}, type: {kind}, {place}{more} }}\n");
        }
        text += "nodes:\n";
        for number in 1..=self.nodes {
            text += &format!(
                "  - {{ name: node-{number}, ssh: node-{number}, address: '10.0.1.{number}:9000' }}\n"
            );
        }
        if self.artifact {
            text += "artifact: { source: app-2.tar.gz, releases: /srv/app/releases, \
                     current: /srv/app/current, keep: 2 }\n";
        }
        let in_flight = match self.drain {
            "http" => {
                "{ http: { url: 'http://${{ node.address }}/metrics', pointer: /in_flight } }"
            }
            "sockets" => "{ sockets: { idle: 500ms } }",
            gateways => gateways,
        };
        let (min_healthy, interval) = (self.min_healthy, self.health_interval);
        text += &format!(
            "strategy: {{ batches: {}, min_available: {}, max_failures: {} }}\n\
             drain: {{ in_flight: {in_flight}, timeout: {}ms, on_timeout: {} }}\n\
             health:\n  http: 'http://${{{{ node.address }}}}/ping'\n  interval: {interval}ms\n  timeout: 1s\n  \
             rise: {}\n  min_healthy_time: {min_healthy}ms\n  deadline: 30s\n",
            self.batches,
            self.min_available,
            self.max_failures,
            self.drain_timeout,
            self.on_timeout,
            self.rise,
        );
        if self.identity {
            text += "  identity: { header: X-App-Version, equals: '2' }\n";
        }
        if self.consul_check {
            text += "  consul: { service: app }\n";
        }
        text += "hooks: { on_failure: { run: svc log } }\n";
        text += if self.restart {
            "restart: { run: svc restart, timeout: 20s }\n"
        } else {
            "stop: { run: svc stop, timeout: 20s }\nstart: { run: svc start, timeout: 20s }\n"
        };
        text
    }
}

impl Schedule {
    /// A plain release in which nothing goes wrong.
    pub(crate) fn plain() -> Self {
        Self { seed: 1, shape: Shape::plain(), faults: Vec::new(), kill: None }
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

    /// When somebody asks the release to stop.
    pub(crate) fn signals(&self) -> Vec<u64> {
        let mut times: Vec<_> = self
            .faults
            .iter()
            .filter_map(|(when, fault)| match (when, fault) {
                (When::At(at), Fault::Signal) => Some(*at),
                _ => None,
            })
            .collect();
        times.sort_unstable();
        times
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
