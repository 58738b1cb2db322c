//! Names in Consul that are almost those of the playbook: a typo in a prefix or in a node's address.

use super::connections::{Connections, PATIENCE};
use crate::consul::Client;
use crate::registry::no_key_below;
use crate::spec::{RegistrySpec, Spec};
use crate::survey::Fleet;
use crate::text::did_you_mean;
use crate::world::World;

/// The most folders that are looked into for a prefix.
const DEEPEST: usize = 8;

/// The most names of a folder that are compared.
const MOST_NAMES: usize = 1000;

/// Adds the names to the missing keys that no journal knows. Without Consul's answer, nothing is added.
pub(super) async fn find<W: World>(connections: &Connections<W>, spec: &Spec, fleet: &mut Fleet) {
    let Some(client) = connections.shared_in_passing(PATIENCE) else { return };
    let problem = fleet.registry_problem.clone();
    for registry in &spec.registries {
        let RegistrySpec::ConsulKv { prefix } = registry else { continue };
        let missing = fleet.nodes.values_mut().filter_map(|facts| facts.missing_key.as_mut());
        let is_here = |key: &str| key.starts_with(prefix.as_str());
        let missing = missing.filter(|it| it.before.is_none() && is_here(&it.key));
        let missing: Vec<_> = missing.collect();
        if missing.is_empty() {
            continue;
        }
        if problem.as_deref() == Some(no_key_below(prefix).as_str()) {
            let alike = other_folder(&client, prefix).await;
            for missing in missing {
                missing.alike.clone_from(&alike);
            }
            continue;
        }
        let names = names(&client, prefix).await;
        let is_own = |name: &str| spec.nodes.iter().any(|node| node.address == name);
        let others: Vec<_> = names.iter().filter(|name| !is_own(name)).collect();
        for missing in missing {
            let address = missing.key.strip_prefix(prefix.as_str()).unwrap_or_default();
            let alike = did_you_mean(address, others.iter().map(|name| name.as_str()));
            missing.alike = alike.map(str::to_owned);
        }
    }
}

/// The folder in Consul whose path is almost that of `prefix`.
async fn other_folder<W: World>(client: &Client<W>, prefix: &str) -> Option<String> {
    let mut found = String::new();
    for part in prefix.split_inclusive('/').take(DEEPEST) {
        let names = names(client, &found).await;
        let folders = || names.iter().filter_map(|name| name.strip_suffix('/'));
        let wanted = part.trim_end_matches('/');
        let exact = folders().find(|name| *name == wanted);
        found += exact.or_else(|| did_you_mean(wanted, folders()))?;
        found.push('/');
    }
    (found != prefix).then_some(found)
}

/// The names directly in a folder, without its path.
async fn names<W: World>(client: &Client<W>, folder: &str) -> Vec<String> {
    let keys = client.kv_in_folder(folder).await.unwrap_or_default();
    let names = keys.into_iter().take(MOST_NAMES);
    names.filter_map(|key| Some(key.strip_prefix(folder)?.to_owned())).collect()
}
