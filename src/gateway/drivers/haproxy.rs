//! ## haproxy
//!
//! | gateway | `registry` | a playbook |
//! |---|---|---|
//! | HAProxy | `gateway` | [haproxy](../playbooks/haproxy.yaml) |
//! | HAProxy, `server-template` on Consul's DNS | `consul-service` | [haproxy-consul](../playbooks/haproxy-consul.yaml) |
//!
//! HAProxy 1.8 or newer, with its runtime API or its stats page. The tests have the answers of 1.8, 2.2 and every
//! version from 2.6 to 3.4.
//!
//! ```haproxy
//! global
//!     stats socket /run/haproxy/admin.sock mode 660 group haproxy level admin    # the runtime API; changes need `admin`
//!     stats socket ipv4@10.0.0.13:9999 level admin                               # the same over TCP: no password, so protect it
//!     server-state-file /var/lib/haproxy/server-state                            # keeps states over a reload: see Reloads
//! defaults
//!     load-server-state-from-file global
//! backend app
//!     server app-1 10.0.1.11:9000 check
//!     server app-2 10.0.1.12:9000 check
//! frontend stats
//!     bind 10.0.0.13:8404
//!     stats enable
//!     stats uri /stats
//!     stats show-legends                                                         # without it the page shows no addresses
//!     stats admin if { src 10.0.0.0/24 }
//! ```
//!
//! ```yaml
//! registry: { type: gateway }
//! gateways:                                                                      # three gateways, each reached in another way
//!   - { type: haproxy, backend: app, socket: { path: /run/haproxy/admin.sock, ssh: ops@10.0.0.12 } }    # without `ssh`: this machine
//!   - { type: haproxy, backend: app, tcp: '10.0.0.13:9999' }
//!   - { type: haproxy, backend: app, stats_url: 'http://10.0.0.14:8404/stats' }
//! ```
//!
//! **Servers:** rollgate finds a node by its server's address, not by its name. If the backend has no server or several
//! servers with the address, the error names the servers of the backend. If several backends have the same nodes, list
//! each one as a gateway in the playbook.
//!
//! **Confirmation:**
//!
//! - One read confirms **out** and **in**. HAProxy is one process, and a change is in effect when HAProxy answers it.
//! - **In** also needs HAProxy's own check to pass and a slow start to be over.
//! - From write to confirmation, TCP and the stats page need about 20 ms, ssh 40 to 130 ms.
//! - Several processes (`nbproc`, before 2.5) are refused.
//! - HAProxy 1.8 does not show the level of its socket: without `level admin` it rejects the first change.
//!
//! **How a node is taken out:**
//!
//! - The server is drained. Clients that stick to a server (`cookie`, `stick on`) still reach a drained server: set
//!   `state: maint` for them. A backend with a cookie is refused without it. rollgate cannot see stick tables.
//! - In `maint`, requests in flight also continue, unless the server has `on-marked-down shutdown-sessions`.
//! - The stats page always uses `maint`, because it shows a drained server that fails its check as `DOWN`, like one
//!   that was never drained.
//! - A stats page with a password (`stats auth`) cannot be used.
//!
//! - A server with weight 0 gets no requests. rollgate does not change weights, so it refuses to update such a node and
//!   names the reason: give the server a weight, or leave the node out (`--skip`).
//!
//! **Requests in flight** are those at the server and those that wait for it (`scur` and `qcur`): use
//! `drain: { in_flight: gateways }`. After a reload, the new process does not count the requests of the old one. For 10 min
//! after a start of HAProxy, rollgate therefore counts connections at the node, or, with `in_flight: gateways`, says so in
//! the result of the drain. (The stats page does not tell when the process started.)
//!
//! **Reloads:** a reload or restart forgets which servers are out, unless a state file is written before it
//! (`ExecReload=/bin/sh -c "echo show servers state | socat /run/haproxy/admin.sock - > /var/lib/haproxy/server-state"`).
//! Without a state file, rollgate notices the reload within two seconds, takes the node out again, and confirms it
//! before it continues. Requests in these seconds can fail.
//!
//! **Unix socket:** rollgate uses `perl`, `python3`, `socat` or `nc -U` on the socket's machine, whichever it finds
//! (every Debian has `perl`). With `sudo: true` in `socket`, it uses `sudo -n`.
//!
//! **Master process:** prefer a `stats socket` of the worker. If only the socket of the master process can be reached
//! (`haproxy -W -S /run/haproxy-master.sock`, HAProxy 1.9 or newer), set `master: true`: rollgate then addresses the
//! current worker with `@1`.
//!
//! **Other registries:** rollgate then only reads HAProxy's servers, so a level below `admin` is enough. Use
//! `consul-service` for a `server-template` on a record of Consul's DNS. Use `consul-kv` if another program writes the
//! keys to HAProxy's configuration. rollgate never changes a server that gets its address from DNS.

