//! One entry of `steps`: a word, or a word with its command.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::CommandSpec;

/// One entry of `steps`.
#[derive(Debug, Clone, PartialEq)]
pub enum StepSpec {
    /// Confirm that every gateway stopped routing to the node.
    ConfirmOut,
    /// Wait for the requests in flight.
    Drain,
    /// Stop the service, with the given command or the top level's `stop`.
    Stop(Option<CommandSpec>),
    /// Switch to the new release.
    Activate,
    /// Start the service, with the given command or the top level's `start`.
    Start(Option<CommandSpec>),
    /// Stop and start the service in one, with the given command or the top level's `restart`.
    Restart(Option<CommandSpec>),
    /// Run a command.
    Run(CommandSpec),
    /// Check that the new process is healthy.
    Health,
    /// Mark the node up.
    Enable,
    /// Confirm that every gateway routes to it again.
    ConfirmIn,
}

/// The steps that are written as one word.
pub(super) const STEP_WORDS: [&str; 9] = [
    "confirm_out",
    "drain",
    "stop",
    "activate",
    "start",
    "restart",
    "health",
    "enable",
    "confirm_in",
];

impl StepSpec {
    /// The step's word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::ConfirmOut => "confirm_out",
            Self::Drain => "drain",
            Self::Stop(_) => "stop",
            Self::Activate => "activate",
            Self::Start(_) => "start",
            Self::Restart(_) => "restart",
            Self::Run(_) => "run",
            Self::Health => "health",
            Self::Enable => "enable",
            Self::ConfirmIn => "confirm_in",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "confirm_out" => Self::ConfirmOut,
            "drain" => Self::Drain,
            "stop" => Self::Stop(None),
            "activate" => Self::Activate,
            "start" => Self::Start(None),
            "restart" => Self::Restart(None),
            "health" => Self::Health,
            "enable" => Self::Enable,
            "confirm_in" => Self::ConfirmIn,
            _ => return None,
        })
    }
}

impl Serialize for StepSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Stop(Some(command))
            | Self::Start(Some(command))
            | Self::Restart(Some(command))
            | Self::Run(command) => BTreeMap::from([(self.word(), command)]).serialize(serializer),
            Self::ConfirmOut
            | Self::Drain
            | Self::Stop(None)
            | Self::Activate
            | Self::Start(None)
            | Self::Restart(None)
            | Self::Health
            | Self::Enable
            | Self::ConfirmIn => serializer.serialize_str(self.word()),
        }
    }
}

impl<'de> Deserialize<'de> for StepSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let unknown = |word: &str| de::Error::unknown_variant(word, &STEP_WORDS);
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(word) => Self::from_word(&word).ok_or_else(|| unknown(&word)),
            serde_json::Value::Object(map) if map.len() == 1 => {
                let (word, command) = map.into_iter().next().expect("the map has one entry");
                let command = serde_json::from_value(command).map_err(de::Error::custom)?;
                match word.as_str() {
                    "stop" => Ok(Self::Stop(Some(command))),
                    "start" => Ok(Self::Start(Some(command))),
                    "restart" => Ok(Self::Restart(Some(command))),
                    "run" => Ok(Self::Run(command)),
                    _ => Err(unknown(&word)),
                }
            }
            _ => Err(de::Error::custom("expected a step's name, or one step with its command")),
        }
    }
}

impl JsonSchema for StepSpec {
    fn schema_name() -> Cow<'static, str> {
        "Step".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let command = generator.subschema_for::<CommandSpec>();
        json_schema!({
            "description": "A step: its name, or its name with a command.",
            "anyOf": [
                { "type": "string", "enum": STEP_WORDS },
                {
                    "type": "object",
                    "properties": { "stop": command, "start": command, "restart": command, "run": command },
                    "additionalProperties": false,
                    "minProperties": 1,
                    "maxProperties": 1,
                },
            ],
        })
    }
}
