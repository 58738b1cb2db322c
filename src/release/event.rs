//! Events: what happened in a release. The journal is a list of them, `jsonl` output prints them, and the
//! state of a release is their fold.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::foreign::Recorded;
use crate::json::Written;
use crate::node::Listener;

use super::command::CommandKind;
use super::inputs::Inputs;
use super::restore::Target;
use super::step::Step;

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Counted from 1 within a release.
    pub seq: u64,
    /// When, by this machine's clock; for people, never for decisions.
    pub at: jiff::Timestamp,
    /// The release's id.
    pub release: String,
    /// The node it is about.
    pub node: Option<String>,
    /// The step it is about.
    pub step: Option<Step>,
    /// What happened.
    pub fact: Fact,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum Fact {
    /// A release begins. From here on it has a journal.
    #[serde(rename = "release.started")]
    ReleaseStarted(Box<Started>),
    /// A release is taken up again where it ended or broke off.
    #[serde(rename = "release.resumed")]
    ReleaseResumed(Resumed),
    /// A batch is taken.
    #[serde(rename = "batch.started")]
    BatchStarted {
        /// Counted from 1.
        number: usize,
        /// Its nodes.
        nodes: Vec<String>,
        /// They are updated already, and go back to what they ran before.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        back: bool,
    },
    /// A step is about to be done.
    #[serde(rename = "step.started")]
    StepStarted {},
    /// Every gateway was looked at, and the node may be taken without leaving too few.
    #[serde(rename = "capacity.seen")]
    CapacitySeen {
        /// How many nodes each gateway routes to, this one included.
        routed: BTreeMap<String, usize>,
    },
    /// A registry write is about to be done.
    #[serde(rename = "registry.writing")]
    RegistryWriting {
        /// The key.
        key: String,
        /// What the node becomes.
        down: bool,
        /// The value before, as it was, if it is text.
        original: String,
        /// The index that the write depends on.
        modify_index: u64,
        /// What gateways list besides the playbook's nodes, when one of these is about to be marked down: what they list
        /// later and is not here may be this node, added by hand.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        strangers: BTreeSet<String>,
    },
    /// A registry write was done, or found to be done.
    #[serde(rename = "registry.written")]
    RegistryWritten {
        /// The key.
        key: String,
        /// What the node is now.
        down: bool,
        /// The key's index now.
        modify_index: u64,
    },
    /// A registry write that was begun was not done: somebody else was first, or Consul said no.
    #[serde(rename = "registry.refused")]
    RegistryRefused {},
    /// Before the service is started: the node's clock, and who listens.
    #[serde(rename = "node.marked")]
    NodeMarked {
        /// What was seen.
        listener: Listener,
    },
    /// A gateway has shown the node out, or routed, by a method fit for it.
    #[serde(rename = "gateway.proven")]
    GatewayProven {
        /// Which gateway.
        gateway: String,
        /// Routed, or out.
        routed: bool,
        /// How many reads it took.
        reads: u32,
        /// How many workers were told apart.
        workers: usize,
        /// `workers`: each worker by its name; `samples`: enough fresh reads in a row, late enough.
        method: String,
        /// How many nodes it routes to now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pool: Option<usize>,
    },
    /// A step goes on. Never journalled.
    #[serde(rename = "step.progress")]
    StepProgress {
        /// In words.
        message: String,
        /// Requests in flight, while draining.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        in_flight: Option<u64>,
        /// Seconds until the step gives up.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deadline_s: Option<u64>,
    },
    /// A step was done.
    #[serde(rename = "step.finished")]
    StepFinished {
        /// How long it took.
        elapsed_ms: u64,
        /// What it found, in words.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        message: String,
        /// Requests in flight at most, and at the end, of a drain.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        drained: Option<Drained>,
    },
    /// Something that people should know and that stops nothing.
    #[serde(rename = "warning")]
    Warning {
        /// What.
        message: String,
    },
    /// A node has failed.
    #[serde(rename = "node.failed")]
    NodeFailed(Box<Failure>),
    /// A node whose service was not touched was marked up again.
    #[serde(rename = "node.put_back")]
    NodePutBack {
        /// Whether every gateway was seen to route to it again.
        proven: bool,
    },
    /// A node was left as it is because the release stops.
    #[serde(rename = "node.interrupted")]
    NodeInterrupted {},
    /// A node that failed begins to go back to what it ran before.
    #[serde(rename = "node.rolling_back")]
    NodeRollingBack {
        /// The version.
        version: String,
    },
    /// A node runs again what it ran before, and is back in rotation.
    #[serde(rename = "node.rolled_back")]
    NodeRolledBack {
        /// Since it began to go back.
        elapsed_ms: u64,
    },
    /// A node is on the new version and back in rotation.
    #[serde(rename = "node.done")]
    NodeDone {
        /// Since it was taken.
        elapsed_ms: u64,
    },
    /// The release will take no more nodes.
    #[serde(rename = "release.stopping")]
    ReleaseStopping {
        /// Why.
        reason: String,
    },
    /// The end. Always the last event.
    #[serde(rename = "release.finished")]
    ReleaseFinished(Finished),
}

