//! The nodes that serve while other nodes are updated. They are watched until the release ends.
//!
//! A finished node that fails afterwards counts as failed like any other node. It stops the release, it leaves rotation
//! if enough other nodes serve, and it rolls back if the playbook says so. It fails when its health check fails, when
//! its process ends (even if a supervisor restarts it at once), or when a gateway no longer routes to it.
//!
//! A node that the release has not reached yet, or does not change, no longer counts as serving once it fails. A
//! failing health check does not count for a node that never passed it: the change to the new version may have changed
//! the check as well. A refused connection always counts.
//!
//! The interval between checks grows with the time that a node is healthy, whatever the number of nodes.
//! [`serving`](super::serving) runs the checks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::gateway::Observation;
use crate::health::{self, BODY_SHOWN, CheckResult, Unreached};
use crate::node::Ticks;
use crate::release::{Failure, NodeState, Phase, Release};
use crate::spec::{NodeSpec, Spec};
use crate::text;

/// Minimum time between two checks of a node, and between two reads of a gateway.
pub(super) const PERIOD: Duration = Duration::from_secs(1);

/// The interval between two checks is the time since the node joined, divided by this number.
const PART_OF_AGE: u32 = 10;

/// Maximum time between two checks of a node.
const LONGEST_PERIOD: Duration = Duration::from_secs(60);

/// Maximum number of checks that begin in one second.
const CHECKS_A_SECOND: u32 = 50;

/// Maximum number of nodes to check right before another node is removed from rotation or stopped: the most recently
/// finished ones. All other nodes are checked on their schedule.
const CHECKED_FIRST: usize = 64;

/// A node that is no longer healthy, and the failure.
pub(super) type Fallen = (String, Failure);

/// The nodes that serve.
pub(super) struct Pool {
    members: Mutex<BTreeMap<String, Member>>,
    fallen: mpsc::UnboundedSender<Fallen>,
    /// The first finished node that failed.
    first_fallen: OnceLock<String>,
    /// Nodes with a known failure. It may not be in the journal yet.
    failing: Mutex<BTreeSet<String>>,
}

/// The processes that listen on a node's port: the id and start of each.
pub(super) type Processes = BTreeSet<(u32, Ticks)>;

/// A node that serves.
#[derive(Debug, Clone)]
struct Member {
    part: Part,
    since: Instant,
    /// The start of its last check.
    checked: Option<Instant>,
    /// Number of consecutive failures.
    failures: u32,
    has_passed: bool,
    /// Connections to it fail.
    is_unreachable: bool,
    /// The listening processes at the last inspection, if they were visible. An inspection runs a command on the node.
    /// It runs first when the node joins, and then whenever a decision depends on the node's health.
    processes: Option<Processes>,
    /// The problem that its last check found.
    problem: Option<String>,
    /// By gateway, the time since which it shows the node as not routed.
    unrouted: BTreeMap<String, Instant>,
    has_fallen: bool,
}

/// The role of a node in the release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// It runs the new version; this run updated it.
    Done,
    /// It already ran the new version when the release began or resumed.
    AsPlanned,
    /// It runs its previous version again.
    RolledBack,
    /// The release has not reached it yet, or does not change it.
    Other,
    /// The release does not change it because it is unusable, for example because ssh does not reach its machine.
    Blocked,
}

impl Part {
    /// Whether the node's failure is a failure of the release.
    pub(super) fn counts(self) -> bool {
        !matches!(self, Self::Other | Self::Blocked)
    }
}

impl Member {
    fn new(part: Part) -> Self {
        Self {
            part,
            since: Instant::now(),
            checked: None,
            failures: 0,
            has_passed: false,
            is_unreachable: false,
            processes: None,
            problem: None,
            unrouted: BTreeMap::new(),
            has_fallen: false,
        }
    }

    fn counts(&self) -> bool {
        self.part.counts()
    }

    /// Whether a problem of the node shows that it does not serve.
    fn is_judged(&self) -> bool {
        self.has_passed || self.is_unreachable || self.counts()
    }

