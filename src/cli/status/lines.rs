//! `status` as JSON lines for programs.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::state::state;
use crate::gateway::Observation;
use crate::lock::{Holder, Process};
use crate::ops::lock_state::LockState;
use crate::ops::status::{Status, UnderWay};
use crate::release::{CommandKind, Hold, LineData, LineSchema, Lines, Outcome, PlannedBy};
use crate::report::NodeView;
use crate::spec::{NodeSpec, Spec};
use crate::survey::{EntryLine, NodeFacts};

/// Adds the lines of `status`.
pub(crate) fn describe(schema: &mut LineSchema) {
    schema.add::<Round>();
    schema.add::<RegistryStatus<'_>>();
    schema.add::<GatewayStatus<'_>>();
    schema.add::<NodeStatus<'_>>();
    schema.add::<JournalStatus<'_>>();
    schema.add::<LockStatus<'_>>();
    schema.add::<ReleaseStatus<'_>>();
}

/// A round of `status --watch` begins.
#[derive(Serialize, JsonSchema)]
pub(super) struct Round {
    /// Its number, from 1.
    pub(super) round: u64,
    /// The interval, in milliseconds.
    pub(super) interval_ms: u64,
}

/// The registry.
#[derive(Serialize, JsonSchema)]
struct RegistryStatus<'a> {
    /// Why it cannot be read, or `null`.
    problem: Option<&'a str>,
}

/// What a gateway routes to.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum GatewayStatus<'a> {
    /// A gateway that was read.
    Read {
        /// Its name.
        gateway: &'a str,
        /// How many nodes it routes to.
        routed: usize,
        /// How many workers answered.
        workers: usize,
        /// How many reads it took.
        reads: u32,
    },
    /// A gateway that cannot be read.
    Unread {
        /// Its name.
        gateway: &'a str,
        /// Why it cannot be read.
        problem: &'a str,
    },
}

/// A node.
#[derive(Serialize, JsonSchema)]
struct NodeStatus<'a> {
    /// Its address.
    address: &'a str,
    /// The version that its health check reported.
    version: Option<String>,
    /// The result of its health check.
    process: &'static str,
    /// How long its process runs, in seconds; `null` if that cannot be read.
    process_age_s: Option<u64>,
    /// Whether its registry entry is down; `null` if it is unknown, or differs between registries.
    down: Option<bool>,
    /// Whether each gateway routes to it; `null` if the gateway cannot be read.
    routed: BTreeMap<&'a str, Option<bool>>,
    /// By gateway, the workers that route to it, where others do not.
    routing_workers: BTreeMap<&'a str, Vec<&'a str>>,
    /// Its requests in flight; `null` if they are not counted.
    in_flight: Option<u64>,
    /// Why they cannot be counted, or `null`.
    in_flight_problem: Option<&'a str>,
    /// Why it cannot be inspected, or `null`.
    problem: Option<&'a str>,
    /// Why its registry entry cannot be read, or `null`.
    registry_problem: Option<&'a str>,
    /// Why its health check fails, or `null`.
    health_problem: Option<&'a str>,
    /// The hold that keeps it out of rotation.
    held: Option<&'a Hold>,
    /// Its last result, in words.
    last_release: Option<String>,
    /// The release of that result.
    last_release_id: Option<&'a str>,
    /// Its entry in each registry, if there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    entries: Vec<EntryLine>,
    /// What a running release does with it, if it works on it. The line then has the step.
    #[serde(skip_serializing_if = "Option::is_none")]
    under_way: Option<UnderWayLine>,
}

/// What a running release does with a node.
#[derive(Serialize, JsonSchema)]
struct UnderWayLine {
    /// How long its step takes, in seconds; `null` between two steps.
    for_s: Option<u64>,
    /// When the step gives up, in seconds after its begin; `null` if it does not, or if that is unknown.
    limit_s: Option<u64>,
    /// It returns to the version before.
    back: bool,
}

/// What of the journals, or of the lock of a past release, cannot be read.
#[derive(Serialize, JsonSchema)]
pub(crate) struct JournalStatus<'a> {
    /// What, and why.
    pub(crate) problem: &'a str,
}

/// The lock, if it is not free.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum LockStatus<'a> {
    /// Its holder.
    Held {
        /// The holder.
        #[serde(flatten)]
        holder: &'a Holder,
        /// The process that holds it runs on this machine.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        runs: bool,
        /// The process that held it ran on this machine and has ended.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        ended: bool,
    },
    /// The holder is unknown.
    Unknown {
        /// Why it is unknown.
        problem: &'a str,
    },
}

/// The last release.
#[derive(Serialize, JsonSchema)]
struct ReleaseStatus<'a> {
    /// Its id.
    id: &'a str,
    /// Its command.
    command: CommandKind,
    /// The user that started it.
    actor: &'a str,
    /// The plan file that it ran.
    plan: Option<&'a PlannedBy>,
    /// The version before.
    from: Option<&'a str>,
    /// The version after.
    to: Option<&'a str>,
    /// How it ended; `null` without an end.
    result: Option<Outcome>,
    /// Its exit code.
    exit_code: Option<u8>,
    /// Whether a process runs it; `null` if that is unknown.
    running: Option<bool>,
    /// When it began.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    begun: Option<Timestamp>,
    /// How many nodes are done.
    done: usize,
    /// How many nodes are to be changed.
    of: usize,
    /// How long it still takes, in seconds: an estimate, or `null`.
    left_s: Option<u64>,
    /// Why the result is not `done`.
    reason: Option<&'a str>,
}

impl LineData for Round {
    const KIND: &'static str = "watch.round";
}

