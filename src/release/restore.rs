//! What nodes ran before a release, as its journal has it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::foreign::{Foreign, Recorded};
use crate::text;

use super::inputs::Digest;

/// What some nodes ran.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RestorePoint {
    /// The nodes.
    pub nodes: Vec<String>,
    /// The version, for people.
    pub version: String,
    /// The name of the release's folder, if there is an artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// The variables for the playbook's templates.
    pub variables: BTreeMap<String, String>,
    /// The artifact, as far as a journal knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Digest>,
    /// Nothing was installed and nothing ran: a rollback stops the service and leaves the nodes out of rotation.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nothing: bool,
}

impl RestorePoint {
    /// The version of nodes on which nothing was installed, for people.
    pub const NO_VERSION: &str = "no version (first install)";

    /// Adds what a node runs. Nodes that run the same have one restore point.
    pub fn gather(points: &mut Vec<Self>, node: &str, point: Self) {
        let same = |other: &&mut Self| {
            (&other.version, &other.folder, &other.variables)
                == (&point.version, &point.folder, &point.variables)
        };
        match points.iter_mut().find(same) {
            Some(other) => other.nodes.push(node.to_owned()),
            None => points.push(Self { nodes: vec![node.to_owned()], ..point }),
        }
    }
}

impl Recorded<Vec<RestorePoint>> {
    /// Returns whether nothing is recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.unchecked().is_empty()
    }

    /// The folder of the release that each node ran, if known, as a name to keep.
    #[must_use]
    pub fn folders(&self) -> BTreeMap<&str, String> {
        let folder =
            |target: &RestorePoint| Foreign::new(target.folder.as_deref()?).file_name()?.ok();
        self.by_node(folder)
    }

    /// What each node ran, for people.
    #[must_use]
    pub fn versions(&self) -> BTreeMap<&str, String> {
        self.by_node(|target| Some(text::line(&target.version, 60)))
    }

    fn by_node(&self, read: impl Fn(&RestorePoint) -> Option<String>) -> BTreeMap<&str, String> {
        // A node counts for the first point that names it.
        let mut found = BTreeMap::new();
        for target in self.unchecked() {
            let value = read(target);
            for name in &target.nodes {
                found.entry(name.as_str()).or_insert_with(|| value.clone());
            }
        }
        found.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}
