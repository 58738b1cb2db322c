//! What in Consul can be the registry: keys below a prefix whose names are addresses, and services with instances.

use std::collections::BTreeMap;

use super::answers::{Answers, Interview};
use super::gateways::FoundGateway;
use crate::consul::Client;
use crate::gateway::RegistryKind;
use crate::json;
use crate::ops::{Cause, Refusal};
use crate::world::World;

/// A registry and its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundRegistry {
    /// Keys in Consul.
    Keys {
        /// Their prefix, with its final slash.
        prefix: String,
        /// The addresses of the keys.
        addresses: Vec<String>,
    },
    /// A service in Consul.
    Service {
        /// Its name.
        service: String,
        /// The addresses of its instances, each with the name of its node in Consul.
        instances: Vec<(String, String)>,
    },
    /// The gateways' own APIs.
    Gateways,
}

impl FoundRegistry {
    /// Its `type`.
    #[must_use]
    pub fn kind(&self) -> RegistryKind {
        match self {
            Self::Keys { .. } => RegistryKind::ConsulKv,
            Self::Service { .. } => RegistryKind::ConsulService,
            Self::Gateways => RegistryKind::Gateway,
        }
    }

    /// The addresses in it, each with a name if it has one.
    pub(super) fn addresses(&self) -> Vec<(String, Option<String>)> {
        match self {
            Self::Keys { addresses, .. } => {
                addresses.iter().map(|address| (address.clone(), None)).collect()
            }
            Self::Service { instances, .. } => {
                let named = instances.iter();
                named.map(|(address, node)| (address.clone(), Some(node.clone()))).collect()
            }
            Self::Gateways => Vec::new(),
        }
    }

    /// The name that a gateway may have for its pool.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::Keys { prefix, .. } => prefix.trim_end_matches('/').rsplit('/').next(),
            Self::Service { service, .. } => Some(service),
            Self::Gateways => None,
        }
    }

    fn told(&self) -> String {
        let addresses: Vec<_> = self.addresses().into_iter().map(|(address, _)| address).collect();
        let listed = crate::text::few(addresses, 4).join(", ");
        match self {
            Self::Keys { prefix, .. } => format!("keys {prefix} ({listed})"),
            Self::Service { service, .. } => format!("service {service} ({listed})"),
            Self::Gateways => "no registry in Consul: the gateways' own APIs".to_owned(),
        }
    }
}

/// The registry: as the options say, or chosen from what Consul has.
pub(super) async fn choose<W: World>(
    consul: Option<&Client<W>>,
    answers: &Answers,
    service: &str,
    interview: &mut impl Interview,
) -> Result<FoundRegistry, Refusal> {
    let Some(client) = consul else { return without_consul(answers) };
    let unread = |error: crate::consul::Error| {
        Refusal::refused(format!("Consul cannot be read: {error}"))
            .hint("check --consul and CONSUL_HTTP_TOKEN")
    };
    if let Some(name) = &answers.consul_service {
        let found = instances(client, name).await.map_err(unread)?;
        return found.ok_or_else(|| nothing(&format!("Consul has no instance of service {name}")));
    }
    let prefixes = by_prefix(client.kv_keys("").await.map_err(unread)?);
    if let Some(prefix) = &answers.prefix {
        let prefix = format!("{}/", prefix.trim_end_matches('/'));
        let addresses = prefixes.get(&prefix).cloned();
        let found =
            addresses.map(|addresses| FoundRegistry::Keys { prefix: prefix.clone(), addresses });
        return found.ok_or_else(|| {
            nothing(&format!("Consul has no key below {prefix} that ends with HOST:PORT"))
        });
    }
    let mut found: Vec<_> = prefixes
        .into_iter()
        .map(|(prefix, addresses)| FoundRegistry::Keys { prefix, addresses })
        .collect();
    for name in services(client).await.map_err(unread)? {
        found.extend(instances(client, &name).await.map_err(unread)?);
    }
    if found.is_empty() {
        interview.tell(&format!("Consul shows no keys with addresses and no services. {TOKEN}"));
        return Ok(FoundRegistry::Gateways);
    }
    let named = |found: &FoundRegistry| found.name() == Some(service);
    if found.iter().filter(|found| named(found)).count() == 1 {
        found.retain(named);
        let registry = found.remove(0);
        interview.tell(&format!("Registry: {}", registry.told()));
        return Ok(registry);
    }
    found.push(FoundRegistry::Gateways);
    let shown: Vec<_> = found.iter().map(FoundRegistry::told).collect();
    let question = "Where is a node marked up or down?";
    let chosen = interview.choose(question, &shown, "--prefix PREFIX or --consul-service NAME")?;
    Ok(found.swap_remove(chosen.min(found.len() - 1)))
}

