//! What nodes ran before a release, as its journal has it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::foreign::{Foreign, Recorded};
use crate::text;

use super::inputs::Digest;

/// What some nodes ran.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
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
}

impl Recorded<Vec<RestorePoint>> {
    /// Returns whether nothing is recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.unchecked().is_empty()
    }

    /// The folder of the release that a node ran, as a name to keep.
    #[must_use]
    pub fn folder_of(&self, node: &str) -> Option<String> {
        let named = |target: &&RestorePoint| target.nodes.iter().any(|name| name == node);
        let folder = self.unchecked().iter().find(named)?.folder.as_ref()?;
        Foreign::new(folder.as_str()).file_name()?.ok()
    }

    /// What a node ran, for people.
    #[must_use]
    pub fn version_of(&self, node: &str) -> Option<String> {
        let named = |target: &&RestorePoint| target.nodes.iter().any(|name| name == node);
        self.unchecked().iter().find(named).map(|target| text::line(&target.version, 60))
    }
}
