//! ## consul-template
//!
//! | gateway | `registry` | a playbook |
//! |---|---|---|
//! | nginx with a list that consul-template renders | `consul-service` | [consul-template](../playbooks/consul-template.yaml) |
//!
//! nginx with a list of servers that consul-template renders, and a reload after each change.
//!
//! ```text
//! upstream app {
//! {{ range service "app" }}  server {{ .Address }}:{{ .Port }};
//! {{ else }}  server 127.0.0.1:1 down;                          # nginx refuses an empty list
//! {{ end }}}
//! ```
//!
//! ```yaml
//! gateways:
//!   - { type: consul-template, ssh: ops@10.0.0.13, file: /etc/nginx/conf.d/app.conf, pid_file: /run/nginx.pid }
//! ```
//!
//! **Confirmation:**
//!
//! - rollgate reads the file over ssh and searches it for `server ADDRESS`, or for your `pattern` (with a group
//!   `address`).
//! - **Out:** the file has not had the node for `sync_interval` (2 s), and no nginx worker is shutting down. Workers
//!   with the previous list work until their requests are done. Long connections (WebSockets) keep such workers: set
//!   nginx's `worker_shutdown_timeout`.
//! - No change is confirmed if a worker is more than one second older than the file, because it has not loaded the
//!   file. nginx refuses to reload if anything in its configuration is wrong, and continues with the previous list.
//! - No change is confirmed if the process of `pid_file` has no workers.
//! - rollgate compares the time of `file` with the start of each worker, on the machine of `ssh`. Therefore `pid_file`
//!   must not be from a container, and the time of `file` must not come from another machine (NFS).
//! - `sync_interval` starts when the file has changed. It need not include consul-template's own `wait`, which adds to
//!   the delay.
//!
//! **Client impact:** a reload cuts idle keep-alive connections of clients. nginx does this; a client must repeat such
//! a request. One of about 5,500 requests was lost in a release of three nodes. None was lost with clients that open a
//! new connection, and none with `keepalive_min_timeout 1s` (nginx 1.27.4 or later).

#[cfg(test)]
mod tests;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::address::with_port;
use crate::gateway::driver::{Driver, Facts, Purpose};
use crate::gateway::query::{Query, READ_TIMEOUT, first};
use crate::gateway::settings::{
    Issue, RegistryKind, Settings, SettingsFacts, follows_only, not_absolute, templates,
};
use crate::gateway::table::{Place, Table, pattern_issues};
use crate::gateway::view::{Nodes, View};
use crate::node::NodeScript;
use crate::period::DurationSetting;
use crate::template::Template;
use crate::text::{count, duration};
use crate::world::{Command, Host, Reply};

/// nginx with a list of servers that consul-template renders, and a reload after each change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsulTemplate {
    /// Its name in messages. Default: the host of its ssh destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The machine on which it runs: `[user@]host[:port]`, an alias of the user's ssh configuration, or `local`.
    pub ssh: Template,
    /// The rendered file, an absolute path.
    pub file: Template,
    /// The file with the process id of nginx's master. rollgate waits for workers that the master is shutting down.
    pub pid_file: Template,
    /// A regular expression that finds each server in the file, with a group `address`. Default: `server ADDRESS`
    /// as nginx writes it, except servers that are `down`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "regex"))]
    pub pattern: Option<String>,
    /// How long the reload may take after the file was rendered. Default: 2s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_interval: Option<DurationSetting>,
}

impl Settings for ConsulTemplate {
    templates!(ssh, file, pid_file);

    fn facts(&self) -> SettingsFacts<'_> {
        SettingsFacts {
            name: self.name.as_deref(),
            place: ("ssh", self.ssh.as_str()),
            ssh: self.ssh.fixed().map(|ssh| ("ssh", ssh)),
            incompatible_with: follows_only(
                RegistryKind::ConsulService,
                "it follows the health of a service in Consul",
            ),
            ..SettingsFacts::default()
        }
    }

    fn issues(&self, known: &dyn Fn(&str) -> bool) -> Vec<Issue> {
        let paths = [("file", &self.file), ("pid_file", &self.pid_file)];
        let own = paths.into_iter().filter(|(key, _)| known(key));
        let mut wrong: Vec<_> = own.filter_map(|(key, path)| not_absolute(key, path)).collect();
        if let Some(pattern) = self.pattern.as_ref().filter(|_| known("pattern")) {
            wrong.extend(pattern_issues(pattern));
        }
        wrong
    }
}