/// The beginning of a release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// The service.
    pub service: String,
    /// What is done.
    pub command: CommandKind,
    /// The version before, where it is the same everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The version after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Who.
    pub actor: String,
    /// The playbook's file, as given.
    pub file: String,
    /// Which nodes were meant, as arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub selection: Vec<String>,
    /// Further arguments that a command needs to mean the same again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// The playbook itself: what a release does comes from its journal.
    pub playbook: Written,
    /// The rest of what it was made of.
    pub inputs: Recorded<Inputs>,
    /// The nodes in their order, and what becomes of each.
    pub nodes: Vec<Planned>,
    /// What nodes ran before, as far as it can be brought back.
    #[serde(default, skip_serializing_if = "Recorded::is_empty")]
    pub before: Recorded<Vec<Target>>,
    /// What a rollback brings nodes back to.
    #[serde(default, skip_serializing_if = "Recorded::is_empty")]
    pub toward: Recorded<Vec<Target>>,
    /// Who serves the users before anything is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Pool>,
}

impl Started {
    /// The same without what is needed only to resume this release.
    #[must_use]
    pub(crate) fn outline(self) -> Self {
        Self {
            file: String::new(),
            actor: String::new(),
            selection: Vec::new(),
            arguments: Vec::new(),
            playbook: Written::default(),
            nodes: Vec::new(),
            before: Recorded::default(),
            toward: Recorded::default(),
            ..self
        }
    }
}

/// How many nodes serve the users, and how many must.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// All nodes of the playbook.
    pub nodes: usize,
    /// Those that the gateway with the fewest routes to.
    pub routed: usize,
    /// The least number of routed nodes.
    pub min: usize,
}

/// A release that is taken up again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resumed {
    /// Who.
    pub actor: String,
    /// The nodes that did not come to their end, as they were found.
    pub nodes: Vec<Resumption>,
}

/// A node that is taken up again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumption {
    /// The node.
    pub node: String,
    /// Whether its key says down.
    pub down: bool,
    /// The steps that need not be done again.
    pub done: Vec<Step>,
    /// What it ran before is not seen to serve any more, whatever the journal knows of it: only a proof of health
    /// brings it back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
}

/// What a release means to do with a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// The node.
    pub node: String,
    /// What becomes of it.
    pub will: Will,
    /// Why, where it is not plain.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// The version it runs, as far as it can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<String>,
    /// Whether it was out of rotation.
    #[serde(default)]
    pub was_out: bool,
    /// Whether a journal says that rollgate took it out of rotation: a gateway that does not list it has it out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub taken_out: bool,
    /// What gateways listed then that is no node of the playbook.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub strangers: BTreeSet<String>,
}

/// What becomes of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Will {
    /// It is updated.
    Update,
    /// Nothing: it is as it should be.
    Skip,
    /// Nothing: the operator left it out.
    LeftOut,
    /// Nothing: it cannot be reached or used; it counts as failed.
    Blocked,
}

/// What a drain saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drained {
    /// Requests in flight at most.
    pub from: u64,
    /// Requests in flight at its end; these are cut.
    pub cut: u64,
}

/// Why a node failed, and what was seen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// In one line.
    pub reason: String,
    /// What was seen, as label and text.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::json::few")]
    pub seen: Vec<(String, String)>,
    /// The last lines of the service's log.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::json::few")]
    pub log: Vec<String>,
    /// Whether what the node runs is not known: the link was lost and it cannot be looked at.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unknown: bool,
    /// Whether what the step does to the service was certainly never begun: the node could not be reached.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not_begun: bool,
    /// Whether the node will be put back: its service was not touched.
    #[serde(default)]
    pub put_back: bool,
}

/// The end of a release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// How it ended.
    pub result: Outcome,
    /// The exit code.
    pub exit_code: u8,
    /// Why it is not done, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Nodes by what became of them.
    pub nodes: BTreeMap<String, Vec<String>>,
    /// The commands that go on from here, with what each is for.
    pub next: Vec<(String, String)>,
    /// How long it took.
    pub elapsed_ms: u64,
}

impl Finished {
    /// The end of a command that never became a release.
    #[must_use]
    pub fn unstarted(result: Outcome, exit_code: u8, reason: Option<String>) -> Self {
        let (nodes, next) = (BTreeMap::new(), Vec::new());
        Self { result, exit_code, reason, nodes, next, elapsed_ms: 0 }
    }
}

/// How a release ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every node is as planned.
    Done,
    /// There was nothing to do.
    Nothing,
    /// Refused before any node left rotation.
    Refused,
    /// Stopped on request.
    Stopped,
    /// A node failed; the others serve.
    Failed,
    /// A node failed; what ran before serves everywhere.
    RolledBack,
    /// Another release has the lock.
    LockLost,
    /// Fewer nodes than allowed serve, or a state is unknown.
    Degraded,
}

impl Outcome {
    /// The exit code that tells it. The codes are a promise.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Done | Self::Nothing => 0,
            Self::Refused => 3,
            Self::LockLost => 4,
            Self::Stopped => 10,
            Self::Failed => 20,
            Self::RolledBack => 21,
            Self::Degraded => 22,
        }
    }
}

impl Event {
    /// Returns whether it belongs into the journal.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        !matches!(self.fact, Fact::StepProgress { .. })
    }
}
