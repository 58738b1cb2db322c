//! ## dyups
//!
//! | gateway | `registry` | a playbook |
//! |---|---|---|
//! | dyups | `gateway` | [dyups](../playbooks/dyups.yaml) |
//!
//! nginx with [ngx_http_dyups_module](https://github.com/yzprofile/ngx_http_dyups_module). rollgate writes to the
//! module's API.
//!
//! ```nginx
//! server {
//!     listen 8081;
//!     location / { dyups_interface; add_header X-Worker $pid always; }
//! }
//! server {
//!     location / { proxy_pass http://$dyups_host; }             # `mode: head` needs a `$dyups_` variable
//! }
//! ```
//!
//! ```yaml
//! registry: { type: gateway }
//! gateways:
//!   - type: dyups
//!     upstream: app
//!     url: http://10.0.0.11:8081
//!     server: weight=5 max_fails=3                              # of every node
//!     servers: { '10.0.1.13:9000': weight=10 max_fails=3 }      # of this node
//!     others: ['server 10.9.9.9:80 backup;']                    # servers that are not nodes
//!     extras: keepalive 8;                                      # other directives of the upstream
//!     workers: 4
//! ```
//!
//! **Writes:**
//!
//! - Every write contains the whole list, but no `GET` shows all of it. Therefore rollgate writes the list from the
//!   playbook.
//! - A release does not start, and nothing is written, if the gateway's list has a server that is not a node and not in
//!   `others`, or other parameters than the playbook. The message says what to add.
//! - `others` must be addresses: dyups resolves names when they are posted, and shows only the resolved addresses.
//! - With `others`, a node that is not in the list is refused; see [the rule](#nodes-that-a-gateway-does-not-list).
//! - Two nodes of a batch are written one after the other. Each write starts from the list at that time.
//!
//! **Classic mode** (until 2020-03, and Tengine of any version; with `GET /detail`): the worker that receives a write informs the others. They
//! read this message every `dyups_read_msg_timeout` (set it as `sync_interval`; default: 1 s), and before they answer
//! `/detail`. So a change is confirmed when each of `workers` workers, identified by `X-Worker`, has
//! answered. Without that header, it is confirmed `sync_interval` + 0.5 s after the write.
//!
//! **`mode: head`** (since 2020-04, without `/detail`): the list is in shared memory, and `GET /list` shows it at once.
//! But a worker reads it only when it evaluates a variable `$dyups_x`, which has the value of `$x`. With another
//! variable in `proxy_pass`, all workers but one continue with the old list, and nothing shows it. Set `mode: head`
//! only if `proxy_pass` uses such a variable; without it, such a gateway is refused. Test the variable: `$dyups_host`
//! worked; with `$dyups_server_name` or a variable of a `map`, workers died.
//!
//! **Limits:**
//!
//! - A restart loses every list; in classic mode a reload does, too. Then nginx uses the `upstream` of its configuration
//!   that has the same name, or answers 502, until the list is posted again. While a node is out, rollgate posts the list
//!   again within 2 s: the entries of the playbook, with the same nodes down as before. Between releases, rollgate does
//!   not: `doctor`, `plan` and `status` say that the list is lost. dyups of 2016 shows the list of the configuration
//!   then.
//! - `/detail` must show parameters. dyups does so since 2016-03-23, and Tengine since 2.3.1. Older ones show addresses
//!   only and are refused, because nothing shows which servers are down.
//! - Requests in flight are not reported.

mod list;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::address;
use crate::gateway::driver::{Driver, Facts, Purpose};
use crate::gateway::guess::{GatewayAddress, Guess};
use crate::gateway::query::{Query, first, get, ok, post};
use crate::gateway::rotation::{Listed, Listing, NotDone, RotationControl, not_done};
use crate::gateway::settings::{
    Issue, RegistryKind, Settings, SettingsFacts, follows_only, templates,
};
use crate::gateway::view::{Nodes, Peer, View};
use crate::period::DurationSetting;
use crate::template::Template;
use crate::text::{self, quoted};
use crate::url::part;
use crate::world::Reply;

use list::{List, Server, statements};

