//! The interface of a driver: what to ask one kind of gateway, how to read its replies, and how to change its list.

use std::time::Duration;

use super::query::Query;
use super::rotation::RotationControl;
use super::view::View;
use crate::text;
use crate::world::Reply;

/// The header with a worker's name, if the playbook does not give another one.
const WORKER_HEADER: &str = "x-worker";

/// A driver of one kind of gateway. It is pure: it says what to ask and reads the replies. It never awaits.
pub trait Driver: Send + Sync {
    /// How the gateway follows changes.
    fn facts(&self) -> &Facts;

    /// What to ask for a purpose. Each request uses its own connection. Empty if the gateway does not serve the
    /// purpose.
    fn queries(&self, purpose: Purpose<'_>) -> Vec<Query>;

    /// Reads the replies to the queries of [`Purpose::Look`], in the same order.
    ///
    /// # Errors
    ///
    /// Says what cannot be understood. An error never confirms anything.
    fn read(&self, replies: &[Reply]) -> Result<View, String>;

    /// Reads the reply to the query of [`Purpose::Count`].
    ///
    /// # Errors
    ///
    /// If the reply is not a number.
    fn read_count(&self, reply: &Reply) -> Result<u64, String> {
        let _ = reply;
        Err("it does not report requests in flight".into())
    }

    /// Reads from the replies to the queries of [`Purpose::Probe`] what the gateway is.
    fn info(&self, replies: &[Reply]) -> GatewayInfo {
        GatewayInfo::by_server_header(&self.facts().kind, replies)
    }

    /// Takes nodes out of rotation and returns them, if the gateway has an API for it.
    fn rotation_control(&self) -> Option<&dyn RotationControl> {
        None
    }
}

/// Why a gateway is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose<'a> {
    /// Its list of peers, as the worker that answers has it.
    Look,
    /// What it is, and whether its counts can be used. The queries of a look are sufficient.
    Probe,
    /// The requests in flight at this address, if the gateway reports them separately from its list.
    Count(&'a str),
    /// Its current marks, for its [`RotationControl`].
    Rotation,
}

/// How a gateway follows changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// What the gateway is, for people: its name, and its mode if it has several.
    pub kind: String,
    /// How often it reads the registry.
    pub interval: Duration,
    /// The longest time that a write needs to reach every worker.
    pub lag: Duration,
    /// The time from when it shows a change until it acts on it.
    pub apply_delay: Duration,
    /// How many workers follow separately, if it is known.
    pub workers: Option<u32>,
    /// The reply header that names the worker, in lower case, if each worker has its own list.
    pub worker_header: Option<String>,
    /// A peer that is not listed has no requests in flight: a peer with requests stays listed until the last one
    /// ends, unless [`GatewayInfo::miscounts`] says otherwise.
    pub lists_busy: bool,
    /// It handles requests that it could count.
    pub has_requests: bool,
    /// When a change is confirmed, in words, if something else than the gateway's own answers shows it.
    pub confirmed_when: Option<String>,
}

impl Facts {
    /// One list. A change is in effect when it is answered.
    pub(super) fn immediate(kind: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            interval: Duration::ZERO,
            lag: Duration::ZERO,
            apply_delay: Duration::ZERO,
            workers: Some(1),
            worker_header: None,
            lists_busy: false,
            has_requests: true,
            confirmed_when: None,
        }
    }

    /// One list, which the gateway follows within `interval` after the list has changed, no matter how late that
    /// is.
    pub(super) fn following(kind: impl Into<String>, interval: Duration) -> Self {
        Self { interval, lag: interval, apply_delay: interval, ..Self::immediate(kind) }
    }

    /// Workers that read every `interval`, and have followed after `slack` more.
    pub(super) fn polling(
        kind: impl Into<String>,
        interval: Duration,
        slack: Duration,
        workers: Option<u32>,
        worker_header: Option<&str>,
    ) -> Self {
        let worker_header = worker_header.unwrap_or(WORKER_HEADER).to_ascii_lowercase();
        Self {
            interval,
            lag: interval + slack,
            workers,
            worker_header: Some(worker_header),
            ..Self::immediate(kind)
        }
    }
}

/// Says when a change is confirmed by a `list` that the gateway follows within `interval` without showing its own.
pub(super) fn unseen(list: &str, interval: Duration) -> Option<String> {
    (!interval.is_zero()).then(|| {
        format!(
            "{list} has not had the node (out) or has had it (in) for {}; to which nodes the gateway routes is not visible",
            text::duration(interval)
        )
    })
}

/// What a gateway says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GatewayInfo {
    /// Its kind and version.
    pub is: String,
    /// What prevents it from doing its part in a release.
    pub blockers: Vec<String>,
    /// How its confirmations can be improved.
    pub advice: Option<String>,
    /// Why its counts of requests in flight cannot be used.
    pub miscounts: Option<String>,
}

impl GatewayInfo {
    /// The kind of gateway, and the program that its first reply names.
    pub(super) fn by_server_header(kind: &str, replies: &[Reply]) -> Self {
        let server = replies.first().and_then(|reply| reply.header("server"));
        let server = server.map_or(String::new(), |server| format!(" in {server}"));
        Self { is: text::line(&format!("{kind}{server}"), 80), ..Self::default() }
    }
}
