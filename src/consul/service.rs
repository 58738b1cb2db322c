//! Services as Consul's catalog, its health lists and its agents know them.
//!
//! Maintenance mode is a matter of the agent that owns an instance: another one answers 404. It is a critical check
//! more, `_service_maintenance:ID`, whose notes are the reason that was given first (seen on 1.8.7).

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::answer::decode_few;
use super::instance::{Instance, place};
use super::{Client, Error, Index, REQUEST_TIMEOUT};
use crate::address;
use crate::url::{self, segment};
use crate::world::{Method, World};

/// How the check is called that maintenance of an instance adds; its id follows.
pub(super) const INSTANCE_MAINTENANCE: &str = "_service_maintenance:";

/// How the check is called that maintenance of an agent adds.
pub(super) const NODE_MAINTENANCE: &str = "_node_maintenance";

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

/// The path and query that list the passing instances of a service. A name that no URL can have is asked for as that of a
/// service that there is not.
#[must_use]
pub fn passing(service: &str) -> (String, Vec<(&'static str, String)>) {
    let path = format!("/v1/health/service/{}", url::part(service));
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
        let path = format!("/v1/health/service/{}", segment(service)?);
        let reply = self.poll(&path, index, wait).await?;
        let passes = Instance::passes(&reply.body, address);
        passes.map_err(|message| Error::Unreadable { what: path, message })
    }

    /// Every instance of a service in the catalog, whatever its checks say.
    ///
    /// # Errors
    ///
    /// When Consul cannot be asked.
    pub async fn instances(&self, service: &str) -> Result<Vec<Instance>, Error> {
        let path = format!("/v1/catalog/service/{}", segment(service)?);
        let reply = self.get(&path, &[("consistent", String::new())]).await?;
        let instances = Instance::of_catalog(&reply.body);
        instances.map_err(|message| Error::Unreadable { what: path, message })
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
        let path = format!("/v1/health/checks/{}", segment(service)?);
        self.poll(&path, index, wait).await.map(|_| ())
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
        let services: BTreeMap<String, Value> = decode_few(path, &self.get(path, &[]).await?)?;
        let Some(own) = services.get(id) else { return Ok(None) };
        // Without an address of its own it is at its agent's.
        let host = own["Address"].as_str().unwrap_or_default();
        let port = own["Port"].as_u64().and_then(|port| u16::try_from(port).ok());
        let own = place(host, &instance.node_address, port.unwrap_or_default());
        if !address::same(&own, &instance.address) {
            return Ok(None);
        }
        let path = "/v1/agent/checks";
        let checks: BTreeMap<String, Value> = decode_few(path, &self.get(path, &[]).await?)?;
        let mut owners = checks.values().filter_map(|check| check["Node"].as_str());
        if owners.any(|owner| !owner.is_empty() && owner != instance.node) {
            return Ok(None);
        }
        let notes = |wanted: &str| {
            Some(checks.get(wanted)?["Notes"].as_str().unwrap_or_default().to_owned())
        };
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
            Extent::Instance(id) => format!("/v1/agent/service/maintenance/{}", segment(id)?),
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
            reply => decode_few(path, &reply?)?,
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
