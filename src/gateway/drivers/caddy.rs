//! ## caddy
//!
//! | gateway | `registry` | a playbook |
//! |---|---|---|
//! | Caddy, with its admin API | `gateway` | [caddy](../playbooks/caddy.yaml) |
//!
//! Caddy 2.6 or later, with its admin API. The `reverse_proxy` handler needs an `@id`. Only a JSON configuration can
//! have it, not a Caddyfile; `caddy adapt` converts your Caddyfile to JSON.
//!
//! ```json
//! { "admin": { "listen": "10.0.0.11:2019" },
//!   "apps": { "http": { "servers": { "web": { "listen": [":443"], "routes": [ { "handle": [
//!     { "@id": "app", "handler": "reverse_proxy", "upstreams": [
//!       { "dial": "10.0.1.11:9000" }, { "dial": "10.0.1.12:9000" }, { "dial": "10.0.1.13:9000" } ] } ] } ] } } } } }
//! ```
//!
//! ```yaml
//! registry: { type: gateway }
//! gateways:
//!   - { type: caddy, admin_url: 'http://10.0.0.11:2019', handler: app, max_requests: 100 }
//! drain: { in_flight: gateways }
//! ```
//!
//! **Writes:**
//!
//! - A node is the upstream whose `dial` is its address. rollgate removes it from the list, and appends it to the
//!   list's end when it returns. With the selection policy `first`, this changes which upstream is the first.
//! - `max_requests` is the value of every upstream, if they have one. An upstream with another value, or with its own
//!   `@id`, is not taken out, because it could not return as it was. The error shows the difference.
//! - All other upstreams stay byte for byte, also those that are not in the playbook.
//! - An upstream `tcp/10.0.1.11:9000` is also found as the node, but refused until it is written as `10.0.1.11:9000`,
//!   because it would return in that form. For a node that is not in the list, see [the
//!   rule](#nodes-that-a-gateway-does-not-list).
//! - The list is written only if it is still the one that was read (`If-Match`). If two writers write at the same time,
//!   one of them is refused and reads again.
//!
//! **Confirmation:** one read, 10 to 35 ms after the write. Caddy is one process, and a change is in effect when Caddy
//! answers it. Passive checks (`fail_duration`) that keep an upstream down are visible. Active checks are not: use
//! `health` for that.
//!
//! **Requests in flight:**
//!
//! - From Caddy 2.11.2, they are reported until the last one ends, also for a node that was taken out.
//! - An older Caddy stops counting when the node is taken out. Then `drain.in_flight: gateways` is refused, and without
//!   `drain.in_flight` the node's connections are counted (`ss` on the node).
//! - rollgate reads the version from the profile of Caddy's goroutines (`/debug/pprof/goroutine` of the admin API). A
//!   Caddy that was built without module versions, as distributions build it, counts as an old one.
//! - Several handlers with the same upstream are counted together. List each handler as a gateway in the playbook.
//!
//! **Client impact is possible.** Every change reloads the whole configuration. The server of the old configuration
//! then closes each HTTP/1.1 connection that has no request at that time: idle connections, and those that were opened
//! immediately before (20 of 20 of either kind). Go's server does this, and `grace_period`, `shutdown_delay`,
//! `Connection: close` or a socket that is handed over do not change it. In a release of three nodes, 0 to 8 of about
//! 1,600 requests failed, and hundreds on an overloaded machine, no matter what makes the change. A client must repeat
//! such a request. If your clients do not, use [files](#caddy-that-checks-files) or [Consul's
//! DNS](#caddy-that-asks-consuls-dns): then nothing is reloaded.
//!
//! **Limits:**
//!
//! - A restart forgets changes, unless Caddy runs with `--resume`. A release notices this and takes the node out again.
//! - The admin API has no password: let it listen where only you can reach it. With `enforce_origin`, or on a loopback
//!   address other than 127.0.0.1, it answers 403 unless `origins` has the host and port of `admin_url`.
//! - `dynamic_upstreams` is not supported; see [Consul's DNS](#caddy-that-asks-consuls-dns).

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::address;
use crate::gateway::driver::{Driver, Facts, GatewayInfo, Purpose};
use crate::gateway::guess::{GatewayAddress, Guess};
use crate::gateway::query::{Query, READ_TIMEOUT, first, get, ok};
use crate::gateway::rotation::{Listed, Listing, NotDone, RotationControl, not_done};
use crate::gateway::settings::{
    Issue, RegistryKind, Settings, SettingsFacts, follows_only, templates,
};
use crate::gateway::view::{Nodes, Peer, View};
use crate::json;
use crate::secret::Secret;
use crate::template::Template;
use crate::text::line;
use crate::url::part;
use crate::world::{Method, Reply, Request};

