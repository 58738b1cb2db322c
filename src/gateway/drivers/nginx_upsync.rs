//! ## nginx-upsync
//!
//! | gateway | `registry` | a playbook |
//! |---|---|---|
//! | nginx-upsync, on keys | `consul-kv` | [nginx-upsync](../playbooks/nginx-upsync.yaml) |
//! | nginx-upsync, `upsync_type=consul_health` | `consul-service` | [nginx-upsync-health](../playbooks/nginx-upsync-health.yaml) |
//!
//! nginx with [nginx-upsync-module](https://github.com/weibocom/nginx-upsync-module), which follows keys in Consul.
//!
//! ```nginx
//! upstream app {
//!     server 127.0.0.1:11111;                                   # replaced by the first answer
//!     upsync 10.0.0.5:8500/v1/kv/upstreams/app/ upsync_timeout=6m upsync_interval=500ms upsync_type=consul;
//!     upsync_dump_path /var/lib/nginx/app.conf;
//!     include /var/lib/nginx/app.conf;                          # the dump, not a static list: see Limits
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
//!     status_url: http://10.0.0.11:8081/upstream_list?app       # the upstream's name is the whole query
//!     check_url: http://10.0.0.11:8081/upstream_status?format=json
//!     workers: 4
//!     sync_interval: 500ms                                      # its upsync_interval
//! ```
//!
//! **Confirmation:**
//!
//! - **Out:** each of `workers` workers, identified by `X-Worker`, has shown the node as `down`.
//! - Without that header, [samples](#gateways-with-several-workers) confirm it. They start `sync_interval` (default:
//!   5 s, as in nginx-upsync) + 2 s after the write: a worker waits for its interval and up to one second more before
//!   it asks Consul again, and one second is a margin.
//! - **In:** the same. With `check_url`, the check module must agree.
//! - The check module never confirms that a node is out. Its result can change, and it does not know `down`.
//! - Requests in flight are not reported: use `drain.in_flight`.
//!
//! **Settings:**
//!
//! - `check_url` can be `check_status` of `nginx_upstream_check_module` or of Tengine, or `healthcheck_status` of
//!   [ngx_healthcheck_module](https://github.com/zhouchangxun/ngx_healthcheck_module), in any of their forms: JSON, CSV,
//!   Prometheus' or the page (since 2011, with a column `Upstream`). If a pool of `stream` has the upstream's name,
//!   its checks count, too.
//! - Do not use `status=` in `check_url`. A peer that the filter leaves out would look like a peer that the module does
//!   not know.
//! - To follow health instead of keys, set `upsync_type: consul_health` and `registry: { type: consul-service }` in the
//!   playbook, and in nginx `upsync 10.0.0.5:8500/v1/health/service/app … upsync_type=consul_health;`.
//! - `upsync_type: consul_services` is refused. It reads the catalog, where maintenance mode and failing checks have no
//!   effect.
//! - A key must be `ip:port`, directly below the prefix. Its value must be a JSON object of at most 1 KiB. The prefix
//!   must end in `/`; otherwise it also matches other services.
//! - A node with a second key is refused. A second key in a subfolder would keep the node routed. With a second key
//!   that has leading zeros in a number, nginx-upsync loses both.
//!
//! **Limits:**
//!
//! - A key can have an empty value: the server has the module's default parameters. While its node is out, the key has
//!   `{"down":1,"rollgate":"the value was empty"}`; then it is empty again.
//! - `include` the dump file. With a static list, each reload makes nginx send requests to nodes that are out, for about
//!   one second.
//! - Do not use `zone` in an upstream with `upsync`: workers crash.
//! - If a node is killed while it is in rotation, it gets no requests for some time after it is back (8–9 s were
//!   measured with `max_fails=2 fail_timeout=10s`). The list does not show this, and nothing else does. A release is
//!   not affected: it takes a node out of rotation before it stops the service.
//! - If Consul starts again with lower indexes (a rebuilt cluster), the module keeps waiting for the old indexes; 310 s
//!   were measured. During this time no node is confirmed. Reload nginx.

mod check;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::gateway::driver::{Driver, Facts, Purpose};
use crate::gateway::guess::{GatewayAddress, Guess, queried};
use crate::gateway::query::{Query, get, ok};
use crate::gateway::settings::{
    Issue, RegistryKind, Settings, SettingsFacts, follows_only, templates,
};
use crate::gateway::view::{KEY_PARAMETERS, Nodes, Parameters, Peer, View};
use crate::period::DurationSetting;
use crate::template::Template;
use crate::text::quoted;
use crate::world::Reply;

