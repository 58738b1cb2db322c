//! How one kind of gateway is asked, understood and told: what a driver has to say.

use std::time::Duration;

use super::query::Query;
use super::rotation::RotationControl;
use super::view::View;
use crate::text;
use crate::world::Reply;

/// How a worker names itself when the playbook gives no other header.
const WORKER_HEADER: &str = "x-worker";

/// A driver of one kind of gateway. It is pure: it says what to ask and reads what came back; it never awaits.
pub trait Driver: Send + Sync {
    /// How the gateway follows what it is told.
    fn facts(&self) -> &Facts;

    /// What to ask for a purpose; each request goes over a connection of its own. Nothing where the gateway does not
    /// serve the purpose.
    fn queries(&self, purpose: Purpose<'_>) -> Vec<Query>;

    /// Reads the replies to the queries of [`Purpose::Look`], in the same order.
    ///
    /// # Errors
    ///
    /// Says what cannot be understood; that is never proof of anything.
    fn read(&self, replies: &[Reply]) -> Result<View, String>;

    /// Reads the reply to the query of [`Purpose::Count`].
    ///
    /// # Errors
    ///
    /// When it tells no number.
    fn read_count(&self, reply: &Reply) -> Result<u64, String> {
        let _ = reply;
        Err("it tells no requests in flight".into())
    }

    /// Reads from the replies to the queries of [`Purpose::Probe`] what the gateway is.
    fn info(&self, replies: &[Reply]) -> GatewayInfo {
        GatewayInfo::by_server_header(&self.facts().kind, replies)
    }

    /// How nodes are taken out of rotation and back, where the gateway has an API for it.
    fn rotation_control(&self) -> Option<&dyn RotationControl> {
        None
    }
}

/// What a gateway is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose<'a> {
    /// Its list of peers, as the worker that answers has it.
    Look,
    /// What it is, and whether its counts can be used. What every look asks will do.
    Probe,
    /// The requests in flight at this address, where it tells them apart from its list.
    Count(&'a str),
    /// What it was told last, for its [`RotationControl`].
    Rotation,
}

/// How a gateway follows what it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// What the gateway is, for people: its name, and its mode where it has several.
    pub kind: String,
    /// How often it looks at the registry.
    pub interval: Duration,
    /// A write's longest way into the gateway.
    pub lag: Duration,
    /// From when it shows a change until it acts on it.
    pub apply_delay: Duration,
    /// How many workers follow on their own, if it is known.
    pub workers: Option<u32>,
    /// The reply header that names the worker, in lower case, where each has a list of its own.
    pub worker_header: Option<String>,
    /// A peer that it does not list has no requests in flight: those that have stay listed until the last, unless
    /// [`GatewayInfo::miscounts`] says otherwise.
    pub lists_busy: bool,
    /// There are requests at all that it could count.
    pub has_requests: bool,
}

impl Facts {
    /// One list, in which a change is in effect when it is answered.
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
        }
    }

    /// One list, which the gateway follows within `interval` after the list has changed, however late that is.
    pub(super) fn following(kind: impl Into<String>, interval: Duration) -> Self {
        Self { interval, lag: interval, apply_delay: interval, ..Self::immediate(kind) }
    }

    /// Workers that look every `interval`, and have followed after so much `slack`.
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

/// What a gateway is, as far as it tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GatewayInfo {
    /// Its kind and version.
    pub is: String,
    /// What keeps it from doing its part in a release.
    pub blockers: Vec<String>,
    /// Why its counts of requests in flight cannot be used.
    pub miscounts: Option<String>,
}

impl GatewayInfo {
    /// A kind of gateway, and the program that its first reply names.
    pub(super) fn by_server_header(kind: &str, replies: &[Reply]) -> Self {
        let server = replies.first().and_then(|reply| reply.header("server"));
        let server = server.map_or(String::new(), |server| format!(" in {server}"));
        Self { is: text::line(&format!("{kind}{server}"), 80), ..Self::default() }
    }
}