/// Caddy, with its admin API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Caddy {
    /// Its name in messages. Default: the host of its URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The URL of its admin API: `http://10.0.0.11:2019`.
    pub admin_url: Template,
    /// A PEM file with the only authorities that may have signed its certificate; relative to the playbook. Default:
    /// those of the system, or of `SSL_CERT_FILE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// The `@id` of the `reverse_proxy` handler whose `upstreams` are the nodes.
    pub handler: Template,
    /// The `max_requests` of each upstream: a node that returns gets it again. An upstream with another value, or
    /// with anything else besides its `dial`, is not taken out, because that would be lost. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_requests: Option<u32>,
}

impl Settings for Caddy {
    templates!(admin_url, handler);

    fn guesses(address: &GatewayAddress, names: &[String]) -> Vec<Guess> {
        address.named("admin_url", "handler", names)
    }

    fn facts(&self) -> SettingsFacts<'_> {
        SettingsFacts {
            ca: self.ca.as_deref(),
            name: self.name.as_deref(),
            place: ("admin_url", self.admin_url.as_str()),
            counts_under: &RegistryKind::ALL,
            incompatible_with: follows_only(
                RegistryKind::Gateway,
                "only its own admin API changes its list",
            ),
            ..SettingsFacts::default()
        }
    }

    fn issues(&self, known: &dyn Fn(&str) -> bool) -> Vec<Issue> {
        let mut wrong = Vec::new();
        if known("handler")
            && let Some(handler) = self.handler.fixed()
            && (handler.is_empty() || !handler.chars().all(is_plain))
        {
            wrong.push(Issue {
                key: "handler",
                message: "`handler` becomes part of a URL: letters, digits, `-`, `_` and `.`"
                    .into(),
                helps: vec!["give the handler such an `@id` in Caddy's configuration".into()],
            });
        }
        wrong
    }
}

fn is_plain(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "-_.".contains(letter)
}

/// The first version that lists an upstream that was taken out until its last request ends.
const BUSY_SINCE: [u32; 3] = [2, 11, 2];

/// Caddy 2, with its admin API: new requests are sent to the list of a `reverse_proxy` handler.
///
/// The whole list is written at once, and only if it is still the one that was read (`If-Match`). Every entry that
/// stays is kept byte for byte. A change reloads the whole configuration, and is in effect when Caddy answers it.
/// An upstream that was taken out still counts its requests in flight, until the last one ends.
pub(super) struct CaddyDriver {
    facts: Facts,
    nodes: Nodes,
    admin_url: String,
    handler: String,
    max_requests: Option<u32>,
}

/// The fields of the handler that rollgate needs.
#[derive(Deserialize)]
struct Handler<'a> {
    #[serde(rename = "handler")]
    module: String,
    #[serde(borrow)]
    upstreams: Option<&'a RawValue>,
    dynamic_upstreams: Option<&'a RawValue>,
    health_checks: Option<HealthChecks>,
}

#[derive(Deserialize)]
struct HealthChecks {
    passive: Option<Passive>,
}

/// The number of failures after which no more requests are sent. Caddy's default is one. Without a time, failures
/// are not counted.
#[derive(Deserialize)]
struct Passive {
    fail_duration: Option<IgnoredAny>,
    max_fails: Option<u64>,
}

/// What Caddy counts for an upstream. `None` if it cannot be read.
#[derive(Clone, Copy)]
struct Counted {
    num_requests: Option<u64>,
    fails: Option<u64>,
}

impl Counted {
    fn add(&mut self, more: Self) {
        let both = |one: Option<u64>, other: Option<u64>| Some(one?.saturating_add(other?));
        self.num_requests = both(self.num_requests, more.num_requests);
        self.fails = both(self.fails, more.fails);
    }
}

impl CaddyDriver {
    pub(super) fn new(settings: &Caddy, nodes: Nodes) -> Self {
        Self {
            facts: Facts { lists_busy: true, ..Facts::immediate("Caddy") },
            nodes,
            admin_url: settings.admin_url.as_str().trim_end_matches('/').to_owned(),
            handler: settings.handler.as_str().to_owned(),
            max_requests: settings.max_requests,
        }
    }

    fn ask(&self, path: &str) -> Query {
        Query::Http(get(&format!("{}/{path}", self.admin_url)))
    }

    fn ask_handler(&self) -> Query {
        self.ask(&format!("id/{}", part(&self.handler)))
    }

