//! Events: what happened in a release. The journal is a list of them, `jsonl` output prints them, and folding
//! them gives the state of a release.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::foreign::Recorded;
use crate::json::Written;
use crate::node::Listener;

use super::command::CommandKind;
use super::hold::HeldNode;
use super::inputs::Inputs;
use super::outcome::Finished;
use super::planned::PlannedNodes;
use super::restore::RestorePoint;
use super::step::Step;

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Counted from 1 within a release.
    pub seq: u64,
    /// The time by this machine's clock; for people, never for decisions.
    pub at: jiff::Timestamp,
    /// The release's id.
    pub release: String,
    /// The node of the event.
    pub node: Option<String>,
    /// The step of the event.
    pub step: Option<Step>,
    /// What happened.
    pub fact: EventKind,
}

/// The progress of a command that has not ended.
pub const STILL_RUNNING: &str = "still running";

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", content = "data")]
pub enum EventKind {
    /// A release begins. From now on it has a journal.
    #[serde(rename = "release.started")]
    ReleaseStarted(Box<Started>),
    /// A release that ended or was interrupted is resumed.
    #[serde(rename = "release.resumed")]
    ReleaseResumed(Resumed),
    /// A batch begins.
    #[serde(rename = "batch.started")]
    BatchStarted {
        /// Counted from 1.
        number: usize,
        /// Its nodes.
        nodes: Vec<String>,
        /// These nodes are already updated, and return to the version before.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        back: bool,
    },
    /// A step is about to begin.
    #[serde(rename = "step.started")]
    StepStarted {},
    /// Every gateway was read, and the node may leave rotation without leaving too few.
    #[serde(rename = "capacity.seen")]
    CapacitySeen {
        /// How many nodes each gateway routes to, this one included.
        routed: BTreeMap<String, usize>,
    },
    /// A registry write is about to be sent.
    #[serde(rename = "registry.writing")]
    RegistryWriting {
        /// The key.
        key: String,
        /// The new state of the node.
        down: bool,
        /// The exact value before, if it is text.
        original: String,
        /// The index that the write depends on.
        modify_index: u64,
        /// The entry in each registry before the write, if there are several; `original` is empty then.
        #[serde(
            default,
            skip_serializing_if = "Vec::is_empty",
            deserialize_with = "crate::json::few"
        )]
        entries: Vec<EntryBefore>,
        /// Entries of gateways that are not nodes of the playbook, recorded before a node is marked down: an
        /// entry that appears later may be this node, added by hand.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        strangers: BTreeSet<String>,
    },
    /// A registry write was done, or was found done.
    #[serde(rename = "registry.written")]
    RegistryWritten {
        /// The key.
        key: String,
        /// What the node is now.
        down: bool,
        /// The key's new index.
        modify_index: u64,
    },
    /// A registry write did not take effect: another writer was first, or Consul refused it.
    #[serde(rename = "registry.refused")]
    RegistryRefused {},
    /// Recorded before the service is started: the node's clock and its listeners.
    #[serde(rename = "node.marked")]
    NodeMarked {
        /// The clock and the listeners.
        listener: Listener,
    },
    /// A gateway is confirmed to have the node out, or routed, by a suitable method.
    #[serde(rename = "gateway.proven")]
    GatewayProven {
        /// The gateway's name.
        gateway: String,
        /// Routed, or out.
        routed: bool,
        /// How many reads it took.
        reads: u32,
        /// How many different workers answered.
        workers: usize,
        /// `workers`: each worker by its name; `samples`: enough fresh reads in a row, late enough.
        #[schemars(extend("enum" = ["workers", "samples"]))]
        method: String,
        /// How many nodes the gateway routes to now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pool: Option<usize>,
    },
    /// Progress of a step. Never journaled.
    #[serde(rename = "step.progress")]
    StepProgress {
        /// The progress as text.
        message: String,
        /// Requests in flight, while draining.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        in_flight: Option<u64>,
        /// Seconds until the step gives up, rounded up; none if it does not give up.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deadline_s: Option<u64>,
    },
    /// A step has finished.
    #[serde(rename = "step.finished")]
    StepFinished {
        /// How long it took.
        elapsed_ms: u64,
        /// The finding, as text.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        message: String,
        /// Requests in flight of a drain: the maximum and the number at the end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        drained: Option<Drained>,
    },
    /// Something that people should know and that is no problem.
    #[serde(rename = "notice")]
    Notice {
        /// The news.
        message: String,
    },
    /// A problem that people should know and that stops nothing.
    #[serde(rename = "warning")]
    Warning {
        /// The problem.
        message: String,
    },
    /// A node has failed.
    #[serde(rename = "node.failed")]
    NodeFailed(Box<Failure>),
    /// A node whose service was not touched was marked up again.
    #[serde(rename = "node.put_back")]
    NodePutBack {
        /// Whether every gateway is confirmed to route to it again.
        proven: bool,
        /// Why that is not confirmed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        problem: Option<String>,
    },
    /// A node was left in its state because the release stops.
    #[serde(rename = "node.interrupted")]
    NodeInterrupted {},
    /// A failed node begins to return to the version before.
    #[serde(rename = "node.rolling_back")]
    NodeRollingBack {
        /// The version.
        version: String,
    },
    /// A node runs the version before again, and is back in rotation.
    #[serde(rename = "node.rolled_back")]
    NodeRolledBack {
        /// The time since the rollback began.
        elapsed_ms: u64,
    },
    /// A node runs the new version and is back in rotation.
    #[serde(rename = "node.done")]
    NodeDone {
        /// The time since the node was selected.
        elapsed_ms: u64,
    },
    /// The release will select no further node.
    #[serde(rename = "release.stopping")]
    ReleaseStopping {
        /// The reason.
        reason: String,
    },
    /// The end; always the last event.
    #[serde(rename = "release.finished")]
    ReleaseFinished(Finished),
}

