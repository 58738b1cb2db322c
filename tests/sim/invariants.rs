//! The rules that no event may break, checked at every event, and those for the end.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rollgate::journal;
use rollgate::release::{CommandKind, NodeState, Phase, Release, RotationState};

use crate::gateway::says_down;
use crate::node::{Deeds, Node, Taken};
use crate::process::Cause;
use crate::schedule::{OWN_PREFIX, PREFIX};
use crate::shape::Shape;
use crate::store::Change;
use crate::world::State;

/// How old a gateway's reading may be at a write.
const STALE: u64 = 1_000;

/// The longest time from the last reading of the gateways before a stop until the stop takes effect.
const LOOK: u64 = 1_000;

/// How long a done node may be dead before no further node is stopped or reported done.
pub(crate) const NOTICED: u64 = 10_000;

/// The same for a node that the release has not reached yet: it is checked at least once a minute, and several times in
/// a row once it has failed.
const NOTICED_LATER: u64 = 70_000;

/// A rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// No service is stopped while any worker of any gateway routes to it.
    StoppedWhileRouted,
    /// No service is stopped while any registry marks its node up.
    StoppedWhileUp,
    /// A release never leaves fewer than `min_available` nodes routed.
    TooFewRouted,
    /// No node is enabled before its new process was healthy for the required time.
    EnabledUnproven,
    /// No further node is stopped once more done nodes have died than may fail.
    FailureSpreads,
    /// No client's request fails because of rollgate.
    RequestLost,
    /// Requests are cut only where the playbook allows it, and the report says so.
    CutUntold,
    /// The reported state of a node is true.
    StateUntrue,
    /// The journal alone restores the same release.
    JournalUntrue,
    /// `show` tells every event of a journal, and where all the time of each node went.
    TimesUntrue,
    /// No registry write without the lock.
    WrittenWithoutLock,
    /// A process that has not just verified its lock uploads, stops, starts and activates nothing.
    ActedWithoutLock,
    /// A release does not delete the release that a node ran before.
    WayBackLost,
    /// A restart keeps the release and the version of each node.
    VersionChanged,
    /// A process that was paused while another took the lock reports the loss.
    LossUnnoticed,
    /// A registry write changes one field.
    ForeignChangeLost,
    /// A reported confirmation is true.
    ProofUntrue,
    /// An exit code keeps its promise.
    ExitUntrue,
    /// After all faults, one more command completes the release.
    NotResumed,
    /// A command that rollgate suggests is accepted, and does what its label says.
    SuggestionUntrue,
    /// An interrupted release ends in the same state as an undisturbed one.
    EndDiffers,
    /// A release that is asked to stop is safe within five seconds.
    StoppedLate,
    /// A release ends.
    NeverEnds,
    /// Without faults, the release is done.
    NotDone,
    /// A plan file does not run after a change of a node, a key or a gateway's list.
    StalePlanRan,
}

/// Where and how a rule was broken.
#[derive(Debug, Clone)]
pub(crate) struct Violation {
    pub(crate) rule: Rule,
    at: u64,
    text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.at / 1000, self.at % 1000);
        write!(formatter, "{:?} at {seconds}.{millis:03}: {}", self.rule, self.text)
    }
}

/// What a release did before nodes were changed by hand.
#[derive(Debug, Clone)]
pub(crate) struct Earlier {
    pub(crate) release: String,
    /// By node.
    pub(crate) deeds: Vec<Deeds>,
    pub(crate) target: Option<String>,
    pub(crate) undoes: bool,
    pub(crate) command: CommandKind,
}

