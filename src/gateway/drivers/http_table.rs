//! ## http-table
//!
//! | gateway | `registry` | a playbook |
//! |---|---|---|
//! | any gateway that follows keys and shows its peers | `consul-kv` | [http-table](../playbooks/http-table.yaml) |
//! | OpenResty, `?passing` with a blocking query | `consul-service` | [openresty-blocking](../playbooks/openresty-blocking.yaml) |
//! | OpenResty, `?passing` every few seconds | `consul-service` | [openresty-poll](../playbooks/openresty-poll.yaml) |
//! | Traefik on Consul's catalog | `consul-service` | [traefik](../playbooks/traefik.yaml) |
//!
//! Any gateway that follows the registry and lists its peers at a URL, as JSON or as text.
//!
//! ```yaml
//! gateways:
//!   - { type: http-table, url: 'http://10.0.0.21/peers', list: /peers, address: /address, routed: /routed, workers: 4, sync_interval: 5s }
//!   - { type: http-table, url: 'http://10.0.0.22/list', pattern: 'server (?P<address>[^\s;]+:\d+)[^;]*?(?P<down>\sdown)?;' }
//! ```
//!
//! **JSON:** `list`, `address`, `routed`, `down` and `in_flight` are JSON pointers.
//!
//! - Without `address`, the address is the entry itself: a string of the array, or a key of the object.
//! - `routed`: `true`, numbers other than 0, and words such as `up`, `ok`, `healthy`, `passing` mean that the peer is
//!   routed. `false`, 0, and words such as `down`, `draining`, `critical` mean that it is not. An unknown word is an
//!   error of that peer: use a `pattern` then.
//! - `down` replaces `routed` where the gateway shows the opposite. `true` and numbers other than 0 mean that the peer
//!   is not routed. A peer without this value is routed.
//! - Without `routed` and `down`, a listed peer is routed. `in_flight` is then refused, because a node that is out is
//!   not listed.
//!
//! **Text:** `pattern` is matched once per peer. It has a group `address`, and a group `routed` or `down` that takes
//! part in the match only if the peer is routed or down.
//!
//! **Size:** a reply that a `pattern` searches can be 1 MiB; JSON can be 16 MiB.
//!
//! **Confirmation:**
//!
//! - If replies have the header `X-Worker` (or `worker_header`), [each worker](#gateways-with-several-workers) must
//!   agree. Otherwise, samples confirm a change, after `sync_interval` + 0.5 s.
//! - With `workers: 1` the gateway has one list, and one read confirms a change: after the same wait, or without a wait
//!   if replies have the header.
//! - If replies name their workers, set `workers`, even if the workers share one list. More names than `workers` are
//!   refused.
//! - With `in_flight`, the gateway's own count can end the drain.
//!
//! **OpenResty:** use `http-table` for OpenResty with `ngx_dynamic_upstream` or your own `balancer_by_lua` if it
//! publishes its peers as JSON or text. It can follow `/v1/health/service/app?passing` with a blocking query or every
//! few seconds, or SRV records. `sync_interval` is its polling interval.

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::gateway::driver::{Driver, Facts, Purpose};
use crate::gateway::guess::{GatewayAddress, Guess};
use crate::gateway::query::{Query, first, get, ok};
use crate::gateway::settings::{Issue, RegistryKind, Settings, SettingsFacts, templates};
use crate::gateway::table::{Place, Table, reading_issues};
use crate::gateway::view::{Nodes, View};
use crate::period::DurationSetting;
use crate::template::Template;
use crate::url::part;
use crate::world::Reply;

/// Any gateway with a URL that lists its peers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpTable {
    /// Its name in messages. Default: the host of its URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The URL of the list.
    pub url: Template,
    /// A PEM file with the only authorities that may have signed its certificate; relative to the playbook. Default:
    /// those of the system, or of `SSL_CERT_FILE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// JSON: pointer to the list of peers, an array or an object. Default: the whole document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "json-pointer"))]
    pub list: Option<String>,
    /// JSON: pointer from a peer to its `host:port`. Default: the peer itself, or its key in an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "json-pointer"))]
    pub address: Option<String>,
    /// JSON: pointer from a peer to whether it is routed (`true`, `1`, `"up"`, `"UP"` …). Default: a listed peer is
    /// routed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "json-pointer"))]
    pub routed: Option<String>,
    /// JSON: pointer from a peer to whether it is down (`true`, `1`), for a gateway that shows this instead. A peer
    /// without this value is routed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "json-pointer"))]
    pub down: Option<String>,
    /// JSON: pointer from a peer to its number of requests in flight. Only with `routed` or `down`: otherwise a
    /// peer that is out is not listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "json-pointer"))]
    pub in_flight: Option<String>,
    /// Text instead of JSON: a regular expression that is matched once per peer, with a group `address`, and a
    /// group `routed` or `down` that takes part in the match only if the peer is routed or down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "regex"))]
    pub pattern: Option<String>,
    /// How many workers it runs. Each follows the registry separately. Default: up to 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub workers: Option<u32>,
    /// The reply header with the name of the worker that answered (nginx: `add_header X-Worker $pid always`). Used if
    /// replies have it. Default: `X-Worker`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_header: Option<String>,
    /// How long it may take to follow a write: its polling interval. Default: 1s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_interval: Option<DurationSetting>,
}