    fn is_unwell(&self, fall: u32) -> bool {
        self.has_fallen || (self.failures >= fall && self.is_judged())
    }

    /// Whether its checks have shown, as far as they can, that it serves or does not serve.
    fn is_settled(&self, fall: u32) -> bool {
        match self.problem {
            None => self.has_passed,
            // Without a failure, the check could not ask the node.
            Some(_) => self.failures == 0 || !self.is_judged() || self.is_unwell(fall),
        }
    }

    /// Whether its removal from rotation has no client impact.
    fn is_dead(&self, fall: u32) -> bool {
        self.is_unreachable && self.is_unwell(fall)
    }

    /// Returns its failure for the report.
    fn failure(&self, what: &str) -> Failure {
        let since = text::duration(self.since.elapsed());
        let since = match self.part {
            Part::Done => format!(", {since} after it was done"),
            Part::RolledBack => format!(", {since} after it was rolled back"),
            Part::AsPlanned | Part::Other | Part::Blocked => String::new(),
        };
        Failure { reason: format!("{what}{since}"), ..Failure::default() }
    }
}

/// The result of a check of a node.
pub(super) enum Shown {
    /// No further check is needed.
    Enough,
    /// The check failed, but not often enough to be sure.
    Doubt,
    /// The node is no longer healthy.
    Fallen(Failure),
}

impl Pool {
    /// Returns the nodes that serve when a release begins or resumes. Nodes that fail later are sent to `fallen`.
    pub(super) fn new(
        spec: &Spec,
        release: &Release,
        fallen: mpsc::UnboundedSender<Fallen>,
    ) -> Self {
        let mut members = BTreeMap::new();
        for node in &spec.nodes {
            let was_out = release.plan_of(&node.name).is_some_and(|plan| plan.was_out);
            let state = release.nodes.get(&node.name);
            if state.is_some_and(NodeState::is_held) {
                continue;
            }
            let is_out = state.map_or(was_out, |state| state.marked.is_down().unwrap_or(was_out));
            let phase = state.map(|state| state.phase);
            // The rollback of a first install stops it.
            let is_stopped = match phase {
                Some(Phase::Done | Phase::Skipped) => node.stays_out(),
                Some(Phase::RolledBack) => {
                    spec.back.get(&node.name).is_some_and(|back| back.stays_out())
                }
                _ => false,
            };
            if is_stopped {
                continue;
            }
            let part = match phase {
                Some(Phase::Done | Phase::Skipped) => Part::AsPlanned,
                Some(Phase::RolledBack) => Part::RolledBack,
                Some(Phase::Waiting | Phase::LeftOut) | None if !is_out => Part::Other,
                Some(Phase::Blocked) if !is_out => Part::Blocked,
                _ => continue,
            };
            members.insert(node.name.clone(), Member::new(part));
        }
        Self {
            members: Mutex::new(members),
            fallen,
            first_fallen: OnceLock::new(),
            failing: Mutex::default(),
        }
    }

    fn members(&self) -> MutexGuard<'_, BTreeMap<String, Member>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the first finished node that is no longer healthy.
    pub(super) fn first_fallen(&self) -> Option<&str> {
        self.first_fallen.get().map(String::as_str)
    }