mod name;
mod page;
mod runtime;
mod servers;
mod table;
#[cfg(test)]
mod tests;
mod way;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::gateway::driver::{Driver, Facts, GatewayInfo, Purpose};
use crate::gateway::guess::{GatewayAddress, Guess};
use crate::gateway::query::Query;
use crate::gateway::rotation::{Listed, Listing, NotDone, RotationControl};
use crate::gateway::settings::{Issue, RegistryKind, Settings, SettingsFacts, templates};
use crate::gateway::view::{Nodes, View};
use crate::template::Template;
use crate::text::quoted;
use crate::world::{Host, Reply};

use name::is_name;
use servers::{Server, Servers};
use way::{Line, Way};

pub use name::HaproxyState;

/// HAProxy, with its runtime API over a Unix socket or TCP, or its stats page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Haproxy {
    /// Its name in messages. Default: the address at which it is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The backend whose servers are the nodes.
    pub backend: Template,
    /// Its runtime API over a Unix socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket: Option<HaproxySocket>,
    /// Its runtime API over TCP: `host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<Template>,
    /// `socket` or `tcp` is the address of the master process (`haproxy -W -S …`), not a `stats socket`. Default:
    /// false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub master: bool,
    /// Its stats page, with `stats admin` and `stats show-legends`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats_url: Option<Template>,
    /// A PEM file with the only authorities that may have signed its certificate; relative to the playbook. Default:
    /// those of the system, or of `SSL_CERT_FILE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// The state of a server that is out. A drained server still gets the requests of clients that stick to it; a
    /// server in `maint` gets none. Default: `drain`. At the stats page the default is `maint`, because a drained
    /// server looks like one that fails its check.
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
    /// The machine with the socket: `[user@]host[:port]` or an alias of your ssh configuration. Default: this
    /// machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<String>,
    /// Use `sudo -n`. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sudo: bool,
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

impl Settings for Haproxy {
    templates!(backend, tcp, stats_url);

    fn guesses(address: &GatewayAddress, names: &[String]) -> Vec<Guess> {
        let backend = |name: &String| ("backend", Value::from(name.clone()));
        let guess = |key, value: Value| {
            names.iter().map(|name| Guess::new([backend(name), (key, value.clone())])).collect()
        };
        match address {
            GatewayAddress::Socket { path, ssh: None } => guess("socket", json!({ "path": path })),
            GatewayAddress::Socket { path, ssh } => {
                guess("socket", json!({ "path": path, "ssh": ssh }))
            }
            GatewayAddress::Tcp(port) => guess("tcp", port.clone().into()),
            GatewayAddress::Url { .. } => {
                let pages = address.urls(&["/haproxy?stats", "/stats", "/"]);
                pages.into_iter().flat_map(|page| guess("stats_url", page.into())).collect()
            }
        }
    }

