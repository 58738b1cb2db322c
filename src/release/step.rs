//! The steps: actions on one node.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// One action on one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// The artifact is staged on the node, beside the running release.
    Stage,
    /// The node is marked down.
    Disable,
    /// Every gateway is confirmed to have stopped routing to it.
    ConfirmOut,
    /// No request is in flight.
    Drain,
    /// The service is stopped.
    Stop,
    /// The `current` link is switched to the new release.
    Activate,
    /// A command of the user, counted from 1.
    Run(u32),
    /// The service is started.
    Start,
    /// The service is stopped and started in one step.
    Restart,
    /// The new process passes the health check.
    Health,
    /// The node is marked up.
    Enable,
    /// Every gateway is confirmed to route to it again.
    ConfirmIn,
    /// Old releases are deleted.
    Prune,
}

impl Step {
    /// Every step that is not a command of the user.
    const OWN: [Self; 12] = [
        Self::Stage,
        Self::Disable,
        Self::ConfirmOut,
        Self::Drain,
        Self::Stop,
        Self::Activate,
        Self::Start,
        Self::Restart,
        Self::Health,
        Self::Enable,
        Self::ConfirmIn,
        Self::Prune,
    ];

    /// Returns whether it changes what runs on the node.
    #[must_use]
    pub fn touches_service(self) -> bool {
        matches!(self, Self::Stop | Self::Activate | Self::Run(_) | Self::Start | Self::Restart)
    }

    /// Returns whether it starts the service.
    #[must_use]
    pub fn starts_service(self) -> bool {
        matches!(self, Self::Start | Self::Restart)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self {
            Self::Run(number) => return write!(formatter, "run-{number}"),
            Self::Stage => "stage",
            Self::Disable => "disable",
            Self::ConfirmOut => "confirm_out",
            Self::Drain => "drain",
            Self::Stop => "stop",
            Self::Activate => "activate",
            Self::Start => "start",
            Self::Restart => "restart",
            Self::Health => "health",
            Self::Enable => "enable",
            Self::ConfirmIn => "confirm_in",
            Self::Prune => "prune",
        };
        formatter.pad(word)
    }
}

impl FromStr for Step {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        if let Some(number) = word.strip_prefix("run-") {
            return number.parse().map(Self::Run).map_err(|_| format!("no step `{word}`"));
        }
        Self::OWN
            .into_iter()
            .find(|step| step.to_string() == word)
            .ok_or_else(|| format!("no step `{word}`"))
    }
}

impl JsonSchema for Step {
    fn schema_name() -> Cow<'static, str> {
        "Step".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let own: Vec<_> = Self::OWN.iter().map(Self::to_string).collect();
        json_schema!({
            "description": "The step. A command of the playbook is `run-1`, `run-2`, …",
            "type": "string",
            "anyOf": [{ "enum": own }, { "pattern": "^run-[0-9]+$" }],
        })
    }
}

impl Serialize for Step {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Step {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
