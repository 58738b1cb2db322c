//! The file with the endpoints: a `DiscoveryResponse` in JSON or YAML, in which Envoy accepts names in two forms.

use serde_json::Value;

use crate::address;
use crate::gateway::file::{Entry, Tree, Written};
use crate::text;

/// The length of the names of other clusters in a message.
const NAMED: usize = 100;

/// The health status of a node that is out.
pub(super) const DRAINING: &str = "DRAINING";

/// Health statuses that keep requests away, by name and by number.
const AWAY: [(&str, u64); 3] = [("UNHEALTHY", 2), (DRAINING, 3), ("TIMEOUT", 4)];

/// A field by its name in the protocol, and the same in camel case.
const RESOURCES: [&str; 2] = ["resources", "resources"];
const CLUSTER_NAME: [&str; 2] = ["cluster_name", "clusterName"];
const ENDPOINTS: [&str; 2] = ["endpoints", "endpoints"];
const LB_ENDPOINTS: [&str; 2] = ["lb_endpoints", "lbEndpoints"];
const ENDPOINT: [&str; 2] = ["endpoint", "endpoint"];
const ADDRESS: [&str; 2] = ["address", "address"];
const SOCKET_ADDRESS: [&str; 2] = ["socket_address", "socketAddress"];
const PORT_VALUE: [&str; 2] = ["port_value", "portValue"];
const HEALTH_STATUS: [&str; 2] = ["health_status", "healthStatus"];

/// Returns whether a health status of this name keeps requests away.
pub(super) fn keeps_away(status: &str) -> bool {
    AWAY.iter().any(|(name, _)| *name == status)
}

/// Reads an address of the admin page as `host:port`.
pub(super) fn address(of: &Value) -> Result<String, String> {
    let field =
        |value: &'_ Value, names: [&str; 2]| names.iter().find_map(|name| value.get(name)).cloned();
    let socket = field(of, SOCKET_ADDRESS).unwrap_or_default();
    let (host, port) = (socket["address"].as_str(), field(&socket, PORT_VALUE));
    let place = host.zip(port.and_then(|port| port.as_u64()));
    place.map(|(host, port)| address::join(host, port)).ok_or_else(|| {
        let shown = text::line(&of.to_string(), 100);
        format!("a host has no address and port: {shown}")
    })
}

fn field<'a>(tree: &'a Tree, names: [&str; 2]) -> Result<Option<&'a Tree>, String> {
    Ok(tree.entry(|name| names.contains(&name))?.map(|(_, value)| value))
}

fn list<'a>(tree: &'a Tree, names: [&str; 2]) -> Result<&'a [Tree], String> {
    field(tree, names)?.map_or(Ok(&[]), Tree::items)
}

/// The address of an endpoint as `host:port`; none if it is a pipe or has another form.
fn place(endpoint: &Tree) -> Result<Option<String>, String> {
    let path = [ENDPOINT, ADDRESS, SOCKET_ADDRESS];
    let mut at = Some(endpoint);
    for names in path {
        at = at.map(|tree| field(tree, names)).transpose()?.flatten();
    }
    let Some(socket) = at else { return Ok(None) };
    let (host, port) = (field(socket, ADDRESS)?, field(socket, PORT_VALUE)?);
    let port = port.and_then(Tree::text).and_then(|port| port.parse::<u64>().ok());
    Ok(host.and_then(Tree::text).zip(port).map(|(host, port)| address::join(host, port)))
}

/// Finds the endpoints at an address. They can be in several localities.
pub(super) fn endpoints<'a>(
    document: &'a Tree,
    cluster: &str,
    wanted: &str,
) -> Result<Vec<&'a Tree>, String> {
    let (mut found, mut names) = (Vec::new(), Vec::new());
    for assignment in list(document, RESOURCES)? {
        let name = field(assignment, CLUSTER_NAME)?.and_then(Tree::text).unwrap_or_default();
        if name != cluster {
            names.push(name);
            continue;
        }
        for locality in list(assignment, ENDPOINTS)? {
            for endpoint in list(locality, LB_ENDPOINTS)? {
                if place(endpoint)?.is_some_and(|place| address::same(&place, wanted)) {
                    found.push(endpoint);
                }
            }
        }
    }
    if found.is_empty() {
        let others = match names.join(", ") {
            none if none.is_empty() => String::new(),
            names => format!("; its other clusters: {}", text::line(&names, NAMED)),
        };
        return Err(format!(
            "the file has no endpoint {wanted} in the cluster `{cluster}`{others}"
        ));
    }
    Ok(found)
}

/// Returns whether an endpoint's health status keeps requests away.
pub(super) fn is_down(endpoint: &Tree) -> Result<bool, String> {
    let status = field(endpoint, HEALTH_STATUS)?.and_then(Tree::text).unwrap_or_default();
    Ok(AWAY.iter().any(|(name, number)| *name == status || number.to_string() == status))
}

/// The health status of an endpoint that is out or in, under the name that the file uses.
pub(super) fn mark(endpoint: &Tree, down: bool) -> Result<Entry, String> {
    let found = endpoint.entry(|name| HEALTH_STATUS.contains(&name))?;
    let name = found.map_or(HEALTH_STATUS[0], |(name, _)| name);
    Ok((name.to_owned(), Written::Word(if down { DRAINING } else { "HEALTHY" })))
}
