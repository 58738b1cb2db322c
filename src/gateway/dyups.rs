//! nginx with `ngx_http_dyups_module`, through its own API.
//!
//! Every write is the whole list, and what is read does not tell all of it: so the playbook says how the list is, and
//! nothing is written over a list that has something else. Two programs have this name:
//!
//! * **classic**, until 2020-03. The worker that takes a `POST` tells the others, which look every
//!   `dyups_read_msg_timeout`; `GET /detail` shows the worker that answers, after it has looked. A reload or a restart
//!   loses every list.
//! * **head**, since 2020-04. The list is in shared memory, and a worker looks when it evaluates a `$dyups_` variable:
//!   with a plain name in `proxy_pass` it never does. `GET /list` shows what was posted; there is no `/detail`. A
//!   restart loses every list.

mod list;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{
    Driver, Mark, Nodes, NotDone, Peer, Query, Switch, View, WORKER_HEADER, get, not_done, ok, post,
};
use crate::address;
use crate::playbook::{self, DyupsMode};
use crate::text;
use crate::url::part;
use crate::world::Reply;

use list::{List, Server, statements};

/// dyups' own default for `dyups_read_msg_timeout`.
const INTERVAL: Duration = Duration::from_secs(1);

/// A worker looks when its timer is due and it has nothing else to do.
const SLACK: Duration = Duration::from_millis(500);

/// A gateway of this kind.
pub(super) struct Dyups {
    upstream: String,
    url: String,
    mode: DyupsMode,
    names: Nodes,
    /// The nodes, each as it is written when it is up.
    nodes: Vec<(Server, String)>,
    others: Vec<String>,
    extras: String,
    workers: Option<u32>,
    worker_header: String,
    interval: Duration,
}

impl Dyups {
    pub(super) fn new(settings: &playbook::Dyups, nodes: &[String]) -> Self {
        let node = |address: &String| {
            let mut own = settings.servers.iter();
            let own = own.find(|(server, _)| address::same(server, address)).map(|(_, own)| own);
            let parameters = own.or(settings.server.as_ref());
            let parameters = parameters.map_or("", |parameters| parameters.as_str()).trim();
            let line = format!("{address} {parameters}").trim_end().to_owned();
            Some((Server::parse(&line)?, format!("server {line}")))
        };
        Self {
            upstream: settings.upstream.as_str().to_owned(),
            url: settings.url.as_str().trim_end_matches('/').to_owned(),
            mode: settings.mode.unwrap_or(DyupsMode::Classic),
            names: Nodes::new(nodes),
            nodes: nodes.iter().filter_map(node).collect(),
            others: settings.others.iter().map(|other| other.as_str().trim().to_owned()).collect(),
            extras: settings.extras.as_ref().map_or("", |extras| extras.as_str()).to_owned(),
            workers: settings.workers,
            worker_header: settings
                .worker_header
                .as_deref()
                .unwrap_or(WORKER_HEADER)
                .to_ascii_lowercase(),
            interval: settings.sync_interval.map_or(INTERVAL, |period| period.0),
        }
    }

    /// Reads what the gateway shows: its list, or nothing if it has none of that name. Nodes have their own spelling.
    fn list(&self, replies: &[Reply]) -> Result<Option<List>, String> {
        let mut list = self.shown(replies)?;
        for server in list.iter_mut().flat_map(|list| &mut list.servers) {
            server.address = self.names.name(&server.address);
        }
        Ok(list)
    }

    fn shown(&self, replies: &[Reply]) -> Result<Option<List>, String> {
        let [reply, ..] = replies else { return Err("no reply".into()) };
        match (self.mode, reply.status) {
            // There is no list of any name.
            (_, 204) => Ok(None),
            (DyupsMode::Classic, 404) => Err(
                "it has no /detail, as dyups since 2020-04: set `mode: head` if `proxy_pass` names the \
                 upstream by a `$dyups_` variable, like `$dyups_host`; otherwise only one of its workers obeys \
                 the API"
                    .into(),
            ),
            (DyupsMode::Classic, _) => List::parse_detail(&ok(reply)?.text(), &self.upstream),
            (DyupsMode::Head, _) => {
                let text = ok(reply)?.text();
                if text.lines().all(|line| !line.contains([' ', ';', '{', '<'])) {
                    return Err(
                        "its /list has names only, as dyups until 2020-03: remove `mode: head`"
                            .into(),
                    );
                }
                List::parse_posted(&text, &self.upstream)
            }
        }
    }

    /// The servers that the playbook knows: its nodes and the others.
    fn known(&self) -> BTreeMap<String, Server> {
        let others = self.others.iter().flat_map(|other| statements(other).collect::<Vec<_>>());
        let others = others.filter_map(|other| Server::parse(other.strip_prefix("server ")?));
        let nodes = self.nodes.iter().map(|(server, _)| server.clone());
        others.chain(nodes).map(|server| (server.address.clone(), server)).collect()
    }

