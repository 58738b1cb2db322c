//! ## slardar
//!
//! | gateway | `registry` | a playbook |
//! |---|---|---|
//! | Slardar | `gateway` | [slardar](../playbooks/slardar.yaml) |
//!
//! [Slardar](https://github.com/upyun/slardar) (lua-resty-checkups). rollgate writes to its API and to its key in
//! Consul.
//!
//! ```lua
//! _M.global = { checkup_shd_sync_enable = true, shd_config_timer_interval = 1, no_store = false, … }
//! _M.store = { type = "consul", config_key_prefix = "config/slardar/", … }
//! ```
//!
//! ```nginx
//! location ~ /(status|upstream|lua) { content_by_lua_file app/src/status.lua; add_header X-Worker $pid always; }
//! ```
//!
//! ```yaml
//! registry: { type: gateway }
//! gateways:
//!   - type: slardar
//!     upstream: app.example                                     # the host name of the requests
//!     url: http://10.0.0.11:1995
//!     server: { weight: 1, max_fails: 6, fail_timeout: 30 }     # of every node
//!     servers: { '10.0.1.13:9000': { weight: 5 } }              # of this node, in place of all of `server`
//!     workers: 4
//! ```
//!
//! **Writes:**
//!
//! - Slardar has no `down`: a node that is out is not in the list. The playbook has the settings with which the node
//!   returns. If a node has other settings in the list, it is refused before the release. Other servers, and everything
//!   else, stay as they are.
//! - At a start or reload, Slardar forgets the changes of its API and reads `config/slardar/upstreams/<upstream>` from
//!   Consul (`config/slardar/` is the default of `prefix`). Therefore rollgate writes both: first the key in Consul, in
//!   one transaction that checks the release's lock, then the API. A reload during a drain changes nothing.
//! - Without that key, a release does not start. The Consul token needs write permission for it.
//! - Slardar refuses an empty list: the last server cannot be taken out.
//!
//! **Confirmation:**
//!
//! - **Out** and **in:** each of `workers` workers, identified by `X-Worker`, has shown the change at `/status`.
//!   Without that header, samples confirm it, `sync_interval` (default: 1 s) + 1 s after the write.
//! - **In** also needs Slardar's own heartbeats to agree.
//! - `/upstreams` shows what was posted, and confirms nothing.
//! - Requests in flight are not reported.

mod list;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::address;
use crate::consul::{Entry, entries, key};
use crate::gateway::driver::{Driver, Facts, Purpose};
use crate::gateway::guess::{GatewayAddress, Guess};
use crate::gateway::query::{Query, first, get, ok, post};
use crate::gateway::rotation::{Listed, Listing, NotDone, RotationControl, not_done};
use crate::gateway::settings::{
    Issue, RegistryKind, Settings, SettingsFacts, follows_only, templates,
};
use crate::gateway::view::{Entries, Nodes, Peer, View};
use crate::json;
use crate::period::DurationSetting;
use crate::template::Template;
use crate::text::{self, quoted};
use crate::url::part;
use crate::world::Reply;

use list::{Kept, Posted, Servers, intended};

pub use list::SlardarServer;

/// Slardar (lua-resty-checkups), with its own API and the key in Consul that it reads at a start or reload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Slardar {
    /// Its name in messages. Default: the host of its URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The gateway's name for the pool: the host name of the requests.
    pub upstream: Template,
    /// The URL of its API, to which `/status`, `/upstreams` and `/upstream/…` are added.
    pub url: Template,
    /// A PEM file with the only authorities that may have signed its certificate; relative to the playbook. Default:
    /// those of the system, or of `SSL_CERT_FILE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// The prefix of its keys in Consul: its `config_key_prefix`. Default: `config/slardar/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<Template>,
    /// The fields of each node in the list besides its host and port.
    #[serde(default, skip_serializing_if = "SlardarServer::is_empty")]
    pub server: SlardarServer,
    /// By a node's address: the fields that replace `server`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub servers: BTreeMap<String, SlardarServer>,
    /// How many workers it runs. Each follows the API separately. Default: up to 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub workers: Option<u32>,
    /// The reply header with the name of the worker that answered (nginx: `add_header X-Worker $pid always`). Used if
    /// replies have it. Default: `X-Worker`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_header: Option<String>,
    /// How long a worker may take to follow: `shd_config_timer_interval`. Default: 1s, as in Slardar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_interval: Option<DurationSetting>,
}

impl Settings for Slardar {
    templates!(upstream, url, prefix);

    fn guesses(address: &GatewayAddress, names: &[String]) -> Vec<Guess> {
        address.named("url", "upstream", names)
    }