    /// Reads the list, and how many failures keep an upstream down.
    fn list<'a>(&self, body: &'a [u8]) -> Result<(Vec<&'a RawValue>, Option<u64>), String> {
        let id = &self.handler;
        let unfit = |error: String| format!("`{id}` is not a handler with upstreams: {error}");
        let handler: Handler<'a> = json::document(body).and_then(json::typed).map_err(unfit)?;
        if handler.module != "reverse_proxy" {
            let is = line(&handler.module, 40);
            return Err(format!("`{id}` is the handler `{is}`, not `reverse_proxy`"));
        }
        if handler.dynamic_upstreams.is_some() {
            return Err(format!("`{id}` has `dynamic_upstreams`: its list has no effect"));
        }
        let list = handler.upstreams.ok_or_else(|| format!("`{id}` has no `upstreams`"))?;
        let list = json::list(list).map_err(unfit)?;
        let passive = handler.health_checks.and_then(|checks| checks.passive);
        let passive = passive.filter(|passive| passive.fail_duration.is_some());
        Ok((list, passive.map(|passive| passive.max_fails.unwrap_or(1).max(1))))
    }

    /// Refuses an entry that would return in another form.
    fn comes_back(&self, entry: &RawValue, address: &str) -> Result<(), String> {
        let ours = self.entry(address);
        if json::value(entry, json::SMALL).ok().as_ref() == Some(&ours) {
            return Ok(());
        }
        Err(format!(
            "the upstream {} would return to rotation as {ours}: write it in this form; rollgate writes only \
             `dial` and `max_requests`",
            line(entry.get(), 100)
        ))
    }

    /// The entry of a node that returns.
    fn entry(&self, address: &str) -> Value {
        match self.max_requests {
            Some(most) => json!({ "dial": address, "max_requests": most }),
            None => json!({ "dial": address }),
        }
    }
}

/// The `dial` of an upstream as it is written. `None` without `dial`.
fn dial(entry: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Upstream {
        dial: String,
    }
    json::typed::<Upstream>(entry).ok().map(|upstream| upstream.dial)
}

/// The address of an upstream. `tcp/10.0.0.1:80` and `10.0.0.1:80-80` are other spellings of one address. The
/// address behind a name or a placeholder is unknown.
fn place(dial: &str) -> String {
    let networks = ["tcp/", "tcp4/", "tcp6/"];
    let plain = networks.iter().find_map(|network| dial.strip_prefix(network)).unwrap_or(dial);
    match plain.rsplit_once('-') {
        Some((place, last)) if place.rsplit_once(':').is_some_and(|(_, port)| port == last) => {
            place.to_owned()
        }
        _ => plain.to_owned(),
    }
}

/// The version of the module that Caddy was built from, from the file names in the frames of its goroutines. `None`
/// if it was built without versions.
fn version(profile: &str) -> Option<&str> {
    let (_, rest) = profile.split_once("/caddyserver/caddy/v2@v")?;
    let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && !".-+".contains(letter));
    Some(&rest[..end.unwrap_or(rest.len())])
}

/// Whether a version lists an upstream that was taken out as long as requests are in flight there.
fn lists_the_busy(version: &str) -> bool {
    let (numbers, is_release) = match version.split_once(['-', '+']) {
        Some((numbers, _)) => (numbers, false),
        None => (version, true),
    };
    let numbers: Option<Vec<u32>> = numbers.split('.').map(|part| part.parse().ok()).collect();
    // A prerelease can lack what the release has.
    numbers.is_some_and(|numbers| {
        let numbers = numbers.as_slice();
        numbers > &BUSY_SINCE[..] || (is_release && numbers == BUSY_SINCE)
    })
}

fn is_at(entry: &RawValue, address: &str) -> bool {
    dial(entry).is_some_and(|dial| address::same(&place(&dial), address))
}

impl Driver for CaddyDriver {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn queries(&self, purpose: Purpose<'_>) -> Vec<Query> {
        match purpose {
            // The list first: by then, the counts include requests that were sent with an older list.
            Purpose::Look => vec![self.ask_handler(), self.ask("reverse_proxy/upstreams")],
            // Goroutines are grouped by their function, so the size does not depend on the number of requests.
            Purpose::Probe => {
                vec![self.ask_handler(), self.ask("debug/pprof/goroutine?debug=1")]
            }
            Purpose::Rotation => vec![self.ask_handler()],
            Purpose::Count(_) => Vec::new(),
        }
    }