/// What the invariants know, and the violations that they found.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    floor: usize,
    /// The version that is released; `None` where versions cannot be told apart.
    pub(crate) target: Option<String>,
    /// Whether versions can be told apart at all.
    pub(crate) versioned: bool,
    /// Whether the last release is a rollback.
    pub(crate) undoes: bool,
    /// The id of the release that began or was resumed last.
    pub(crate) release: String,
    /// Its command.
    pub(crate) command: CommandKind,
    /// The release before that one, which was by hand.
    pub(crate) earlier: Option<Earlier>,
    /// Whether a failed node may roll back.
    turns_back: bool,
    /// How many nodes may fail; `None` is no limit.
    max_failures: Option<usize>,
    /// How long a node must have been healthy before it is enabled.
    pub(crate) min_healthy: u64,
    /// Recognises the key of the release's lock; `None` until rollgate acquires one. From then on a registry write is a
    /// violation unless its transaction has a `check-session` of the session that holds that key.
    pub(crate) lock: Option<fn(&str) -> bool>,
    pub(crate) violations: Vec<Violation>,
}

impl Watch {
    pub(crate) fn new(shape: &Shape) -> Self {
        let versioned = shape.artifact && !shape.restarts;
        let target = versioned.then(|| "2".to_owned());
        Self {
            floor: shape.floor(),
            target,
            versioned,
            undoes: false,
            release: String::new(),
            command: CommandKind::Deploy,
            earlier: None,
            turns_back: shape.on_failure.starts_with("rollback"),
            max_failures: (shape.on_failure != "continue").then_some(shape.max_failures),
            min_healthy: shape.min_healthy,
            lock: None,
            violations: Vec::new(),
        }
    }
}

impl State {
    pub(crate) fn violate(&mut self, rule: Rule, text: String) {
        self.note(|| format!("VIOLATION {rule:?}: {text}"));
        self.watch.violations.push(Violation { rule, at: self.clock, text });
    }

    /// A command is about to end the service on a node.
    pub(crate) fn check_stop(&mut self, node: usize) {
        if !self.nodes[node].serves() {
            return;
        }
        let mut routing = Vec::new();
        let looked = self.clock.saturating_sub(LOOK);
        for gateway in &self.gateways {
            let workers = gateway.living(self.clock);
            let workers = workers.filter(|worker| !worker.strayed_since(looked));
            let still = workers.filter(|worker| worker.up[node] && !gateway.held(node));
            routing.extend(still.map(|worker| format!("{} pid {}", gateway.name, worker.pid)));
        }
        if !routing.is_empty() {
            let text = format!("{} is stopped, routed by {routing:?}", self.nodes[node].name);
            self.violate(Rule::StoppedWhileRouted, text);
        }
        let up = self.marked_up(node);
        // What another writer does to a key right before cannot be seen.
        if !up.is_empty() && self.nodes[node].edited_at.is_none_or(|at| at < looked) {
            let text = format!("{} is stopped, marked up below {up:?}", self.nodes[node].name);
            self.violate(Rule::StoppedWhileUp, text);
        }
    }

    /// A command is about to end the service on a node. Once enough other nodes have died after they were done, a node
    /// that still runs its previous version may not be stopped.
    pub(crate) fn check_spread(&mut self, node: usize) {
        let Some(most) = self.watch.max_failures else { return };
        if !self.nodes[node].serves() || self.nodes[node].deeds.touched {
            return;
        }
        let (registry, clock) = (self.registry(), self.clock);
        let was_done =
            |(at, node): &(usize, &Node)| registry[*at] && node.deeds.enabled_at.is_some();
        let died = |node: &Node| node.died_at.is_some_and(|died| died + NOTICED < clock);
        let dead = self.nodes.iter().enumerate().filter(was_done).filter(|(_, node)| died(node));
        let dead: Vec<_> = dead.map(|(_, node)| node.name.clone()).collect();
        if dead.len() > most {
            let text = format!("{} is stopped, although {dead:?} have died", self.nodes[node].name);
            self.violate(Rule::FailureSpreads, text);
        }
    }

