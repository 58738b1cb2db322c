//! The holder of a lock, as other processes read it.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{json, text};

/// The time between two renewals of the lock. Each of them is a sign of life.
pub(super) const RENEWAL: Duration = Duration::from_secs(5);

/// A longer description is cut, because other programs have written its parts.
const LONGEST: usize = 400;

/// What this machine knows of the process that holds a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// It runs on this machine.
    Runs,
    /// It ran on this machine and has ended. Its lock in Consul may exist for a while longer.
    Ended,
    /// It uses another state folder, or another machine.
    Unknown,
}

/// The holder of a lock, and its current work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Holder {
    /// The release.
    pub release: String,
    /// The command: `deploy`, `node out` …
    pub command: String,
    /// The user on the machine, or the CI job.
    pub by: String,
    /// The machine.
    #[serde(default)]
    pub host: String,
    /// The process there.
    #[serde(default)]
    pub pid: u32,
    /// The start time.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub since: jiff::Timestamp,
    /// The last sign of life.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub seen: jiff::Timestamp,
    /// The current work: `node-2 drain`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub doing: String,
    /// The lock file that the holder has also locked. A process that can lock the same file knows that the holder
    /// has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The lock was released.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub released: bool,
}

impl Holder {
    /// Reads what a holder has written. Other bytes are not a holder.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        json::typed(json::document(bytes).ok()?).ok()
    }

    /// Whether it is the same process: another process can continue the same release.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        let own = |holder: &Self| {
            let Self { release, command, by, host, .. } = holder.clone();
            (release, command, by, host, holder.pid, holder.since)
        };
        own(self) == own(other)
    }

    /// The bytes that it writes.
    ///
    /// # Panics
    ///
    /// Never: it is plain data.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain data")
    }

    /// Describes it in one line: `ci-7, `deploy`, release 7f3a, acquired 3m ago, last seen 2s ago at node-2 drain`.
    #[must_use]
    pub fn describe(&self, process: Process, now: jiff::Timestamp) -> String {
        let ago = |then| text::elapsed(then, now);
        let mut parts = vec![self.by.clone()];
        let runs = process == Process::Runs;
        if !runs && !self.by.contains(&self.host) {
            parts.push(format!("on {}", self.host));
        }
        parts.extend([format!("`{}`", self.command), format!("release {}", self.release)]);
        if runs {
            parts.push(format!("process {} on this machine, which runs", self.pid));
        }
        parts.push(format!("acquired {} ago", ago(self.since)));
        // A running process that has written no sign of life since must not look dead.
        if !runs || self.seen != self.since {
            // The work is as old as the sign of life.
            let work = &self.doing;
            let at = if work.is_empty() { String::new() } else { format!(" at {work}") };
            parts.push(format!("last seen {} ago{at}", ago(self.seen)));
        }
        text::line(&parts.join(", "), LONGEST)
    }

    /// Whether it has written no sign of life for so long that its process or its machine may be dead.
    #[must_use]
    pub fn is_silent(&self, now: jiff::Timestamp) -> bool {
        let silence = Duration::try_from(now.duration_since(self.seen)).unwrap_or_default();
        silence > 2 * RENEWAL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holder_is_read_back_and_described_in_one_line() {
        let holder = Holder {
            release: "7f3a".into(),
            command: "deploy".into(),
            by: "ci:https://ci.example/jobs/9".into(),
            host: "runner-7".into(),
            pid: 42,
            since: "2026-06-12T14:00:00Z".parse().expect("time"),
            seen: "2026-06-12T14:03:10Z".parse().expect("time"),
            doing: "node-2 drain\x1b[2J".into(),
            file: Some("x".into()),
            released: false,
        };
        assert_eq!(Holder::from_bytes(&holder.to_bytes()), Some(holder.clone()));
        assert_eq!(
            holder.describe(Process::Unknown, "2026-06-12T14:03:12Z".parse().expect("time")),
            "ci:https://ci.example/jobs/9, on runner-7, `deploy`, release 7f3a, acquired 3m12s ago, \
             last seen 2s ago at node-2 drain [2J"
        );
        assert_eq!(Holder::from_bytes(b"not ours"), None);
        let told = |holder: &Holder| {
            let now = "2026-06-12T14:13:12Z".parse().expect("time");
            assert!(holder.is_silent(now) && !holder.is_silent(holder.seen));
            holder.describe(Process::Runs, now)
        };
        let runs = "ci:https://ci.example/jobs/9, `deploy`, release 7f3a, process 42 on this machine, which runs, \
                    acquired 13m12s ago";
        assert_eq!(told(&holder), format!("{runs}, last seen 10m02s ago at node-2 drain [2J"));
        let new = Holder { seen: holder.since, doing: String::new(), ..holder.clone() };
        assert_eq!(told(&new), runs, "what is as old as the lock is no sign of death");
        let later = Holder { doing: "node-3 stop".into(), seen: holder.since, ..holder.clone() };
        assert!(holder.is(&later), "what it does and when it was seen last is told anew");
        for other in [
            Holder { command: "resume".into(), ..holder.clone() },
            Holder { host: "runner-8".into(), ..holder.clone() },
            Holder { pid: 43, ..holder.clone() },
            Holder { since: holder.seen, ..holder.clone() },
        ] {
            assert!(!holder.is(&other), "{other:?}");
        }
    }
}