impl LineData for RegistryStatus<'_> {
    const KIND: &'static str = "registry.status";
}

impl LineData for GatewayStatus<'_> {
    const KIND: &'static str = "gateway.status";
}

impl LineData for NodeStatus<'_> {
    const KIND: &'static str = "node.status";
    const NAMES: &'static [&'static str] = &["node"];
}

impl LineData for JournalStatus<'_> {
    const KIND: &'static str = "journal.status";
}

impl LineData for LockStatus<'_> {
    const KIND: &'static str = "lock.status";
}

impl LineData for ReleaseStatus<'_> {
    const KIND: &'static str = "release.status";
}

/// Writes the JSON events for programs.
pub(super) fn tell(status: &Status, spec: &Spec, now: Timestamp, lines: &mut Lines) {
    let problem = status.fleet.registry_problem.as_deref();
    lines.tell(None, None, &RegistryStatus { problem });
    for (gateway, seen) in &status.fleet.gateways {
        let data = match seen {
            Ok(seen) => GatewayStatus::Read {
                gateway,
                routed: seen.serving(),
                workers: seen.workers.len(),
                reads: seen.reads,
            },
            Err(problem) => GatewayStatus::Unread { gateway, problem },
        };
        lines.tell(None, None, &data);
    }
    for node in &spec.nodes {
        tell_node(status, spec, (node, now), lines);
    }
    for problem in &status.history.problems {
        lines.tell(None, None, &JournalStatus { problem });
    }
    let lock = match &status.lock {
        LockState::Free => None,
        LockState::Held(Some(holder), process) => {
            Some(LockStatus::Held { holder, runs: *process == Process::Runs, ended: false })
        }
        LockState::Left(holder) => Some(LockStatus::Held { holder, runs: false, ended: true }),
        LockState::Held(None, _) => {
            Some(LockStatus::Unknown { problem: "held by an unknown process" })
        }
        LockState::Unknown(problem) => Some(LockStatus::Unknown { problem }),
    };
    if let Some(data) = lock {
        lines.tell(None, None, &data);
    }
    if let Some((release, started)) = status.last() {
        let finished = release.finished.as_ref();
        let (done, of) = release.progress();
        let runs = status.lock.runs(started.inputs.release());
        let left = status.running().and_then(|(running, _)| running.time_left(now));
        let data = ReleaseStatus {
            id: started.inputs.release(),
            command: started.command,
            actor: &started.actor,
            plan: started.plan.as_ref(),
            from: started.from.as_deref(),
            to: started.to.as_deref(),
            result: finished.map(|finished| finished.result),
            exit_code: finished.map(|finished| finished.exit_code),
            running: runs.map(|runs| runs && finished.is_none()),
            begun: release.begun,
            done,
            of,
            left_s: left.map(|left| left.as_secs()),
            reason: finished.and_then(|finished| finished.reason.as_deref()),
        };
        lines.tell(None, None, &data);
    }
}

fn tell_node(status: &Status, spec: &Spec, (node, now): (&NodeSpec, Timestamp), lines: &mut Lines) {
    let nothing = NodeFacts::default();
    let view = NodeView::of(&status.fleet, spec, &node.name);
    let facts = status.fleet.nodes.get(&node.name).unwrap_or(&nothing);
    let last = status.history.of(&node.name).and_then(|(release, _)| release.started.as_ref());
    let seen_by = |seen: &Observation| seen.routes_to(&node.address);
    let gateways = status.fleet.gateways.iter();
    let routed = gateways.map(|(name, seen)| (name.as_str(), seen.as_ref().ok().map(seen_by)));
    let requests = status.requests.get(&node.name);
    let under_way = status.under_way(spec, &node.name);
    let data = NodeStatus {
        address: &node.address,
        process: view.process,
        process_age_s: view.age.map(|age| age.as_secs()),
        down: facts.mark.is_down(),
        routed: routed.collect(),
        routing_workers: routing_workers(status, node),
        in_flight: requests.and_then(|count| count.as_ref().ok().copied()),
        in_flight_problem: requests.and_then(|count| Some(count.as_ref().err()?.as_str())),
        problem: facts.problem.as_deref(),
        registry_problem: facts.registry_problem.as_deref(),
        health_problem: facts.health.problem.as_deref(),
        held: facts.held.as_ref().map(|held| &held.hold),
        last_release: state(status, &node.name, view.place),
        last_release_id: last.map(|started| started.inputs.release()),
        version: view.version,
        entries: facts.entries(spec.places(&node.address)),
        under_way: under_way.map(|under_way| UnderWayLine::of(under_way, now)),
    };
    let step = under_way.and_then(|under_way| under_way.step);
    lines.tell(Some(&node.name), step, &data);
}

impl UnderWayLine {
    fn of(UnderWay { since, limit, goes_back, .. }: UnderWay, now: Timestamp) -> Self {
        // Clocks differ: no time is negative.
        let seconds = |since: Timestamp| now.as_second().saturating_sub(since.as_second());
        Self {
            for_s: since.map(|since| seconds(since).try_into().unwrap_or_default()),
            limit_s: limit.map(|limit| limit.as_secs()),
            back: goes_back,
        }
    }
}

/// By gateway, the workers that route to a node where others do not.
fn routing_workers<'a>(status: &'a Status, node: &NodeSpec) -> BTreeMap<&'a str, Vec<&'a str>> {
    let gateways = status.fleet.gateways.iter();
    let differing = gateways.filter_map(|(name, seen)| {
        let workers = seen.as_ref().ok()?.routing_workers(&node.address)?;
        Some((name.as_str(), workers.iter().map(AsRef::as_ref).collect()))
    });
    differing.collect()
}