/// The default time for the reload, after the file was rendered.
const INTERVAL: Duration = Duration::from_secs(2);

/// A `server` of nginx's upstream block. A line can have several: a server that is missed would count as out.
const SERVER: &str = r"(?m)(?:^|[;{])\s*server\s+(?<address>[^\s;{]+)(?:[^;#]*?\s(?<down>down)\b)?";

/// nginx with a rendered list of servers, and a reload after each change.
///
/// Open-source nginx does not show which list is loaded. The file shows the next one. Workers that are older than
/// the file have not read it, for example because nginx refuses its configuration. Otherwise the reload follows at
/// once: requests arrived at a removed server for 85–104 ms after its command had returned, 114–130 ms after the
/// write. Workers with the previous list end when their requests are done. They are counted until then.
pub(super) struct ConsulTemplateDriver {
    facts: Facts,
    host: Host,
    script: NodeScript,
    servers: Table,
    nodes: Nodes,
}

impl ConsulTemplateDriver {
    pub(super) fn new(settings: &ConsulTemplate, nodes: Nodes) -> Self {
        let host = Host::of(Some(settings.ssh.as_str()));
        let interval = settings.sync_interval.map_or(INTERVAL, |period| period.0);
        Self {
            facts: Facts {
                confirmed_when: Some(format!(
                    "{} at {host} has not had the node (out) or has had it (in) for {}, every nginx worker has loaded \
                     it, and for out, no worker with the previous list is left",
                    settings.file.as_str(),
                    duration(interval)
                )),
                ..Facts::following(format!("a file at {host}"), interval)
            },
            host,
            script: NodeScript::Rendered {
                file: settings.file.as_str().to_owned(),
                pid_file: settings.pid_file.as_str().to_owned(),
            },
            servers: Table::new(
                Some(settings.pattern.as_deref().unwrap_or(SERVER)),
                Place::default(),
                Nodes::default(),
            ),
            nodes,
        }
    }
}

impl Driver for ConsulTemplateDriver {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn queries(&self, purpose: Purpose<'_>) -> Vec<Query> {
        match purpose {
            Purpose::Look | Purpose::Probe => {
                let command = Command::new(self.script.clone(), READ_TIMEOUT, false);
                vec![Query::Run(self.host.clone(), command)]
            }
            Purpose::Rotation | Purpose::Count(_) => Vec::new(),
        }
    }

    fn read(&self, replies: &[Reply]) -> Result<View, String> {
        let reply = first(replies)?;
        let text = reply.searchable()?;
        // The last line shows that the file before it is complete.
        let (file, workers) = text.rsplit_once("\nleaving=").unwrap_or_default();
        let (leaving, older) = numbers(workers).ok_or("nginx's workers cannot be counted")?;
        if older > 0 {
            let workers = count(older, "worker");
            return Err(format!(
                "nginx has not loaded the file: {workers} started before it was written"
            ));
        }
        let mut view = View::default();
        let servers = self.servers.read(&Reply { body: file.into(), ..Reply::default() })?;
        for (address, server) in servers.peers {
            view.add(self.nodes.name(&with_port(&address)), server);
        }
        if leaving > 0 {
            let workers = count(leaving, "worker");
            view.unsettled = Some(format!("the previous list is still in use by {workers}"));
        }
        Ok(view)
    }
}

/// How many workers are shutting down, and how many are older than the file.
fn numbers(workers: &str) -> Option<(usize, usize)> {
    let (leaving, older) = workers.strip_suffix('\n')?.split_once(" older=")?;
    Some((leaving.parse().ok()?, older.parse().ok()?))
}
