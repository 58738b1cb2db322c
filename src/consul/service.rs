//! Services as Consul's catalog, its health lists and its agents know them.
//!
//! Maintenance mode is a matter of the agent that owns an instance: another one answers 404. It is a critical check
//! more, `_service_maintenance:ID`, whose notes are the reason that was given first (seen on 1.8.7).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::kv::encode;
use super::{Client, Error, Index, REQUEST_TIMEOUT, decode};
use crate::address;
use crate::world::{Method, World};

/// How the check is called that maintenance of an instance adds; its id follows.
const INSTANCE_MAINTENANCE: &str = "_service_maintenance:";

/// How the check is called that maintenance of an agent adds.
const NODE_MAINTENANCE: &str = "_node_maintenance";

/// An instance of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its id, unique at its agent.
    pub id: String,
    /// The name of the agent's node.
    pub node: String,
    /// The address of the agent's node.
    pub node_address: String,
    /// `host:port` of the instance.
    pub address: String,
}

/// What an agent knows of an instance that it owns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Maintenance {
    /// Why the instance is in maintenance, if it is.
    pub instance: Option<String>,
    /// Why everything at the agent is, if it is.
    pub node: Option<String>,
    /// The ids of everything else that the agent owns.
    pub others: Vec<String>,
}

/// What maintenance is turned on or off for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent<'a> {
    /// The instance with this id. It ends when the instance is deregistered, or registered anew with
    /// `replace-existing-checks`.
    Instance(&'a str),
    /// Everything that the agent owns. No registration ends it.
    Node,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Healthy {
    node: HealthyNode,
    service: HealthyService,
    #[serde(default)]
    checks: Vec<HealthyCheck>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HealthyCheck {
    #[serde(rename = "CheckID", default)]
    id: String,
    #[serde(default)]
    status: String,
}

impl HealthyCheck {
    fn is_maintenance(&self) -> bool {
        self.id == NODE_MAINTENANCE || self.id.starts_with(INSTANCE_MAINTENANCE)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HealthyNode {
    #[serde(default)]
    node: String,
    address: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HealthyService {
    #[serde(rename = "ID", default)]
    id: String,
    address: String,
    port: u16,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    node: String,
    address: String,
    #[serde(rename = "ServiceID")]
    service_id: String,
    service_address: String,
    service_port: u16,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Check {
    /// The agent's.
    #[serde(default)]
    node: String,
    #[serde(default)]
    notes: String,
}

/// An instance without an address of its own has that of its node.
fn address(own: &str, node: &str, port: u16) -> String {
    address::join(if own.is_empty() { node } else { own }, port)
}

impl Instance {
    /// Reads what `/v1/health/service` answers.
    ///
    /// # Errors
    ///
    /// When it is no such list.
    pub fn of_health(body: &[u8]) -> Result<Vec<Self>, String> {
        let listed: Vec<Healthy> = serde_json::from_slice(body).map_err(|error| {
            format!("no list of instances: {}", crate::text::line(&error.to_string(), 120))
        })?;
        Ok(listed.into_iter().map(Into::into).collect())
    }
}

impl From<Healthy> for Instance {
    fn from(Healthy { node, service, .. }: Healthy) -> Self {
        let address = address(&service.address, &node.address, service.port);
        Self { id: service.id, node: node.node, node_address: node.address, address }
    }
}

impl From<Listed> for Instance {
    fn from(listed: Listed) -> Self {
        let address = address(&listed.service_address, &listed.address, listed.service_port);
        Self { id: listed.service_id, node: listed.node, node_address: listed.address, address }
    }
}

/// The path and query that list the passing instances of a service.
#[must_use]
pub fn passing(service: &str) -> (String, Vec<(&'static str, String)>) {
    let path = format!("/v1/health/service/{}", encode(service));
    (path, vec![("passing", String::new()), ("consistent", String::new())])
}

impl<W: World> Client<W> {
    /// Returns whether the instance of `service` at `address` passes all its own checks; maintenance is none of them.
    /// With an index, the call waits up to `wait` for a change.
    ///
    /// # Errors
    ///
    /// When Consul cannot be asked.
    pub async fn is_passing(
        &self,
        service: &str,
        address: &str,
        index: &mut Index,
        wait: Duration,
    ) -> Result<bool, Error> {
        let path = format!("/v1/health/service/{}", encode(service));
        let (query, timeout) = index.query(wait);
        let reply = self.call(Method::Get, &path, &query, None, timeout).await?;
        index.note(&reply);
        let instances: Vec<Healthy> = decode(&path, &reply)?;
        let passes = |instance: &Healthy| {
            instance.checks.iter().all(|check| check.status == "passing" || check.is_maintenance())
        };
        Ok(instances.into_iter().any(|instance| {
            passes(&instance) && address::same(&Instance::from(instance).address, address)
        }))
    }

    /// Every instance of a service in the catalog, whatever its checks say.
    ///
    /// # Errors
    ///
    /// When Consul cannot be asked.
    pub async fn instances(&self, service: &str) -> Result<Vec<Instance>, Error> {
        let path = format!("/v1/catalog/service/{}", encode(service));
        let reply = self.get(&path, &[("consistent", String::new())]).await?;
        let listed: Vec<Listed> = decode(&path, &reply)?;
        Ok(listed.into_iter().map(Into::into).collect())
    }

    /// Returns when the checks of a service's instances have changed, or `wait` is over.
    ///
    /// # Errors
    ///
    /// When Consul cannot be asked.
    pub async fn wait_for_checks(
        &self,
        service: &str,
        index: &mut Index,
        wait: Duration,
    ) -> Result<(), Error> {
        let path = format!("/v1/health/checks/{}", encode(service));
        let (query, timeout) = index.query(wait);
        let reply = self.call(Method::Get, &path, &query, None, timeout).await?;
        index.note(&reply);
        Ok(())
    }

    /// Asks the agent that this client is [at](Self::at) for the maintenance of an instance; nothing when it does not
    /// own it. Another agent may have an instance of the same id: its address tells, and its checks name their node.
    ///
    /// # Errors
    ///
    /// When the agent cannot be asked.
    pub async fn maintenance(&self, instance: &Instance) -> Result<Option<Maintenance>, Error> {
        let id = instance.id.as_str();
        let path = "/v1/agent/services";
        let services: BTreeMap<String, Value> = decode(path, &self.get(path, &[]).await?)?;
        let Some(own) = services.get(id) else { return Ok(None) };
        // Without an address of its own it is at its agent's.
        let host = own["Address"].as_str().unwrap_or_default();
        let port = own["Port"].as_u64().and_then(|port| u16::try_from(port).ok());
        let own = address(host, &instance.node_address, port.unwrap_or_default());
        if own != instance.address {
            return Ok(None);
        }
        let path = "/v1/agent/checks";
        let checks: BTreeMap<String, Check> = decode(path, &self.get(path, &[]).await?)?;
        if checks.values().any(|check| !check.node.is_empty() && check.node != instance.node) {
            return Ok(None);
        }
        let notes = |wanted: &str| Some(checks.get(wanted)?.notes.clone());
        Ok(Some(Maintenance {
            instance: notes(&format!("{INSTANCE_MAINTENANCE}{id}")),
            node: notes(NODE_MAINTENANCE),
            others: services.into_keys().filter(|other| other != id).collect(),
        }))
    }

    /// Turns maintenance mode on or off at the agent that this client is [at](Self::at). Turned on twice, it keeps
    /// the first reason.
    ///
    /// # Errors
    ///
    /// When the agent refuses, cannot be reached, or its answer was lost.
    pub async fn set_maintenance(
        &self,
        extent: Extent<'_>,
        on: bool,
        reason: &str,
    ) -> Result<(), Error> {
        let path = match extent {
            Extent::Instance(id) => format!("/v1/agent/service/maintenance/{}", encode(id)),
            Extent::Node => "/v1/agent/maintenance".to_owned(),
        };
        let query = [("enable", on.to_string()), ("reason", reason.to_owned())];
        let reply = self.call(Method::Put, &path, &query, None, REQUEST_TIMEOUT).await?;
        if reply.status == 404 {
            let message = crate::text::line(&reply.text(), 200);
            return Err(Error::Refused { what: path, status: 404, message });
        }
        Ok(())
    }

    /// The shortest time after which the agent that this client is [at](Self::at) removes an instance that stays critical;
    /// with it goes its maintenance. Known of what stands in the agent's own files: of what was registered by its API nobody
    /// tells (seen on 1.8.7, whose `Definition` of such a check is empty), nor anything to a token without `agent:read`.
    ///
    /// # Errors
    ///
    /// When the agent cannot be asked.
    pub async fn removal(&self, id: &str) -> Result<Option<Duration>, Error> {
        let path = "/v1/agent/self";
        let own: Value = match self.get(path, &[]).await {
            Err(Error::Refused { status: 403, .. }) => return Ok(None),
            reply => decode(path, &reply?)?,
        };
        let files = &own["DebugConfig"];
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let mut checks = Vec::new();
        for service in list(&files["Services"]) {
            // Without an id its name is its id.
            let known = ["ID", "Name"].into_iter().filter_map(|field| service[field].as_str());
            if { known }.find(|known| !known.is_empty()) == Some(id) {
                checks.push(service["Check"].clone());
                checks.extend(list(&service["Checks"]));
            }
        }
        checks.extend(list(&files["Checks"]).into_iter().filter(|check| check["ServiceID"] == id));
        let after = |check: &Value| period(check["DeregisterCriticalServiceAfter"].as_str()?);
        let shortest = checks.iter().filter_map(after).filter(|after| !after.is_zero()).min();
        // A minute, unless somebody has changed that.
        let least = files["CheckDeregisterIntervalMin"].as_str().and_then(period);
        Ok(shortest.map(|after| after.max(least.unwrap_or_default())))
    }
}

/// Reads a time as Go writes it, `1m30.5s`; what is below its last unit is left away.
fn period(text: &str) -> Option<Duration> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let unit = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
    humantime::parse_duration(&format!("{whole}{unit}")).ok()
}
