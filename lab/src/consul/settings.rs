//! The settings of every server and agent.

/// The HTTP port of every server without TLS.
pub(super) const PORT: u16 = 8500;

/// The DNS port of every server.
pub(crate) const DNS_PORT: u16 = 8600;

/// Fast elections, and no traffic that leaves the machine.
pub(super) const SETTINGS: &str = "performance { raft_multiplier = 1 } \
    ports { serf_wan = -1 } \
    disable_update_check = true";
