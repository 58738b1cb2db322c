//! The lock as the world sees it: its holder, the last check of each operator, and actions without it.

use std::collections::BTreeMap;

use rollgate::node::NodeScript;

use crate::consul::Reaction;
use crate::faults::Fate;
use crate::invariants::Rule;
use crate::world::{Answer, State, What};

/// The key of the lock.
pub(crate) const LOCK: &str = "rollgate/app/lock";

/// Between an answer of Consul and the command that depends on it.
const AT_ONCE: u64 = 100;

/// How long failing requests to Consul are accepted before the session's own TTL counts.
const ASKED: u64 = 3_000;

/// The shortest life of a session.
const TTL: u64 = 15_000;

/// What an operator knows about the lock.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    /// When Consul last confirmed that this operator holds the lock.
    held: Option<u64>,
    /// When its session was renewed last.
    renewed: Option<u64>,
    /// When a request to Consul failed.
    troubled: Option<u64>,
}

/// The holder of the lock, and the operators that believe to hold it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fence {
    /// The operator of each session.
    sessions: BTreeMap<String, usize>,
    known: BTreeMap<usize, Known>,
    /// When an operator was suspended: from, until.
    asleep: Vec<(usize, u64, u64)>,
}

impl Fence {
    /// An operator was suspended for a while.
    pub(crate) fn slept(&mut self, operator: usize, from: u64, until: u64) {
        self.asleep.push((operator, from, until));
    }

    /// When a signal of this time is heard: a suspended operator hears it when it wakes up.
    pub(crate) fn heard(&self, signal: u64) -> u64 {
        self.asleep.iter().fold(signal, |heard, (_, _, until)| heard.max(*until))
    }

    /// Whether an operator has just woken up: what it reports now, it saw before.
    pub(crate) fn just_woke(&self, operator: usize, now: u64) -> bool {
        self.asleep.iter().any(|(who, _, until)| *who == operator && *until + AT_ONCE >= now)
    }

    /// How long an operator has run since.
    fn lived(&self, operator: usize, since: u64, now: u64) -> u64 {
        let own = self.asleep.iter().filter(|(who, ..)| *who == operator);
        let slept: u64 =
            own.map(|(_, from, until)| until.min(&now).saturating_sub(*from.max(&since))).sum();
        now.saturating_sub(since).saturating_sub(slept)
    }
}

/// Whether a script changes what a node runs, or may run.
fn touches(script: &NodeScript) -> bool {
    match script {
        NodeScript::User { command } => !matches!(command.trim(), "true" | "svc log"),
        NodeScript::Upload { .. }
        | NodeScript::Unpack { .. }
        | NodeScript::Activate { .. }
        | NodeScript::Prune { .. } => true,
        _ => false,
    }
}

impl State {
    /// The operator that holds the lock.
    pub(crate) fn holder(&self) -> Option<usize> {
        let session = self.consul.store.keys.get(LOCK)?.session.as_ref()?;
        self.fence.sessions.get(session).copied()
    }

    /// Notes an answer of Consul to an operator.
    pub(crate) fn note_fence(&mut self, operator: usize, path: &str, reaction: &Reaction) {
        let Reaction::Answer(_, Answer::Http(Ok(reply))) = reaction else { return };
        let clock = self.clock;
        if let Some((_, session)) = path.split_once("acquire=") {
            let session = session.split('&').next().unwrap_or(session);
            self.fence.sessions.insert(session.to_owned(), operator);
        }
        let is_own = self.holder() == Some(operator);
        let known = self.fence.known.entry(operator).or_default();
        if reply.status >= 500 {
            known.troubled = Some(clock);
        } else if path.starts_with("/v1/session/renew/") || path == "/v1/session/create" {
            known.renewed = Some(clock);
        } else if path.contains(LOCK) && is_own {
            known.held = Some(clock);
        }
    }

    /// An operator is about to act: only a process that has just verified its lock may change a node.
    pub(crate) fn check_fence(&mut self, operator: usize, what: &What, fate: &Fate) {
        let clock = self.clock;
        match (what, fate) {
            (What::Http(request), fate) => {
                if request.url.contains("/consul-") && !matches!(fate, Fate::Plain) {
                    self.fence.known.entry(operator).or_default().troubled = Some(clock);
                }
            }
            (What::Run(_, command), Fate::NotSent(_)) if touches(&command.script) => {}
            (What::Run(node, command), _) if touches(&command.script) => {
                if self.watch.lock.is_none() {
                    return;
                }
                self.consul.store.expire(clock);
                if self.holder() == Some(operator) {
                    return;
                }
                let known = self.fence.known.get(&operator).copied().unwrap_or_default();
                let lived = |since: Option<u64>, most: u64| {
                    since.is_some_and(|since| self.fence.lived(operator, since, clock) <= most)
                };
                let in_vain = lived(known.troubled, ASKED)
                    && known.renewed.is_some_and(|renewed| renewed + TTL >= clock);
                if lived(known.held, AT_ONCE) || in_vain {
                    return;
                }
                let text = format!(
                    "operator {operator} begins {:?} on node-{}: {known:?}",
                    command.script,
                    node + 1
                );
                self.violate(Rule::ActedWithoutLock, text);
            }
            (What::Run(..) | What::Row(..) | What::Connect(_), _) => {}
        }
    }
}
