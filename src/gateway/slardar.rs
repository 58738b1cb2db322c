//! Slardar, a gateway in Lua upon lua-resty-checkups (1.1.2).
//!
//! There is no `down`: a node is out when it is not in the list. `POST /upstream/<host>` replaces the list, `/upstreams`
//! shows what was posted last, and each worker follows within `shd_config_timer_interval`; `/status` shows the list of
//! the worker that answers. What is posted is in memory only: at its start, and at a reload, Slardar reads the list from
//! Consul. So a node is taken out of both lists, the one in Consul first.

mod list;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::value::RawValue;

use super::{
    Driver, Mark, Nodes, NotDone, Peer, Query, Switch, View, WORKER_HEADER, get, not_done, ok, post,
};
use crate::address;
use crate::consul::{Entry, entries, key};
use crate::json;
use crate::playbook::{self, SlardarServer};
use crate::text;
use crate::url::part;
use crate::world::Reply;

use list::{Kept, Posted, Servers, intended};

/// Slardar's own default for `shd_config_timer_interval`.
const INTERVAL: Duration = Duration::from_secs(1);

/// A worker that finds the list locked looks again after another interval.
const SLACK: Duration = Duration::from_secs(1);

/// Slardar's own default for `config_key_prefix`.
const PREFIX: &str = "config/slardar/";

/// A gateway of this kind.
pub(super) struct Slardar {
    nodes: Nodes,
    upstream: String,
    url: String,
    key: String,
    server: SlardarServer,
    servers: BTreeMap<String, SlardarServer>,
    workers: Option<u32>,
    worker_header: String,
    interval: Duration,
}

impl Slardar {
    pub(super) fn new(settings: &playbook::Slardar, nodes: Nodes) -> Self {
        let upstream = settings.upstream.as_str().to_owned();
        let prefix = settings.prefix.as_ref().map_or(PREFIX, |prefix| prefix.as_str());
        Self {
            nodes,
            key: format!("{prefix}upstreams/{upstream}"),
            url: settings.url.as_str().trim_end_matches('/').to_owned(),
            upstream,
            server: settings.server,
            servers: settings.servers.clone(),
            workers: settings.workers,
            worker_header: settings
                .worker_header
                .as_deref()
                .unwrap_or(WORKER_HEADER)
                .to_ascii_lowercase(),
            interval: settings.sync_interval.map_or(INTERVAL, |period| period.0),
        }
    }

    /// A node as it stands in the lists when it is up.
    fn intended(&self, address: &str) -> Result<String, String> {
        let mut own = self.servers.iter();
        let own = own.find(|(server, _)| address::same(server, address)).map(|(_, own)| own);
        intended(address, own.unwrap_or(&self.server))
    }

    /// What the API was told last.
    fn posted<'a>(&self, text: &'a str) -> Result<Posted<'a>, String> {
        Posted::parse(text, &self.upstream).map_err(|problem| format!("/upstreams: {problem}"))
    }

    /// What Consul keeps.
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

    /// Whether the node stands in what the API was told, and in what Consul keeps.
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

impl Driver for Slardar {
    fn asks(&self) -> Vec<Query> {
        vec![Query::Http(get(&format!("{}/status", self.url)))]
    }

    fn read(&self, replies: &[Reply]) -> Result<View, String> {
        let [reply, ..] = replies else { return Err("no reply".into()) };
        let document = json::document(&ok(reply)?.body)
            .map_err(|error| format!("/status: not JSON: {error}"))?;
        let upstream = &self.upstream;
        let told = |error: String| format!("/status: {error}");
        let [levels] =
            json::fields(document, [format!("cls:{upstream}").as_str()]).map_err(told)?;
        let levels = levels.ok_or_else(|| format!("it has no upstream `{upstream}`"))?;
        let mut view = View::default();
        let mut unplaced = None;
        for level in listed(levels)? {
            for server in listed(level)? {
                let server = json::value(server, json::SMALL).map_err(told)?;
                let unreadable = || unreadable(&server.to_string());
                let (name, status) = (server["server"].as_str(), server["status"].as_str());
                let address = name.and_then(|name| name.strip_prefix(&format!("{upstream}:")));
                let Some(address) = address.map(|address| self.nodes.name(address)) else {
                    unplaced.get_or_insert_with(unreadable);
                    continue;
                };
                match status {
                    Some(status) => {
                        let failing_check = status == "err";
                        view.add(address, Peer { up: true, failing_check, in_flight: None });
                    }
                    None => view.add_unread(address, unreadable()),
                }
            }
        }
        match unplaced {
            Some(unreadable) if view.peers.is_empty() => Err(unreadable),
            _ => view.readable(),
        }
    }

    fn kind(&self) -> String {
        "Slardar".into()
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn lag(&self) -> Duration {
        self.interval + SLACK
    }

    fn workers(&self) -> Option<u32> {
        self.workers
    }

    fn worker_header(&self) -> Option<&str> {
        Some(&self.worker_header)
    }

    fn switch(&self) -> Option<&dyn Switch> {
        Some(self)
    }
}

impl Switch for Slardar {
    fn asks(&self) -> Vec<Query> {
        let (path, query) = key(&self.key);
        vec![Query::Http(get(&format!("{}/upstreams", self.url))), Query::Consul(path, query)]
    }

    fn mark(&self, replies: &[Reply], address: &str) -> Result<Mark, String> {
        let (is_posted, _) = self.listed(replies, address)?;
        Ok(if is_posted { Mark::Up } else { Mark::Absent })
    }

    fn strangers(&self, replies: &[Reply]) -> Vec<String> {
        let posted = replies.first().map(Reply::text).unwrap_or_default();
        let posted = self.posted(&posted).map(|posted| posted.servers.places());
        let strangers = posted.unwrap_or_default().into_iter();
        strangers.filter(|server| self.nodes.find(server).is_none()).collect()
    }

    fn is_inconsistent(&self, replies: &[Reply], address: &str) -> bool {
        self.listed(replies, address).is_ok_and(|(posted, kept)| posted != kept)
    }

    fn keys(&self, replies: &[Reply]) -> Vec<Entry> {
        replies.get(1).and_then(|kept| self.entry(kept).ok()).into_iter().collect()
    }

    fn turn(&self, replies: &[Reply], address: &str, down: bool) -> Result<Vec<Query>, String> {
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
            // A key that was written has nothing to say.
            let said = json::document(&reply.body).ok();
            let said = said.and_then(|said| json::at(said, "/status").ok().flatten());
            let told: Option<u16> = said.and_then(|status| json::typed(status).ok());
            if reply.status != 200 || (!reply.body.is_empty() && told != Some(200)) {
                // A refusal may come with 200, and tell its own status.
                let status = told.filter(|_| reply.status == 200).unwrap_or(reply.status);
                return Err(not_done(&Reply { status, ..reply.clone() }));
            }
        }
        Ok(())
    }
}