    /// It obeys its own API. With another registry, something else changes its servers (DNS, consul-template), and
    /// it only shows them.
    fn facts(&self) -> SettingsFacts<'_> {
        let ssh = self.socket.as_ref().and_then(|socket| socket.ssh.as_deref());
        let ssh = ssh.map(|ssh| ("socket.ssh", ssh));
        let written = [("tcp", self.tcp.as_ref()), ("stats_url", self.stats_url.as_ref())];
        let written = written.into_iter().filter_map(|(key, place)| Some((key, place?.as_str())));
        SettingsFacts {
            ca: self.ca.as_deref(),
            name: self.name.as_deref(),
            place: ssh
                .into_iter()
                .chain(written)
                .next()
                .unwrap_or(("backend", self.backend.as_str())),
            ssh,
            // A slot that follows DNS loses its address with the node that leaves, so its requests can no longer
            // be assigned to a node.
            counts_under: &[RegistryKind::ConsulKv, RegistryKind::Gateway],
            ..SettingsFacts::default()
        }
    }

    fn issues(&self, known: &dyn Fn(&str) -> bool) -> Vec<Issue> {
        let mut wrong = Vec::new();
        let ways = [
            ("socket", self.socket.is_some()),
            ("tcp", self.tcp.is_some()),
            ("stats_url", self.stats_url.is_some()),
        ];
        let given: Vec<_> = ways.iter().filter(|(_, is_given)| *is_given).collect();
        if ways.iter().all(|(key, _)| known(key)) && given.len() != 1 {
            wrong.push(Issue {
                key: given.get(1).map_or("backend", |(key, _)| key),
                message: "HAProxy is reached by exactly one of `socket`, `tcp` and `stats_url`"
                    .into(),
                helps: vec![
                    "`socket: { path: /run/haproxy/admin.sock, ssh: ops@10.0.0.12 }`".into(),
                ],
            });
        }
        if self.stats_url.is_some() && self.master {
            wrong.push(Issue {
                key: "master",
                message: "the master process has no stats page".into(),
                helps: vec!["remove `master`".into()],
            });
        }
        if self.stats_url.is_some() && self.state == Some(HaproxyState::Drain) {
            wrong.push(Issue {
                key: "state",
                message: "the stats page does not show whether a server is drained".into(),
                helps: vec![
                    "it shows a drained server that fails its check as `DOWN`: write `maint`"
                        .into(),
                ],
            });
        }
        if let Some(backend) =
            self.backend.fixed().filter(|name| known("backend") && !is_name(name))
        {
            wrong.push(Issue {
                key: "backend",
                message: format!("`{}` is not the name of a backend", quoted(backend)),
                helps: vec!["HAProxy allows letters, digits, `-`, `_`, `.` and `:`".into()],
            });
        }
        wrong
    }
}

/// HAProxy: its runtime API over a Unix socket or TCP, or its stats page.
///
/// One process, one state: a reply is valid for every thread, and a change is in effect when HAProxy answers it.
/// HAProxy before 2.5 could run several processes (`nbproc`), each with its own state: that is refused. Everything
/// that a change would not reach is also refused: clients that stick to a drained server, and a server whose
/// address DNS can change.
pub(super) struct HaproxyDriver {
    facts: Facts,
    nodes: Nodes,
    backend: String,
    way: Way,
    /// It is reached through its master process.
    is_master: bool,
    out: HaproxyState,
}

impl HaproxyDriver {
    pub(super) fn new(settings: &Haproxy, nodes: Nodes) -> Self {
        let backend = settings.backend.as_str().to_owned();
        let way = match (&settings.socket, &settings.tcp, &settings.stats_url) {
            // The name becomes part of a line, in which a `;` would begin another command.
            _ if !is_name(&backend) => Way::Nowhere,
            (Some(socket), ..) => Way::Runtime(Line::Socket {
                host: Host::of(socket.ssh.as_deref()),
                path: socket.path.clone(),
                sudo: socket.sudo,
            }),
            (None, Some(address), _) => Way::Runtime(Line::Tcp(address.as_str().to_owned())),
            (None, None, Some(url)) => Way::Page(url.as_str().to_owned()),
            (None, None, None) => Way::Nowhere,
        };
        let (facts, is_master) = (Facts::immediate("HAProxy"), settings.master);
        Self { facts, nodes, backend, way, is_master, out: settings.out() }
    }

    fn list(&self) -> Vec<Query> {
        match &self.way {
            Way::Runtime(line) => vec![self.says(line, &runtime::question(&self.backend))],
            Way::Page(url) => vec![page::list(url)],
            Way::Nowhere => Vec::new(),
        }
    }