    fn facts(&self) -> SettingsFacts<'_> {
        SettingsFacts {
            ca: self.ca.as_deref(),
            name: self.name.as_deref(),
            place: ("url", self.url.as_str()),
            addresses: self.servers.keys().map(|address| ("servers", address.as_str())).collect(),
            incompatible_with: follows_only(
                RegistryKind::Gateway,
                "only its own API changes its list",
            ),
            ..SettingsFacts::default()
        }
    }

    fn issues(&self, known: &dyn Fn(&str) -> bool) -> Vec<Issue> {
        let upstream = self.upstream.fixed().filter(|_| known("upstream"));
        let upstream = upstream.filter(|name| name.contains(is_special)).map(|name| Issue {
            key: "upstream",
            message: format!("`{}` cannot be used in Slardar's API", quoted(name)),
            helps: vec!["a host has letters, digits, `-`, `_` and `.`".into()],
        });
        let prefix = self.prefix.as_ref().and_then(Template::fixed).filter(|_| known("prefix"));
        let prefix = prefix.filter(|prefix| !prefix.ends_with('/')).map(|prefix| Issue {
            key: "prefix",
            message: format!("the prefix `{}` does not end in `/`", quoted(prefix)),
            helps: vec![format!("write `{}/`", quoted(prefix))],
        });
        upstream.into_iter().chain(prefix).collect()
    }
}

fn is_special(character: char) -> bool {
    !(character.is_ascii_alphanumeric() || "-_.".contains(character))
}

/// Slardar's own default for `shd_config_timer_interval`.
const INTERVAL: Duration = Duration::from_secs(1);

/// A worker that finds the list locked tries again after another interval.
const SLACK: Duration = Duration::from_secs(1);

/// Slardar's own default for `config_key_prefix`.
const PREFIX: &str = "config/slardar/";

/// Slardar, a gateway in Lua with lua-resty-checkups (1.1.2).
///
/// It has no `down`: a node is out if it is not in the list. `POST /upstream/<host>` replaces the list,
/// `/upstreams` shows what was posted last, and each worker follows within `shd_config_timer_interval`. `/status`
/// shows the list of the worker that answers. A posted list is only in memory: at a start or reload, Slardar reads
/// the list from Consul. So a node is taken out of both lists, first of the one in Consul.
pub(super) struct SlardarDriver {
    facts: Facts,
    nodes: Nodes,
    upstream: String,
    url: String,
    key: String,
    server: SlardarServer,
    servers: BTreeMap<String, SlardarServer>,
}

impl SlardarDriver {
    pub(super) fn new(settings: &Slardar, nodes: Nodes) -> Self {
        let upstream = settings.upstream.as_str().to_owned();
        let prefix = settings.prefix.as_ref().map_or(PREFIX, |prefix| prefix.as_str());
        let interval = settings.sync_interval.map_or(INTERVAL, |period| period.0);
        let header = settings.worker_header.as_deref();
        Self {
            facts: Facts::polling("Slardar", interval, SLACK, settings.workers, header),
            nodes,
            key: format!("{prefix}upstreams/{upstream}"),
            url: settings.url.as_str().trim_end_matches('/').to_owned(),
            upstream,
            server: settings.server,
            servers: settings.servers.clone(),
        }
    }

    /// The entry of a node in the lists when it is up.
    fn intended(&self, address: &str) -> Result<String, String> {
        let mut own = self.servers.iter();
        let own = own.find(|(server, _)| address::same(server, address)).map(|(_, own)| own);
        intended(address, own.unwrap_or(&self.server))
    }

    /// The list that was posted last.
    fn posted<'a>(&self, text: &'a str) -> Result<Posted<'a>, String> {
        Posted::parse(text, &self.upstream).map_err(|problem| format!("/upstreams: {problem}"))
    }

    /// The entry in Consul.
    fn entry(&self, reply: &Reply) -> Result<Entry, String> {
        let key = &self.key;
        if reply.status == 404 {
            return Err(format!(
                "Consul has no key {key}, which Slardar reads at a reload: put the list there as \
                 {{\"enable\":true,\"servers\":[…]}}, or set `prefix`"
            ));
        }
        let entries = entries(&ok(reply)?.body).map_err(|problem| format!("{key}: {problem}"))?;
        entries.into_iter().next().ok_or_else(|| format!("Consul has no key {key}"))
    }

    /// Whether the node is in the posted list, and in the list in Consul.
    fn listed(&self, replies: &[Reply], address: &str) -> Result<(bool, bool), String> {
        let [posted, kept] = replies else { return Err("no reply".into()) };
        let posted = ok(posted)?.text();
        let posted = self.posted(&posted)?;
        let entry = self.entry(kept)?;
        let kept =
            Kept::parse(&entry.value).map_err(|problem| format!("{}: {problem}", self.key))?;
        let intended = self.intended(address)?;
        let is_in = |place: &str, servers: &Servers<'_>| {
            let is_in = servers.has(address, &intended);
            is_in.map_err(|problem| format!("{place}: {problem}"))
        };
        Ok((is_in("/upstreams", &posted.servers)?, is_in(&self.key, &kept.servers)?))
    }
}

