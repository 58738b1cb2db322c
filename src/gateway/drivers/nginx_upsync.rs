//! ## nginx-upsync
//!
//! | gateway | `registry` | a playbook |
//! |---|---|---|
//! | nginx-upsync, on keys | `consul-kv` | [nginx-upsync](../playbooks/nginx-upsync.yaml) |
//! | nginx-upsync, `upsync_type=consul_health` | `consul-service` | [nginx-upsync-health](../playbooks/nginx-upsync-health.yaml) |
//!
//! nginx with [nginx-upsync-module](https://github.com/weibocom/nginx-upsync-module), following Consul KV.
//!
//! ```nginx
//! upstream app {
//!     server 127.0.0.1:11111;                                   # replaced by the first answer
//!     upsync 10.0.0.5:8500/v1/kv/upstreams/app/ upsync_timeout=6m upsync_interval=500ms upsync_type=consul;
//!     upsync_dump_path /var/lib/nginx/app.conf;
//!     include /var/lib/nginx/app.conf;                          # the dump, never a static list: see below
//! }
//! server {
//!     listen 8081;
//!     location = /upstream_list   { upstream_show; add_header X-Worker $pid always; }
//!     location = /upstream_status { check_status; }             # with nginx_upstream_check_module
//! }
//! ```
//!
//! ```yaml
//! registry: { type: consul-kv, prefix: upstreams/app/ }
//! gateways:
//!   - type: nginx-upsync
//!     upstream: app
//!     status_url: http://10.0.0.11:8081/upstream_list?app       # the bare name is the whole query
//!     check_url: http://10.0.0.11:8081/upstream_status?format=json
//!     workers: 4
//!     sync_interval: 500ms                                      # its upsync_interval
//! ```
//!
//! * **Out** is proven when each of `workers` workers, told apart by `X-Worker`, has shown the node `down`; without that header
//!   by [connections in a row](#gateways-with-several-workers), the first of them `sync_interval` (5 s when it is missing, as
//!   nginx-upsync) + 2 s after the write, since a worker sleeps its interval and up to a second more after every answer.
//! * **In** is proven the same way; with `check_url` the check module must agree as well.
//! * `check_url` may be any form of `check_status`, JSON, CSV or the page, without `status=`: what is filtered out would look
//!   like a peer that the module does not know, and its JSON is invalid then.
//! * `upsync_type: consul_health` (`upsync 10.0.0.5:8500/v1/health/service/app … upsync_type=consul_health;`) follows
//!   `registry: { type: consul-service }`; `consul_services` reads the catalog, in which
//!   neither maintenance mode nor a failing check has an effect, and is refused.
//! * What the check module says never proves a node out: it can change its mind, and it does not know `down`.
//! * Requests in flight are not told by this gateway: use `drain.in_flight`.
//! * Keys must be `ip:port` directly below the prefix, values JSON objects of at most 1 KiB; the prefix ends in `/`, or
//!   it would also match other services. A node with a second key is refused, in a folder further below (which would keep it
//!   routed) or with zeros in front of a number (nginx-upsync then loses both).
//! * With a static list as `include`, a reload routes to a node that is out for about a second. Include the dump file.
//! * `zone` has no place in an upstream with `upsync`: workers crash.
//! * A node that was killed without having been out gets no requests for some time after it is back (8–9 s were seen with
//!   `max_fails=2 fail_timeout=10s`), whatever the list says; nothing shows it. A node that a release stops is out before.
//! * When Consul begins anew with lower indexes (a rebuilt cluster), the module goes on waiting for the old ones: 310 s were
//!   seen. Nothing is proven meanwhile; reload nginx.

mod check;
#[cfg(test)]
mod tests;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::gateway::driver::{Driver, Facts, Purpose};
use crate::gateway::query::{Query, get, ok};
use crate::gateway::settings::{Issue, RegistryKind, Settings, SettingsFacts, follows_only, templates};
use crate::gateway::view::{Nodes, Peer, View};
use crate::period::DurationSetting;
use crate::template::Template;
use crate::text::quoted;
use crate::world::Reply;

