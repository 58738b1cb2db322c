//! The faults of a schedule: when they strike, and how they change calls.

use rollgate::engine::StopReason;
use rollgate::world::{Method, Request};

use crate::gateway::Lie;
use crate::process::{Cause, Start, StopWay};
use crate::schedule::PREFIX;
use crate::world::{Happening, State, What};

/// When a fault strikes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum When {
    /// At this time, in milliseconds.
    At(u64),
    /// With this call, counted from 1.
    Call(u64),
    /// With this event of the release once it is on the disk, counted from 1.
    Event(u64),
}

/// How a call fares.
#[derive(Debug, Clone)]
pub(crate) enum Fate {
    /// It arrives and is answered.
    Plain,
    /// It is never sent.
    NotSent(String),
    /// It has no effect and gets no answer.
    Vanishes,
    /// It takes effect; the answer breaks off.
    AnswerLost,
    /// It takes effect; no answer comes.
    AnswerSilent,
    /// It takes effect this much later, after its caller has given up.
    Late(u64),
    /// It takes effect; the answer comes from a leader that was just replaced, and no leader follows for this long.
    CommittedThen500(u64),
}

impl Fate {
    pub(crate) fn said(&self) -> String {
        match self {
            Self::Plain => String::new(),
            fate => format!(" ({fate:?})"),
        }
    }
}

/// A fault. Nodes, gateways, workers and servers are counted from 0.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// Consul has no leader for this long.
    Election(u64),
    /// One of Consul's servers does not listen for this long.
    ServerDown { server: usize, lasts: u64 },
    /// The fate of the next write to Consul.
    NextWrite(Fate),
    /// The fate of the next read from Consul.
    NextRead(Fate),
    /// Another writer changes another field of a node's key.
    ForeignEdit(usize),
    /// A node's key becomes a text that is not JSON.
    Garbled(usize),
    /// Another writer changes another field of a node's key between rollgate's read and its next write.
    EditFirst(usize),
    /// Every session ends, as when their Consul node is lost.
    SessionsLost,
    /// Consul loses all its data, as when its only server gets an empty disk.
    Wiped,
    /// A worker does not follow the registry for this long.
    Stuck { gateway: usize, worker: usize, lasts: u64 },
    /// A signal stops a worker for this long: it follows nothing, answers nothing and sends no requests.
    Frozen { gateway: usize, worker: usize, lasts: u64 },
    /// A worker dies, and its successor begins with the list of the configuration.
    WorkerRestarts { gateway: usize, worker: usize },
    /// New workers begin with the current list, or with that of the configuration.
    Reload { gateway: usize, old_list: bool },
    /// The status page is wrong for this long.
    Lies { gateway: usize, lie: Lie, lasts: u64 },
    /// The node's process dies.
    Crash(usize),
    /// The node goes off and comes back.
    Reboot { node: usize, lasts: u64 },
    /// Every connection to the node ends, and the next one takes this long.
    SlowConnection { node: usize, takes: u64 },
    /// Logins fail for this long.
    Unreachable { node: usize, lasts: u64 },
    /// The fate of the next command on a node.
    NextCommand { node: usize, fate: Fate },
    /// How the service starts the next time.
    NextStart { node: usize, start: Start },
    /// How the service ends the next time.
    NextStop { node: usize, stop: StopWay },
    /// The node's disk is full.
    DiskFull(usize),
    /// The operator, or the CI job's runner, asks the release to stop.
    Signal,
    /// The same, this much later.
    SignalSoon(u64),
}

impl State {
    pub(crate) fn strike(&mut self, fault: &Fault) {
        self.note(|| format!("FAULT {fault:?}"));
        let clock = self.clock;
        self.disturbed_at = Some(clock);
        match fault {
            Fault::Election(lasts) => {
                self.consul.election_until = clock + lasts;
                self.consul.store.new_leader(clock + lasts);
            }
            Fault::ServerDown { server, lasts } => {
                if let Some(until) = self.consul.down_until.get_mut(*server) {
                    *until = clock + lasts;
                }
            }
            Fault::NextWrite(fate) => self.consul.writes.push_back(fate.clone()),
            Fault::NextRead(fate) => self.consul.reads.push_back(fate.clone()),
            Fault::ForeignEdit(node) => self.foreign_edit(*node),
            Fault::Garbled(node) => self.garble(*node),
            Fault::EditFirst(node) => self.edits.push(*node),
            Fault::Wiped => {
                self.strike(&Fault::SessionsLost);
                self.consul.store.keys.clear();
            }
            Fault::SessionsLost => {
                let sessions: Vec<_> = self.consul.store.sessions.keys().cloned().collect();
                for session in sessions {
                    self.consul.store.invalidate(clock, &session);
                }
                self.consul.store.changes.clear();
            }
            Fault::Stuck { gateway, worker, lasts } => self.stick(*gateway, *worker, *lasts),
            Fault::Frozen { gateway, worker, lasts } => {
                self.stick(*gateway, *worker, *lasts);
                self.gateways[*gateway].workers[*worker].frozen_until = clock + lasts;
            }
            Fault::WorkerRestarts { gateway, worker } => self.restart_worker(*gateway, *worker),
            Fault::Reload { gateway, old_list } => self.reload(*gateway, *old_list),
            Fault::Lies { gateway, lie, lasts } => {
                self.gateways[*gateway].lie = Some((*lie, clock + lasts));
            }
            Fault::Crash(node) => {
                if let Some(pid) = self.nodes[*node].process.as_ref().map(|process| process.pid) {
                    self.exit(*node, pid, Cause::Fault);
                }
            }
            Fault::Reboot { node, lasts } => self.reboot(*node, *lasts),
            Fault::SlowConnection { node, takes } => {
                self.nodes[*node].connections.clear();
                self.nodes[*node].next_connection = Some(*takes);
            }
            Fault::Unreachable { node, lasts } => {
                self.nodes[*node].connections.clear();
                self.nodes[*node].unreachable_until = clock + lasts;
            }
            Fault::NextCommand { node, fate } => {
                self.nodes[*node].next_commands.push_back(fate.clone());
            }
            Fault::NextStart { node, start } => self.nodes[*node].next_start = Some(*start),
            Fault::NextStop { node, stop } => self.nodes[*node].next_stop = Some(*stop),
            Fault::DiskFull(node) => self.nodes[*node].disk_full = true,
            Fault::SignalSoon(delay) => self.signal_at(clock + delay),
            Fault::Signal => {
                self.signals.remove(&clock);
                self.stopped_at.get_or_insert(clock);
                let _ = self.stop.send(StopReason::Requested("SIGTERM"));
            }
        }
    }