    /// Commands for the worker.
    fn says(&self, line: &Line, commands: &[String]) -> Query {
        line.says(&runtime::line(commands, self.is_master))
    }

    fn servers(&self, replies: &[Reply]) -> Result<Servers, String> {
        match &self.way {
            Way::Runtime(_) => runtime::read(replies, &self.backend),
            Way::Page(_) => page::read(replies, &self.backend),
            Way::Nowhere => Err(format!(
                "`{}` is not a backend that the playbook's settings can reach",
                crate::text::line(&self.backend, 80)
            )),
        }
    }

    /// The only server that is the node at `address`, if it may be changed.
    fn server<'a>(&self, servers: &'a Servers, address: &str) -> Result<&'a Server, String> {
        let server = servers.only(address, &self.backend)?;
        if let Some(record) = &server.record {
            return Err(format!(
                "server {} of {} gets its address from DNS ({record}): a change could affect another node; \
                 use the registry `consul-service`",
                server.name, self.backend
            ));
        }
        if servers.is_sticky && self.out == HaproxyState::Drain {
            return Err(format!(
                "backend {} keeps clients at their server by a cookie, and a drained server still gets their \
                 requests: set `state: maint`",
                self.backend
            ));
        }
        Ok(server)
    }
}

impl Driver for HaproxyDriver {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn queries(&self, purpose: Purpose<'_>) -> Vec<Query> {
        match purpose {
            Purpose::Look | Purpose::Probe => self.list(),
            Purpose::Rotation => {
                let mut queries = self.list();
                if let Way::Page(url) = &self.way {
                    queries.push(page::whole(url));
                }
                queries
            }
            Purpose::Count(_) => Vec::new(),
        }
    }

    fn read(&self, replies: &[Reply]) -> Result<View, String> {
        let servers = self.servers(replies)?;
        // Only cookies show that clients stick to a drained server. `maint` in the playbook says that they can.
        let sticks = servers.is_sticky || self.out == HaproxyState::Maint;
        servers.view(sticks, &self.nodes)
    }

    fn info(&self, replies: &[Reply]) -> GatewayInfo {
        let is = match &self.way {
            Way::Runtime(_) => runtime::version(replies),
            Way::Page(_) | Way::Nowhere => None,
        };
        GatewayInfo { is: is.unwrap_or_else(|| self.facts.kind.clone()), ..GatewayInfo::default() }
    }

    fn rotation_control(&self) -> Option<&dyn RotationControl> {
        Some(self)
    }
}

impl RotationControl for HaproxyDriver {
    fn listing(&self, replies: &[Reply], address: &str) -> Result<Listing, String> {
        let servers = self.servers(replies)?;
        match &self.way {
            Way::Runtime(_) => runtime::may_write(replies)?,
            Way::Page(_) => page::is_one_process(replies)?,
            Way::Nowhere => {}
        }
        let server = self.server(&servers, address)?;
        let is_down = server.state()?.is_told(self.out);
        Ok(if is_down { Listed::Down } else { Listed::Up }.into())
    }

    fn set(&self, replies: &[Reply], address: &str, down: bool) -> Result<Vec<Query>, String> {
        let servers = self.servers(replies)?;
        let server = self.server(&servers, address)?;
        let state = match (down, self.out) {
            (true, HaproxyState::Drain) => "drain",
            (true, HaproxyState::Maint) => "maint",
            (false, _) => "ready",
        };
        Ok(match &self.way {
            Way::Runtime(line) => {
                let server = format!("{}/{}", self.backend, server.name);
                vec![self.says(line, &[format!("set server {server} state {state}")])]
            }
            Way::Page(url) => vec![page::action(url, &self.backend, &server.name, state)],
            Way::Nowhere => Vec::new(),
        })
    }

    fn is_done(&self, replies: &[Reply]) -> Result<(), NotDone> {
        match &self.way {
            Way::Runtime(_) => runtime::is_done(replies),
            Way::Page(_) => page::is_done(replies),
            Way::Nowhere => Err(NotDone::Refused("nothing was asked".into())),
        }
    }
}
