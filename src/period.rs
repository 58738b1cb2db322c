//! A duration in the playbook, with its unit.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A duration, written with its unit: `30s`, `2m`, `500ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DurationSetting(pub Duration);

impl DurationSetting {
    const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

    /// Zero.
    #[must_use]
    pub const fn zero() -> Self {
        Self(Duration::ZERO)
    }

    /// A number of seconds.
    #[must_use]
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Reads `30s`; the error names the mistake and the correct form.
    ///
    /// # Errors
    ///
    /// When it is not a duration with a unit.
    pub fn parse(text: &str) -> Result<Self, String> {
        let number = text.trim();
        if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("`{number}` has no unit; write `{number}s`"));
        }
        let period = humantime::parse_duration(text)
            .map_err(|error| format!("`{text}` is not a duration like `30s`: {error}"))?;
        // A longer duration is a mistake, and adding it to a point in time could overflow.
        if period > Self::LONGEST {
            Err(format!("`{text}` is longer than a year"))
        } else {
            Ok(Self(period))
        }
    }
}

impl Serialize for DurationSetting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(self.0))
    }
}

impl<'de> Deserialize<'de> for DurationSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

impl JsonSchema for DurationSetting {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A duration with its unit: `30s`, `2m`, `500ms`.",
            "type": "string",
            "format": "rollgate-duration",
        })
    }
}
