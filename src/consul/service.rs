//! Services as Consul's catalog, its health lists and its agents know them.
//!
//! The agent that owns an instance keeps its maintenance mode: another agent answers 404. Maintenance is one more
//! critical check, `_service_maintenance:ID`. Its notes are the first reason that was given (measured on 1.8.7).

use std::time::Duration;

use serde_json::value::RawValue;

use super::answer::{each, unreadable};
use super::client::Client;
use super::error::Error;
use super::index::{Index, REQUEST_TIMEOUT};
use super::instance::{INSTANCE_MAINTENANCE, Instance, NODE_MAINTENANCE, place};
use crate::address;
use crate::json;
use crate::text;
use crate::url::{self, segment};
use crate::world::{Method, World};

/// What an agent knows about an instance that it owns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Maintenance {
    /// Why the instance is in maintenance, if it is.
    pub instance: Option<String>,
    /// Why the whole agent is in maintenance, if it is.
    pub node: Option<String>,
    /// The other services of the agent.
    pub others: Others,
}

/// The other services of an agent. There can be very many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Others {
    /// How many there are.
    pub count: usize,
    /// The ids of the first.
    pub named: Vec<String>,
}

impl Others {
    /// How many are named.
    const NAMED: usize = 8;

    fn take(&mut self, id: &str) {
        self.count += 1;
        if self.named.len() < Self::NAMED {
            self.named.push(id.to_owned());
        }
    }
}

/// What is put into maintenance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent<'a> {
    /// The instance with this id. Maintenance ends when the instance is deregistered, or registered again with
    /// `replace-existing-checks`.
    Instance(&'a str),
    /// Everything that the agent owns. No registration ends it.
    Node,
}

/// The path and query that list the passing instances of a service. A name that cannot be part of a URL is asked
/// for as a service that does not exist.
#[must_use]
pub fn passing(service: &str) -> (String, Vec<(&'static str, String)>) {
    let path = format!("/v1/health/service/{}", url::part(service));
    (path, vec![("passing", String::new()), ("consistent", String::new())])
}

impl<W: World> Client<W> {
    /// Returns whether the instance of `service` at `address` passes all its own checks. Maintenance is not one of
    /// them. With an index, the call waits up to `wait` for a change.
    ///
    /// # Errors
    ///
    /// If Consul cannot be asked.
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
    /// If Consul cannot be asked.
    pub async fn instances(&self, service: &str) -> Result<Vec<Instance>, Error> {
        let path = format!("/v1/catalog/service/{}", segment(service)?);
        let reply = self.get(&path, &[("consistent", String::new())]).await?;
        let instances = Instance::of_catalog(&reply.body);
        instances.map_err(|message| Error::Unreadable { what: path, message })
    }

    /// Returns after the checks of a service's instances have changed, or after `wait`.
    ///
    /// # Errors
    ///
    /// If Consul cannot be asked.
    pub async fn wait_for_checks(
        &self,
        service: &str,
        index: &mut Index,
        wait: Duration,
    ) -> Result<(), Error> {
        let path = format!("/v1/health/checks/{}", segment(service)?);
        self.poll(&path, index, wait).await.map(|_| ())
    }

    /// Asks the agent that this client is [at](Self::at) for the maintenance of an instance. `None` if it does not
    /// own the instance. Another agent can have an instance with the same id: its address differs, and its checks
    /// name their node.
    ///
    /// # Errors
    ///
    /// If the agent cannot be asked.
    pub async fn maintenance(&self, instance: &Instance) -> Result<Option<Maintenance>, Error> {
        let id = instance.id.as_str();
        let path = "/v1/agent/services";
        let reply = self.get(path, &[]).await?;
        let (mut own, mut others) = (None, Others::default());
        each(path, &reply, |name, service| {
            match name {
                Some(name) if name == id => own = Some(json::fields(service, ["Address", "Port"])?),
                name => others.take(name.unwrap_or_default()),
            }
            Ok(())
        })?;
        let Some([host, port]) = own else { return Ok(None) };
        // An instance without its own address is at its agent's address.
        let host = json::string(host).unwrap_or_default();
        let port: Option<u16> = port.and_then(|port| json::typed(port).ok());
        let own = place(&host, &instance.node_address, port.unwrap_or_default());
        if !address::same(&own, &instance.address) {
            return Ok(None);
        }
        let path = "/v1/agent/checks";
        let reply = self.get(path, &[]).await?;
        let wanted = [format!("{INSTANCE_MAINTENANCE}{id}"), NODE_MAINTENANCE.to_owned()];
        let (mut notes, mut is_other) = ([None, None], false);
        each(path, &reply, |name, check| {
            let [node, told] = json::fields(check, ["Node", "Notes"])?;
            let owner = json::string(node).unwrap_or_default();
            is_other |= !owner.is_empty() && owner != instance.node;
            if let Some(place) = wanted.iter().position(|wanted| Some(wanted.as_str()) == name) {
                notes[place] = Some(json::string(told).unwrap_or_default().into_owned());
            }
            Ok(())
        })?;
        if is_other {
            return Ok(None);
        }
        let [own, node] = notes;
        Ok(Some(Maintenance { instance: own, node, others }))
    }

    /// Turns maintenance mode on or off at the agent that this client is [at](Self::at). If it is turned on twice,
    /// the first reason stays.
    ///
    /// # Errors
    ///
    /// If the agent refuses or cannot be reached, or its answer was lost.
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
            let message = text::line(&reply.text(), 200);
            return Err(Error::Refused { what: path, status: 404, message });
        }
        Ok(())
    }

    /// The shortest time after which the agent that this client is [at](Self::at) removes an instance that stays
    /// critical, together with its maintenance. It is known only for instances in the agent's own files. For
    /// instances that were registered through the API, the agent does not show it (1.8.7 has an empty `Definition`
    /// for such a check). A token without `agent:read` sees nothing.
    ///
    /// # Errors
    ///
    /// If the agent cannot be asked.
    pub async fn removal(&self, id: &str) -> Result<Option<Duration>, Error> {
        let path = "/v1/agent/self";
        let reply = match self.get(path, &[]).await {
            Err(Error::Refused { status: 403, .. }) => return Ok(None),
            reply => reply?,
        };
        shortest(&reply.body, id).map_err(|message| unreadable(path, &message))
    }
}

