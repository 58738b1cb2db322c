//! The inputs of a release besides the playbook, as its journal has them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::foreign::Recorded;
use crate::text;

/// The inputs of a release besides the playbook.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Inputs {
    /// The release's id.
    pub release: String,
    /// The playbook's folder, to which its paths are relative.
    pub folder: PathBuf,
    /// Variables from the environment, files and the command line. Defaults are in the playbook.
    pub variables: BTreeMap<String, String>,
    /// The artifact's digest and size, after it was read.
    pub artifact: Option<Digest>,
}

/// The facts about an artifact's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Digest {
    /// SHA-256 in lower-case hex.
    pub sha256: String,
    /// Size in bytes.
    pub size: u64,
    /// The disk space of the unpacked artifact.
    pub unpacked: u64,
}

impl Digest {
    /// Whether it is a valid digest: it becomes a part of names and commands.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        self.sha256.len() == 64 && self.sha256.bytes().all(hex)
    }
}

impl Recorded<Inputs> {
    /// The release's id as the journal has it. A reader checks that it is the requested one.
    #[must_use]
    pub fn release(&self) -> &str {
        &self.unchecked().release
    }

    /// The same with only the release's id.
    #[must_use]
    pub(crate) fn outline(&self) -> Self {
        Self::new(Inputs { release: self.release().to_owned(), ..Inputs::default() })
    }

    /// How much memory it needs, in bytes.
    #[must_use]
    pub(crate) fn size(&self) -> usize {
        let inputs = self.unchecked();
        let variables = inputs.variables.iter().map(|(name, value)| name.len() + value.len());
        variables.sum::<usize>() + inputs.folder.as_os_str().len()
    }

    /// The variables, for messages and suggested commands: each value must be quoted.
    pub fn shown(&self) -> impl Iterator<Item = (String, String)> {
        let variables = self.unchecked().variables.iter();
        variables.map(|(name, value)| (text::harmless(name), text::harmless(value)))
    }

    /// The artifact's digest, if it is valid.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.unchecked().artifact.as_ref().filter(|digest| digest.is_sound())
    }
}
