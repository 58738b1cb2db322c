//! The keys that operators share.

/// Returns the prefix of the shared keys of one service: the lock and the journals. It is never below a prefix that
/// a gateway reads.
#[must_use]
pub fn shared_prefix(service: &str) -> String {
    format!("rollgate/{service}/")
}
