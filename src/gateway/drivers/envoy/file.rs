//! The file with the endpoints: a `DiscoveryResponse` in JSON, in which Envoy accepts names in two forms.

use serde_json::Value;

use crate::address;

/// The health status of a node that is out.
pub(super) const DRAINING: &str = "DRAINING";

/// Health statuses that keep requests away, by name and by number.
const AWAY: [(&str, u64); 3] = [("UNHEALTHY", 2), (DRAINING, 3), ("TIMEOUT", 4)];

/// A field by its name in the protocol, and the same in camel case.
const RESOURCES: [&str; 2] = ["resources", "resources"];
const CLUSTER_NAME: [&str; 2] = ["cluster_name", "clusterName"];
const ENDPOINTS: [&str; 2] = ["endpoints", "endpoints"];
const LB_ENDPOINTS: [&str; 2] = ["lb_endpoints", "lbEndpoints"];
const SOCKET_ADDRESS: [&str; 2] = ["socket_address", "socketAddress"];
const PORT_VALUE: [&str; 2] = ["port_value", "portValue"];
const HEALTH_STATUS: [&str; 2] = ["health_status", "healthStatus"];

/// Returns whether a health status of this name keeps requests away.
pub(super) fn keeps_away(status: &str) -> bool {
    AWAY.iter().any(|(name, _)| *name == status)
}

fn field<'a>(value: &'a Value, names: [&str; 2]) -> &'a Value {
    names.iter().find_map(|name| value.get(name)).unwrap_or(&Value::Null)
}

fn list<'a>(value: &'a mut Value, names: [&str; 2]) -> impl Iterator<Item = &'a mut Value> {
    let name = if value.get(names[0]).is_some() { names[0] } else { names[1] };
    value.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten()
}

/// Reads an address as `host:port`.
pub(super) fn address(of: &Value) -> Result<String, String> {
    let socket = field(of, SOCKET_ADDRESS);
    let (host, port) = (socket["address"].as_str(), field(socket, PORT_VALUE).as_u64());
    let place = host.zip(port).map(|(host, port)| address::join(host, port));
    place.ok_or_else(|| {
        let shown = crate::text::line(&of.to_string(), 100);
        format!("a host has no address and port: {shown}")
    })
}

/// Finds the endpoints at an address. They can be in several localities.
pub(super) fn endpoints<'a>(
    document: &'a mut Value,
    cluster: &str,
    wanted: &str,
) -> Result<Vec<&'a mut Value>, String> {
    let assignments = list(document, RESOURCES);
    let assignments =
        assignments.filter(|assignment| field(assignment, CLUSTER_NAME).as_str() == Some(cluster));
    let found: Vec<_> = assignments
        .flat_map(|assignment| list(assignment, ENDPOINTS))
        .flat_map(|locality| list(locality, LB_ENDPOINTS))
        .filter(|endpoint| {
            address(&endpoint["endpoint"]["address"])
                .is_ok_and(|found| address::same(&found, wanted))
        })
        .collect();
    if found.is_empty() {
        return Err(format!("the file has no endpoint {wanted} in the cluster `{cluster}`"));
    }
    Ok(found)
}

/// Returns whether an endpoint's health status keeps requests away.
pub(super) fn is_down(endpoint: &Value) -> bool {
    match field(endpoint, HEALTH_STATUS) {
        Value::String(name) => keeps_away(name),
        number => AWAY.iter().any(|(_, away)| number.as_u64() == Some(*away)),
    }
}

/// Writes an endpoint's health status, under the name that the file uses.
pub(super) fn mark(endpoint: &mut Value, down: bool) {
    let [name, camel] = HEALTH_STATUS;
    let name = if endpoint.get(camel).is_some() { camel } else { name };
    endpoint[name] = if down { DRAINING } else { "HEALTHY" }.into();
}
