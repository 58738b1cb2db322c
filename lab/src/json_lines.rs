//! Files with one JSON object per line.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;

/// Reads such a file; a missing file has no lines.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(error).with_context(|| format!("could not read {}", path.display()));
        }
    };
    text.lines()
        .map(|line| {
            serde_json::from_str(line)
                .with_context(|| format!("{} has an invalid line: {line}", path.display()))
        })
        .collect()
}