    fn failed(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a node fails. The failure counts before it is in the journal.
    pub(super) fn fails(&self, name: &str) {
        self.failed().insert(name.to_owned());
    }

    /// Counts the nodes with a known failure that match a condition.
    pub(super) fn failing(&self, condition: impl Fn(&str) -> bool) -> usize {
        self.failed().iter().filter(|name| condition(name)).count()
    }

    /// Notes that a serving node failed. The failure counts from now on.
    pub(super) fn fell(&self, name: String, part: Part, failure: Failure) {
        if part != Part::RolledBack {
            self.fails(&name);
            self.first_fallen.get_or_init(|| name.clone());
        }
        // The receiver is gone once the release has ended.
        let _ = self.fallen.send((name, failure));
    }

    /// Notes that a node leaves rotation.
    pub(super) fn leave(&self, name: &str) {
        self.members().remove(name);
    }

    /// Notes that a node is in rotation.
    pub(super) fn join(&self, name: &str, part: Part) {
        self.members().insert(name.to_owned(), Member::new(part));
    }

    /// Returns the addresses of the nodes that are known to be unhealthy. They serve no requests, whatever a gateway
    /// does.
    pub(super) fn unwell(&self, spec: &Spec) -> BTreeSet<String> {
        let members = self.members();
        let unwell = |node: &&Arc<NodeSpec>| {
            members.get(&node.name).is_some_and(|member| member.is_unwell(node.health.fall))
        };
        spec.nodes.iter().filter(unwell).map(|node| node.address.clone()).collect()
    }

    /// Whether nothing listens at this node, so that its removal from rotation has no client impact.
    pub(super) fn is_dead(&self, node: &NodeSpec) -> bool {
        self.dead(node).is_some()
    }

    /// Why nothing listens at this node, if that is so.
    pub(super) fn dead(&self, node: &NodeSpec) -> Option<String> {
        let members = self.members();
        let member = members.get(&node.name).filter(|member| member.is_dead(node.health.fall))?;
        Some(member.problem.clone().unwrap_or_default())
    }

    /// Whether this node is in rotation as far as is known, and a check during the release has shown that it serves.
    pub(super) fn is_known_to_serve(&self, node: &NodeSpec) -> bool {
        let members = self.members();
        members
            .get(&node.name)
            .is_some_and(|member| member.has_passed && !member.is_unwell(node.health.fall))
    }

    /// Returns the nodes for which it is unknown whether they serve.
    pub(super) fn unsettled(&self, spec: &Spec) -> Vec<String> {
        let members = self.members();
        let is_unsettled = |node: &&Arc<NodeSpec>| {
            let member = members.get(&node.name).filter(|member| !member.counts());
            member.is_some_and(|member| !member.is_settled(node.health.fall))
        };
        spec.nodes.iter().filter(is_unsettled).map(|node| node.name.clone()).collect()
    }

    /// Returns every node that serves, as far as it is known.
    pub(super) fn names(&self) -> Vec<String> {
        let members = self.members();
        let well = members.iter().filter(|(_, member)| !member.has_fallen);
        well.map(|(name, _)| name.clone()).collect()
    }

    /// Returns the nodes that are due for a check, and the time when the next node is due.
    pub(super) fn due(
        &self,
        interval: impl Fn(&str) -> Option<Duration>,
    ) -> (Vec<String>, Instant) {
        let members = self.members();
        let now = Instant::now();
        let share = PERIOD * u32::try_from(members.len()).unwrap_or(u32::MAX) / CHECKS_A_SECOND;
        let (mut due, mut next) = (Vec::new(), now + PERIOD);
        for (name, member) in members.iter().filter(|(_, member)| !member.has_fallen) {
            let least = interval(name).unwrap_or(PERIOD);
            let period = if member.failures > 0 {
                least
            } else {
                let age = now.duration_since(member.since);
                (age / PART_OF_AGE).clamp(PERIOD, LONGEST_PERIOD).max(least)
            };
            let turn = member.checked.map_or(now, |checked| checked + period.max(share));
            if turn <= now {
                due.push(name.clone());
            } else {
                next = next.min(turn);
            }
        }
        (due, next)
    }

    /// Returns the finished nodes, the most recent ones first.
    pub(super) fn done_last(&self) -> Vec<String> {
        let members = self.members();
        let counts = |(_, member): &(&String, &Member)| member.counts() && !member.has_fallen;
        let mut done: Vec<_> = members.iter().filter(counts).collect();
        done.sort_by_key(|(_, member)| std::cmp::Reverse(member.since));
        done.into_iter().take(CHECKED_FIRST).map(|(name, _)| name.clone()).collect()
    }

    /// Returns a problem that the last checks left open, or found on a node that the release does not change.
    pub(super) fn unverified(&self) -> Option<String> {
        let members = self.members();
        members.iter().find_map(|(name, member)| {
            let problem = member.problem.as_ref().filter(|_| !member.has_fallen)?;
            member.is_judged().then(|| format!("{name}: {problem}"))
        })
    }

    /// Whether any node is finished.
    pub(super) fn has_done(&self) -> bool {
        self.members().values().any(|member| member.counts() && !member.has_fallen)
    }

    /// Notes that a check of a node begins, if the node still serves.
    pub(super) fn begin_check(&self, name: &str) -> Option<Part> {
        let mut members = self.members();
        let member = members.get_mut(name).filter(|member| !member.has_fallen)?;
        member.checked = Some(Instant::now());
        Some(member.part)
    }

    /// Whether a node's processes have been inspected since the node joined.
    pub(super) fn knows_processes(&self, name: &str) -> bool {
        self.members().get(name).is_some_and(|member| member.processes.is_some())
    }

    /// Applies the result of a check of `node` in that role.
    pub(super) fn note(
        &self,
        node: &NodeSpec,
        part: Part,
        found: CheckResult,
        processes: Option<Processes>,
    ) -> Shown {
        let mut members = self.members();
        let member = members.get_mut(&node.name).filter(|member| member.part == part);
        let Some(member) = member.filter(|member| !member.has_fallen) else { return Shown::Enough };
        if let Some(now) = processes.filter(|_| member.counts())
            && let Some(before) = member.processes.replace(now.clone())
            && before.is_disjoint(&now)
        {
            member.has_fallen = true;
            let pid = |processes: &Processes| processes.first().map_or(0, |(pid, _)| *pid);
            let (before, now) = (pid(&before), pid(&now));
            let what = format!("its process ended: pid {now} listens instead of pid {before}");
            return Shown::Fallen(member.failure(&what));
        }
        let wrong_version = found.wrong_version.filter(|_| member.counts());
        member.problem = found.problem.or(wrong_version);
        member.is_unreachable = match found.unreached {
            Some(Unreached::Refused) => true,
            // Gateways may reach a node that this machine does not reach, unless ssh does not reach the node's machine
            // either.
            Some(Unreached::Silent) => member.part == Part::Blocked,
            None => false,
        };
        let Some(problem) = member.problem.clone() else {
            (member.failures, member.has_passed) = (0, true);
            return Shown::Enough;
        };
        if !member.is_unreachable && found.is_unasked {
            return Shown::Enough;
        }
        member.failures += 1;
        if member.is_judged() && !member.is_unwell(node.health.fall) {
            return Shown::Doubt;
        }
        if !member.counts() {
            return Shown::Enough;
        }
        member.has_fallen = true;
        let mut failure = member.failure(&format!("no longer healthy: {problem}"));
        let (checks, times) = (health::describe(&node.health), member.failures);
        failure.seen.push(("check".into(), format!("{checks}: {problem}, {times} times in a row")));
        if let Some(body) = &found.body {
            failure.seen.push(("last body".into(), text::line(body, BODY_SHOWN)));
        }
        Shown::Fallen(failure)
    }

    /// Applies an observation of a gateway to the finished nodes. Returns the nodes that the gateway has not routed to
    /// for longer than `patience`, and whether a node is in doubt.
    pub(super) fn note_routes(
        &self,
        spec: &Spec,
        gateway: &str,
        seen: &Observation,
        patience: Duration,
    ) -> (Vec<(String, Part, Failure)>, bool) {
        let mut members = self.members();
        let (mut fallen, mut doubt) = (Vec::new(), false);
        for node in &spec.nodes {
            let Some(member) = members.get_mut(&node.name) else { continue };
            if !member.counts() || member.has_fallen {
                continue;
            }
            // An unreadable entry is neither in nor out.
            if seen.routes_to(&node.address) || seen.unread.contains_key(&node.address) {
                member.unrouted.remove(gateway);
                continue;
            }
            let since = *member.unrouted.entry(gateway.to_owned()).or_insert_with(Instant::now);
            if since.elapsed() < patience {
                doubt = true;
                continue;
            }
            member.has_fallen = true;
            let failure = member.failure(&format!("{gateway} no longer routes to it"));
            fallen.push((node.name.clone(), member.part, failure));
        }
        (fallen, doubt)
    }
}
