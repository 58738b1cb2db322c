//! The file with the servers: Traefik's dynamic configuration in JSON. Traefik accepts names in any case.

use serde_json::Value;

use crate::address;
use crate::text::line;

/// The path to the servers of a service, before its name.
const BEFORE: [&str; 2] = ["http", "services"];
const AFTER: [&str; 2] = ["loadBalancer", "servers"];
const URL: &str = "url";
const WEIGHT: &str = "weight";

/// Reads the address of a server's URL as `host:port`.
pub(super) fn address(url: &str) -> Result<String, String> {
    let unreadable = || format!("a server's URL has no host: {}", line(url, 100));
    let (scheme, rest) = url.split_once("://").ok_or_else(unreadable)?;
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit('@').next().filter(|host| !host.is_empty()).ok_or_else(unreadable)?;
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
    match (has_port, scheme) {
        (true, _) => Ok(host.to_owned()),
        (false, "https") => Ok(format!("{host}:443")),
        (false, _) => Ok(format!("{host}:80")),
    }
}

/// The spelling of a field's name in this file.
fn name_of<'a>(value: &'a Value, field: &'a str) -> &'a str {
    let fields = value.as_object().into_iter().flatten();
    let found = fields.map(|(name, _)| name.as_str()).find(|name| name.eq_ignore_ascii_case(field));
    found.unwrap_or(field)
}

fn field<'a>(value: &'a mut Value, field: &str) -> Option<&'a mut Value> {
    let name = name_of(value, field).to_owned();
    value.get_mut(name)
}

/// Finds the servers at an address.
pub(super) fn servers<'a>(
    document: &'a mut Value,
    service: &str,
    wanted: &str,
) -> Result<Vec<&'a mut Value>, String> {
    let services = BEFORE.iter().try_fold(document, |at, name| field(at, name));
    let service_of = services.and_then(|services| services.get_mut(service));
    let list =
        service_of.and_then(|found| AFTER.iter().try_fold(found, |at, name| field(at, name)));
    let list = list.and_then(Value::as_array_mut);
    let list = list
        .ok_or_else(|| format!("the file has no `http.services.{service}.loadBalancer.servers`"))?;
    let at = |server: &&mut Value| {
        let url = server[name_of(server, URL)].as_str();
        url.is_some_and(|url| address(url).is_ok_and(|address| address::same(&address, wanted)))
    };
    let found: Vec<_> = list.iter_mut().filter(at).collect();
    if found.is_empty() {
        return Err(format!("the file has no server {wanted} in the service `{service}`"));
    }
    Ok(found)
}

/// A server's share of the requests. Below one it gets none.
fn weight(server: &Value) -> Result<i64, String> {
    match &server[name_of(server, WEIGHT)] {
        Value::Null => Ok(1),
        weight => weight.as_i64().ok_or_else(|| {
            format!("a server's weight is not a number: {}", line(&weight.to_string(), 40))
        }),
    }
}

/// Returns whether a server gets no requests.
pub(super) fn is_down(server: &Value) -> Result<bool, String> {
    Ok(weight(server)? <= 0)
}

/// Takes a server out or returns it, with its previous weight. With a weight of 0 it had no weight to return to.
pub(super) fn mark(server: &mut Value, down: bool) -> Result<(), String> {
    let (name, had) = (name_of(server, WEIGHT).to_owned(), weight(server)?.saturating_abs().max(1));
    server[name] = if down { -had } else { had }.into();
    Ok(())
}