/// nginx with `ngx_http_dyups_module`, with its own API. Every write is the whole list, as the playbook describes
/// it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dyups {
    /// Its name in messages. Default: the host of its URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The gateway's name for the pool.
    pub upstream: Template,
    /// The URL of its API (`dyups_interface`), to which `/detail` and `/upstream/…` are added.
    pub url: Template,
    /// A PEM file with the only authorities that may have signed its certificate; relative to the playbook. Default:
    /// those of the system, or of `SSL_CERT_FILE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// The version of dyups: `classic` until 2020-03, `head` since 2020-04. Use `head` only if `proxy_pass` names
    /// the upstream with a `$dyups_` variable (`$dyups_host`). Otherwise only one worker follows the API. Default:
    /// classic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<DyupsMode>,
    /// The text after each node's address in the list: `weight=5 max_fails=3`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<Template>,
    /// By a node's address: the text that replaces `server`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub servers: BTreeMap<String, Template>,
    /// The servers of the list that are not nodes, each as nginx writes it: `server 10.9.9.9:80 backup;`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Template>,
    /// Other directives of the upstream: `keepalive 8;`. The classic API never shows them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extras: Option<Template>,
    /// How many workers it runs. Each follows the API separately. Default: up to 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub workers: Option<u32>,
    /// The reply header with the name of the worker that answered (nginx: `add_header X-Worker $pid always`). Used if
    /// replies have it. Default: `X-Worker`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_header: Option<String>,
    /// How long a worker may take to follow: `dyups_read_msg_timeout`. Default: 1s, as in dyups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_interval: Option<DurationSetting>,
}

/// The version of dyups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DyupsMode {
    /// Until 2020-03: each worker reads messages, and `GET /detail` shows the list.
    Classic,
    /// Since 2020-04: the list is in shared memory, and is read when `$dyups_…` is used.
    Head,
}

impl Settings for Dyups {
    templates!(upstream, url, server, servers, others, extras);

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
        let mut wrong = Vec::new();
        let every = self.server.iter().map(|value| ("server", value));
        let each = self.servers.values().map(|value| ("servers", value));
        let fixed = |(key, value): (_, &Template)| Some((key, value.fixed()?.to_owned()));
        for (key, parameters) in every.chain(each).filter_map(fixed) {
            if known(key) {
                wrong.extend(wrong_parameters(key, &parameters));
            }
        }
        for other in self.others.iter().filter_map(Template::fixed).filter(|_| known("others")) {
            if !is_server(other) {
                wrong.push(Issue {
                    key: "others",
                    message: format!("`{}` is not one `server` of an upstream", quoted(other)),
                    helps: vec!["write it as nginx does: `server 10.9.9.9:80 backup;`".into()],
                });
            }
        }
        let extras = self.extras.as_ref().and_then(Template::fixed).filter(|_| known("extras"));
        if let Some(extras) = extras.filter(|extras| !is_extra(extras)) {
            wrong.push(Issue {
                key: "extras",
                message: format!("`{}` is not allowed in `extras`", quoted(extras)),
                helps: vec![
                    "write it as nginx does, with its semicolons: `keepalive 8;`".into(),
                    "servers that are not nodes belong to `others`".into(),
                ],
            });
        }
        wrong
    }
}

/// The problem of the parameters of a `server`.
fn wrong_parameters(key: &'static str, parameters: &str) -> Option<Issue> {
    let message = if parameters.contains([';', '{', '}', '#', '\n']) {
        format!("`{}` contains more than the parameters of one server", quoted(parameters))
    } else if parameters.split_whitespace().any(|word| word == "down") {
        "a release sets `down`".to_owned()
    } else {
        return None;
    };
    let helps = vec!["write only the parameters after the address: `weight=5 max_fails=3`".into()];
    Some(Issue { key, message, helps })
}

fn is_server(text: &str) -> bool {
    let Some(inner) = text.trim().strip_suffix(';') else { return false };
    let mut words = inner.split_whitespace();
    words.next() == Some("server") && words.next().is_some() && !inner.contains([';', '{', '}'])
}

fn is_extra(text: &str) -> bool {
    let mut statements = text.split(';').map(str::trim).collect::<Vec<_>>();
    statements.pop() == Some("")
        && !statements.iter().any(|statement| {
            statement.is_empty()
                || statement.contains(['{', '}'])
                || statement.split_whitespace().next() == Some("server")
        })
}

/// dyups' own default for `dyups_read_msg_timeout`.
const INTERVAL: Duration = Duration::from_secs(1);

/// A worker checks when its timer is due and it has nothing else to do.
const SLACK: Duration = Duration::from_millis(500);

