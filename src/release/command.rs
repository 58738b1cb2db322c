//! The commands that change something.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The command of a release, or the command that works on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum CommandKind {
    /// `deploy`
    Deploy,
    /// `deploy --restart`, which keeps the version of each node.
    Restart,
    /// `resume`, which continues a release of another command.
    Resume,
    /// `rollback`
    Rollback,
    /// `node out`
    NodeOut,
    /// `node in`
    NodeIn,
    /// A command that this version does not know: another version, or another program, wrote the journal.
    Unknown,
}

impl CommandKind {
    /// Every command that this version knows.
    const KNOWN: [Self; 6] =
        [Self::Deploy, Self::Restart, Self::Resume, Self::Rollback, Self::NodeOut, Self::NodeIn];

    /// The command as the operator types it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Restart => "deploy --restart",
            Self::Resume => "resume",
            Self::Rollback => "rollback",
            Self::NodeOut => "node out",
            Self::NodeIn => "node in",
            Self::Unknown => "unknown",
        }
    }

    /// Whether it runs all steps on nodes, so that it can be resumed or superseded.
    #[must_use]
    pub fn is_release(self) -> bool {
        matches!(self, Self::Deploy | Self::Restart | Self::Rollback)
    }

    /// Whether it takes nodes out of rotation, or returns them, by hand.
    #[must_use]
    pub fn is_by_hand(self) -> bool {
        matches!(self, Self::NodeOut | Self::NodeIn)
    }
}

impl From<String> for CommandKind {
    fn from(text: String) -> Self {
        Self::KNOWN.into_iter().find(|kind| kind.as_str() == text).unwrap_or(Self::Unknown)
    }
}

impl From<CommandKind> for String {
    fn from(kind: CommandKind) -> Self {
        kind.as_str().to_owned()
    }
}

impl JsonSchema for CommandKind {
    fn schema_name() -> Cow<'static, str> {
        "CommandKind".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let kinds = Self::KNOWN.into_iter().chain([Self::Unknown]);
        json_schema!({ "type": "string", "enum": kinds.map(Self::as_str).collect::<Vec<_>>() })
    }
}

impl fmt::Display for CommandKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_has_the_command_as_it_is_typed() {
        for kind in CommandKind::KNOWN {
            let text = serde_json::to_string(&kind).expect("text");
            assert_eq!(text, format!("\"{kind}\""));
            assert_eq!(serde_json::from_str::<CommandKind>(&text).expect("a kind"), kind);
        }
        let foreign = serde_json::from_str::<CommandKind>("\"touch x; rollgate\"");
        assert_eq!(foreign.expect("a kind"), CommandKind::Unknown);
    }
}