    /// rollgate has changed a key.
    pub(crate) fn registry_written(&mut self, change: &Change) {
        self.registry_changed(&change.key);
        if change.key == crate::held::KEY {
            self.check_lock(change);
        }
        let key = change.key.as_str();
        let address = key.strip_prefix(PREFIX).or_else(|| key.strip_prefix(OWN_PREFIX));
        let Some(address) = address else { return };
        let Some(node) = self.nodes.iter().position(|node| node.address == address) else { return };
        self.check_lock(change);
        self.check_change(change);
        let down = |value: &Option<Arc<[u8]>>| value.as_deref().is_none_or(says_down);
        self.nodes[node].deeds.writes += 1;
        match (down(&change.before), down(&change.after)) {
            (false, true) => {
                // A node that died after its update costs no request when it is taken once more.
                let serves = self.nodes[node].serves();
                self.nodes[node].deeds.taken = if serves { Taken::Serving } else { Taken::Dead };
                self.check_floor(node);
            }
            (true, false) => self.check_enabled(node),
            (true, true) | (false, false) => {}
        }
    }

    /// `change.checked` has every key and session that the same transaction checked.
    fn check_lock(&mut self, change: &Change) {
        let Some(is_lock) = self.watch.lock else { return };
        let store = &self.consul.store;
        let holds = |key: &str, session: &str| {
            is_lock(key)
                && store.keys.get(key).is_some_and(|pair| pair.session.as_deref() == Some(session))
        };
        if !change.checked.iter().any(|(key, session)| holds(key, session)) {
            let text = format!("{} was written without the lock", change.key);
            self.violate(Rule::WrittenWithoutLock, text);
        }
    }

    /// All fields but `down` must be unchanged.
    fn check_change(&mut self, change: &Change) {
        let rest = |value: &Option<Arc<[u8]>>| {
            let mut value: serde_json::Value = serde_json::from_slice(value.as_deref()?).ok()?;
            value.as_object_mut()?.remove("down");
            Some(value)
        };
        if self.watch.lock.is_some() && rest(&change.before) != rest(&change.after) {
            let text = format!("{}: more than `down` was changed", change.key);
            self.violate(Rule::ForeignChangeLost, text);
        }
    }

    /// A node was just marked down: enough other serving nodes must stay at every worker, unless it does not serve.
    fn check_floor(&mut self, node: usize) {
        if !self.nodes[node].serves() {
            return;
        }
        let (registry, clock) = (self.registry(), self.clock);
        let is_dead = |node: &Node| node.died_at.is_some_and(|died| died + NOTICED_LATER < clock);
        let mut short = Vec::new();
        for gateway in &self.gateways {
            // A gateway that stopped routing to a node by itself since the last reading is not a violation.
            if gateway.shrank_at.is_some_and(|at| at + STALE >= gateway.read_at) {
                continue;
            }
            if !gateway.workers.iter().any(|worker| worker.up[node] && !gateway.held(node)) {
                continue;
            }
            // A frozen worker cannot be read and sends no requests. When it runs again, it reads all changes at once.
            for worker in gateway.workers.iter().filter(|worker| clock >= worker.frozen_until) {
                let stays = |other: &usize| {
                    *other != node
                        && worker.up[*other]
                        && registry[*other]
                        && !gateway.held(*other)
                        && !is_dead(&self.nodes[*other])
                };
                let stay = (0..self.nodes.len()).filter(stays).count();
                if stay < self.watch.floor {
                    short.push(format!("{} pid {}: {stay}", gateway.name, worker.pid));
                }
            }
        }
        if !short.is_empty() {
            let (name, floor) = (&self.nodes[node].name, self.watch.floor);
            let text = format!("{name} was marked down, {floor} must stay routed: {short:?}");
            self.violate(Rule::TooFewRouted, text);
        }
    }

    /// A node was just marked up.
    fn check_enabled(&mut self, at: usize) {
        let node = &self.nodes[at];
        if !node.deeds.touched {
            return;
        }
        let process = node.process.as_ref();
        let new = process.is_some_and(|process| Some(process.pid) != node.deeds.before);
        let right = process.is_some_and(|process| self.is_right(&process.version));
        let long_enough = process.and_then(|process| process.ready_at).is_some_and(|ready| {
            // The playbook has no time below a millisecond, and the first check may come with the service.
            ready + self.watch.min_healthy <= self.clock
        });
        let healthy = new && right && node.serves() && long_enough;
        let taken_since = node.deeds.served_since && node.down_by == Some(Cause::Fault);
        self.nodes[at].deeds.enabled_at = Some(self.clock);
        let node = &self.nodes[at];
        if !healthy && !taken_since {
            let text = format!("{} was marked up: {:?}", node.name, node.process);
            self.violate(Rule::EnabledUnproven, text);
        }
    }

