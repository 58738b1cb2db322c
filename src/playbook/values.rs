//! The playbook's small value types: durations, amounts, commands, and values that have a short and a long form.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::http_check::{HttpCheckSettings, HttpCheckSpec};
use crate::period::DurationSetting;
use crate::template::Template;

/// A number of nodes: a count, or a percentage of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// This many.
    Count(u32),
    /// This many of a hundred.
    Percent(u8),
}

impl Amount {
    /// Reads `25%`.
    ///
    /// # Errors
    ///
    /// If it is neither a whole number nor a percentage from 0 to 100.
    pub fn parse(text: &str) -> Result<Self, String> {
        let percent = text.strip_suffix('%').and_then(|number| number.parse::<u8>().ok());
        match percent {
            Some(percent) if percent <= 100 => Ok(Self::Percent(percent)),
            _ => text.parse().map(Self::Count).map_err(|_| {
                "expected a count like `2` or a percentage like `25%`, from `0%` to `100%`"
                    .to_owned()
            }),
        }
    }

    /// The number of nodes out of `total`. A percentage rounds up.
    #[must_use]
    pub fn of(self, total: usize) -> usize {
        match self {
            Self::Count(count) => count as usize,
            Self::Percent(percent) => (total * usize::from(percent)).div_ceil(100),
        }
    }
}

impl std::fmt::Display for Amount {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Count(count) => write!(formatter, "{count}"),
            Self::Percent(percent) => write!(formatter, "{percent}%"),
        }
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u32(*count),
            Self::Percent(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Amount;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a count or a percentage")
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Amount, E> {
                u32::try_from(value).map(Amount::Count).map_err(E::custom)
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Amount, E> {
                Amount::parse(value).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Amount {
    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A count of nodes, or a percentage of all: `2`, `25%`.",
            "anyOf": [
                { "type": "integer", "minimum": 0, "maximum": u32::MAX },
                { "type": "string", "format": "rollgate-amount" },
            ],
        })
    }
}

/// The sizes of the batches; the last repeats. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batches(pub Vec<Amount>);

impl Default for Batches {
    fn default() -> Self {
        Self(vec![Amount::Count(1)])
    }
}

impl Batches {
    /// The size of batch number `index` (from 0) among `total` nodes; at least 1.
    #[must_use]
    pub fn size(&self, index: usize, total: usize) -> usize {
        let amount = self.0.get(index).or(self.0.last()).copied().unwrap_or(Amount::Count(1));
        amount.of(total).max(1)
    }
}

impl Serialize for Batches {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Batches {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let amounts = if value.is_array() {
            serde_json::from_value(value)
        } else {
            serde_json::from_value(value).map(|amount| vec![amount])
        };
        amounts.map(Self).map_err(de::Error::custom)
    }
}

impl JsonSchema for Batches {
    fn schema_name() -> Cow<'static, str> {
        "Batches".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let amount = generator.subschema_for::<Amount>();
        json_schema!({
            "description": "A count, a percentage, or a list of them whose last entry repeats: `1`, `25%`, `[1, 25%]`.",
            "anyOf": [
                amount,
                { "type": "array", "items": amount, "minItems": 1 },
            ],
        })
    }
}

/// A command: only its text, or with settings.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CommandSpec {
    /// The command for the node's `sh`.
    pub run: Template,
    /// The command is ended after this time, with all processes that it started. Default: 60s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<DurationSetting>,
    /// Run as root through `sudo -n`. Default: `ssh.sudo`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sudo: Option<bool>,
}

/// The long form of [`CommandSpec`].
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "CommandSettings")]
struct CommandFields {
    /// The command for the node's `sh`.
    run: Template,
    /// The command is ended after this time, with all processes that it started. Default: 60s.
    #[serde(default)]
    timeout: Option<DurationSetting>,
    /// Run as root through `sudo -n`. Default: `ssh.sudo`.
    #[serde(default)]
    sudo: Option<bool>,
}

/// A TCP check: the address.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct TcpCheckSpec(
    /// `host:port` that must accept a connection from this machine.
    pub Template,
);

/// Implements the reading and the schema of a type that is a string, or a map of settings.
macro_rules! short_or_long {
    ($type:ty, $name:literal, $fields:ty, $description:literal, $short:expr, $long:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                match serde_json::Value::deserialize(deserializer)? {
                    serde_json::Value::String(text) => Ok($short(Template::new(text))),
                    value => serde_json::from_value::<$fields>(value)
                        .map($long)
                        .map_err(de::Error::custom),
                }
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                let short = generator.subschema_for::<Template>();
                let long = generator.subschema_for::<$fields>();
                json_schema!({ "description": $description, "anyOf": [short, long] })
            }
        }
    };
}

short_or_long!(
    CommandSpec,
    "Command",
    CommandFields,
    "A command for the node's `sh`: the text, or `{ run, timeout, sudo }`.",
    |run| CommandSpec { run, timeout: None, sudo: None },
    |fields: CommandFields| CommandSpec {
        run: fields.run,
        timeout: fields.timeout,
        sudo: fields.sudo
    }
);

short_or_long!(
    HttpCheckSpec,
    "HttpCheck",
    HttpCheckSettings,
    "An HTTP check: the URL, or a map of settings.",
    HttpCheckSpec::short,
    HttpCheckSpec
);
