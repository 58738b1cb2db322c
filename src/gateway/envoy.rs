//! Envoy with its endpoints in a file (EDS): what the file says is written, what Envoy shows proves it.
//!
//! The file is replaced by another one under its name, which Envoy notices where it watches the directory, and only on
//! top of what was read. The admin page tells what the main thread knows; it tells its workers at once, but they may be
//! busy for a moment.

mod file;
mod info;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::json_file::{self, JsonFile};
use super::{Driver, GatewayInfo, Mark, Nodes, NotDone, Peer, Query, Switch, View, get, ok};
use crate::json;
use crate::playbook;
use crate::world::{Host, Reply};

/// From what the admin page shows to what every worker does.
const APPLY_DELAY: Duration = Duration::from_millis(100);

/// Below so many percent of healthy hosts Envoy sends requests to all, unless it is told otherwise.
const PANIC_THRESHOLD: u8 = 50;

/// How much of the names of other clusters is told.
const NAMED: usize = 100;

/// A gateway of this kind.
pub(super) struct Envoy {
    nodes: Nodes,
    admin_url: String,
    cluster: String,
    file: JsonFile,
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
    /// What the file said.
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
            // A `true` for each check that keeps requests away.
            failing_check: checks.is_some_and(|checks| checks.values().any(|value| value == true)),
            in_flight: self.in_flight(),
        })
    }

    /// A number that is 0 is left out, but not its name.
    fn in_flight(&self) -> Option<u64> {
        let mut stats = self.0["stats"].as_array()?.iter();
        match &stats.find(|stat| stat["name"] == "rq_active")?["value"] {
            Value::Null => Some(0),
            Value::String(number) => number.parse().ok(),
            number => number.as_u64(),
        }
    }
}

impl Envoy {
    pub(super) fn new(settings: &playbook::Envoy, nodes: Nodes) -> Self {
        Self {
            nodes,
            admin_url: settings.admin_url.as_str().trim_end_matches('/').to_owned(),
            cluster: settings.cluster.as_str().to_owned(),
            file: JsonFile {
                host: Host::of(Some(settings.ssh.as_str())),
                path: settings.file.as_str().to_owned(),
                sudo: settings.sudo,
            },
            panic_threshold: settings.panic_threshold.unwrap_or(PANIC_THRESHOLD).into(),
        }
    }

    /// Finds the hosts of the cluster, or says that it is not there.
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
            format!("it has no cluster `{}`, but: {names}", self.cluster)
        }))
    }

    /// Drained hosts are left out of the account, and get requests with all others when it is too bad.
    fn panics(&self, hosts: &Hosts) -> Option<String> {
        let Hosts { all, healthy } = *hosts;
        let least = self.panic_threshold;
        let panics = least > 0 && (all == 0 || healthy * 100 < least * all);
        panics.then(|| {
            format!(
                "only {healthy} of {all} hosts that are not drained are healthy: below {least} % Envoy sends requests \
                 to all hosts, drained ones too (`healthy_panic_threshold`)"
            )
        })
    }
}

impl Driver for Envoy {
    fn asks(&self) -> Vec<Query> {
        vec![Query::Http(get(&format!("{}/clusters?format=json", self.admin_url)))]
    }

    fn read(&self, replies: &[Reply]) -> Result<View, String> {
        let [reply, ..] = replies else { return Err("no reply".into()) };
        let unreadable = |error: String| format!("its clusters cannot be read: {error}");
        let document = json::document(&ok(reply)?.body).map_err(unreadable)?;
        let hosts = self.hosts(document).map_err(unreadable)??;
        let mut view = View::default();
        let mut unplaced = None;
        let mut counted = Hosts::default();
        let mut take = |host: &RawValue| {
            let host = json::value(host, json::SMALL)?;
            counted.count(&HostStatus(&host));
            // A pipe, or an internal address, is no node.
            let address = match file::address(&host["address"]) {
                Ok(address) => self.nodes.name(&address),
                Err(why) => {
                    unplaced.get_or_insert(why);
                    return Ok(());
                }
            };
            // The same address may be in several localities.
            match HostStatus(&host).peer() {
                Ok(peer) => view.add(address, peer),
                Err(why) => view.add_unread(address, why),
            }
            Ok(())
        };
        if let Some(hosts) = hosts {
            json::each(hosts, |_, host| take(host)).map_err(unreadable)?;
        }
        if let (Some(why), true) = (unplaced, view.peers.is_empty()) {
            return Err(why);
        }
        view.overridden = self.panics(&counted);
        view.readable()
    }

    /// An older one does not know `resource`, and shows all that it has.
    fn greeting(&self) -> Vec<Query> {
        let paths = ["server_info", "config_dump?resource=static_clusters"];
        paths.map(|path| Query::Http(get(&format!("{}/{path}", self.admin_url)))).into()
    }

    fn info(&self, replies: &[Reply]) -> GatewayInfo {
        info::read(replies, &self.cluster, self.panic_threshold)
    }

    fn kind(&self) -> String {
        info::KIND.into()
    }

    fn interval(&self) -> Duration {
        Duration::ZERO
    }

    fn lag(&self) -> Duration {
        Duration::ZERO
    }

    fn apply_delay(&self) -> Duration {
        APPLY_DELAY
    }

    /// One list for all its workers.
    fn workers(&self) -> Option<u32> {
        Some(1)
    }

    fn switch(&self) -> Option<&dyn Switch> {
        Some(self)
    }
}

impl Switch for Envoy {
    fn asks(&self) -> Vec<Query> {
        vec![self.file.ask()]
    }

    fn mark(&self, replies: &[Reply], address: &str) -> Result<Mark, String> {
        let (_, mut document) = json_file::parse(replies)?;
        let endpoints = file::endpoints(&mut document, &self.cluster, address)?;
        let down = endpoints.iter().all(|endpoint| file::is_down(endpoint));
        Ok(if down { Mark::Down } else { Mark::Up })
    }

    fn turn(&self, replies: &[Reply], address: &str, down: bool) -> Result<Vec<Query>, String> {
        let (reply, mut document) = json_file::parse(replies)?;
        for endpoint in file::endpoints(&mut document, &self.cluster, address)? {
            file::mark(endpoint, down);
        }
        Ok(vec![self.file.replace(reply, &document)?])
    }

    fn is_done(&self, _: &[Reply]) -> Result<(), NotDone> {
        Ok(())
    }
}
