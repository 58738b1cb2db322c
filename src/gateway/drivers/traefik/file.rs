//! The file with the servers: Traefik's dynamic configuration. Traefik accepts names in any case.

use serde_json::Value;

use crate::address;
use crate::gateway::file::{Entry, Tree, Written};
use crate::text::line;

/// The path to the servers of a service, before its name.
const BEFORE: [&str; 2] = ["http", "services"];
const AFTER: [&str; 2] = ["loadBalancer", "servers"];
const URL: &str = "url";
const WEIGHT: &str = "weight";

/// A value that is not set.
const NULL: [&str; 3] = ["null", "~", ""];

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

fn field<'a>(tree: &'a Tree, field: &str) -> Result<Option<(&'a str, &'a Tree)>, String> {
    tree.entry(|name| name.eq_ignore_ascii_case(field))
}

/// Finds the servers at an address.
pub(super) fn servers<'a>(
    document: &'a Tree,
    service: &str,
    wanted: &str,
) -> Result<Vec<&'a Tree>, String> {
    let in_any_case = |name: &str, wanted: &str| name.eq_ignore_ascii_case(wanted);
    let mut list = document.path(&BEFORE, in_any_case)?;
    list = list
        .map(|services| services.path(&[service], |name, wanted| name == wanted))
        .transpose()?
        .flatten();
    list = list.map(|found| found.path(&AFTER, in_any_case)).transpose()?.flatten();
    let list = list.filter(|list| list.is_list());
    let list = list
        .ok_or_else(|| format!("the file has no `http.services.{service}.loadBalancer.servers`"))?;
    let mut found = Vec::new();
    for server in list.items()? {
        let url = field(server, URL)?.and_then(|(_, url)| url.text());
        if url.is_some_and(|url| address(url).is_ok_and(|address| address::same(&address, wanted)))
        {
            found.push(server);
        }
    }
    if found.is_empty() {
        return Err(format!("the file has no server {wanted} in the service `{service}`"));
    }
    Ok(found)
}

/// A server's share of the requests, as it is written. Below one it gets none.
fn share(weight: Option<&str>) -> Result<i64, String> {
    let Some(weight) = weight.filter(|weight| !NULL.contains(weight)) else { return Ok(1) };
    let number = weight.parse();
    number.map_err(|_| format!("a server's weight is not a whole number: {}", line(weight, 40)))
}

fn weight(server: &Tree) -> Result<i64, String> {
    let Some((_, weight)) = field(server, WEIGHT)? else { return Ok(1) };
    match weight.plain() {
        Some(plain) => share(Some(plain)),
        None => Err("a server's weight is not a whole number but has quotes or parts".into()),
    }
}

/// Returns whether a server of the API gets no requests.
pub(super) fn is_shown_down(server: &Value) -> Result<bool, String> {
    let weight = server.get(WEIGHT).map(Value::to_string);
    Ok(share(weight.as_deref())? <= 0)
}

/// Returns whether a server gets no requests.
pub(super) fn is_down(server: &Tree) -> Result<bool, String> {
    Ok(weight(server)? <= 0)
}

/// The weight of a server that is out or in: its previous one with the other sign. With a weight of 0 it had no weight
/// to return to.
pub(super) fn mark(server: &Tree, down: bool) -> Result<Entry, String> {
    let name = field(server, WEIGHT)?.map_or(WEIGHT, |(name, _)| name);
    let had = weight(server)?.saturating_abs().max(1);
    Ok((name.to_owned(), Written::Number(if down { -had } else { had })))
}
