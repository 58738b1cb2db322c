//! Blocking queries: the position of a query in the sequence of changes.

use std::time::Duration;

use crate::world::Reply;

/// The time limit for one request.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The position of a blocking query in the sequence of changes.
///
/// Consul's rules: continue from the index of the last answer, begin again when it goes backwards, and never ask
/// with 0 in a loop, because such a query does not block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Index(pub(super) u64);

impl Index {
    /// The index for the next query after an answer with `seen`.
    #[must_use]
    pub fn after(self, seen: u64) -> Self {
        if seen < self.0 { Self(0) } else { Self(seen.max(1)) }
    }

    /// The query for a change since then, which waits for at most this time, and the time limit of its answer.
    pub(super) fn query(self, wait: Duration) -> (Vec<(&'static str, String)>, Duration) {
        if self.0 == 0 {
            return (Vec::new(), REQUEST_TIMEOUT);
        }
        let wanted =
            vec![("index", self.0.to_string()), ("wait", format!("{}ms", wait.as_millis().max(1)))];
        // The server itself adds up to a sixteenth, so that its clients do not all return at once.
        (wanted, wait + wait / 16 + Duration::from_secs(5))
    }

    pub(super) fn note(&mut self, reply: &Reply) {
        let seen = reply.header("x-consul-index").and_then(|index| index.parse().ok());
        *self = self.after(seen.unwrap_or(0));
    }
}
