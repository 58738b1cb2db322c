//! Which certificates a server may have, as the playbook says for one URL.

use std::path::PathBuf;

/// Which certificates a server may have. The default are the authorities of the system, or of `SSL_CERT_FILE`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Trust {
    /// A PEM file with the only trusted authorities.
    pub ca: Option<PathBuf>,
    /// Any certificate is accepted.
    pub insecure: bool,
}

impl Trust {
    /// Trusts the authorities in a file, or those of the system.
    #[must_use]
    pub fn of(ca: Option<PathBuf>) -> Self {
        Self { ca, insecure: false }
    }
}