/// nginx with nginx-upsync-module, and `nginx_upstream_check_module` where it is used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NginxUpsync {
    /// What it is called in messages. Default: the host of its URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The gateway's name for the pool.
    pub upstream: Template,
    /// The `upstream_show` location, with the upstream's name as the whole query: `…/upstream_list?app`.
    pub status_url: Template,
    /// The `check_status` location, in any of its forms and without `status=`, where `nginx_upstream_check_module` is
    /// used: a node is routed only when that module agrees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check_url: Option<Template>,
    /// What it follows in Consul: its `upsync_type`. Default: consul.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upsync_type: Option<UpsyncType>,
    /// How many workers it runs, each of which follows the registry on its own. Default: up to 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub workers: Option<u32>,
    /// The reply header that names the worker that answered (nginx: `add_header X-Worker $pid`). Used where it is
    /// found. Default: `X-Worker`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_header: Option<String>,
    /// How long it may take to follow a write: its `upsync_interval`. Default: 5s, as nginx-upsync.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_interval: Option<DurationSetting>,
}

/// What nginx-upsync follows in Consul.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UpsyncType {
    /// The keys below a prefix.
    Consul,
    /// The instances of a service in the catalog, healthy or not: it can be told nothing.
    ConsulServices,
    /// The instances of a service whose checks pass.
    ConsulHealth,
}

impl Settings for NginxUpsync {
    templates!(upstream, status_url, check_url);

    fn facts(&self) -> SettingsFacts<'_> {
        let incompatible_with = match self.upsync_type.unwrap_or(UpsyncType::Consul) {
            UpsyncType::Consul => follows_only(RegistryKind::ConsulKv, "it follows keys in Consul"),
            UpsyncType::ConsulHealth => {
                follows_only(RegistryKind::ConsulService, "it follows the health of a service")
            }
            UpsyncType::ConsulServices => RegistryKind::ALL
                .map(|registry| {
                    let why = "its `upsync_type` reads the catalog, in which maintenance mode and failing checks have no \
                               effect; `consul_health` would follow `consul-service`";
                    (registry, why.to_owned())
                })
                .into(),
        };
        SettingsFacts {
            name: self.name.as_deref(),
            place: ("status_url", self.status_url.as_str()),
            is_ipv4_only: true,
            incompatible_with,
            ..SettingsFacts::default()
        }
    }

    fn issues(&self, known: &dyn Fn(&str) -> bool) -> Vec<Issue> {
        let query = (known("upstream") && known("status_url")).then(|| self.wrong_query());
        let check =
            self.check_url.as_ref().and_then(Template::fixed).filter(|_| known("check_url"));
        let filtered =
            |url: &&str| url.split(['?', '&']).skip(1).any(|part| part.starts_with("status="));
        let filtered = check.filter(filtered).map(|url| Issue {
            key: "check_url",
            message: format!("`{}` leaves peers out", quoted(url)),
            helps: vec![
                "remove `status=`: a peer that is not shown is one that the module does not hold down".into(),
            ],
        });
        query.flatten().into_iter().chain(filtered).collect()
    }
}

impl NginxUpsync {
    fn wrong_query(&self) -> Option<Issue> {
        let (url, upstream) = (self.status_url.fixed()?, self.upstream.fixed()?);
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        (!query.eq_ignore_ascii_case(upstream)).then(|| Issue {
            key: "status_url",
            message: "the query must be the upstream's bare name".into(),
            helps: vec![
                format!("write `{}`", quoted(&format!("{base}?{upstream}"))),
                "nginx-upsync answers 200 to anything else, with another list or none".into(),
            ],
        })
    }
}

/// nginx-upsync's own default for `upsync_interval`.
const INTERVAL: Duration = Duration::from_secs(5);

/// After every answer a worker sleeps its interval and up to a second more; 6.5 s were seen with 5 s.
const SLACK: Duration = Duration::from_secs(2);

