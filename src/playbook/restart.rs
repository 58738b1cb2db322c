//! What of a playbook names a version: a restart keeps it.

use std::collections::BTreeSet;

use super::Playbook;

/// The usual name of the variable with the version.
const VERSION: &str = "version";

impl Playbook {
    /// The variables that say what a release deploys: those of the artifact and of the identity, and `version`.
    #[must_use]
    pub fn release_variables(&self) -> BTreeSet<&str> {
        let artifact = self.artifact.iter();
        let artifact =
            artifact.flat_map(|artifact| artifact.sha256.iter().chain([&artifact.source]));
        let identity = self.health.identity.iter().map(|identity| &identity.equals);
        let names = artifact.chain(identity).flat_map(|template| template.names().0);
        let names = names.map(|(name, _)| name).chain([VERSION]);
        let variables = names.filter_map(|name| self.variables.get_key_value(name));
        variables.map(|(name, _)| name.as_str()).collect()
    }
}
