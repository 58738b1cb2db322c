//! The secrets of this process: every text that is cut, cleaned or printed is searched for them.
//!
//! The command line registers them after it has read the secrets and before the first request. Until then
//! every text stays unchanged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use serde_json::Value;

use super::{Cut, Redactor, Secret};

#[derive(Debug, Default)]
struct Known {
    secrets: Vec<Secret>,
    named: BTreeMap<String, Secret>,
    redactor: Arc<Redactor>,
    variables: BTreeSet<String>,
}

static KNOWN: LazyLock<RwLock<Known>> = LazyLock::new(RwLock::default);

/// Hides these values in every text from now on, and these environment variables from every child process.
pub fn remember(
    secrets: impl IntoIterator<Item = Secret>,
    variables: impl IntoIterator<Item = String>,
) {
    let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    known.secrets.extend(secrets);
    known.redactor = Arc::new(Redactor::new(known.secrets.clone()));
    known.variables.extend(variables);
}

/// Keeps the secrets of a playbook by name. A request gets the value from here when it is sent, so that
/// playbooks, journals and texts contain only the name.
pub fn remember_named(named: &BTreeMap<String, Secret>) {
    remember(named.values().cloned(), []);
    KNOWN.write().unwrap_or_else(PoisonError::into_inner).named.extend(named.clone());
}

/// The secret with this name.
#[must_use]
pub fn named(name: &str) -> Option<Secret> {
    KNOWN.read().unwrap_or_else(PoisonError::into_inner).named.get(name).cloned()
}

/// The redactor with the secrets of this process.
#[must_use]
pub fn known() -> Arc<Redactor> {
    KNOWN.read().unwrap_or_else(PoisonError::into_inner).redactor.clone()
}

/// Returns `text` without any secret of this process.
#[must_use]
pub fn hide(text: &str) -> String {
    known().redact(text)
}

/// Hides secrets in every text within a JSON value.
pub fn hide_value(value: &mut Value) {
    known().redact_value(value);
}

/// The same for a text with a cut end.
#[must_use]
pub fn hide_cut(text: &str, cut: Cut) -> String {
    known().redact_cut(text, cut)
}

/// The same for the front of output that was cut there.
pub fn hide_front(bytes: &mut Vec<u8>) {
    known().redact_front(bytes);
}

/// Returns whether `value` as a whole is a secret of this process.
#[must_use]
pub fn is_known(value: &str) -> bool {
    let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
    known.secrets.iter().any(|secret| secret.0 == value)
}

/// The environment variables that no child process gets.
#[must_use]
pub fn variables() -> BTreeSet<String> {
    KNOWN.read().unwrap_or_else(PoisonError::into_inner).variables.clone()
}
