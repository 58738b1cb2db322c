//! The nodes that serve while others are updated: they are watched until the release ends.
//!
//! A node that is done and fails afterwards has failed like any other: it stops the release, leaves rotation if enough others
//! serve, and goes back where the playbook asks for it. It fails when its own check fails, when its process ends, even if a
//! supervisor starts another one at once, or when a gateway no longer routes to it.
//!
//! A node that the release has not come to yet, or leaves alone, no longer counts as one that serves once it fails. The check
//! of a node that never passed it is not judged, since what brings the new version may have changed the check as well; whether
//! the node can be connected to is.
//!
//! A node is asked less often the longer it is well, whatever the number of nodes; [`serving`](super::serving) asks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::gateway::Observation;
use crate::health::{self, BODY_SHOWN, CheckResult, Unreached};
use crate::node::Mark;
use crate::release::{Failure, Phase, Release};
use crate::spec::{NodeSpec, Spec};
use crate::text;

/// The least time between two checks of a node, and between two looks at a gateway.
pub(super) const PERIOD: Duration = Duration::from_secs(1);

/// A node is checked again after this part of the time since it joined.
const PART_OF_AGE: u32 = 10;

/// The longest time between two checks of a node.
const LONGEST_PERIOD: Duration = Duration::from_secs(60);

/// How many checks begin in a second, at most.
const CHECKS_A_SECOND: u32 = 50;

/// How many nodes are checked right before another one is taken or stopped: those that were done last. All others are
/// checked in their turn.
const CHECKED_FIRST: usize = 64;

/// A node that is not well any more, and why.
pub(super) type Fallen = (String, Failure);

/// The nodes that serve.
pub(super) struct Pool {
    members: Mutex<BTreeMap<String, Member>>,
    fallen: mpsc::UnboundedSender<Fallen>,
    /// The first node that fell.
    first_fallen: OnceLock<String>,
    /// Nodes whose failure is known, and may not be written down yet.
    failing: Mutex<BTreeSet<String>>,
}

/// Processes that listen on a node's port: each one's id and start.
pub(super) type Processes = BTreeSet<(u32, Mark)>;

/// A node that serves.
#[derive(Debug, Clone)]
struct Member {
    part: Part,
    since: Instant,
    /// When its last check began.
    checked: Option<Instant>,
    /// Failures in a row.
    failures: u32,
    has_passed: bool,
    /// No connection reaches it.
    is_unreachable: bool,
    /// The processes that listened when they were last looked at, where they could be seen. That takes a command on the node:
    /// it is done first when the node joins, and then whenever it must be known whether the node is well.
    processes: Option<Processes>,
    /// What its last check found wrong.
    problem: Option<String>,
    /// Since when a gateway shows it as not routed, by gateway.
    unrouted: BTreeMap<String, Instant>,
    has_fallen: bool,
}

/// What a node has to do with the release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// It runs what the release brings, since it was done just now.
    Done,
    /// It ran what the release brings when the release began or went on.
    AsPlanned,
    /// It runs again what it ran before.
    RolledBack,
    /// The release has not come to it, or leaves it alone.
    Other,
    /// The release leaves it alone because it cannot be used, as when ssh does not reach its machine.
    Blocked,
}

impl Part {
    /// When the node fails, that is a failure of the release.
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

    /// What is found wrong with it shows that it does not serve.
    fn is_judged(&self) -> bool {
        self.has_passed || self.is_unreachable || self.counts()
    }

    fn is_unwell(&self, fall: u32) -> bool {
        self.has_fallen || (self.failures >= fall && self.is_judged())
    }

    /// Its checks have shown whether it serves, as far as they can.
    fn is_settled(&self, fall: u32) -> bool {
        match self.problem {
            None => self.has_passed,
            // Without a failure it could not be asked.
            Some(_) => self.failures == 0 || !self.is_judged() || self.is_unwell(fall),
        }
    }

    /// Without it no user is served less.
    fn is_dead(&self, fall: u32) -> bool {
        self.is_unreachable && self.is_unwell(fall)
    }

