//! Reads the secrets that a playbook names.

use std::collections::BTreeMap;
use std::path::Path;

use crate::file;
use crate::playbook::Playbook;
use crate::secret::Secret;

/// The size limit of a secret's file.
const LARGEST_SECRET: u64 = 64 * 1024;

/// Reads every secret of the playbook.
///
/// # Errors
///
/// Names the secret that cannot be read, and why.
pub fn read_secrets(
    playbook: &Playbook,
    folder: &Path,
    environment: impl Fn(&str) -> Result<Option<String>, String>,
) -> Result<BTreeMap<String, Secret>, String> {
    let mut secrets = BTreeMap::new();
    for (name, source) in &playbook.secrets {
        let value = match (&source.env, &source.file) {
            (Some(variable), _) => environment(variable)
                .map_err(|problem| format!("secret `{name}`: {problem}"))?
                .ok_or(format!("secret `{name}`: the environment has no variable `{variable}`"))?,
            (None, Some(file)) => {
                file::read_text(&folder.join(file), LARGEST_SECRET).map_err(|problem| {
                    format!("secret `{name}`: cannot read {}: {problem}", file.display())
                })?
            }
            (None, None) => return Err(format!("secret `{name}` has no source")),
        };
        // In a file or in a pasted variable, the last line break is not part of the secret.
        secrets.insert(name.clone(), Secret::new(value.trim_end_matches(['\r', '\n'])));
    }
    Ok(secrets)
}
