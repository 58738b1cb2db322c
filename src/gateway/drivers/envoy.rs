//! ## envoy
//!
//! | gateway | `registry` | a playbook |
//! |---|---|---|
//! | Envoy | `gateway` | [envoy](../playbooks/envoy.yaml) |
//!
//! Envoy with the endpoints of a cluster in a JSON or YAML file that it watches (EDS). Envoy needs a `node` with `id`
//! and `cluster`.
//!
//! ```yaml
//! clusters:
//!   - name: app
//!     type: EDS
//!     eds_cluster_config: { eds_config: { path_config_source: {
//!       path: /etc/envoy/eds/app.json, watched_directory: { path: /etc/envoy/eds } } } }
//!     common_lb_config: { healthy_panic_threshold: { value: 0 } }
//! ```
//!
//! ```json
//! { "resources": [ { "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment", "cluster_name": "app",
//!   "endpoints": [ { "lb_endpoints": [
//!     { "endpoint": { "address": { "socket_address": { "address": "10.0.1.11", "port_value": 9000 } } } },
//!     { "endpoint": { "address": { "socket_address": { "address": "10.0.1.12", "port_value": 9000 } } } } ] } ] } ] }
//! ```
//!
//! ```yaml
//! registry: { type: gateway }
//! gateways:
//!   - { type: envoy, admin_url: 'http://10.0.0.11:9901', cluster: app, ssh: ops@10.0.0.11, file: /etc/envoy/eds/app.json, panic_threshold: 0 }
//! drain: { in_flight: gateways }
//! ```
//!
//! **Writes:**
//!
//! - rollgate sets the node's `health_status` in the file to `DRAINING`, and later to `HEALTHY`. Every other byte of the
//!   file stays as it is, with comments and formatting.
//! - The file is YAML if its name ends in `.yaml` or `.yml`, else JSON. An endpoint that the file repeats by an anchor
//!   or a merge key, and a key that occurs twice on the way to it, are refused.
//! - If the cluster's `eds_cluster_config` has a `service_name`, the file uses that name: set `service_name` to it.
//! - The file is replaced, because Envoy does not notice a write in place. It is replaced only if it is still as it was
//!   read.
//! - A file that is mounted alone into a container (`-v /srv/app.yaml:…`) is refused, as far as rollgate can see it: the
//!   container keeps the old file when rollgate replaces it. Mount its folder. Only root sees the containers of other
//!   users (`sudo: true`). rollgate never writes such a file in place: the gateway could read a part of it.
//! - A symbolic link in its place is refused, and so is a file of 1 MiB or more.
//! - The file is sent over standard input and is not on any command line. Its owner, group and mode stay.
//! - The state in the file survives a restart.
//!
//! **Confirmation:** `/clusters` shows the change, and shows it again 100 ms later (104 to 145 ms in total). Envoy's
//! main thread shows a change about 20 ms after the write, and its workers can be busy for a moment. A node that a
//! health check or outlier detection of Envoy keeps down is not confirmed in.
//!
//! **Panic threshold:** in two cases Envoy sends requests to **all** nodes, also to drained ones. Then no node is
//! confirmed out.
//!
//! - All nodes are drained.
//! - Of the nodes that are not drained, a smaller part is healthy than `healthy_panic_threshold` says (default: 50 %).
//!
//! Set `healthy_panic_threshold` in Envoy and `panic_threshold` in the playbook (default: 50) to 0. `doctor` refuses an
//! Envoy whose threshold is higher than the playbook's.
//!
//! **Requests in flight** of a drained node are reported until the last one ends.
//!
//! **Limits:**
//!
//! - The admin page has no password: let it listen where only you can reach it.
//! - Endpoints from a management server (xDS over gRPC) are not supported. Use `command` to change them at that server.

mod file;
mod info;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::gateway::driver::{Driver, Facts, GatewayInfo, Purpose};
use crate::gateway::file::{FileControl, GatewayFile};
use crate::gateway::guess::{GatewayAddress, Guess};
use crate::gateway::query::{Query, first, get, ok};
use crate::gateway::rotation::RotationControl;
use crate::gateway::settings::{
    Issue, RegistryKind, Settings, SettingsFacts, follows_only, not_absolute, templates,
};
use crate::gateway::view::{Entries, Nodes, Peer, View};
use crate::json;
use crate::template::Template;
use crate::world::{Host, Reply};

