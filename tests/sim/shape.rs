//! The shape of a fleet: its nodes, its gateways and its playbook.

use fastrand::Rng;

use crate::gateway::Kind;
use crate::schedule::PREFIX;

/// A version of nginx that shares new connections evenly among its workers.
const EVEN: &str = "nginx/1.22.1";

/// A gateway of a fleet.
#[derive(Debug, Clone)]
pub(crate) struct GatewayShape {
    pub(crate) kind: Kind,
    pub(crate) workers: usize,
    pub(crate) interval: u64,
    /// Replies name their worker.
    pub(crate) named: bool,
    /// The `Server` header of replies.
    pub(crate) server: Option<&'static str>,
    /// The playbook says how many workers there are.
    pub(crate) counted: bool,
    pub(crate) checks: bool,
}

impl GatewayShape {
    /// Whether one of its workers gets nearly every connection that is made alone.
    pub(crate) fn is_uneven(&self) -> bool {
        self.server != Some(EVEN)
    }
}

/// How the service restarts.
#[derive(Debug, Clone, Copy)]
enum Again {
    StopStart,
    Restart,
}

/// A fleet and its way of release.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a dimension of its own")]
pub(crate) struct Shape {
    pub(crate) nodes: usize,
    pub(crate) gateways: Vec<GatewayShape>,
    pub(crate) servers: usize,
    /// A versioned artifact; without one the service is only restarted.
    pub(crate) artifact: bool,
    pub(crate) identity: bool,
    again: Again,
    /// The command that stops the service, unless one command restarts it.
    pub(crate) stop: &'static str,
    pub(crate) batches: String,
    pub(crate) min_available: usize,
    pub(crate) max_failures: usize,
    pub(crate) drain: &'static str,
    pub(crate) drain_timeout: u64,
    pub(crate) on_timeout: &'static str,
    pub(crate) on_failure: &'static str,
    /// The check in Consul is required, too.
    consul_check: bool,
    pub(crate) rise: u32,
    pub(crate) min_healthy: u64,
    health_interval: u64,
    pub(crate) health_deadline: u64,
    /// Nodes that are out from the start.
    pub(crate) out: Vec<usize>,
    /// Nodes on which nothing was ever installed.
    pub(crate) empty: Vec<usize>,
    /// Nodes that the operator leaves out.
    pub(crate) left_out: Vec<usize>,
    /// Those of them that an operator holds.
    pub(crate) held: Vec<usize>,
    /// Nodes that run the new version already.
    pub(crate) done: Vec<usize>,
    /// The longest time between two requests through a worker.
    pub(crate) pause: u64,
    pub(crate) slow_of: u64,
    pub(crate) slowest: u64,
    /// The release restarts what the nodes run.
    pub(crate) restarts: bool,
}

/// Returns one of several values, each with the same probability.
pub(crate) fn one<T: Clone>(rng: &mut Rng, choices: &[T]) -> T {
    choices[rng.usize(0..choices.len())].clone()
}

impl Shape {
    /// The playbook has only a command that restarts the service.
    pub(crate) fn only_restarts(&mut self) {
        self.again = Again::Restart;
    }

    /// The playbook has a command that stops the service.
    pub(crate) fn has_stop(&self) -> bool {
        matches!(self.again, Again::StopStart)
    }

    /// Three nodes behind two gateways, updated one after the other.
    pub(crate) fn plain() -> Self {
        let gateway = |kind| GatewayShape {
            kind,
            workers: 2,
            interval: 500,
            named: true,
            server: Some(EVEN),
            counted: true,
            checks: false,
        };
        Self {
            nodes: 3,
            gateways: vec![gateway(Kind::Upsync), gateway(Kind::Table)],
            servers: 2,
            artifact: true,
            identity: true,
            again: Again::StopStart,
            stop: "svc stop",
            batches: "1".into(),
            min_available: 2,
            max_failures: 0,
            drain: "http",
            drain_timeout: 30_000,
            on_timeout: "fail",
            on_failure: "stop",
            consul_check: false,
            rise: 2,
            min_healthy: 0,
            health_interval: 500,
            health_deadline: 30_000,
            out: Vec::new(),
            held: Vec::new(),
            empty: Vec::new(),
            left_out: Vec::new(),
            done: Vec::new(),
            pause: 100,
            slow_of: 20,
            slowest: 2_000,
            restarts: false,
        }
    }