    /// Whether a version may serve after a release touched it.
    pub(crate) fn is_right(&self, version: &str) -> bool {
        // A rollback may bring several versions back.
        let target = self.watch.target.as_deref();
        target.is_none_or(|target| target.split(", ").any(|target| target == version))
            || (self.watch.turns_back && version == "1")
    }

    /// Compares the reported state of each node with its real one. `exit` is the exit code of a release that has ended.
    pub(crate) fn check_told(&mut self, release: &Release, exit: Option<u8>, may_cut: bool) {
        let registry = self.registry();
        let mut untrue = Vec::new();
        for (name, told) in &release.nodes {
            let Some(at) = self.nodes.iter().position(|node| node.name == *name) else { continue };
            let out = self.marked_up(at).is_empty();
            if let Some(problem) = self.untrue(at, told, registry[at], out) {
                untrue.push(format!("{name}: {problem}, but {:?}", self.nodes[at]));
            }
            let step_is_unknown = told.failure.as_ref().is_some_and(|failure| failure.unknown);
            let unknown = told.rotation_state() == RotationState::Unknown
                || (step_is_unknown && told.phase != Phase::RolledBack);
            if unknown && exit.is_some_and(|exit| !matches!(exit, 4 | 22)) {
                untrue.push(format!("{name} is unknown, and the exit code is {exit:?}"));
            }
            let cut = self.nodes[at].deeds.cut;
            let told_cut = if may_cut { self.nodes[at].deeds.told_cut } else { 0 };
            if cut > told_cut {
                let text = format!("{name}: {cut} requests were cut, {told_cut} reported");
                self.violate(Rule::CutUntold, text);
            }
        }
        for text in untrue {
            self.violate(Rule::StateUntrue, text);
        }
    }

    /// Why a reported state is not true.
    fn untrue(&self, at: usize, told: &NodeState, up: bool, out: bool) -> Option<String> {
        let node = &self.nodes[at];
        let standing = told.rotation_state();
        let registry = match standing {
            RotationState::Untouched => node.deeds.writes == 0,
            RotationState::PutBack => up && (!node.deeds.touched || told.goes_back()),
            RotationState::Updated | RotationState::Enabled => up,
            RotationState::Out => out,
            RotationState::Unknown => true,
        };
        if !registry {
            return Some(format!("reported {standing:?}"));
        }
        if !told.is_stopped() && node.deeds.touched {
            return Some("told not to be stopped".into());
        }
        // `node in` starts no process.
        let arrived = matches!(told.phase, Phase::Done | Phase::RolledBack)
            && !self.watch.command.is_by_hand();
        let goes_back = told.phase == Phase::RolledBack || self.watch.undoes;
        if arrived && goes_back && node.is_as_before_install(up) {
            return None;
        }
        if arrived && node.down_by != Some(Cause::Fault) {
            let process = node.process.as_ref();
            let right = process.is_some_and(|process| {
                let back = told.phase == Phase::RolledBack && process.version == "1";
                Some(process.pid) != node.deeds.before && (back || self.is_right(&process.version))
            });
            if !right || !node.serves() {
                return Some(format!("reported as {:?}", told.phase));
            }
        }
        None
    }

    /// Reads the journal back: it must restore the same release.
    pub(crate) fn check_journal(&mut self, path: &Path, release: &Release) {
        let shown = |release: &Release| format!("{release:?}");
        match journal::read(path) {
            Ok((_, again)) if shown(&again) == shown(release) => {}
            Ok((_, again)) => {
                let text = format!("{}\nis not\n{}", shown(&again), shown(release));
                self.violate(Rule::JournalUntrue, text);
            }
            Err(error) => self.violate(Rule::JournalUntrue, format!("{error:#}")),
        }
    }
}
