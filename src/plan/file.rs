//! The plan file: what `deploy --plan` runs, and everything to which it is bound.
//!
//! It is one JSON document with a published schema. It contains no value of a secret, in no form: a secret is read
//! again when the plan runs. A checksum of each part shows whether the file was edited.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::Selection;
use super::seen::{GatewaySeen, NodeSeen};
use crate::json::{self, Written};
use crate::playbook::Playbook;
use crate::secret::{self, literal};
use crate::text;

/// The version of the format that this rollgate writes and reads.
pub const VERSION: u32 = 1;

/// The start of every plan file, without white space: by it, a file is recognised.
const START: &str = "{\"type\":\"rollgate.plan\"";

/// A plan that `deploy --plan` runs exactly, or refuses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanFile {
    /// Marks the file as a plan of rollgate.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The version of this format. Only a rollgate that knows it runs the plan.
    pub v: u32,
    /// When the plan was made.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub made_at: Timestamp,
    /// Who made it.
    pub made_by: String,
    /// The version of rollgate that made it.
    pub made_with: String,
    /// The service.
    pub service: String,
    /// The version before: one, or several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The version that the release deploys; absent for a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The options of `plan` that select nodes.
    pub selection: Selection,
    /// The given variables.
    pub variables: BTreeMap<String, String>,
    /// The playbook.
    pub playbook: PlaybookSeen,
    /// The artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<ArtifactSeen>,
    /// The nodes in the order of the release.
    pub nodes: Vec<NodeSeen>,
    /// The gateways, in the playbook's order.
    pub gateways: Vec<GatewaySeen>,
    /// The SHA-256 of each other part of this file.
    pub checksums: BTreeMap<String, String>,
}

/// The type of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Kind {
    /// A plan of rollgate.
    #[serde(rename = "rollgate.plan")]
    Plan,
}

/// The playbook of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlaybookSeen {
    /// The path as it was given.
    pub file: String,
    /// The SHA-256 of its text.
    pub sha256: String,
    /// The SHA-256 of each file that the playbook names besides the artifact and secrets, by its path.
    pub files: BTreeMap<String, String>,
    /// Its content, to show what was changed since. Values that may be secrets are `***`.
    #[schemars(with = "BTreeMap<String, Value>")]
    pub content: Written,
}

/// The artifact of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArtifactSeen {
    /// Its path.
    pub file: String,
    /// The SHA-256 of its bytes.
    pub sha256: String,
    /// Its size in bytes.
    pub size: u64,
}

/// Returns the JSON Schema of plan files.
#[must_use]
pub fn schema() -> Value {
    let mut schema = Value::from(schemars::schema_for!(PlanFile));
    schema["title"] = "rollgate plan".into();
    schema["properties"]["v"]["const"] = VERSION.into();
    schema
}

impl PlaybookSeen {
    /// The playbook as a plan stores it.
    #[must_use]
    pub fn new(
        file: String,
        text: &str,
        files: BTreeMap<String, String>,
        playbook: &Playbook,
    ) -> Self {
        let sha256 = sha256(text.as_bytes());
        Self { file, sha256, files, content: content(playbook) }
    }
}

/// The content of a playbook without anything that may be a secret.
pub(super) fn content(playbook: &Playbook) -> Written {
    let mut content = serde_json::to_value(playbook).unwrap_or_default();
    literal::hide_values(false, &mut content);
    secret::hide_value(&mut content);
    content.into()
}

/// The SHA-256 of a text, in hex.
pub(super) fn sha256(bytes: &[u8]) -> String {
    text::hex(&Sha256::digest(bytes))
}

impl PlanFile {
    /// A plan of nothing, made now.
    #[must_use]
    pub fn new(made_at: Timestamp, made_by: &str) -> Self {
        let playbook = PlaybookSeen {
            file: String::new(),
            sha256: String::new(),
            files: BTreeMap::new(),
            content: Written::default(),
        };
        Self {
            kind: Kind::Plan,
            v: VERSION,
            made_at,
            made_by: made_by.to_owned(),
            made_with: env!("CARGO_PKG_VERSION").to_owned(),
            service: String::new(),
            from: None,
            to: None,
            selection: Selection::default(),
            variables: BTreeMap::new(),
            playbook,
            artifact: None,
            nodes: Vec::new(),
            gateways: Vec::new(),
            checksums: BTreeMap::new(),
        }
    }

    /// How many bytes of a file are enough to recognise it.
    pub const RECOGNISED_BY: u64 = 200;

    /// The text of the file.
    #[must_use]
    pub fn text(mut self) -> String {
        self.checksums = self.sums();
        serde_json::to_string_pretty(&self).unwrap_or_default() + "\n"
    }

    /// Returns whether a file is a plan, by its start: also a newer plan, or one that was cut off.
    #[must_use]
    pub fn recognises(start: &[u8]) -> bool {
        let start = start.iter().filter(|byte| !byte.is_ascii_whitespace());
        start.take(START.len()).eq(START.as_bytes())
    }

    /// Reads the text of a plan file.
    ///
    /// # Errors
    ///
    /// Names what is wrong with the file, and where.
    pub fn read(text: &str) -> Result<Self, String> {
        if !Self::recognises(text.as_bytes()) {
            return Err("it is not a plan of rollgate".to_owned());
        }
        let raw = json::document(text.as_bytes()).map_err(|problem| match problem {
            cut if cut.starts_with("EOF") => format!("its end is missing: {cut}"),
            other => format!("it is not valid JSON: {other}"),
        })?;
        let [version, made_with] = json::fields(raw, ["v", "made_with"])?;
        let version = version.and_then(|version| json::typed::<u64>(version).ok());
        if version.is_some_and(|version| version > VERSION.into()) {
            let made_with = json::string(made_with).unwrap_or_default();
            let (version, made_with) = (version.unwrap_or_default(), text::line(&made_with, 40));
            return Err(format!(
                "it was written by a newer rollgate ({made_with}, plan version {version}), and this one reads version \
                 {VERSION}: use that rollgate, or make the plan again with this one"
            ));
        }
        let plan: Self = json::typed(raw)?;
        if plan.v != VERSION {
            return Err(format!("`v` is {}, and only version {VERSION} exists", plan.v));
        }
        let edited = plan.edited();
        if !edited.is_empty() {
            let parts: Vec<_> = edited.iter().map(|part| format!("`{part}`")).collect();
            return Err(format!("it was edited after it was written: {}", parts.join(", ")));
        }
        Ok(plan)
    }

    /// The checksum of each part.
    fn sums(&self) -> BTreeMap<String, String> {
        let parts = serde_json::to_value(self).unwrap_or_default();
        let parts = parts.as_object().into_iter().flatten();
        let parts = parts.filter(|(name, _)| *name != "checksums");
        parts.map(|(name, part)| (name.clone(), sha256(part.to_string().as_bytes()))).collect()
    }

    /// The parts that are not as they were written.
    fn edited(&self) -> BTreeSet<String> {
        let sums = self.sums();
        let names = sums.keys().chain(self.checksums.keys());
        let edited = names.filter(|name| sums.get(*name) != self.checksums.get(*name));
        edited.map(|name| text::line(name, 60)).collect()
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::example;