fn without_consul(answers: &Answers) -> Result<FoundRegistry, Refusal> {
    match (&answers.prefix, &answers.consul_service) {
        (None, None) => Ok(FoundRegistry::Gateways),
        _ => Err(Refusal::refused("Consul does not answer").hint("give its address: --consul URL")),
    }
}

fn nothing(reason: &str) -> Refusal {
    Refusal::new(Cause::Refused, reason).hint(TOKEN)
}

/// Consul shows a token that may not read them empty lists.
const TOKEN: &str =
    "If there are some, the token may not be allowed to see them: CONSUL_HTTP_TOKEN gives another";

/// The folders of keys that end with an address, with their addresses.
fn by_prefix(keys: Vec<String>) -> BTreeMap<String, Vec<String>> {
    let mut prefixes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for key in keys {
        let Some((folder, address)) = key.rsplit_once('/') else { continue };
        let is_address = address.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
        if is_address && !folder.starts_with("rollgate/") {
            prefixes.entry(format!("{folder}/")).or_default().push(address.to_owned());
        }
    }
    prefixes
}

/// The names of all services but Consul's own.
async fn services<W: World>(client: &Client<W>) -> Result<Vec<String>, crate::consul::Error> {
    let reply = client.get("/v1/catalog/services", &[]).await?;
    let mut services = Vec::new();
    // Something else than such a list has no services.
    let _ = json::document(&reply.body).and_then(|list| {
        json::each(list, |name, _| {
            services.extend(name.filter(|name| *name != "consul").map(str::to_owned));
            Ok(())
        })
    });
    Ok(services)
}

async fn instances<W: World>(
    client: &Client<W>,
    service: &str,
) -> Result<Option<FoundRegistry>, crate::consul::Error> {
    let found = client.instances(service).await?;
    let instances: Vec<_> =
        found.iter().map(|one| (one.address.clone(), one.node.clone())).collect();
    let service = service.to_owned();
    Ok((!instances.is_empty()).then_some(FoundRegistry::Service { service, instances }))
}

/// The registry of the playbook. A gateway that cannot follow it gets a registry of its own: its API.
pub(super) fn followed(
    found: FoundRegistry,
    gateways: &mut [FoundGateway],
) -> Result<FoundRegistry, Refusal> {
    let (own, api) = (found.kind(), RegistryKind::Gateway);
    let is_followed = gateways.iter().any(|gateway| gateway.unfit_for(own).is_none());
    let registry = if is_followed { found } else { FoundRegistry::Gateways };
    let kind = registry.kind();
    for gateway in gateways {
        let Some(why) = gateway.unfit_for(kind) else { continue };
        if kind == api || gateway.unfit_for(api).is_some() {
            let (name, own) = (gateway.settings.display_name(), gateway.settings.kind());
            let problem = format!("{name}: `{own}` cannot follow the registry `{kind}`: {why}");
            return Err(Refusal::refused(problem).hint(
                "say where Consul has the nodes: --consul URL, and --prefix PREFIX or --consul-service NAME",
            ));
        }
        gateway.keys.insert("registry".to_owned(), serde_json::json!({ "type": "gateway" }));
    }
    Ok(registry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_end_with_an_address_are_found_by_their_folder() {
        let keys = [
            "upstreams/app/10.0.0.1:80",
            "upstreams/app/10.0.0.2:80",
            "upstreams/web/[::1]:8080",
            "config/timeout",
            "config/a:b",
            "rollgate/app/journal/x:1",
            "10.0.0.1:80",
        ];
        let found = by_prefix(keys.map(str::to_owned).into());
        let prefixes: Vec<_> = found.keys().map(String::as_str).collect();
        assert_eq!(prefixes, ["upstreams/app/", "upstreams/web/"]);
        assert_eq!(found["upstreams/app/"], ["10.0.0.1:80", "10.0.0.2:80"]);
    }
}
