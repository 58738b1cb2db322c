//! A gateway with several workers. Each follows the registry on its own, and a fault can make its status page wrong.
//!
//! As nginx-upsync does: a worker with an open query learns of a change at once; after every answer it sleeps its
//! interval and up to a second more. A polling gateway queries at every interval.

use std::collections::BTreeMap;

use fastrand::Rng;
use rollgate::world::Reply;
use serde_json::Value;

use crate::fence::LOCK;
use crate::schedule::PREFIX;
use crate::world::{Happening, State};

/// How long a replaced worker may still answer.
const LINGERS: u64 = 20;

/// Between two of the gateway's own checks.
const CHECK_INTERVAL: u64 = 1_000;

/// Good checks in a row until it routes to a node again, and bad ones until it stops.
const RISE: i32 = 2;
const FALL: i32 = 3;

/// What a gateway shows instead of the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    Refuses,
    Silent,
    /// Its API accepts no change.
    RefusesChanges,
    Status500,
    Garbage,
    OtherUpstream,
    NothingListed,
}

/// How it shows its peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `upstream_show`, a blocking query.
    Upsync,
    /// A table in JSON, with a shared count of requests; polled at every interval.
    Table,
    /// `ngx_dynamic_upstream`: its own API changes the list, which all workers share.
    OwnApi,
}

impl Kind {
    fn shows_another_upstream(self) -> String {
        match self {
            Self::Upsync => {
                "The upstream you requested does not exist. Please double-check the name".to_owned()
            }
            Self::Table => {
                let peer = |last| format!(r#"{{"name":"10.9.9.{last}:1","up":true,"conns":0}}"#);
                format!(r#"{{"peers":[{}]}}"#, [5, 6, 7, 8, 9].map(peer).join(","))
            }
            Self::OwnApi => "server 10.9.9.9:1 weight=1 conns=0;\n".to_owned(),
        }
    }

    fn shows_no_server(self) -> &'static str {
        match self {
            Self::Upsync => "Upstream name: app; Backend server count: 0\n",
            Self::Table => r#"{"peers":{}}"#,
            Self::OwnApi => "",
        }
    }
}

/// One worker.
#[derive(Debug, Clone)]
pub(crate) struct Worker {
    pub(crate) pid: u32,
    /// By node: whether its list has it up.
    pub(crate) up: Vec<bool>,
    /// The registry index of its last answer.
    seen: u64,
    /// It has an open query.
    waits: bool,
    /// The number of its query; an answer to an older query is ignored.
    pub(crate) generation: u32,
    stuck_until: u64,
    pub(crate) frozen_until: u64,
    /// Since when it uses the list of the configuration, with which it began: a fault that no release can prevent.
    pub(crate) astray: Option<u64>,
    pub(crate) turn: usize,
}

impl Worker {
    /// Whether it began with the old list so recently that a read before could not show it.
    pub(crate) fn strayed_since(&self, looked: u64) -> bool {
        self.astray.is_some_and(|since| since >= looked)
    }
}

/// A gateway.
#[derive(Debug, Clone)]
pub(crate) struct Gateway {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// The beginning of the keys with the marks that it follows.
    pub(crate) prefix: &'static str,
    pub(crate) interval: u64,
    /// Whether replies name their worker.
    pub(crate) named: bool,
    /// Its `Server` header.
    pub(crate) server: Option<&'static str>,
    /// Whether one of its workers gets nearly every connection that is made alone, as in nginx 1.11.3 to 1.21.5.
    pub(crate) uneven: bool,
    /// Its own checks: by node the streak of good (positive) or bad (negative) ones, and whether it is held down.
    pub(crate) checks: Option<Vec<(i32, bool)>>,
    pub(crate) workers: Vec<Worker>,
    old: Vec<Worker>,
    old_until: u64,
    pub(crate) lie: Option<(Lie, u64)>,
    /// The list of its configuration.
    configured: Vec<bool>,
    next_pid: u32,
    /// The weight that its list shows for each node, if it does not follow the keys of the nodes.
    pub(crate) weight: Option<u32>,
    /// The order of its list, and the second since which it is in this order.
    order: Vec<usize>,
    ordered_at: Option<u64>,
    /// When it was read last.
    pub(crate) read_at: u64,
    /// How often it was read, by second.
    pub(crate) reads: Vec<u64>,
    /// When it last stopped routing to a node without a mark.
    pub(crate) shrank_at: Option<u64>,
}

impl Gateway {
    pub(crate) fn new(
        name: String,
        kind: Kind,
        interval: u64,
        workers: usize,
        up: &[bool],
    ) -> Self {
        let mut gateway = Self {
            name,
            kind,
            prefix: PREFIX,
            interval,
            named: true,
            server: None,
            uneven: false,
            checks: None,
            workers: Vec::new(),
            old: Vec::new(),
            old_until: 0,
            lie: None,
            configured: vec![true; up.len()],
            next_pid: 100,
            weight: None,
            order: Vec::new(),
            ordered_at: None,
            read_at: 0,
            reads: Vec::new(),
            shrank_at: None,
        };
        gateway.workers = (0..workers).map(|_| gateway.worker(up)).collect();
        gateway
    }

