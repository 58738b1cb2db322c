//! A hold: an operator keeps a node out of rotation until `node in`.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::text;

/// A longer description is cut, because other programs may have written its parts.
const LONGEST: usize = 400;

/// A hold of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hold {
    /// The operator.
    pub by: String,
    /// The start.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub since: Timestamp,
    /// Why, in the operator's words; empty if none was given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// A held node that a resumed release leaves out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeldNode {
    /// The node.
    pub node: String,
    /// Whether its registry entry is down.
    pub down: bool,
    /// Its hold.
    pub hold: Hold,
}

impl Hold {
    /// Describes it in one line: `by alice@host for 2h05m: disk is replaced`.
    #[must_use]
    pub fn describe(&self, now: Timestamp) -> String {
        let time = text::elapsed(self.since, now);
        let reason =
            if self.reason.is_empty() { String::new() } else { format!(": {}", self.reason) };
        text::line(&format!("by {} for {time}{reason}", self.by), LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_is_described_in_one_line() {
        let hold = |reason: &str| Hold {
            by: "alice@host".into(),
            since: "2026-06-12T14:00:00Z".parse().expect("time"),
            reason: reason.into(),
        };
        let now = "2026-06-12T16:05:00Z".parse().expect("time");
        let told = |reason| hold(reason).describe(now);
        assert_eq!(
            told("disk\nis\x1b[2J replaced"),
            "by alice@host for 2h05m: disk is [2J replaced"
        );
        assert_eq!(told(""), "by alice@host for 2h05m");
        let early = "2026-06-12T13:00:00Z".parse().expect("time");
        assert_eq!(hold("").describe(early), "by alice@host for 0s", "clocks differ");
    }
}