    fn read(&self, replies: &[Reply]) -> Result<View, String> {
        let [handler, counts] = replies else { return Err("a reply is missing".into()) };
        let (list, max_fails) = self.list(&ok(handler)?.body)?;
        let unreadable = |error: String| format!("its upstreams cannot be read: {error}");
        let counts = json::document(&ok(counts)?.body).and_then(json::list).map_err(unreadable)?;
        let mut counted: BTreeMap<String, Counted> = BTreeMap::new();
        for count in counts {
            let count = json::value(count, json::SMALL).map_err(unreadable)?;
            let Some(address) = count["address"].as_str() else { continue };
            let number = |name: &str| count[name].as_u64();
            let more = Counted { num_requests: number("num_requests"), fails: number("fails") };
            let address = self.nodes.name(&place(address));
            // Another spelling of the same address has its own count.
            counted.entry(address).and_modify(|known| known.add(more)).or_insert(more);
        }
        let mut view = View::default();
        for address in list.into_iter().filter_map(dial).map(|dial| self.nodes.name(&place(&dial)))
        {
            let counted = counted.get(&address);
            let failing_check = max_fails.is_some_and(|most| {
                counted.is_none_or(|counted| counted.fails.is_none_or(|fails| fails >= most))
            });
            let in_flight = counted.and_then(|counted| counted.num_requests);
            view.peers.insert(address, Peer { up: true, failing_check, in_flight });
        }
        for (address, Counted { num_requests, .. }) in counted {
            let out = Peer { up: false, failing_check: false, in_flight: num_requests };
            view.peers.entry(address).or_insert(out);
        }
        Ok(view)
    }

    fn info(&self, replies: &[Reply]) -> GatewayInfo {
        let info = GatewayInfo::by_server_header(&self.facts.kind, replies);
        let profile = replies.get(1).and_then(|reply| ok(reply).ok());
        let text = profile.map(Reply::text).unwrap_or_default();
        let least = BUSY_SINCE.map(|part| part.to_string()).join(".");
        let miscounts = match version(&text) {
            Some(version) if lists_the_busy(version) => None,
            Some(version) => Some(format!(
                "it is Caddy {}, which stops counting the requests of an upstream that is taken out; {least} or later \
                 is needed",
                line(version, 40)
            )),
            None => Some(format!(
                "its version is unknown, and before {least} Caddy stops counting the requests of an upstream that \
                 is taken out"
            )),
        };
        GatewayInfo { miscounts, ..info }
    }

    fn rotation_control(&self) -> Option<&dyn RotationControl> {
        Some(self)
    }
}

impl RotationControl for CaddyDriver {
    /// A node that is out is not in the list.
    fn listing(&self, replies: &[Reply], address: &str) -> Result<Listing, String> {
        let reply = first(replies)?;
        let (list, _) = self.list(&ok(reply)?.body)?;
        let mut found = list.iter().filter(|entry| is_at(entry, address));
        let mark = match (found.next(), found.next()) {
            (None, _) => Listed::Absent,
            (Some(entry), None) => self.comes_back(entry, address).map(|()| Listed::Up)?,
            (Some(_), Some(_)) => return Err(format!("its list has {address} twice")),
        };
        let written = |entry: &RawValue| dial(entry).unwrap_or_else(|| entry.get().to_owned());
        let strangers = list.into_iter().map(written);
        let strangers = strangers.filter(|dial| self.nodes.find(&place(dial)).is_none()).collect();
        Ok(Listing { strangers, ..mark.into() })
    }

    fn set(&self, replies: &[Reply], address: &str, down: bool) -> Result<Vec<Query>, String> {
        let reply = first(replies)?;
        let (list, _) = self.list(&ok(reply)?.body)?;
        let etag =
            reply.header("etag").ok_or("it sent no `Etag`: this needs Caddy 2.6 or later")?;
        let mut entries = Vec::new();
        for entry in list {
            if is_at(entry, address) {
                self.comes_back(entry, address)?;
            } else {
                entries.push(entry.get().to_owned());
            }
        }
        if !down {
            entries.push(self.entry(address).to_string());
        }
        Ok(vec![Query::Http(Request {
            method: Method::Patch,
            url: format!("{}/id/{}/upstreams", self.admin_url, part(&self.handler)),
            headers: vec![
                ("content-type".into(), Secret::new("application/json")),
                ("if-match".into(), Secret::new(etag)),
            ],
            body: Some(format!("[{}]", entries.join(",")).into_bytes()),
            ..Request::get("", READ_TIMEOUT).fresh()
        })])
    }

    fn is_done(&self, replies: &[Reply]) -> Result<(), NotDone> {
        let reply = first(replies).map_err(NotDone::Unknown)?;
        match reply.status {
            200 => Ok(()),
            412 => Err(NotDone::Conflict(
                "its configuration was changed by another writer in the meantime".into(),
            )),
            _ => Err(not_done(reply)),
        }
    }
}
