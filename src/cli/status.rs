//! `status`: shows the current state of each node, the last release, and the next command. It changes nothing.

use std::collections::BTreeMap;

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use super::arguments::{Global, Output, PlaybookArguments};
use super::connect::connected;
use super::exit::Exit;
use super::open::{Missing, open};
use super::{output, page};
use crate::gateway::Observation;
use crate::lock::{Holder, Process};
use crate::ops::Refusal;
use crate::ops::lock_state::LockState;
use crate::ops::status::{Status, status};
use crate::release::{
    CommandKind, Finished, Hold, LineData, LineSchema, Lines, Outcome, PlannedBy,
};
use crate::report::NodeView;
use crate::spec::{NodeSpec, Spec};
use crate::survey::{EntryLine, NodeFacts};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    playbook: PlaybookArguments,
    /// For monitoring: exit with 0 if all is well, 1 if a node is out (also one that `node out` holds), unhealthy or on
    /// another version, 2 while a release runs, 3 if something cannot be read
    #[arg(long)]
    exit_code: bool,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<Exit, Refusal> {
    let session = open(&arguments.playbook, global, Missing::Open)?;
    let spec = session.spec()?;
    let status = connected(&session, global, async |connections, terminal| {
        status(&session, connections, terminal, &spec).await
    })?;
    let next = status.next(&session, &spec);
    let exit = if arguments.exit_code { Exit::at(status.level(&spec)) } else { Exit::DONE };
    Ok(match output::form(global) {
        Output::Jsonl => {
            let mut lines = output::lines();
            tell(&status, &spec, &mut lines);
            let finished = Finished::unstarted(Outcome::Done, exit.0, None);
            output::print(&lines.finish(Finished { next, ..finished }), exit)
        }
        Output::Auto | Output::Tty | Output::Plain => {
            output::show(&page::status(&status, &spec, &next, jiff::Timestamp::now()), exit)
        }
    })
}

/// Adds the lines of `status`.
pub(super) fn describe(schema: &mut LineSchema) {
    schema.add::<RegistryStatus<'_>>();
    schema.add::<GatewayStatus<'_>>();
    schema.add::<NodeStatus<'_>>();
    schema.add::<JournalStatus<'_>>();
    schema.add::<LockStatus<'_>>();
    schema.add::<ReleaseStatus<'_>>();
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
    /// Whether its registry entry is down; `null` if it is unknown, or differs between registries.
    down: Option<bool>,
    /// Whether each gateway routes to it; `null` if the gateway cannot be read.
    routed: BTreeMap<&'a str, Option<bool>>,
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
}

/// What of the journals, or of the lock of a past release, cannot be read.
#[derive(Serialize, JsonSchema)]
pub(super) struct JournalStatus<'a> {
    /// What, and why.
    pub(super) problem: &'a str,
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
    /// Why the result is not `done`.
    reason: Option<&'a str>,
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
fn tell(status: &Status, spec: &Spec, lines: &mut Lines) {
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
        tell_node(status, spec, node, lines);
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
        let data = ReleaseStatus {
            id: started.inputs.release(),
            command: started.command,
            actor: &started.actor,
            plan: started.plan.as_ref(),
            from: started.from.as_deref(),
            to: started.to.as_deref(),
            result: finished.map(|finished| finished.result),
            exit_code: finished.map(|finished| finished.exit_code),
            reason: finished.and_then(|finished| finished.reason.as_deref()),
        };
        lines.tell(None, None, &data);
    }
}

fn tell_node(status: &Status, spec: &Spec, node: &NodeSpec, lines: &mut Lines) {
    let nothing = NodeFacts::default();
    let view = NodeView::of(&status.fleet, spec, &node.name);
    let facts = status.fleet.nodes.get(&node.name).unwrap_or(&nothing);
    let last = status.history.of(&node.name).and_then(|(release, _)| release.started.as_ref());
    let seen_by = |seen: &Observation| seen.routes_to(&node.address);
    let gateways = status.fleet.gateways.iter();
    let routed = gateways.map(|(name, seen)| (name.as_str(), seen.as_ref().ok().map(seen_by)));
    let data = NodeStatus {
        address: &node.address,
        process: view.process,
        down: facts.mark.is_down(),
        routed: routed.collect(),
        problem: facts.problem.as_deref(),
        registry_problem: facts.registry_problem.as_deref(),
        health_problem: facts.health.problem.as_deref(),
        held: facts.held.as_ref().map(|held| &held.hold),
        last_release: page::state(status, &node.name, view.place),
        last_release_id: last.map(|started| started.inputs.release()),
        version: view.version,
        entries: facts.entries(spec.places(&node.address)),
    };
    lines.tell(Some(&node.name), None, &data);
}
