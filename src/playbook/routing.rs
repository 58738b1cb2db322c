//! Where a node's availability is written and read: Consul, the registry, the gateways.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Period, Template};

/// Where Consul is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Consul {
    /// `http://`, `https://` or `unix://`; tried in turn. Default: `CONSUL_HTTP_ADDR`, or this machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Template>,
    /// The ACL token; may name a secret. Default: `CONSUL_HTTP_TOKEN`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Template>,
    /// The datacenter. Default: that of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datacenter: Option<Template>,
}

/// Where a node's availability is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Registry {
    /// One key per node in Consul's KV store, `<prefix><address>`, with a JSON value that has `down`.
    ConsulKv {
        /// The folder of the keys, ending in `/`.
        prefix: Template,
    },
}

/// A proxy that routes to the nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Gateway {
    /// nginx with nginx-upsync-module.
    NginxUpsync(NginxUpsync),
    /// Any gateway with a URL that lists its peers, as JSON or as text.
    HttpTable(HttpTable),
}

impl Gateway {
    /// Its `type`, as the playbook writes it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NginxUpsync(_) => "nginx-upsync",
            Self::HttpTable(_) => "http-table",
        }
    }

    /// Returns whether it tells the requests in flight at each peer.
    #[must_use]
    pub fn counts_in_flight(&self) -> bool {
        match self {
            Self::NginxUpsync(_) => false,
            Self::HttpTable(table) => table.in_flight.is_some(),
        }
    }
}

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
    /// The `check_status` location in JSON, where `nginx_upstream_check_module` is used: a node is routed only
    /// when that module agrees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check_url: Option<Template>,
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
    pub sync_interval: Option<Period>,
}

/// Any gateway with a URL that lists its peers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpTable {
    /// What it is called in messages. Default: the host of its URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where the list is.
    pub url: Template,
    /// JSON: pointer to the list of peers, an array or an object. Default: the whole document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "json-pointer"))]
    pub list: Option<String>,
    /// JSON: pointer from a peer to its `host:port`. Default: the peer itself, or its key in an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "json-pointer"))]
    pub address: Option<String>,
    /// JSON: pointer from a peer to whether it is routed (`true`, `1`, `"up"`, `"UP"` …). Default: a peer that is
    /// listed is routed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "json-pointer"))]
    pub routed: Option<String>,
    /// JSON: pointer from a peer to its number of requests in flight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "json-pointer"))]
    pub in_flight: Option<String>,
    /// Text instead of JSON: a regular expression matched once per peer, with a group `address`, and a group
    /// `routed` or `down` that takes part in the match only when the peer is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "regex"))]
    pub pattern: Option<String>,
    /// How many workers it runs, each of which follows the registry on its own. Default: up to 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub workers: Option<u32>,
    /// The reply header that names the worker that answered (nginx: `add_header X-Worker $pid`). Used where it is
    /// found. Default: `X-Worker`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_header: Option<String>,
    /// How long it may take to follow a write: its polling interval. Default: 1s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_interval: Option<Period>,
}