    pub(crate) fn random(rng: &mut Rng) -> Self {
        let nodes = one(rng, &[2, 2, 3, 3, 3, 4, 5, 6, 8]);
        let gateways = (0..one(rng, &[1, 1, 2, 2, 3])).map(|_| {
            let kind = one(rng, &[Kind::Upsync, Kind::Upsync, Kind::Table]);
            let (workers, named) = (rng.usize(1..=4), rng.u8(0..3) > 0);
            let server = one(rng, &[Some(EVEN), Some(EVEN), Some("nginx/1.18.0"), None]);
            let uneven = server != Some(EVEN);
            GatewayShape {
                kind,
                workers,
                interval: one(rng, &[50, 200, 500, 500, 2_000, 5_000]),
                named,
                server,
                // Unnamed workers of a known number are confirmed by samples. One in a thousand may be wrong where the
                // gateway shares connections evenly, which is too many for a simulator; elsewhere far more are wrong.
                counted: (named || workers == 1 || uneven) && rng.u8(0..4) > 0,
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
            again: one(
                rng,
                &[Again::StopStart, Again::StopStart, Again::StopStart, Again::Restart],
            ),
            stop: "svc stop",
            batches,
            min_available,
            max_failures: one(rng, &[0, 0, 1, 2]),
            drain: one(rng, drains),
            drain_timeout: one(rng, &[2_000, 10_000, 30_000]),
            on_timeout: one(rng, &["fail", "fail", "proceed"]),
            on_failure: one(
                rng,
                &["stop", "stop", "stop", "continue", "rollback_node", "rollback_all"],
            ),
            consul_check: rng.u8(0..4) == 0,
            rise: rng.u32(1..=3),
            min_healthy: one(rng, &[0, 0, 1_000, 5_000]),
            health_interval: one(rng, &[200, 500, 1_000]),
            health_deadline: 30_000,
            out,
            held: Vec::new(),
            empty: Vec::new(),
            left_out: Vec::new(),
            done: if artifact { done } else { Vec::new() },
            pause: one(rng, &[60, 120, 300]),
            slow_of: one(rng, &[0, 10, 30]),
            slowest: one(rng, &[800, 3_000, 12_000]),
            restarts: false,
        }
    }

    /// Makes all nodes empty, or some. They are marked down: a node that is marked up and never serves makes every
    /// rollback fail.
    ///
    /// Unless all are empty, at least one other node serves: without it, no node may leave rotation again after it was
    /// installed.
    pub(crate) fn install_first(&mut self, rng: &mut Rng) {
        let first = rng.usize(0..self.nodes);
        let is_all = rng.u8(0..3) == 0;
        let is_empty = |node: &usize| is_all || *node == first || rng.u8(0..3) == 0;
        self.empty = (0..self.nodes).filter(is_empty).collect();
        self.done.retain(|node| !self.empty.contains(node));
        let mut others = (0..self.nodes).filter(|node| !self.empty.contains(node));
        let Some(serves) = others.next() else {
            self.out.clone_from(&self.empty);
            return;
        };
        self.out.extend(&self.empty);
        self.out.retain(|node| *node != serves);
        self.out.sort_unstable();
        self.out.dedup();
        // One of those that serve may leave rotation.
        let serving = 1 + others.filter(|node| !self.out.contains(node)).count();
        self.min_available = self.min_available.min(serving - 1);
        self.batches = "1".into();
    }

    /// Whether some gateways follow the nodes' keys, and others have an API of their own.
    pub(crate) fn is_mixed(&self) -> bool {
        let own = |gateway: &GatewayShape| gateway.kind == Kind::OwnApi;
        self.gateways.iter().any(own) && !self.gateways.iter().all(own)
    }

    /// Gives the last of several gateways an API of its own, beside the nodes' keys that the others follow.
    pub(crate) fn mix(&mut self) {
        if let [_, .., last] = self.gateways.as_mut_slice()
            && self.drain != "gateways"
        {
            (last.kind, last.checks) = (Kind::OwnApi, false);
        }
    }

    /// How many nodes must stay routed.
    pub(crate) fn floor(&self) -> usize {
        self.min_available.max(1)
    }

    /// The playbook of this fleet.
    pub(crate) fn playbook(&self) -> String {
        let has_api = self.gateways.iter().any(|gateway| gateway.kind == Kind::OwnApi);
        let is_mixed = self.is_mixed();
        let registry = if has_api && !is_mixed {
            // The lock stays in Consul.
            "{ type: gateway }\nconsul: {}".to_owned()
        } else {
            format!("{{ type: consul-kv, prefix: {PREFIX} }}")
        };
        let mut text = format!("service: app\nregistry: {registry}\ngateways:\n");
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
                Kind::OwnApi => {
                    ("ngx-dynamic-upstream", format!("upstream: app, url: 'http://{name}/dynamic'"))
                }
            };
            let mut more = match gateway.kind {
                Kind::OwnApi if is_mixed => ", registry: { type: gateway }".to_owned(),
                Kind::OwnApi => String::new(),
                Kind::Upsync | Kind::Table => format!(", sync_interval: {}ms", gateway.interval),
            };
            if gateway.counted && gateway.kind != Kind::OwnApi {
                more += &format!(", workers: {}", gateway.workers);
            }
            if gateway.checks {
                more += &format!(", check_url: 'http://{name}/check?format=json'");
            }
            text += &format!("  - {{ name: {name}, type: {kind}, {place}{more} }}\n");
        }
        text += "variables:\n  version: { required: true }\nnodes:\n";
        for number in 1..=self.nodes {
            text += &format!(
                "  - {{ name: node-{number}, ssh: node-{number}, address: '10.0.1.{number}:9000' }}\n"
            );
        }
        if self.artifact {
            text += "artifact: { source: 'app-${{ version }}.tar.gz', releases: /srv/app/releases, \
                     current: /srv/app/current, keep: 1 }\n";
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
            "strategy: {{ batches: {}, min_available: {}, max_failures: {}, \
             on_failure: {} }}\n\
             drain: {{ in_flight: {in_flight}, timeout: {}ms, on_timeout: {} }}\n\
             health:\n  http: 'http://${{{{ node.address }}}}/ping'\n  interval: {interval}ms\n  timeout: 1s\n  \
             rise: {}\n  min_healthy_time: {min_healthy}ms\n  deadline: {}ms\n",
            self.batches,
            self.min_available,
            self.max_failures,
            self.on_failure,
            self.drain_timeout,
            self.on_timeout,
            self.rise,
            self.health_deadline,
        );
        if self.identity {
            text += "  identity: { header: X-App-Version, equals: '${{ version }}' }\n";
        }
        if self.consul_check {
            text += "  consul: { service: app }\n";
        }
        text += "hooks: { on_failure: { run: svc log } }\n";
        text += &match self.again {
            Again::Restart => "restart: { run: svc restart, timeout: 20s }\n".to_owned(),
            Again::StopStart => format!(
                "stop: {{ run: {}, timeout: 20s }}\nstart: {{ run: svc start, timeout: 20s }}\n",
                self.stop
            ),
        };
        text
    }
}