    /// A request to stop comes at this time; an operator that sleeps until then must hear it.
    pub(crate) fn signal_at(&mut self, at: u64) {
        self.signals.insert(at);
        self.after(at.saturating_sub(self.clock), Happening::Strikes(Fault::Signal));
        self.signals_changed.notify_one();
    }

    /// Another writer is faster than a release that writes a node's key.
    pub(crate) fn edit_first(&mut self, request: &Request) {
        if self.edits.is_empty() || !request.url.contains("/v1/txn") {
            return;
        }
        let body = request.body.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
        let writes = |node: &usize| {
            let key = format!("\"Key\":\"{PREFIX}{}\"", self.nodes[*node].address);
            body.contains(&key) && body.contains("rollgate/")
        };
        if let Some(at) = self.edits.iter().position(writes) {
            let node = self.edits.swap_remove(at);
            self.foreign_edit(node);
        }
    }

    /// What it says then is up for every gateway.
    fn garble(&mut self, node: usize) {
        let key = format!("{PREFIX}{}", self.nodes[node].address);
        self.consul.store.set(&key, b"weight=1", 0);
        self.nodes[node].edited_at = Some(self.clock);
        self.consul.store.changes.clear();
        self.registry_changed(&key);
    }

    /// Another operator writes another field.
    fn foreign_edit(&mut self, node: usize) {
        let key = format!("{PREFIX}{}", self.nodes[node].address);
        let Some(pair) = self.consul.store.keys.get(&key).cloned() else { return };
        let Ok(mut value) = serde_json::from_slice::<serde_json::Value>(&pair.value) else {
            return;
        };
        value["weight"] = self.rng.u32(1..10).into();
        self.consul.store.set(&key, value.to_string().as_bytes(), pair.flags);
        self.consul.store.changes.clear();
        self.registry_changed(&key);
    }

    /// The fate of this call alone, if it has one.
    fn only_once(&mut self, fate: Option<Fate>) -> Fate {
        if fate.is_some() {
            self.disturbed_at = Some(self.clock);
        }
        fate.unwrap_or(Fate::Plain)
    }

    /// Decides the fate of a call.
    pub(crate) fn fate(&mut self, what: &What) -> Fate {
        let refused = || Fate::NotSent("connection refused".into());
        match what {
            What::Run(node, _) => {
                let node = &mut self.nodes[*node];
                if self.clock < node.unreachable_until {
                    return Fate::NotSent("ssh: connect: Connection refused".into());
                }
                let fate = node.next_commands.pop_front();
                self.only_once(fate)
            }
            What::Connect(_) => Fate::Plain,
            What::Http(request) | What::Row(request, _) => {
                let host = request.url.strip_prefix("http://").unwrap_or(&request.url);
                if let Some(server) = host.strip_prefix("consul-") {
                    let number = server.split([':', '/']).next().and_then(|at| at.parse().ok());
                    let server = number.map_or(0, |number: usize| number.saturating_sub(1));
                    if self.consul.down_until.get(server).is_none_or(|until| self.clock < *until) {
                        return refused();
                    }
                    let fates = match request.method {
                        Method::Get | Method::Head | Method::Options => &mut self.consul.reads,
                        Method::Put | Method::Post | Method::Patch | Method::Delete => {
                            &mut self.consul.writes
                        }
                    };
                    let fate = fates.pop_front();
                    return self.only_once(fate);
                }
                let name = host.split('/').next().unwrap_or("");
                let gateway = self.gateways.iter().find(|gateway| gateway.name == name);
                match gateway.and_then(|gateway| gateway.lie) {
                    Some((Lie::Refuses, until)) if self.clock < until => refused(),
                    Some((Lie::Silent, until)) if self.clock < until => Fate::Vanishes,
                    _ => Fate::Plain,
                }
            }
        }
    }
}