impl Settings for HttpTable {
    templates!(url);

    fn guesses(address: &GatewayAddress, names: &[String]) -> Vec<Guess> {
        // Traefik with its servers from Consul's catalog.
        let servers = r#""https?://(?<address>[^"/]+)":"(?:(?<routed>UP)|DOWN)""#;
        let GatewayAddress::Url { base, .. } = address else { return Vec::new() };
        let guess = |name: &String| {
            let url = format!("{base}/api/http/services/{}@consulcatalog", part(name));
            let keys = [("url", url), ("pattern", servers.to_owned())];
            let mut guess = Guess::new(keys);
            guess
                .keys
                .extend([("workers".into(), 1.into()), ("sync_interval".into(), "0s".into())]);
            guess
        };
        names.iter().map(guess).collect()
    }

    fn facts(&self) -> SettingsFacts<'_> {
        SettingsFacts {
            ca: self.ca.as_deref(),
            name: self.name.as_deref(),
            place: ("url", self.url.as_str()),
            counts_under: if self.in_flight.is_some() { &RegistryKind::ALL } else { &[] },
            incompatible_with: vec![(
                RegistryKind::Gateway,
                "it shows its peers, and it has no API for \
            changes"
                    .into(),
            )],
            ..SettingsFacts::default()
        }
    }

    fn issues(&self, known: &dyn Fn(&str) -> bool) -> Vec<Issue> {
        let pointers = [
            ("list", self.list.is_some()),
            ("address", self.address.is_some()),
            ("routed", self.routed.is_some()),
            ("down", self.down.is_some()),
            ("in_flight", self.in_flight.is_some()),
        ];
        let mut wrong = reading_issues(self.pattern.as_deref(), &pointers, known);
        let tells_who_is_out =
            self.routed.is_some() || self.down.is_some() || self.pattern.is_some();
        if self.in_flight.is_some() && !tells_who_is_out && known("in_flight") {
            wrong.push(Issue {
                key: "in_flight",
                message: "`in_flight` without `routed` or `down` cannot count a node that is out"
                    .into(),
                helps: vec![
                    "such a list has only the routed nodes: use `drain.in_flight` with `http` or \
                     `sockets`"
                        .into(),
                ],
            });
        }
        if self.routed.is_some() && self.down.is_some() {
            wrong.push(Issue {
                key: "down",
                message: "both `routed` and `down` are given".into(),
                helps: vec!["keep the one that the gateway shows for each peer".into()],
            });
        }
        wrong
    }
}

/// How long a write may take, if the playbook does not say it.
const INTERVAL: Duration = Duration::from_secs(1);

/// The time from the poll until the gateway acts on it.
const SLACK: Duration = Duration::from_millis(500);

/// Any gateway with a URL that lists its peers: JSON with pointers, or text with a pattern.
pub(super) struct HttpTableDriver {
    facts: Facts,
    url: String,
    table: Table,
}

impl HttpTableDriver {
    pub(super) fn new(settings: &HttpTable, nodes: Nodes) -> Self {
        let place = Place {
            list: settings.list.as_deref(),
            address: settings.address.as_deref(),
            routed: settings.routed.as_deref(),
            down: settings.down.as_deref(),
            in_flight: settings.in_flight.as_deref(),
        };
        let interval = settings.sync_interval.map_or(INTERVAL, |period| period.0);
        let header = settings.worker_header.as_deref();
        Self {
            facts: Facts::polling("a list of peers", interval, SLACK, settings.workers, header),
            url: settings.url.as_str().to_owned(),
            table: Table::new(settings.pattern.as_deref(), place, nodes),
        }
    }
}

impl Driver for HttpTableDriver {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn queries(&self, purpose: Purpose<'_>) -> Vec<Query> {
        match purpose {
            Purpose::Look | Purpose::Probe => vec![Query::Http(get(&self.url))],
            Purpose::Rotation | Purpose::Count(_) => Vec::new(),
        }
    }

    fn read(&self, replies: &[Reply]) -> Result<View, String> {
        let reply = first(replies)?;
        self.table.read(ok(reply)?)
    }
}
