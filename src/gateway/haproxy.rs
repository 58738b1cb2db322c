//! HAProxy: its runtime API over a Unix socket or TCP, or its stats page.
//!
//! One process, one state: what a reply shows is true of every thread, and a change is in effect when it is answered.
//! HAProxy before 2.5 could run several processes (`nbproc`), each with a state of its own: that is refused. So is
//! whatever a change would not reach: clients that stick to a drained server, a server whose address DNS may change.

mod page;
mod runtime;
mod servers;
#[cfg(test)]
mod tests;

use std::time::Duration;

use super::{Driver, GatewayInfo, Mark, Nodes, NotDone, Query, READ_TIMEOUT, Switch, View};
use crate::node::Operation;
use crate::playbook::{self, HaproxyState, is_haproxy_name};
use crate::world::{Command, Host, Reply};

use servers::{Server, Servers};

/// For one command on HAProxy's machine, the connection to it included.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

/// How HAProxy is reached.
enum Way {
    /// The runtime API.
    Runtime(Line),
    /// The stats page, by its URL.
    Page(String),
    /// Not at all: what the playbook says of it makes no sense. Its check refuses that.
    Nowhere,
}

/// What a line of the runtime API is said to.
enum Line {
    /// A Unix socket on some machine.
    Socket { host: Host, path: String, sudo: bool },
    /// `host:port`.
    Tcp(String),
}

/// A gateway of this kind.
pub(super) struct Haproxy {
    nodes: Nodes,
    backend: String,
    way: Way,
    out: HaproxyState,
}

impl Haproxy {
    pub(super) fn new(settings: &playbook::Haproxy, nodes: Nodes) -> Self {
        let backend = settings.backend.as_str().to_owned();
        let way = match (&settings.socket, &settings.tcp, &settings.stats_url) {
            // It becomes part of a line, in which a `;` would begin another command.
            _ if !is_haproxy_name(&backend) => Way::Nowhere,
            (Some(socket), ..) => Way::Runtime(Line::Socket {
                host: Host::of(socket.ssh.as_deref()),
                path: socket.path.clone(),
                sudo: socket.sudo,
            }),
            (None, Some(address), _) => Way::Runtime(Line::Tcp(address.as_str().to_owned())),
            (None, None, Some(url)) => Way::Page(url.as_str().to_owned()),
            (None, None, None) => Way::Nowhere,
        };
        Self { nodes, backend, way, out: settings.out() }
    }

    fn servers(&self, replies: &[Reply]) -> Result<Servers, String> {
        match &self.way {
            Way::Runtime(_) => runtime::read(replies, &self.backend),
            Way::Page(_) => page::read(replies, &self.backend),
            Way::Nowhere => Err(format!(
                "`{}` in no backend of an HAProxy that can be reached",
                crate::text::line(&self.backend, 80)
            )),
        }
    }

    /// The one server that is the node at `address`, if it may be written to.
    fn server<'a>(&self, servers: &'a Servers, address: &str) -> Result<&'a Server, String> {
        let server = servers.only(address, &self.backend)?;
        if let Some(record) = &server.record {
            return Err(format!(
                "server {} of {} gets its address from DNS ({record}): what is written to it may reach another node; \
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

impl Line {
    fn says(&self, text: &str) -> Query {
        match self {
            Self::Socket { host, path, sudo } => {
                let operation = Operation::UnixSocket { path: path.clone(), say: text.into() };
                Query::Run(host.clone(), Command::new(operation, COMMAND_TIMEOUT, *sudo))
            }
            Self::Tcp(address) => {
                Query::Exchange(address.clone(), format!("{text}\n").into_bytes(), READ_TIMEOUT)
            }
        }
    }
}

impl Driver for Haproxy {
    fn asks(&self) -> Vec<Query> {
        match &self.way {
            Way::Runtime(line) => vec![line.says(&runtime::question(&self.backend))],
            Way::Page(url) => vec![page::list(url)],
            Way::Nowhere => Vec::new(),
        }
    }

    fn read(&self, replies: &[Reply]) -> Result<View, String> {
        let servers = self.servers(replies)?;
        // What sticks to a drained server is known only of cookies; `maint` in the playbook says that something may.
        let sticks = servers.is_sticky || self.out == HaproxyState::Maint;
        servers.view(sticks, &self.nodes)
    }

    fn interval(&self) -> Duration {
        Duration::ZERO
    }

    fn lag(&self) -> Duration {
        Duration::ZERO
    }

    /// One process.
    fn workers(&self) -> Option<u32> {
        Some(1)
    }

    fn info(&self, replies: &[Reply]) -> GatewayInfo {
        let is = match &self.way {
            Way::Runtime(_) => runtime::version(replies),
            Way::Page(_) | Way::Nowhere => None,
        };
        GatewayInfo { is: is.unwrap_or_else(|| self.kind()), ..GatewayInfo::default() }
    }

    fn kind(&self) -> String {
        "HAProxy".into()
    }

    fn switch(&self) -> Option<&dyn Switch> {
        Some(self)
    }
}

impl Switch for Haproxy {
    fn asks(&self) -> Vec<Query> {
        let mut asks = Driver::asks(self);
        if let Way::Page(url) = &self.way {
            asks.push(page::whole(url));
        }
        asks
    }

    fn mark(&self, replies: &[Reply], address: &str) -> Result<Mark, String> {
        let servers = self.servers(replies)?;
        match &self.way {
            Way::Runtime(_) => runtime::may_write(replies)?,
            Way::Page(_) => page::is_one_process(replies)?,
            Way::Nowhere => {}
        }
        let server = self.server(&servers, address)?;
        Ok(if server.state()?.is_told(self.out) { Mark::Down } else { Mark::Up })
    }

    fn turn(&self, replies: &[Reply], address: &str, down: bool) -> Result<Vec<Query>, String> {
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
                vec![line.says(&format!("set server {server} state {state}"))]
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