/// nginx-upsync-module, and `nginx_upstream_check_module` where it is used.
///
/// `upstream_show` is the view of the worker that happens to answer. An unknown upstream is a 200 with a
/// sentence. `check_status` is shared by all workers; it does not know `down`, and it forgets a peer that was
/// down during a reload: a peer it does not list is not held down by it.
pub(super) struct NginxUpsyncDriver {
    facts: Facts,
    nodes: Nodes,
    upstream: String,
    status_url: String,
    check_url: Option<String>,
}

impl NginxUpsyncDriver {
    pub(super) fn new(settings: &NginxUpsync, nodes: Nodes) -> Self {
        let check = settings.check_url.as_ref().map_or("", |_| " with a check module");
        let interval = settings.sync_interval.map_or(INTERVAL, |period| period.0);
        let header = settings.worker_header.as_deref();
        let kind = format!("nginx-upsync{check}");
        Self {
            facts: Facts::polling(kind, interval, SLACK, settings.workers, header),
            nodes,
            upstream: settings.upstream.as_str().to_owned(),
            status_url: settings.status_url.as_str().to_owned(),
            check_url: settings.check_url.as_ref().map(|url| url.as_str().to_owned()),
        }
    }
}

impl Driver for NginxUpsyncDriver {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn queries(&self, purpose: Purpose<'_>) -> Vec<Query> {
        match purpose {
            Purpose::Look | Purpose::Probe => {
                let urls = [Some(&self.status_url), self.check_url.as_ref()];
                urls.into_iter().flatten().map(|url| Query::Http(get(url))).collect()
            }
            Purpose::Rotation | Purpose::Count(_) => Vec::new(),
        }
    }

    fn read(&self, replies: &[Reply]) -> Result<View, String> {
        let [status, check @ ..] = replies else { return Err("no reply".into()) };
        let mut view = parse_show(&ok(status)?.text(), &self.upstream, &self.nodes)?;
        if let [check, ..] = check {
            for (address, held) in check::parse(&ok(check)?.text(), &self.upstream)? {
                let address = self.nodes.name(&address);
                let Some(peer) = view.peers.get_mut(&address) else { continue };
                peer.failing_check |= *held.as_ref().unwrap_or(&true);
                // What the list has down is out, whatever the module says.
                if let (true, Err(why)) = (peer.up, held) {
                    view.unread.insert(address, why);
                }
            }
        }
        Ok(view)
    }

}

/// Reads `upstream_show`'s text: one block per upstream.
fn parse_show(text: &str, upstream: &str, nodes: &Nodes) -> Result<View, String> {
    if text.starts_with("The upstream you requested does not exist") {
        return Err(format!("the gateway has no upstream `{upstream}`"));
    }
    let mut view = View::default();
    let mut expected = None;
    let mut inside = false;
    for line in text.lines() {
        if let Some(header) = line.strip_prefix("Upstream name: ") {
            let (name, count) =
                header.split_once("; Backend server count: ").ok_or_else(|| unreadable(line))?;
            inside = name.eq_ignore_ascii_case(upstream);
            if inside {
                expected = Some(count.trim().parse::<usize>().map_err(|_| unreadable(line))?);
            }
        } else if inside && let Some(server) = line.trim().strip_prefix("server ") {
            let server = server.strip_suffix(';').ok_or_else(|| unreadable(line))?;
            let mut words = server.split_whitespace();
            let address = words.next().ok_or_else(|| unreadable(line))?;
            let up = !words.any(|word| word == "down");
            view.add(nodes.name(address), Peer { up, failing_check: false, in_flight: None });
            expected = expected.map(|count| count.wrapping_sub(1));
        } else if inside && !line.trim().is_empty() && !line.ends_with(';') {
            return Err(unreadable(line));
        }
    }
    match expected {
        None => Err(format!("the reply does not show an upstream `{upstream}`")),
        Some(0) => Ok(view),
        Some(_) => Err(format!("the reply does not show all servers of `{upstream}`")),
    }
}

fn unreadable(line: &str) -> String {
    format!("cannot read this line of upstream_show: {}", crate::text::line(line, 100))
}
