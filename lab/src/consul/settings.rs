//! What every server and agent is started with.

/// Where every server answers requests, when they are not guarded by TLS.
pub(super) const PORT: u16 = 8500;

/// Where every server answers DNS.
pub(crate) const DNS_PORT: u16 = 8600;

/// Quick elections, and no traffic that leaves the machine.
pub(super) const SETTINGS: &str = "performance { raft_multiplier = 1 } \
    ports { serf_wan = -1 } \
    disable_update_check = true";