    fn worker(&mut self, up: &[bool]) -> Worker {
        self.next_pid += 1;
        Worker {
            pid: self.next_pid,
            up: up.to_vec(),
            seen: 0,
            waits: false,
            generation: self.next_pid,
            stuck_until: 0,
            frozen_until: 0,
            astray: None,
            turn: 0,
        }
    }

    fn note_reads(&mut self, clock: u64, reads: u64) {
        self.read_at = clock;
        let second = usize::try_from(clock / 1000).unwrap_or(usize::MAX);
        self.reads.resize(self.reads.len().max(second + 1), 0);
        self.reads[second] += reads;
    }

    pub(crate) fn held(&self, node: usize) -> bool {
        self.checks.as_ref().is_some_and(|checks| checks[node].1)
    }

    /// The workers that take requests now, and those that were just replaced.
    pub(crate) fn living(&self, clock: u64) -> impl Iterator<Item = &Worker> {
        let old = self.old.iter().filter(move |_| clock < self.old_until);
        self.workers.iter().chain(old)
    }
}

/// As nginx-upsync reads a value: names ignore case, and only these are down.
pub(crate) fn says_down(value: &[u8]) -> bool {
    // Nearly every value is one of these two.
    match value {
        b"{\"weight\":1,\"max_fails\":2,\"down\":0}" => return false,
        b"{\"weight\":1,\"max_fails\":2,\"down\":1}" => return true,
        _ => {}
    }
    let Ok(Value::Object(members)) = serde_json::from_slice(value) else { return false };
    let down = members.iter().find(|(name, _)| name.eq_ignore_ascii_case("down"));
    down.is_some_and(|(_, value)| *value == true || *value == "1" || value.as_f64() == Some(1.0))
}

impl State {
    /// By node: whether it is up in every registry.
    pub(crate) fn registry(&self) -> Vec<bool> {
        let all = self.registries();
        (0..self.nodes.len()).map(|node| all.values().all(|up| up[node])).collect()
    }

    /// The registries that mark a node up, by the beginning of their keys.
    pub(crate) fn marked_up(&self, node: usize) -> Vec<&'static str> {
        let all = self.registries().into_iter();
        all.filter(|(_, up)| up[node]).map(|(prefix, _)| prefix).collect()
    }

    /// The nodes that serve and that their registries mark differently.
    pub(crate) fn split(&self) -> Vec<usize> {
        let all = self.registries();
        let is_split = |node: &usize| {
            let up = all.values().filter(|up| up[*node]).count();
            up > 0 && up < all.len() && self.nodes[*node].serves()
        };
        (0..self.nodes.len()).filter(is_split).collect()
    }

