//! What Envoy says about itself: its version, how the cluster gets its endpoints, and when it panics.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::gateway::driver::GatewayInfo;
use crate::gateway::query::ok;
use crate::json;
use crate::text::line;
use crate::world::Reply;

/// Below this percentage of healthy hosts Envoy sends requests to all hosts, if its configuration does not change
/// it.
pub(super) const PANIC_THRESHOLD: u8 = 50;

/// The gateway's kind in messages.
pub(super) const KIND: &str = "Envoy";

#[derive(Deserialize)]
struct ServerInfo {
    /// Revision, version and build, with slashes between them.
    version: String,
    state: String,
}

/// A cluster of the configuration with which Envoy was started.
#[derive(Deserialize)]
struct Cluster {
    name: String,
    #[serde(default)]
    r#type: String,
    #[serde(default)]
    eds_cluster_config: Value,
    #[serde(default)]
    common_lb_config: Value,
}

/// Reads `/server_info`, and `/config_dump` of the static clusters.
pub(super) fn read(
    replies: &[Reply],
    cluster: &str,
    in_file: &str,
    threshold: usize,
) -> GatewayInfo {
    let mut info = GatewayInfo { is: KIND.into(), ..GatewayInfo::default() };
    let [server, dump] = replies else { return info };
    if let Some(server) = answered(server).and_then(|info| json::typed::<ServerInfo>(info).ok()) {
        let version = server.version.split('/').nth(1).unwrap_or(&server.version);
        info.is = line(&format!("{KIND} {version}"), 60);
        if server.state != "LIVE" {
            info.blockers.push(format!("it is {}, not LIVE", line(&server.state, 40)));
        }
    }
    // A cluster from another source is not in the dump. Then nothing is known about it.
    let found = answered(dump).and_then(|dump| find(dump, cluster).ok().flatten());
    info.blockers.extend(found.and_then(|found| found.blockers(in_file, threshold)));
    info
}

impl Cluster {
    /// Why a change would have no effect, or more effect than the playbook expects.
    fn blockers(&self, in_file: &str, threshold: usize) -> Option<String> {
        let name = &self.name;
        let source = &self.eds_cluster_config["eds_config"];
        // Before version 3 of its API, the path was here directly.
        if self.r#type != "EDS"
            || (source["path_config_source"].is_null() && source["path"].is_null())
        {
            return Some(format!(
                "its cluster `{name}` does not read its endpoints from a file: it needs `type: EDS` and a \
                 `path_config_source`"
            ));
        }
        let service = self.eds_cluster_config["service_name"].as_str().unwrap_or_default();
        let read = if service.is_empty() { name } else { service };
        if read != in_file {
            return Some(format!(
                "its cluster `{name}` reads the endpoints of `{}`, but the playbook those of `{}`: set `service_name`",
                line(read, 60),
                line(in_file, 60)
            ));
        }
        let told = match &self.common_lb_config["healthy_panic_threshold"] {
            Value::Null => f64::from(PANIC_THRESHOLD),
            told => told["value"].as_f64().unwrap_or_default(),
        };
        // No playbook has more than 100.
        let known = f64::from(u32::try_from(threshold).unwrap_or(u32::MAX));
        (told > known).then(|| {
            format!(
                "its cluster `{name}` has `healthy_panic_threshold` {told}, but the playbook says \
                 `panic_threshold: {threshold}`: drained nodes could get requests unnoticed"
            )
        })
    }
}

/// Finds a cluster in `/config_dump`.
fn find(dump: &RawValue, name: &str) -> Result<Option<Cluster>, String> {
    let mut found = None;
    if let Some(configs) = json::at(dump, "/configs")? {
        json::each(configs, |_, config| {
            let [cluster] = json::fields(config, ["cluster"])?;
            let cluster = cluster.ok_or("a configuration has no cluster")?;
            let [own] = json::fields(cluster, ["name"])?;
            if found.is_none() && json::string(own).as_deref() == Some(name) {
                let cluster = json::value(cluster, json::SMALL)?;
                found = Some(Cluster::deserialize(cluster).map_err(|error| error.to_string())?);
            }
            Ok(())
        })?;
    }
    Ok(found)
}

fn answered(reply: &Reply) -> Option<&RawValue> {
    json::document(&ok(reply).ok()?.body).ok()
}