/// Envoy with its endpoints in a JSON or YAML file that it watches (EDS).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Envoy {
    /// Its name in messages. Default: the host of its URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The URL of its admin page: `http://10.0.0.11:9901`.
    pub admin_url: Template,
    /// A PEM file with the only authorities that may have signed its certificate; relative to the playbook. Default:
    /// those of the system, or of `SSL_CERT_FILE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// The cluster whose endpoints are the nodes.
    pub cluster: Template,
    /// The name of the cluster in the file, if the cluster has a `service_name` in its `eds_cluster_config`. Default:
    /// the cluster's own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_name: Option<Template>,
    /// The machine with the file: `[user@]host[:port]`, an alias of the user's ssh configuration, or `local`.
    pub ssh: Template,
    /// The file with the endpoints, an absolute path, in the directory that Envoy watches. YAML if its name ends in
    /// `.yaml` or `.yml`, else JSON.
    pub file: Template,
    /// Read and write the file as root, through `sudo -n`. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sudo: bool,
    /// The cluster's `healthy_panic_threshold`, in percent: if fewer of the nodes that are not drained are healthy,
    /// Envoy sends requests to all nodes, also to drained ones. Default: 50, as in Envoy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub panic_threshold: Option<u8>,
}

impl Settings for Envoy {
    templates!(admin_url, cluster, service_name, ssh, file);

    fn guesses(address: &GatewayAddress, names: &[String]) -> Vec<Guess> {
        let guesses = address.named("admin_url", "cluster", names).into_iter();
        let asking = |guess: Guess| {
            guess.asking(&[
                ("ssh", "The machine with Envoy's file of endpoints, for ssh", "local"),
                ("file", "The file of endpoints that Envoy watches (EDS)", "/etc/envoy/eds.yaml"),
            ])
        };
        guesses.map(asking).collect()
    }

    fn facts(&self) -> SettingsFacts<'_> {
        SettingsFacts {
            ca: self.ca.as_deref(),
            name: self.name.as_deref(),
            place: ("admin_url", self.admin_url.as_str()),
            ssh: self.ssh.fixed().map(|ssh| ("ssh", ssh)),
            counts_under: &RegistryKind::ALL,
            incompatible_with: follows_only(RegistryKind::Gateway, "it follows its own file"),
            ..SettingsFacts::default()
        }
    }

    fn issues(&self, known: &dyn Fn(&str) -> bool) -> Vec<Issue> {
        let relative = known("file").then(|| not_absolute("file", &self.file)).flatten();
        relative.into_iter().collect()
    }
}

/// The time from when the admin page shows a change until every worker acts on it.
const APPLY_DELAY: Duration = Duration::from_millis(100);

/// The length of the names of other clusters in a message.
const NAMED: usize = 100;

/// Envoy with its endpoints in a file (EDS): rollgate writes the file, and Envoy's admin page confirms the change.
///
/// The file is replaced, and only if it is still as it was read. Envoy notices this if it watches the directory.
/// The admin page shows the state of the main thread. It informs its workers at once, but they can be busy for a
/// moment.
pub(super) struct EnvoyDriver {
    facts: Facts,
    nodes: Nodes,
    admin_url: String,
    control: FileControl,
    /// The cluster on the admin page.
    cluster: String,
    panic_threshold: usize,
}

#[derive(Deserialize)]
struct Clusters<'a> {
    #[serde(borrow)]
    cluster_statuses: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Cluster<'a> {
    name: String,
    #[serde(borrow)]
    host_statuses: Option<&'a RawValue>,
}

/// Hosts that are not drained.
#[derive(Default)]
struct Hosts {
    all: usize,
    healthy: usize,
}

impl Hosts {
    fn count(&mut self, host: &HostStatus<'_>) {
        if host.told() != Some(file::DRAINING) {
            self.all += 1;
            self.healthy += usize::from(host.peer().is_ok_and(|peer| peer.routed()));
        }
    }
}

/// A host as Envoy shows it.
struct HostStatus<'a>(&'a Value);

impl HostStatus<'_> {
    /// The status from the file.
    fn told(&self) -> Option<&str> {
        self.0["health_status"]["eds_health_status"].as_str()
    }

    fn peer(&self) -> Result<Peer, String> {
        let checks = match &self.0["health_status"] {
            Value::Null => None,
            Value::Object(checks) => Some(checks),
            other => {
                let other = crate::text::line(&other.to_string(), 80);
                return Err(format!("a host's health cannot be read: {other}"));
            }
        };
        Ok(Peer {
            up: !self.told().is_some_and(file::keeps_away),
            // One `true` for each check that keeps requests away.
            failing_check: checks.is_some_and(|checks| checks.values().any(|value| value == true)),
            in_flight: self.in_flight(),
        })
    }

    /// A number that is 0 is omitted, but its name is not.
    fn in_flight(&self) -> Option<u64> {
        let mut stats = self.0["stats"].as_array()?.iter();
        match &stats.find(|stat| stat["name"] == "rq_active")?["value"] {
            Value::Null => Some(0),
            Value::String(number) => number.parse().ok(),
            number => number.as_u64(),
        }
    }
}