/// nginx with `ngx_http_dyups_module`, with its own API.
///
/// Every write is the whole list, but a read does not show all of it. So the playbook describes the list, and a
/// list with anything else is not overwritten. Two programs have this name:
///
/// * **classic**, until 2020-03. The worker that receives a `POST` informs the others, which check every
///   `dyups_read_msg_timeout`. `GET /detail` shows the list of the worker that answers, after it has checked. A
///   reload or a restart loses every list.
/// * **head**, since 2020-04. The list is in shared memory, and a worker reads it when it evaluates a `$dyups_`
///   variable. With a plain name in `proxy_pass`, it never does. `GET /list` shows what was posted. `/detail` does
///   not exist. A restart loses every list.
pub(super) struct DyupsDriver {
    facts: Facts,
    upstream: String,
    url: String,
    mode: DyupsMode,
    names: Nodes,
    /// The nodes, each as it is written when it is up.
    nodes: Vec<(Server, String)>,
    others: Vec<String>,
    extras: String,
}

impl DyupsDriver {
    pub(super) fn new(settings: &Dyups, nodes: Nodes) -> Self {
        let node = |address: &str| {
            let mut own = settings.servers.iter();
            let own = own.find(|(server, _)| address::same(server, address)).map(|(_, own)| own);
            let parameters = own.or(settings.server.as_ref());
            let parameters = parameters.map_or("", |parameters| parameters.as_str()).trim();
            let line = format!("{address} {parameters}").trim_end().to_owned();
            Some((Server::parse(&line)?, format!("server {line}")))
        };
        let mode = settings.mode.unwrap_or(DyupsMode::Classic);
        let interval = settings.sync_interval.map_or(INTERVAL, |period| period.0);
        let header = settings.worker_header.as_deref();
        let facts = match mode {
            DyupsMode::Classic => {
                Facts::polling("dyups, classic", interval, SLACK, settings.workers, header)
            }
            // One list for all.
            DyupsMode::Head => Facts::immediate("dyups since 2020-04"),
        };
        Self {
            facts,
            upstream: settings.upstream.as_str().to_owned(),
            url: settings.url.as_str().trim_end_matches('/').to_owned(),
            mode,
            nodes: nodes.all().filter_map(node).collect(),
            names: nodes,
            others: settings.others.iter().map(|other| other.as_str().trim().to_owned()).collect(),
            extras: settings.extras.as_ref().map_or("", |extras| extras.as_str()).to_owned(),
        }
    }

    /// Reads the gateway's list. `None` if it has no list with this name. Nodes have the playbook's spelling.
    fn list(&self, replies: &[Reply]) -> Result<Option<List>, String> {
        let mut list = self.shown(replies)?;
        for server in list.iter_mut().flat_map(|list| &mut list.servers) {
            server.address = self.names.name(&server.address);
        }
        Ok(list)
    }

