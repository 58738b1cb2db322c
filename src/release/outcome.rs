//! How a release ended, and the exit code of each result.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The words in [`Finished::nodes`]: how nodes ended, or the planned action.
const NODE_WORDS: [&str; 10] = [
    "not_started",
    "done",
    "skipped",
    "left_out",
    "blocked",
    "failed",
    "interrupted",
    "rolled_back",
    "update",
    "skip",
];

/// The end of a release, or of another command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finished {
    /// The result.
    pub result: Outcome,
    /// The exit code.
    pub exit_code: u8,
    /// The reason in one line, unless the result is `done`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The nodes by their final state.
    #[schemars(extend("propertyNames" = { "enum": NODE_WORDS }))]
    pub nodes: BTreeMap<String, Vec<String>>,
    /// The next possible commands, each with its purpose.
    pub next: Vec<(String, String)>,
    /// How long it took.
    pub elapsed_ms: u64,
}

impl Finished {
    /// The end of a command that did not become a release.
    #[must_use]
    pub fn unstarted(result: Outcome, exit_code: u8, reason: Option<String>) -> Self {
        let (nodes, next) = (BTreeMap::new(), Vec::new());
        Self { result, exit_code, reason, nodes, next, elapsed_ms: 0 }
    }
}

/// The result of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// A node failed; the version before serves everywhere.
    RolledBack,
    /// Another release has the lock.
    LockLost,
    /// Fewer nodes than allowed serve, or a state is unknown.
    Degraded,
}

impl Outcome {
    /// The result in words, for people.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Nothing => "nothing to do",
            Self::Refused => "refused",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::RolledBack => "rolled back",
            Self::LockLost => "lock lost",
            Self::Degraded => "degraded",
        }
    }

    /// The exit code of the result. The codes are a stable contract.
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
