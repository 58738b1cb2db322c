//! The keys of HAProxy, and what must be true of them together.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Settings, Wrong};
use crate::playbook::findings::quoted;
use crate::playbook::{Registry, Template};

/// HAProxy: its runtime API by a Unix socket or over TCP, or its stats page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Haproxy {
    /// What it is called in messages. Default: where it is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The backend whose servers are the nodes.
    pub backend: Template,
    /// Its runtime API by a Unix socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket: Option<HaproxySocket>,
    /// Its runtime API over TCP: `host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<Template>,
    /// Its stats page, with `stats admin` and `stats show-legends`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats_url: Option<Template>,
    /// The state of a server that is out. A drained one still gets the requests of clients that stick to it; one in
    /// `maint` gets none. Default: `drain`; at the stats page `maint`, where a drained one cannot be told from one
    /// that fails its check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<HaproxyState>,
}

/// A Unix socket with HAProxy's runtime API, `level admin`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HaproxySocket {
    /// Its path.
    #[schemars(regex(pattern = r"^/"))]
    pub path: String,
    /// The machine that it is on: `[user@]host[:port]` or an alias of your ssh configuration. Default: this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<String>,
    /// Through `sudo -n`. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sudo: bool,
}

/// The state of a server that is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HaproxyState {
    /// No new requests, but those of clients that stick to it by a cookie or a stick table.
    Drain,
    /// No new requests at all.
    Maint,
}

impl Haproxy {
    /// Returns the state of a server that is out.
    #[must_use]
    pub fn out(&self) -> HaproxyState {
        let default = || match self.stats_url {
            Some(_) => HaproxyState::Maint,
            None => HaproxyState::Drain,
        };
        self.state.unwrap_or_else(default)
    }
}

/// Returns whether HAProxy allows a text as the name of a backend or server.
pub(crate) fn is_name(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    !text.is_empty() && text.bytes().all(is_allowed)
}

impl Settings for Haproxy {
    super::templates!(backend, tcp, stats_url);

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn place(&self) -> (&'static str, &str) {
        let ssh = self.socket.as_ref().and_then(|socket| socket.ssh.as_deref());
        let url = ("stats_url", self.stats_url.as_ref());
        let written = [("tcp", self.tcp.as_ref()), url].into_iter();
        let written = written.filter_map(|(key, place)| Some((key, place?.as_str())));
        let known = ssh.map(|ssh| ("socket.ssh", ssh)).into_iter().chain(written).next();
        known.unwrap_or(("backend", self.backend.as_str()))
    }

    fn destination(&self) -> Option<(&'static str, &str)> {
        let ssh = self.socket.as_ref()?.ssh.as_deref()?;
        Some(("socket.ssh", ssh))
    }

    fn counts_in_flight(&self) -> bool {
        true
    }

    /// A slot that follows DNS loses its address with the node that leaves, and with it whose requests it has.
    fn counts_under(&self, registry: &Registry) -> bool {
        !matches!(registry, Registry::ConsulService { .. })
    }

    /// What it is written to it obeys. Under another registry something else makes it follow (DNS, consul-template),
    /// and it only shows.
    fn incompatible_with(&self, _: &Registry) -> Option<String> {
        None
    }

    fn wrong(&self, known: &dyn Fn(&str) -> bool) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        let ways = [
            ("socket", self.socket.is_some()),
            ("tcp", self.tcp.is_some()),
            ("stats_url", self.stats_url.is_some()),
        ];
        let given: Vec<_> = ways.iter().filter(|(_, is_given)| *is_given).collect();
        if ways.iter().all(|(key, _)| known(key)) && given.len() != 1 {
            wrong.push(Wrong {
                key: given.get(1).map_or("backend", |(key, _)| key),
                message: "HAProxy is reached by exactly one of `socket`, `tcp` and `stats_url`"
                    .into(),
                helps: vec![
                    "`socket: { path: /run/haproxy/admin.sock, ssh: ops@10.0.0.12 }`".into(),
                ],
            });
        }
        if self.stats_url.is_some() && self.state == Some(HaproxyState::Drain) {
            wrong.push(Wrong {
                key: "state",
                message: "the stats page does not tell a drained server".into(),
                helps: vec![
                    "when its check fails it is shown as `DOWN`, as one that was never drained: write `maint`"
                        .into(),
                ],
            });
        }
        if let Some(backend) =
            self.backend.fixed().filter(|name| known("backend") && !is_name(name))
        {
            wrong.push(Wrong {
                key: "backend",
                message: format!("`{}` is no name of a backend", quoted(backend)),
                helps: vec!["HAProxy allows letters, digits, `-`, `_`, `.` and `:`".into()],
            });
        }
        wrong
    }
}