impl EnvoyDriver {
    pub(super) fn new(settings: &Envoy, nodes: Nodes) -> Self {
        // One list for all its workers.
        let facts = Facts::immediate(info::KIND);
        Self {
            facts: Facts { apply_delay: APPLY_DELAY, ..facts },
            nodes,
            admin_url: settings.admin_url.as_str().trim_end_matches('/').to_owned(),
            control: FileControl {
                file: GatewayFile {
                    host: Host::of(Some(settings.ssh.as_str())),
                    path: settings.file.as_str().to_owned(),
                    sudo: settings.sudo,
                },
                pool: settings.service_name.as_ref().unwrap_or(&settings.cluster).as_str().into(),
                find: file::endpoints,
                is_down: file::is_down,
                mark: file::mark,
            },
            cluster: settings.cluster.as_str().to_owned(),
            panic_threshold: settings.panic_threshold.unwrap_or(info::PANIC_THRESHOLD).into(),
        }
    }

    /// Finds the hosts of the cluster, or says that the cluster is missing.
    fn hosts<'a>(
        &self,
        document: &'a RawValue,
    ) -> Result<Result<Option<&'a RawValue>, String>, String> {
        let Clusters { cluster_statuses } = json::typed(document)?;
        let mut found = None;
        let mut names = String::new();
        if let Some(clusters) = cluster_statuses {
            json::each(clusters, |_, cluster| {
                let Cluster { name, host_statuses } = json::typed(cluster)?;
                if name == self.cluster {
                    found = found.or(Some(host_statuses));
                } else if names.len() < NAMED {
                    names += if names.is_empty() { "" } else { ", " };
                    names += &name;
                }
                Ok(())
            })?;
        }
        Ok(found.ok_or_else(|| {
            let names = crate::text::line(&names, NAMED);
            format!("it has no cluster `{}`; its clusters: {names}", self.cluster)
        }))
    }

    /// Drained hosts are not counted. If too few of the others are healthy, they get requests like all others.
    fn panics(&self, hosts: &Hosts) -> Option<String> {
        let Hosts { all, healthy } = *hosts;
        let least = self.panic_threshold;
        let panics = least > 0 && (all == 0 || healthy * 100 < least * all);
        panics.then(|| {
            format!(
                "only {healthy} of {all} hosts that are not drained are healthy: below {least} % Envoy sends requests \
                 to all hosts, also to drained ones (`healthy_panic_threshold`)"
            )
        })
    }
}

impl Driver for EnvoyDriver {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn queries(&self, purpose: Purpose<'_>) -> Vec<Query> {
        let ask = |path: &str| Query::Http(get(&format!("{}/{path}", self.admin_url)));
        match purpose {
            Purpose::Look => vec![ask("clusters?format=json")],
            // An older Envoy does not know `resource`, and shows everything.
            Purpose::Probe => {
                vec![ask("server_info"), ask("config_dump?resource=static_clusters")]
            }
            Purpose::Rotation => vec![self.control.file.ask()],
            Purpose::Count(_) => Vec::new(),
        }
    }

    fn read(&self, replies: &[Reply]) -> Result<View, String> {
        let reply = first(replies)?;
        let unreadable = |error: String| format!("its clusters cannot be read: {error}");
        let document = json::document(&ok(reply)?.body).map_err(unreadable)?;
        let hosts = self.hosts(document).map_err(unreadable)??;
        let mut entries = Entries::new(&self.nodes);
        let mut counted = Hosts::default();
        if let Some(hosts) = hosts {
            json::each(hosts, |_, host| {
                let host = json::value(host, json::SMALL)?;
                let status = HostStatus(&host);
                counted.count(&status);
                // A pipe or an internal address is not a node. The same address can be in several localities.
                entries.add(file::address(&host["address"]), status.peer());
                Ok(())
            })
            .map_err(unreadable)?;
        }
        Ok(View { overridden: self.panics(&counted), ..entries.view()? })
    }

    fn info(&self, replies: &[Reply]) -> GatewayInfo {
        info::read(replies, &self.cluster, &self.control.pool, self.panic_threshold)
    }

    fn rotation_control(&self) -> Option<&dyn RotationControl> {
        Some(&self.control)
    }
}