    /// The marks in each registry, by node.
    fn registries(&self) -> BTreeMap<&'static str, Vec<bool>> {
        let prefixes = self.gateways.iter().map(|gateway| gateway.prefix);
        prefixes.map(|prefix| (prefix, self.marks(prefix))).collect()
    }

    /// The marks in one registry, by node.
    fn marks(&self, prefix: &str) -> Vec<bool> {
        let up = |address: &String| {
            let pair = self.consul.store.keys.get(&format!("{prefix}{address}"));
            pair.is_some_and(|pair| !says_down(&pair.value))
        };
        self.nodes.iter().map(|node| up(&node.address)).collect()
    }

    /// A worker queries the registry.
    pub(crate) fn follow(&mut self, gateway: usize, worker: usize, generation: u32) {
        let Some(asker) = self.gateways[gateway].workers.get(worker) else { return };
        // An API changes the list itself.
        if asker.generation != generation || self.gateways[gateway].kind == Kind::OwnApi {
            return;
        }
        let again = Happening::Follows { gateway, worker, generation };
        if self.clock < asker.stuck_until {
            return self.after(asker.stuck_until - self.clock, again);
        }
        if !self.consul.answers(self.clock) {
            let pause = self.rng.u64(200..=700);
            return self.after(pause, again);
        }
        let prefix = self.gateways[gateway].prefix;
        let index = self.consul.store.index_of(prefix, true);
        let kind = self.gateways[gateway].kind;
        let up = self.marks(prefix);
        let asker = &mut self.gateways[gateway].workers[worker];
        if kind == Kind::Upsync && index <= asker.seen {
            asker.waits = true;
            return;
        }
        let changed = asker.up != up;
        (asker.seen, asker.astray) = (index, None);
        asker.up.clone_from(&up);
        let spread = if kind == Kind::Upsync { 999 } else { 400 };
        let pause = self.gateways[gateway].interval + self.rng.u64(0..=spread);
        self.after(pause, again);
        if changed {
            self.note(|| format!("gw-{} worker {worker} follows: {up:?}", gateway + 1));
        }
    }

    /// Answers the workers with an open query.
    pub(crate) fn wake_followers(&mut self) {
        for gateway in 0..self.gateways.len() {
            for worker in 0..self.gateways[gateway].workers.len() {
                let asker = &mut self.gateways[gateway].workers[worker];
                if std::mem::take(&mut asker.waits) {
                    let generation = asker.generation;
                    let delay = self.rng.u64(1..=9);
                    self.after(delay, Happening::Follows { gateway, worker, generation });
                }
            }
        }
    }

    /// Every worker queries again soon, stuck or not.
    pub(crate) fn follow_anew(&mut self) {
        for gateway in 0..self.gateways.len() {
            for worker in 0..self.gateways[gateway].workers.len() {
                let own = &mut self.gateways[gateway];
                own.next_pid += 1;
                let generation = own.next_pid;
                let asker = &mut own.workers[worker];
                (asker.generation, asker.stuck_until, asker.waits) = (generation, 0, false);
                asker.frozen_until = 0;
                let delay = self.rng.u64(1..=30);
                self.after(delay, Happening::Follows { gateway, worker, generation });
            }
        }
    }

    pub(crate) fn stick(&mut self, gateway: usize, worker: usize, lasts: u64) {
        let until = self.clock + lasts;
        if let Some(worker) = self.gateways[gateway].workers.get_mut(worker) {
            worker.stuck_until = until;
            if std::mem::take(&mut worker.waits) {
                let generation = worker.generation;
                let number = self.gateways[gateway]
                    .workers
                    .iter()
                    .position(|worker| worker.generation == generation);
                let worker = number.unwrap_or(0);
                self.after(lasts, Happening::Follows { gateway, worker, generation });
            }
        }
    }

    fn replace(&mut self, gateway: usize, worker: usize, old_list: bool) {
        let clock = self.clock;
        let own = &mut self.gateways[gateway];
        // An API changes a list that all workers share, and that outlasts them.
        let old_list = old_list && own.kind != Kind::OwnApi;
        let list = if old_list { own.configured.clone() } else { own.workers[worker].up.clone() };
        let mut fresh = own.worker(&list);
        // A successor that begins with the current list inherits the error of a worker that is astray.
        fresh.astray = if old_list { Some(clock) } else { own.workers[worker].astray };
        let generation = fresh.generation;
        own.workers[worker] = fresh;
        // The module reads the registry when a worker begins, and again after its interval.
        let delay = if old_list { self.rng.u64(800..=1_400) } else { self.rng.u64(1..=30) };
        self.after(delay, Happening::Follows { gateway, worker, generation });
    }

    /// A worker dies and is replaced; the new one begins with the list of the configuration.
    pub(crate) fn restart_worker(&mut self, gateway: usize, worker: usize) {
        if worker < self.gateways[gateway].workers.len() {
            self.replace(gateway, worker, true);
            self.gateways[gateway].shrank_at = Some(self.clock);
        }
    }

    pub(crate) fn reload(&mut self, gateway: usize, old_list: bool) {
        let own = &mut self.gateways[gateway];
        own.old = own.workers.clone();
        own.old_until = self.clock + LINGERS;
        own.shrank_at = Some(self.clock);
        if let Some(checks) = &mut own.checks {
            checks.fill((0, false));
        }
        for worker in 0..self.gateways[gateway].workers.len() {
            self.replace(gateway, worker, old_list);
        }
    }

    /// The gateway's own checks probe every node.
    pub(crate) fn check(&mut self, gateway: usize) {
        let well: Vec<_> = self.nodes.iter().map(crate::node::Node::serves).collect();
        let clock = self.clock;
        let own = &mut self.gateways[gateway];
        if let Some(checks) = &mut own.checks {
            for ((streak, held), well) in checks.iter_mut().zip(well) {
                *streak = if well { (*streak).max(0) + 1 } else { (*streak).min(0) - 1 };
                if *held && *streak >= RISE {
                    *held = false;
                } else if !*held && *streak <= -FALL {
                    *held = true;
                    own.shrank_at = Some(clock);
                }
            }
        }
        self.after(CHECK_INTERVAL, Happening::Checks { gateway });
    }

    /// The worker that takes a connection, by its place among those that run: one of many that are `held` open
    /// together, or one that is made alone.
    fn choose(rng: &mut Rng, own: &Gateway, running: usize, held: bool) -> usize {
        let number = rng.usize(0..running);
        match (own.uneven, held) {
            (true, false) if rng.u8(0..100) < 92 => 0,
            (true, true) if rng.u8(0..100) < 30 => 0,
            // An idle gateway also favours some of its workers; that does not matter where their names are known.
            (false, _) if own.named && rng.u8(0..3) == 0 => number.min(rng.usize(0..running)),
            _ => number,
        }
    }

    /// Executes a change that the gateway's own API receives. The registry's keys stay the simulator's record of it, and
    /// this API knows no lock.
    fn change(&mut self, gateway: usize, path: &str) -> Option<()> {
        let (address, mark) = path.split_once("&server=")?.1.split_once('&')?;
        let node = self.nodes.iter().position(|node| node.address == address)?;
        let up = mark == "up=";
        let value = format!("{{\"weight\":1,\"max_fails\":2,\"down\":{}}}", u8::from(!up));
        let prefix = self.gateways[gateway].prefix;
        self.consul.store.set(&format!("{prefix}{address}"), value.as_bytes(), 0);
        let session = self.consul.store.keys.get(LOCK).and_then(|pair| pair.session.clone());
        for mut change in self.consul.take_changes() {
            change.checked =
                session.iter().map(|session| (LOCK.to_owned(), session.clone())).collect();
            self.registry_written(&change);
        }
        for worker in &mut self.gateways[gateway].workers {
            worker.up[node] = up;
        }
        Some(())
    }

    /// A gateway lists its servers in any order, which seldom changes.
    fn reorder(&mut self, gateway: usize) {
        let (own, second) = (&mut self.gateways[gateway], self.clock / 1_000);
        if own.ordered_at != Some(second) {
            own.ordered_at = Some(second);
            own.order = (0..self.nodes.len()).collect();
            self.rng.shuffle(&mut own.order);
        }
    }

    /// What a gateway's status page shows on connections that are open together, or on one.
    pub(crate) fn shows(&mut self, gateway: usize, path: &str, connections: usize) -> Vec<Reply> {
        let lie = self.gateways[gateway].lie.filter(|(_, until)| self.clock < *until);
        let lie = lie.map(|(lie, _)| lie);
        if path.contains("&server=") && lie == Some(Lie::RefusesChanges) {
            let denied = Reply { status: 403, body: "denied".into(), ..Reply::default() };
            return vec![denied; connections];
        }
        if self.change(gateway, path).is_none() {
            self.gateways[gateway].note_reads(self.clock, connections as u64);
        }
        let own = &self.gateways[gateway];
        let text = match lie {
            Some(Lie::Status500) => {
                return vec![Reply { status: 500, ..Reply::default() }; connections];
            }
            Some(Lie::Garbage) => Some("<html>welcome</html>".to_owned()),
            Some(Lie::OtherUpstream) => Some(own.kind.shows_another_upstream()),
            Some(Lie::NothingListed) => Some(own.kind.shows_no_server().to_owned()),
            Some(Lie::Refuses | Lie::Silent | Lie::RefusesChanges) | None => {
                path.starts_with("/check").then(|| self.check_status(gateway))
            }
        };
        self.reorder(gateway);
        let own = &self.gateways[gateway];
        let running = own.living(self.clock).filter(|worker| self.clock >= worker.frozen_until);
        let running: Vec<_> = running.collect();
        // Workers with the same list answer alike.
        let mut pages: Vec<(&[bool], String)> = Vec::new();
        let mut replies = Vec::with_capacity(connections);
        for _ in 0..connections {
            let held = connections > 1;
            let worker = running[Self::choose(&mut self.rng, own, running.len(), held)];
            let known = pages.iter().find(|(up, _)| text.is_some() || *up == worker.up);
            let body = if let Some((_, page)) = known {
                page.clone()
            } else {
                let page = text.clone().unwrap_or_else(|| self.list(gateway, worker, &own.order));
                pages.push((&worker.up, page.clone()));
                page
            };
            let mut reply = Reply { status: 200, body: body.into(), ..Reply::default() };
            if own.named {
                reply.headers.insert("x-worker".into(), worker.pid.to_string());
            }
            if let Some(server) = own.server {
                reply.headers.insert("server".into(), server.into());
            }
            replies.push(reply);
        }
        replies
    }

    /// The weight in a node's key, or the default.
    fn weight(&self, key: &str) -> u32 {
        let pair = self.consul.store.keys.get(key);
        if pair.is_some_and(|pair| pair.value.starts_with(b"{\"weight\":1,")) {
            return 1;
        }
        let value =
            pair.and_then(|pair| serde_json::from_slice::<serde_json::Value>(&pair.value).ok());
        let weight = value.and_then(|value| value["weight"].as_u64());
        weight.and_then(|weight| u32::try_from(weight).ok()).unwrap_or(1)
    }

    fn list(&self, gateway: usize, worker: &Worker, order: &[usize]) -> String {
        match self.gateways[gateway].kind {
            Kind::Upsync => {
                let count = order.len();
                let (other, prefix) =
                    (self.gateways[gateway].weight, self.gateways[gateway].prefix);
                let servers = order.iter().map(|node| {
                    let address = &self.nodes[*node].address;
                    let weight = other.unwrap_or_else(|| self.weight(&format!("{prefix}{address}")));
                    let down = if worker.up[*node] { "" } else { " down" };
                    format!(
                        "        server {address} weight={weight} max_fails=2 fail_timeout=10s{down};\n"
                    )
                });
                let servers: String = servers.collect();
                format!("Upstream name: app; Backend server count: {count}\n{servers}")
            }
            Kind::Table => {
                let peers = order.iter().map(|node| {
                    let (up, own) = (worker.up[*node], &self.nodes[*node]);
                    let (address, conns) = (&own.address, own.requests.len());
                    format!("{{\"name\":\"{address}\",\"up\":{up},\"conns\":{conns}}}")
                });
                format!("{{\"peers\":[{}]}}", peers.collect::<Vec<_>>().join(","))
            }
            Kind::OwnApi => {
                let peers = order.iter().map(|node| {
                    let (down, own) =
                        (if worker.up[*node] { "" } else { " down" }, &self.nodes[*node]);
                    let (address, conns) = (&own.address, own.requests.len());
                    format!("server {address} addr={address} weight=1 conns={conns}{down};\n")
                });
                peers.collect()
            }
        }
    }

    fn check_status(&self, gateway: usize) -> String {
        let servers = self.nodes.iter().enumerate().map(|(at, node)| {
            let status = if self.gateways[gateway].held(at) { "down" } else { "up" };
            format!(
                "{{\"index\":{at},\"upstream\":\"app\",\"name\":\"{}\",\"status\":\"{status}\",\
                 \"rise\":1,\"fall\":0,\"type\":\"http\",\"port\":0}}",
                node.address
            )
        });
        let servers: Vec<_> = servers.collect();
        let (total, list) = (servers.len(), servers.join(","));
        format!("{{\"servers\":{{\"total\":{total},\"generation\":1,\"server\":[{list}]}}}}")
    }
}