/// Reads from an agent's own description the shortest time after which it removes an instance.
fn shortest(body: &[u8], id: &str) -> Result<Option<Duration>, String> {
    let [files] = json::fields(json::document(body)?, ["DebugConfig"])?;
    let Some(files) = files else { return Ok(None) };
    let names = ["Services", "Checks", "CheckDeregisterIntervalMin"];
    let [services, checks, least] = json::fields(files, names)?;
    let mut shortest: Option<Duration> = None;
    let mut take = |check: &RawValue| -> Result<(), String> {
        let [after] = json::fields(check, ["DeregisterCriticalServiceAfter"])?;
        let after = json::string(after).and_then(|after| period(&after));
        let after = after.filter(|after| !after.is_zero());
        shortest = shortest.into_iter().chain(after).min();
        Ok(())
    };
    for_each(services, |service| {
        let [own, name, check, checks] = json::fields(service, ["ID", "Name", "Check", "Checks"])?;
        // A check without an id has its name as its id.
        let mut known = [own, name].into_iter().filter_map(json::string);
        if known.find(|known| !known.is_empty()).as_deref() != Some(id) {
            return Ok(());
        }
        check.map_or(Ok(()), &mut take)?;
        for_each(checks, &mut take)
    })?;
    for_each(checks, |check| {
        let [service] = json::fields(check, ["ServiceID"])?;
        if json::string(service).as_deref() == Some(id) { take(check) } else { Ok(()) }
    })?;
    // The default is one minute.
    let least = json::string(least).and_then(|least| period(&least));
    Ok(shortest.map(|after| after.max(least.unwrap_or_default())))
}

/// Passes on the entries of a list. Another value has none.
fn for_each<'a>(
    list: Option<&'a RawValue>,
    mut take: impl FnMut(&'a RawValue) -> Result<(), String>,
) -> Result<(), String> {
    match list.filter(|list| json::is_list(list)) {
        Some(list) => json::each(list, |_, entry| take(entry)),
        None => Ok(()),
    }
}

/// Reads a duration as Go writes it, `1m30.5s`. Units below the last one are omitted.
fn period(text: &str) -> Option<Duration> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let unit = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
    humantime::parse_duration(&format!("{whole}{unit}")).ok()
}