/// The entries of a list in `/status`.
fn listed(list: &RawValue) -> Result<Vec<&RawValue>, String> {
    if !json::is_list(list) {
        return Err(unreadable(list.get()));
    }
    json::list(list).map_err(|error| format!("/status: {error}"))
}

fn unreadable(shown: &str) -> String {
    format!("/status: cannot read {}", text::line(shown, 100))
}

impl Driver for SlardarDriver {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn queries(&self, purpose: Purpose<'_>) -> Vec<Query> {
        match purpose {
            Purpose::Look | Purpose::Probe => {
                vec![Query::Http(get(&format!("{}/status", self.url)))]
            }
            Purpose::Rotation => {
                let (path, query) = key(&self.key);
                let posted = get(&format!("{}/upstreams", self.url));
                vec![Query::Http(posted), Query::Consul(path, query)]
            }
            Purpose::Count(_) => Vec::new(),
        }
    }

    fn read(&self, replies: &[Reply]) -> Result<View, String> {
        let reply = first(replies)?;
        let document = json::document(&ok(reply)?.body)
            .map_err(|error| format!("/status: not JSON: {error}"))?;
        let upstream = &self.upstream;
        let told = |error: String| format!("/status: {error}");
        let [levels] =
            json::fields(document, [format!("cls:{upstream}").as_str()]).map_err(told)?;
        let levels = levels.ok_or_else(|| format!("it has no upstream `{upstream}`"))?;
        let mut entries = Entries::new(&self.nodes);
        for level in listed(levels)? {
            for server in listed(level)? {
                let server = json::value(server, json::SMALL).map_err(told)?;
                let unreadable = || unreadable(&server.to_string());
                let (name, status) = (server["server"].as_str(), server["status"].as_str());
                let address = name.and_then(|name| name.strip_prefix(&format!("{upstream}:")));
                let peer = status.map(|status| {
                    let failing_check = status == "err";
                    Peer { up: true, failing_check, in_flight: None }
                });
                entries.add(
                    address.map(str::to_owned).ok_or_else(unreadable),
                    peer.ok_or_else(unreadable),
                );
            }
        }
        entries.view()
    }

    fn rotation_control(&self) -> Option<&dyn RotationControl> {
        Some(self)
    }
}

impl RotationControl for SlardarDriver {
    fn listing(&self, replies: &[Reply], address: &str) -> Result<Listing, String> {
        let (is_posted, is_kept) = self.listed(replies, address)?;
        let [posted, kept] = replies else { return Err("no reply".into()) };
        let posted = posted.text();
        let listed = self.posted(&posted)?.servers.places().into_iter();
        Ok(Listing {
            is_inconsistent: is_posted != is_kept,
            strangers: listed.filter(|server| self.nodes.find(server).is_none()).collect(),
            keys: vec![self.entry(kept)?],
            ..if is_posted { Listed::Up } else { Listed::Absent }.into()
        })
    }

    fn set(&self, replies: &[Reply], address: &str, down: bool) -> Result<Vec<Query>, String> {
        let (is_posted, is_kept) = self.listed(replies, address)?;
        let [posted, kept] = replies else { return Err("no reply".into()) };
        let intended = self.intended(address)?;
        let mut asks = Vec::new();
        if is_kept == down {
            let entry = self.entry(kept)?;
            let value = Kept::parse(&entry.value)?.with(address, &intended, down);
            let value = value.map_err(|problem| format!("{}: {problem}", self.key))?;
            asks.push(Query::CompareAndSet(entry, value.into_bytes()));
        }
        if is_posted == down {
            let text = ok(posted)?.text();
            let servers = self.posted(&text)?.servers.with(address, &intended, down)?;
            let url = format!("{}/upstream/{}", self.url, part(&self.upstream));
            asks.push(Query::Http(post(&url, &format!("{{\"servers\":{servers}}}"))));
        }
        Ok(asks)
    }

    fn is_done(&self, replies: &[Reply]) -> Result<(), NotDone> {
        for reply in replies {
            // A successful write to a key has no body.
            let said = json::document(&reply.body).ok();
            let said = said.and_then(|said| json::at(said, "/status").ok().flatten());
            let told: Option<u16> = said.and_then(|status| json::typed(status).ok());
            if reply.status != 200 || (!reply.body.is_empty() && told != Some(200)) {
                // A refusal can have the status 200, and its own status in the body.
                let status = told.filter(|_| reply.status == 200).unwrap_or(reply.status);
                return Err(not_done(&Reply { status, ..reply.clone() }));
            }
        }
        Ok(())
    }

    fn keys(&self) -> Vec<&str> {
        vec![&self.key]
    }
}
