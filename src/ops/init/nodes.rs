//! A node of a drafted playbook.

/// A node of a draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftNode {
    /// Its name.
    pub name: String,
    /// Its machine.
    pub ssh: String,
    /// Its address: `host:port`.
    pub address: String,
}