    fn shown(&self, replies: &[Reply]) -> Result<Option<List>, String> {
        let reply = first(replies)?;
        match (self.mode, reply.status) {
            // The gateway has no list at all.
            (_, 204) => Ok(None),
            (DyupsMode::Classic, 404) => Err(
                "it has no /detail, like dyups since 2020-04: set `mode: head`, and let `proxy_pass` name the \
                 upstream by a `$dyups_` variable, like `$dyups_host`: without it, only one worker follows the API"
                    .into(),
            ),
            (DyupsMode::Classic, _) => List::parse_detail(&ok(reply)?.text(), &self.upstream),
            (DyupsMode::Head, _) => {
                let text = ok(reply)?.text();
                if text.lines().all(|line| !line.contains([' ', ';', '{', '<'])) {
                    return Err(
                        "its /list has names only, like dyups until 2020-03: remove `mode: head`"
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

    /// Says why the list must not be replaced by the playbook's list.
    fn stranger(&self, list: &List) -> Option<String> {
        let why = self.difference(list)?;
        Some(match self.mode {
            // Older versions list the upstreams of the configuration, too.
            DyupsMode::Classic => format!(
                "{why}; if a reload or restart of nginx brought back its configuration's list, post the list to {} \
                 again",
                self.post_url()
            ),
            DyupsMode::Head => why,
        })
    }

    /// Says how the list differs from the playbook's.
    fn difference(&self, list: &List) -> Option<String> {
        let known = self.known();
        let mut seen = BTreeSet::new();
        for server in &list.servers {
            let address = text::line(&server.address, 60);
            let Some(known) = known.get(&server.address) else {
                return Some(format!(
                    "its list has {address}, which is not a node and not in `others`: a write would remove it; if \
                     it is a node, correct the address in the playbook, otherwise add `server {address};` \
                     with its parameters to `others`"
                ));
            };
            if !seen.insert(&server.address) {
                return Some(format!("its list has {address} twice"));
            }
            if server.parameters != known.parameters {
                return Some(format!(
                    "it has {address} with {}, but a write would change that to {}: change `server`, \
                     `servers` or `others`",
                    server.described(),
                    known.described()
                ));
            }
        }
        let ours = || statements(&self.extras).collect();
        match &list.extras {
            Some(extras) if *extras != ours() => Some(format!(
                "its list has `{}` besides the servers, but `extras` says `{}`",
                text::line(&extras.iter().cloned().collect::<Vec<_>>().join("; "), 100),
                text::line(&self.extras, 100)
            )),
            _ => None,
        }
    }

    /// Says that the gateway has no list of the upstream, why, and what to do.
    fn lost(&self, replies: &[Reply]) -> String {
        let upstream = &self.upstream;
        let shown = replies.first().map(Reply::text).unwrap_or_default();
        let others = text::first_of(list::names(&shown), list::names(&shown).count());
        let only = if others.is_empty() { "" } else { ", only " };
        let url = self.post_url();
        let cause = match self.mode {
            DyupsMode::Classic => "a reload or restart",
            DyupsMode::Head => "a restart",
        };
        format!(
            "it has no upstream `{upstream}`{only}{others}: it was never posted, or {cause} of nginx lost it; post the \
             list to {url}, with `down` at each node that must stay out (until then nginx uses its configuration's \
             `upstream`, or answers 502)"
        )
    }

    /// Where the list is posted.
    fn post_url(&self) -> String {
        format!("{}/upstream/{}", self.url, part(&self.upstream))
    }

    /// The whole list with one node changed.
    fn body(&self, list: Option<&List>, address: &str, down: bool) -> String {
        let mut body = String::new();
        for (node, line) in &self.nodes {
            let is_down = match list {
                _ if node.address == address => down,
                // A node that is not in the list gets no requests, and stays out.
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

impl Driver for DyupsDriver {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn queries(&self, purpose: Purpose<'_>) -> Vec<Query> {
        match purpose {
            Purpose::Look | Purpose::Probe | Purpose::Rotation => {
                let path = match self.mode {
                    DyupsMode::Classic => "detail",
                    DyupsMode::Head => "list",
                };
                vec![Query::Http(get(&format!("{}/{path}", self.url)))]
            }
            Purpose::Count(_) => Vec::new(),
        }
    }

    fn read(&self, replies: &[Reply]) -> Result<View, String> {
        let list = self.list(replies)?.ok_or_else(|| self.lost(replies))?;
        let mut view = View::default();
        for server in list.servers {
            let none = Peer { up: false, failing_check: false, in_flight: None };
            view.peers.entry(server.address).or_insert(none).up |= !server.down;
        }
        Ok(view)
    }

    fn rotation_control(&self) -> Option<&dyn RotationControl> {
        Some(self)
    }
}

impl RotationControl for DyupsDriver {
    fn listing(&self, replies: &[Reply], address: &str) -> Result<Listing, String> {
        // Without a list no node has a mark. The watch over nodes that are out must write the list again.
        let Some(list) = self.list(replies)? else {
            return Ok(Listing { is_lost: true, ..Listed::Up.into() });
        };
        if let Some(why) = self.stranger(&list) {
            return Err(why);
        }
        let is_listed = list.servers.iter().any(|server| server.address == address);
        let mark = match (is_listed, is_down(&list, address)) {
            (false, _) => Listed::Absent,
            (true, true) => Listed::Down,
            (true, false) => Listed::Up,
        };
        // Entries of `others`: any of them can be a node for which the playbook has another address.
        let addresses = list.servers.into_iter().map(|server| server.address);
        let strangers = addresses.filter(|address| self.names.find(address).is_none()).collect();
        Ok(Listing { strangers, ..mark.into() })
    }

    fn set(&self, replies: &[Reply], address: &str, down: bool) -> Result<Vec<Query>, String> {
        let list = self.list(replies)?;
        if let Some(why) = list.as_ref().and_then(|list| self.stranger(list)) {
            return Err(why);
        }
        Ok(vec![Query::Http(post(&self.post_url(), &self.body(list.as_ref(), address, down)))])
    }

    fn is_done(&self, replies: &[Reply]) -> Result<(), NotDone> {
        let reply = first(replies).map_err(NotDone::Unknown)?;
        match (reply.status, reply.text().trim()) {
            (200, "success") => Ok(()),
            // The previous list stays.
            (500, "add server failed") => {
                Err(NotDone::Refused("it answered 500 add server failed".into()))
            }
            (409, _) => {
                Err(NotDone::Later("it answered 409: another change is in progress".into()))
            }
            _ => Err(not_done(reply)),
        }
    }
}
