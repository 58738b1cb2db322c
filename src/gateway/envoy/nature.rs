//! What Envoy says of itself: its version, and how the cluster gets its endpoints and sheds them.

use serde::Deserialize;
use serde_json::Value;

use super::PANIC_THRESHOLD;
use crate::gateway::{Nature, ok};
use crate::text::line;
use crate::world::Reply;

/// What it calls itself.
pub(super) const KIND: &str = "Envoy";

#[derive(Deserialize)]
struct ServerInfo {
    /// Revision, version, and how it was built, between slashes.
    version: String,
    state: String,
}

#[derive(Deserialize)]
struct Dump {
    #[serde(default)]
    configs: Vec<Config>,
}

/// A cluster of the configuration that Envoy was started with.
#[derive(Deserialize)]
struct Config {
    cluster: Cluster,
}

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
pub(super) fn read(replies: &[Reply], cluster: &str, threshold: usize) -> Nature {
    let mut nature = Nature { is: KIND.into(), ..Nature::default() };
    let [info, dump] = replies else { return nature };
    if let Some(info) = decoded::<ServerInfo>(info) {
        let version = info.version.split('/').nth(1).unwrap_or(&info.version);
        nature.is = line(&format!("{KIND} {version}"), 60);
        if info.state != "LIVE" {
            nature.unfit.push(format!("it is {}, not LIVE", line(&info.state, 40)));
        }
    }
    // A cluster that came from elsewhere is not among them, and then nothing is known.
    let dump = decoded::<Dump>(dump).map(|dump| dump.configs).unwrap_or_default();
    let found = dump.into_iter().map(|config| config.cluster).find(|known| known.name == cluster);
    nature.unfit.extend(found.and_then(|found| found.unfit(threshold)));
    nature
}

impl Cluster {
    /// Why what is written would have no effect, or more than the playbook knows of.
    fn unfit(&self, threshold: usize) -> Option<String> {
        let name = &self.name;
        let source = &self.eds_cluster_config["eds_config"];
        // Before version 3 of its API the path stood there itself.
        if self.r#type != "EDS"
            || (source["path_config_source"].is_null() && source["path"].is_null())
        {
            return Some(format!(
                "its cluster `{name}` does not take its endpoints from a file: it needs `type: EDS` and a \
                 `path_config_source`"
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
                "its cluster `{name}` has `healthy_panic_threshold` {told}, and the playbook says `panic_threshold: \
                 {threshold}`: drained nodes would get requests unnoticed"
            )
        })
    }
}

fn decoded<'a, T: Deserialize<'a>>(reply: &'a Reply) -> Option<T> {
    serde_json::from_slice(&ok(reply).ok()?.body).ok()
}