    /// Says why the list must not be replaced by what the playbook says of it.
    fn stranger(&self, list: &List) -> Option<String> {
        let known = self.known();
        let mut seen = BTreeSet::new();
        for server in &list.servers {
            let address = text::line(&server.address, 60);
            let Some(known) = known.get(&server.address) else {
                return Some(format!(
                    "its list has {address}, which is no node and not among `others`: writing the list would \
                     remove it; if it is a node, correct the address in the playbook, else add `server {address};` \
                     with its parameters to `others`"
                ));
            };
            if !seen.insert(&server.address) {
                return Some(format!("its list has {address} twice"));
            }
            if server.parameters != known.parameters {
                return Some(format!(
                    "it has {address} with {}, and writing the list would make that {}: change `server`, \
                     `servers` or `others`",
                    server.described(),
                    known.described()
                ));
            }
        }
        let ours = || statements(&self.extras).collect();
        match &list.extras {
            Some(extras) if *extras != ours() => Some(format!(
                "its list has `{}` beside the servers, and `extras` says `{}`",
                text::line(&extras.iter().cloned().collect::<Vec<_>>().join("; "), 100),
                text::line(&self.extras, 100)
            )),
            _ => None,
        }
    }

    /// The whole list with one node turned.
    fn body(&self, list: Option<&List>, address: &str, down: bool) -> String {
        let mut body = String::new();
        for (node, line) in &self.nodes {
            let is_down = match list {
                _ if node.address == address => down,
                // What is not in the list gets no requests, and stays so.
                Some(list) => is_down(list, &node.address),
                None => false,
            };
            body += line;
            body += if is_down { " down;\n" } else { ";\n" };
        }
        for line in self.others.iter().chain([&self.extras]).filter(|line| !line.is_empty()) {
            body += line;
            body.push('\n');
        }
        body
    }
}

fn is_down(list: &List, address: &str) -> bool {
    list.servers.iter().all(|server| server.address != address || server.down)
}

impl Driver for Dyups {
    fn asks(&self) -> Vec<Query> {
        let path = match self.mode {
            DyupsMode::Classic => "detail",
            DyupsMode::Head => "list",
        };
        vec![Query::Http(get(&format!("{}/{path}", self.url)))]
    }

    fn read(&self, replies: &[Reply]) -> Result<View, String> {
        let list = self.list(replies)?.ok_or_else(|| {
            let upstream = &self.upstream;
            format!(
                "it has no upstream `{upstream}`: never posted, or lost by a reload or a restart"
            )
        })?;
        let mut view = View::default();
        for server in list.servers {
            let none = Peer { up: false, failing_check: false, in_flight: None };
            view.peers.entry(server.address).or_insert(none).up |= !server.down;
        }
        Ok(view)
    }

    fn kind(&self) -> String {
        match self.mode {
            DyupsMode::Classic => "dyups, classic".into(),
            DyupsMode::Head => "dyups since 2020-04".into(),
        }
    }

    fn interval(&self) -> Duration {
        match self.mode {
            DyupsMode::Classic => self.interval,
            DyupsMode::Head => Duration::ZERO,
        }
    }

    fn lag(&self) -> Duration {
        match self.mode {
            DyupsMode::Classic => self.interval + SLACK,
            DyupsMode::Head => Duration::ZERO,
        }
    }

    fn workers(&self) -> Option<u32> {
        match self.mode {
            DyupsMode::Classic => self.workers,
            // One list for all.
            DyupsMode::Head => Some(1),
        }
    }

    fn worker_header(&self) -> Option<&str> {
        (self.mode == DyupsMode::Classic).then_some(&self.worker_header)
    }

    fn switch(&self) -> Option<&dyn Switch> {
        Some(self)
    }
}

impl Switch for Dyups {
    fn asks(&self) -> Vec<Query> {
        Driver::asks(self)
    }

    fn mark(&self, replies: &[Reply], address: &str) -> Result<Mark, String> {
        // Without a list no node is marked: whoever watches one that is out must write it back.
        let Some(list) = self.list(replies)? else { return Ok(Mark::Up) };
        if let Some(why) = self.stranger(&list) {
            return Err(why);
        }
        let is_listed = list.servers.iter().any(|server| server.address == address);
        Ok(match (is_listed, is_down(&list, address)) {
            (false, _) => Mark::Absent,
            (true, true) => Mark::Down,
            (true, false) => Mark::Up,
        })
    }

    /// Those among `others`: any of them may be a node that the playbook has another address of.
    fn strangers(&self, replies: &[Reply]) -> Vec<String> {
        let list = self.list(replies).ok().flatten().unwrap_or_default();
        let addresses = list.servers.into_iter().map(|server| server.address);
        addresses.filter(|address| self.names.find(address).is_none()).collect()
    }

    fn is_lost(&self, replies: &[Reply]) -> bool {
        matches!(self.list(replies), Ok(None))
    }

    fn turn(&self, replies: &[Reply], address: &str, down: bool) -> Result<Vec<Query>, String> {
        let list = self.list(replies)?;
        if let Some(why) = list.as_ref().and_then(|list| self.stranger(list)) {
            return Err(why);
        }
        let url = format!("{}/upstream/{}", self.url, part(&self.upstream));
        Ok(vec![Query::Http(post(&url, &self.body(list.as_ref(), address, down)))])
    }

    fn is_done(&self, replies: &[Reply]) -> Result<(), NotDone> {
        let [reply, ..] = replies else { return Err(NotDone::Unknown("no reply".into())) };
        match (reply.status, reply.text().trim()) {
            (200, "success") => Ok(()),
            // The list of before stays.
            (500, "add server failed") => {
                Err(NotDone::Refused("it answered 500 add server failed".into()))
            }
            (409, _) => Err(NotDone::Later("it answered 409: another change is under way".into())),
            _ => Err(not_done(reply)),
        }
    }
}
