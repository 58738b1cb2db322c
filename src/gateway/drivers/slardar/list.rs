//! Slardar's lists: as its API shows them, and as Consul stores them. A list is changed in its bytes, so that
//! entries of other writers stay as they are.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::address;
use crate::json;
use crate::text;

/// The fields of a server in Slardar's list besides its host and port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SlardarServer {
    /// Its share of the requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// The number of failures after which it gets no requests for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_fails: Option<u32>,
    /// The length of that while, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail_timeout: Option<u32>,
}

impl SlardarServer {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The servers of a list, each as it was written, with its address if it has one.
#[derive(Debug)]
pub(super) struct Servers<'a> {
    servers: Vec<(Option<String>, &'a RawValue)>,
}

/// What `/upstreams` shows of one upstream.
#[derive(Debug)]
pub(super) struct Posted<'a> {
    pub(super) servers: Servers<'a>,
}

/// The content of a key in Consul.
#[derive(Debug)]
pub(super) struct Kept<'a> {
    text: &'a str,
    pub(super) servers: Servers<'a>,
}

/// The entry of a node in a list when it is up. The port must be a number: with a text, `/status` no longer works.
pub(super) fn intended(address: &str, server: &SlardarServer) -> Result<String, String> {
    let parts = address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let (host, port): (_, u16) = parts.ok_or_else(|| format!("{address} is not `host:port`"))?;
    let mut fields = Map::new();
    fields.insert("host".into(), host.into());
    fields.insert("port".into(), port.into());
    let more = [
        ("weight", server.weight),
        ("max_fails", server.max_fails),
        ("fail_timeout", server.fail_timeout),
    ];
    for (name, number) in more {
        if let Some(number) = number {
            fields.insert(name.into(), number.into());
        }
    }
    Ok(Value::Object(fields).to_string())
}

fn place_of(server: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Place {
        host: String,
        port: Value,
    }
    let place: Place = Deserialize::deserialize(json::value(server, json::SMALL).ok()?).ok()?;
    match place.port {
        Value::Number(port) => Some(address::join(&place.host, port)),
        Value::String(port) => Some(address::join(&place.host, port)),
        _ => None,
    }
}

/// A server's fields. Numbers are numbers in any notation.
fn fields(server: &str) -> BTreeMap<String, String> {
    let server = json::document(server.as_bytes());
    let server = server.and_then(|server| json::value(server, json::SMALL)).unwrap_or_default();
    let fields: BTreeMap<String, Value> = Deserialize::deserialize(server).unwrap_or_default();
    let plain = |value: Value| match value.as_f64() {
        Some(number) => number.to_string(),
        None => value.to_string(),
    };
    fields.into_iter().map(|(name, value)| (name, plain(value))).collect()
}

impl<'a> Servers<'a> {
    fn new(servers: Vec<&'a RawValue>) -> Self {
        Self { servers: servers.into_iter().map(|server| (place_of(server), server)).collect() }
    }

    /// The address of each server. A server without an address is returned as it is written.
    pub(super) fn places(&self) -> Vec<String> {
        let place = |(place, server): &(Option<String>, &RawValue)| {
            place.clone().unwrap_or_else(|| server.get().to_owned())
        };
        self.servers.iter().map(place).collect()
    }

    fn is_node(place: Option<&str>, node: &str) -> bool {
        place.is_some_and(|place| address::same(place, node))
    }

    /// Returns whether the node is in the list.
    ///
    /// It must be there once, and as the playbook would write it.
    pub(super) fn has(&self, node: &str, intended: &str) -> Result<bool, String> {
        let mut found =
            self.servers.iter().filter(|(place, _)| Self::is_node(place.as_deref(), node));
        let Some((_, server)) = found.next() else { return Ok(false) };
        if found.next().is_some() {
            return Err(format!("{node} is listed twice"));
        }
        if fields(server.get()) != fields(intended) {
            return Err(format!(
                "{node} is listed as {}, but would return to rotation as {}: change `server` or `servers`",
                text::line(server.get(), 100),
                text::line(intended, 100)
            ));
        }
        Ok(true)
    }

    /// The servers with the node removed or added.
    fn joined(&self, node: &str, intended: &str, down: bool) -> Result<String, String> {
        let kept = self.servers.iter().filter(|(place, _)| !Self::is_node(place.as_deref(), node));
        let mut servers: Vec<_> = kept.map(|(_, server)| server.get()).collect();
        if !down {
            servers.push(intended);
        } else if servers.is_empty() {
            return Err(format!("{node} is the only server, and Slardar refuses an empty list"));
        }
        Ok(servers.join(","))
    }

    /// The list with the node removed or added.
    pub(super) fn with(&self, node: &str, intended: &str, down: bool) -> Result<String, String> {
        Ok(format!("[{}]", self.joined(node, intended, down)?))
    }
}

impl<'a> Posted<'a> {
    pub(super) fn parse(text: &'a str, upstream: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Upstream<'a> {
            #[serde(borrow)]
            cluster: &'a RawValue,
        }
        #[derive(Deserialize)]
        struct Level<'a> {
            #[serde(borrow)]
            servers: &'a RawValue,
        }
        let unreadable = |error: String| format!("cannot be read: {}", text::line(&error, 100));
        let upstreams = json::document(text.as_bytes()).map_err(unreadable)?;
        if !json::is_object(upstreams) {
            return Err(unreadable("it is not an object".into()));
        }
        let [own] = json::fields(upstreams, [upstream]).map_err(unreadable)?;
        let own = own.ok_or_else(|| format!("there is no upstream `{upstream}`"))?;
        let Upstream { cluster } = json::typed(own).map_err(unreadable)?;
        let mut cluster = json::list(cluster).map_err(unreadable)?;
        match (cluster.pop(), cluster.len()) {
            (Some(level), 0) => {
                let Level { servers } = json::typed(level).map_err(unreadable)?;
                Ok(Self { servers: Servers::new(json::list(servers).map_err(unreadable)?) })
            }
            _ => Err("the upstream must have exactly one level: one list of servers".into()),
        }
    }
}

impl<'a> Kept<'a> {
    pub(super) fn parse(value: &'a [u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Value<'a> {
            #[serde(borrow)]
            servers: &'a RawValue,
        }
        let unreadable =
            |error: String| format!("its value cannot be read: {}", text::line(&error, 100));
        let text = std::str::from_utf8(value).map_err(|error| unreadable(error.to_string()))?;
        let value: Value<'_> = json::document(value).and_then(json::typed).map_err(unreadable)?;
        let servers = json::list(value.servers).map_err(unreadable)?;
        Ok(Self { text, servers: Servers::new(servers) })
    }

    /// The value with the node removed or added. Everything else stays.
    pub(super) fn with(&self, node: &str, intended: &str, down: bool) -> Result<String, String> {
        let servers = self.servers.joined(node, intended, down)?;
        let ends = (self.servers.servers.first(), self.servers.servers.last());
        let (Some((_, first)), Some((_, last))) = ends else {
            return Err("its list is empty".into());
        };
        let place = |part: &RawValue| part.get().as_ptr() as usize - self.text.as_ptr() as usize;
        let (start, end) = (place(first), place(last) + last.get().len());
        Ok(format!("{}{servers}{}", &self.text[..start], &self.text[end..]))
    }
}