/// nginx with nginx-upsync-module, and optionally `nginx_upstream_check_module`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NginxUpsync {
    /// Its name in messages. Default: the host of its URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The gateway's name for the pool.
    pub upstream: Template,
    /// The `upstream_show` location, with the upstream's name as the whole query: `…/upstream_list?app`.
    pub status_url: Template,
    /// The `check_status` or `healthcheck_status` location, in any of its forms and without `status=`, if a check
    /// module is used: a node is routed only if that module agrees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check_url: Option<Template>,
    /// A PEM file with the only authorities that may have signed its certificate; relative to the playbook. Default:
    /// those of the system, or of `SSL_CERT_FILE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// What it follows in Consul: its `upsync_type`. Default: consul.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upsync_type: Option<UpsyncType>,
    /// How many workers it runs. Each follows the registry separately. Default: up to 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub workers: Option<u32>,
    /// The reply header with the name of the worker that answered (nginx: `add_header X-Worker $pid always`). Used if
    /// replies have it. Default: `X-Worker`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_header: Option<String>,
    /// How long it may take to follow a write: its `upsync_interval`. Default: 5s, as in nginx-upsync.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_interval: Option<DurationSetting>,
}

/// What nginx-upsync follows in Consul.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UpsyncType {
    /// The keys below a prefix.
    Consul,
    /// The instances of a service in the catalog, healthy or not: nothing can take them out.
    ConsulServices,
    /// The instances of a service whose checks pass.
    ConsulHealth,
}

impl Settings for NginxUpsync {
    templates!(upstream, status_url, check_url);

    fn guesses(address: &GatewayAddress, names: &[String]) -> Vec<Guess> {
        let urls = address.urls(&["/upstream_list", "/upstream_show", "/upstream_status"]);
        let all = urls.iter().flat_map(|url| queried(url, names));
        all.map(|(url, name)| Guess::new([("upstream", name), ("status_url", url)])).collect()
    }

    fn facts(&self) -> SettingsFacts<'_> {
        let incompatible_with = match self.upsync_type.unwrap_or(UpsyncType::Consul) {
            UpsyncType::Consul => follows_only(RegistryKind::ConsulKv, "it follows keys in Consul"),
            UpsyncType::ConsulHealth => {
                follows_only(RegistryKind::ConsulService, "it follows the health of a service in Consul")
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
            ca: self.ca.as_deref(),
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
        // nginx ignores the case of an argument's name.
        let is_filter = |part: &str| part.to_ascii_lowercase().starts_with("status=");
        let filtered = |url: &&str| url.split(['?', '&']).skip(1).any(is_filter);
        let filtered = check.filter(filtered).map(|url| Issue {
            key: "check_url",
            message: format!("`{}` hides peers", quoted(url)),
            helps: vec![
                "remove `status=`: with it, a peer that is down can be missing from the answer"
                    .into(),
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

/// After every answer a worker sleeps for its interval and up to one second more; 6.5 s were measured with 5 s.
const SLACK: Duration = Duration::from_secs(2);

/// nginx-upsync-module, and optionally `nginx_upstream_check_module`.
///
/// `upstream_show` shows the view of the worker that answers. The answer for an unknown upstream is a 200 with a
/// sentence. All workers share `check_status`. It does not know `down`, and it forgets a peer that was down during
/// a reload: it does not hold down a peer that it does not list.
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
                // A peer that the list has as down is out, whatever the module says.
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
            let words: Vec<_> = words.collect();
            let up = !words.contains(&"down");
            let node = nodes.find(address);
            if let Some(node) = node {
                view.parameters.insert(node.to_owned(), parameters(&words));
            }
            view.add(
                node.unwrap_or(address).to_owned(),
                Peer { up, failing_check: false, in_flight: None },
            );
            expected = expected.map(|count| count.wrapping_sub(1));
        } else if inside && !line.trim().is_empty() && !line.ends_with(';') {
            return Err(unreadable(line));
        }
    }
    match expected {
        None => Err(format!("its answer does not show an upstream `{upstream}`")),
        Some(0) => Ok(view),
        Some(_) => Err(format!("its answer does not show all servers of `{upstream}`")),
    }
}

/// The parameters of a server that the module takes from its key.
fn parameters(words: &[&str]) -> Parameters {
    let known = words.iter().filter_map(|word| {
        let (name, value) = word.split_once('=')?;
        let value = value.strip_suffix('s').unwrap_or(value).parse().ok()?;
        KEY_PARAMETERS.contains(&name).then(|| (name.to_owned(), value))
    });
    known.collect()
}

fn unreadable(line: &str) -> String {
    format!("cannot read this line of upstream_show: {}", crate::text::line(line, 100))
}