/// An entry of a node in one of several registries, before a write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EntryBefore {
    /// The key.
    pub key: String,
    /// The exact value, if it is text.
    pub original: String,
    /// The index that the write depends on.
    pub modify_index: u64,
}

/// The start of a release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Started {
    /// The service.
    pub service: String,
    /// The command.
    pub command: CommandKind,
    /// The version before, if all nodes had the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The version after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The user that started it.
    pub actor: String,
    /// The playbook's file, as given.
    pub file: String,
    /// The selected nodes, as arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub selection: Vec<String>,
    /// Further arguments that a command needs to mean the same again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// The playbook itself: the steps of a release come from its journal. A resume can replace it.
    #[schemars(with = "BTreeMap<String, Value>")]
    pub playbook: Written,
    /// The other inputs.
    pub inputs: Recorded<Inputs>,
    /// The nodes in their order, with the planned action of each.
    pub nodes: PlannedNodes,
    /// What nodes ran before, as far as it can be restored.
    #[serde(default, skip_serializing_if = "Recorded::is_empty")]
    pub before: Recorded<Vec<RestorePoint>>,
    /// What a rollback restores on the nodes.
    #[serde(default, skip_serializing_if = "Recorded::is_empty")]
    pub toward: Recorded<Vec<RestorePoint>>,
    /// The serving nodes before the release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Pool>,
    /// The plan file that the release runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlannedBy>,
}

/// The plan file that a release runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedBy {
    /// The SHA-256 of its bytes.
    pub sha256: String,
    /// When it was made.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub made_at: jiff::Timestamp,
    /// Who made it.
    pub made_by: String,
}

impl PlannedBy {
    /// Names the plan: `plan 7f3a19c2 of ana@host`.
    #[must_use]
    pub fn told(&self) -> String {
        let id: String = self.sha256.chars().take(8).collect();
        format!("plan {id} of {}", self.made_by)
    }
}

impl Started {
    /// What happens to the versions: ` 1 -> 2`, or `, version 1 kept`; empty if it is not known.
    #[must_use]
    pub fn versions(&self) -> String {
        match (self.command, &self.from, &self.to) {
            (CommandKind::Restart, Some(from), _) if from.contains(", ") => {
                format!(", versions {from} kept")
            }
            (CommandKind::Restart, Some(from), _) => format!(", version {from} kept"),
            (_, Some(from), Some(to)) => format!(" {from} -> {to}"),
            _ => String::new(),
        }
    }

    /// The same without the parts that only a resume of this release needs.
    #[must_use]
    pub(crate) fn outline(self) -> Self {
        Self {
            file: String::new(),
            actor: String::new(),
            selection: Vec::new(),
            arguments: Vec::new(),
            playbook: Written::default(),
            nodes: PlannedNodes::default(),
            before: Recorded::default(),
            toward: Recorded::default(),
            ..self
        }
    }
}

/// How many nodes serve, and how many must.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pool {
    /// All nodes of the playbook.
    pub nodes: usize,
    /// The nodes that the gateway with the fewest routes to.
    pub routed: usize,
    /// The smallest allowed number of routed nodes.
    pub min: usize,
}

/// A resumed release.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Resumed {
    /// The user that resumed it.
    pub actor: String,
    /// The unfinished nodes in the state in which they were found.
    pub nodes: Vec<ResumePoint>,
    /// The playbook from now on, if it is not the release's playbook so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<BTreeMap<String, Value>>")]
    pub playbook: Option<Written>,
    /// The nodes that an operator holds now: they are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<HeldNode>,
    /// What each node of a restart runs, if that is known of more nodes than before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toward: Option<Recorded<Vec<RestorePoint>>>,
}

/// A resumed node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResumePoint {
    /// The node.
    pub node: String,
    /// Whether its registry entry is down.
    pub down: bool,
    /// Its registry entry is down only in part, e.g. at one of several gateways.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partly: bool,
    /// The steps that need not run again.
    pub done: Vec<Step>,
    /// The version before no longer serves, whatever the journal says: only a passed health check returns the
    /// node to rotation.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
}

/// The result of a drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Drained {
    /// The maximum of requests in flight.
    pub from: u64,
    /// Requests in flight at the end; these are cut.
    pub cut: u64,
}

/// Why a node failed, with the observations.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// The reason in one line.
    pub reason: String,
    /// Observations, as label and text.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::json::few")]
    pub seen: Vec<(String, String)>,
    /// The last lines of the service's log.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::json::few")]
    pub log: Vec<String>,
    /// Whether it is unknown what the node runs: the connection was lost and the node cannot be inspected.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unknown: bool,
    /// Whether the step's action on the service certainly did not begin: the node was unreachable.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not_begun: bool,
    /// Whether the node will be marked up again: its service was not touched.
    #[serde(default)]
    pub put_back: bool,
}

impl Event {
    /// Returns whether it belongs in the journal.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        !matches!(self.fact, EventKind::StepProgress { .. })
    }
}