    /// How it failed, for the report.
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

/// What a check has shown of a node.
pub(super) enum Shown {
    /// Nothing more is to be asked.
    Enough,
    /// It failed, but not often enough to be sure.
    Doubt,
    /// It is not well any more.
    Fallen(Failure),
}

impl Pool {
    /// The nodes that serve when a release begins or goes on. Those that are not well any more are sent to `fallen`.
    pub(super) fn new(
        spec: &Spec,
        release: &Release,
        fallen: mpsc::UnboundedSender<Fallen>,
    ) -> Self {
        let mut members = BTreeMap::new();
        let planned = release.planned().iter().filter(|planned| planned.was_out);
        let out: BTreeSet<_> = planned.map(|planned| planned.node.as_str()).collect();
        for node in &spec.nodes {
            let was_out = out.contains(node.name.as_str());
            let state = release.nodes.get(&node.name);
            let is_out = state.map_or(was_out, |state| state.marked.is_down().unwrap_or(was_out));
            let part = match state.map(|state| state.phase) {
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

    /// The first node that was done and is not well any more.
    pub(super) fn first_fallen(&self) -> Option<&str> {
        self.first_fallen.get().map(String::as_str)
    }

    fn failed(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A node fails, which counts before its failure is written down.
    pub(super) fn fails(&self, name: &str) {
        self.failed().insert(name.to_owned());
    }

    /// How many of the nodes whose failure is known fulfil a condition.
    pub(super) fn failing(&self, condition: impl Fn(&str) -> bool) -> usize {
        self.failed().iter().filter(|name| condition(name)).count()
    }

    /// A node has fallen: it counts from now on.
    pub(super) fn fell(&self, name: String, part: Part, failure: Failure) {
        if part != Part::RolledBack {
            self.fails(&name);
            self.first_fallen.get_or_init(|| name.clone());
        }
        // Nothing hears of it once the release has ended.
        let _ = self.fallen.send((name, failure));
    }

    /// A node leaves rotation.
    pub(super) fn leave(&self, name: &str) {
        self.members().remove(name);
    }

    /// A node is in rotation.
    pub(super) fn join(&self, name: &str, part: Part) {
        self.members().insert(name.to_owned(), Member::new(part));
    }

    /// The addresses of the nodes that are known to be unwell: they serve nobody, whatever a gateway does.
    pub(super) fn unwell(&self, spec: &Spec) -> BTreeSet<String> {
        let members = self.members();
        let unwell = |node: &&NodeSpec| {
            members.get(&node.name).is_some_and(|member| member.is_unwell(node.health.fall))
        };
        spec.nodes.iter().filter(unwell).map(|node| node.address.clone()).collect()
    }

    /// Whether nothing listens at this node, so that without it no user is served less.
    pub(super) fn is_dead(&self, node: &NodeSpec) -> bool {
        self.members().get(&node.name).is_some_and(|member| member.is_dead(node.health.fall))
    }

    /// The nodes of which it is not known whether they serve.
    pub(super) fn unsettled(&self, spec: &Spec) -> Vec<String> {
        let members = self.members();
        let is_unsettled = |node: &&NodeSpec| {
            let member = members.get(&node.name).filter(|member| !member.counts());
            member.is_some_and(|member| !member.is_settled(node.health.fall))
        };
        spec.nodes.iter().filter(is_unsettled).map(|node| node.name.clone()).collect()
    }

    /// Every node that serves, as far as it is known.
    pub(super) fn names(&self) -> Vec<String> {
        let members = self.members();
        let well = members.iter().filter(|(_, member)| !member.has_fallen);
        well.map(|(name, _)| name.clone()).collect()
    }

    /// The nodes whose turn it is, and when it is the next one's.
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

    /// The nodes that are done, the last ones first.
    pub(super) fn done_last(&self) -> Vec<String> {
        let members = self.members();
        let counts = |(_, member): &(&String, &Member)| member.counts() && !member.has_fallen;
        let mut done: Vec<_> = members.iter().filter(counts).collect();
        done.sort_by_key(|(_, member)| std::cmp::Reverse(member.since));
        done.into_iter().take(CHECKED_FIRST).map(|(name, _)| name.clone()).collect()
    }

    /// What the last checks left open, or found wrong with a node that the release leaves alone.
    pub(super) fn unverified(&self) -> Option<String> {
        let members = self.members();
        members.iter().find_map(|(name, member)| {
            let problem = member.problem.as_ref().filter(|_| !member.has_fallen)?;
            member.is_judged().then(|| format!("{name}: {problem}"))
        })
    }

    /// Whether any node is done.
    pub(super) fn has_done(&self) -> bool {
        self.members().values().any(|member| member.counts() && !member.has_fallen)
    }

    /// Notes that a node is being checked, if it still serves.
    pub(super) fn begin_check(&self, name: &str) -> Option<Part> {
        let mut members = self.members();
        let member = members.get_mut(name).filter(|member| !member.has_fallen)?;
        member.checked = Some(Instant::now());
        Some(member.part)
    }

    /// Whether a node's processes have been seen since it serves.
    pub(super) fn knows_processes(&self, name: &str) -> bool {
        self.members().get(name).is_some_and(|member| member.processes.is_some())
    }

    /// Takes in what a check of `node`, in that part, found.
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
            // Gateways may reach what this machine does not, unless ssh does not reach the machine either.
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

    /// Takes in what a gateway shows of the nodes that are done; returns those that it has not routed to for longer than
    /// `patience`, and whether one is in doubt.
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
            // An entry that cannot be read is neither in nor out.
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
