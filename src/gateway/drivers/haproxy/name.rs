//! HAProxy's names: of backends and servers, and of the states of a server that is out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Returns whether HAProxy allows a text as the name of a backend or server.
pub(super) fn is_name(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    !text.is_empty() && text.bytes().all(is_allowed)
}

/// The state of a server that is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HaproxyState {
    /// No new requests, except from clients that stick to it by a cookie or a stick table.
    Drain,
    /// No new requests at all.
    Maint,
}
