//! The keys of a gateway with Slardar.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Settings, Wrong, has_own_api, templates};
use crate::playbook::findings::quoted;
use crate::playbook::{Period, Registry, Template};

/// Slardar (lua-resty-checkups), through its own API and the keys in Consul that it reads when it is started or reloaded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Slardar {
    /// What it is called in messages. Default: the host of its URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The gateway's name for the pool: the host that requests name.
    pub upstream: Template,
    /// Where its API begins: `/status`, `/upstreams` and `/upstream/…` are put behind it.
    pub url: Template,
    /// Where its keys in Consul are: its `config_key_prefix`. Default: `config/slardar/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<Template>,
    /// What each node has in the list besides its host and port.
    #[serde(default, skip_serializing_if = "SlardarServer::is_empty")]
    pub server: SlardarServer,
    /// By a node's address: what it has in place of `server`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub servers: BTreeMap<String, SlardarServer>,
    /// How many workers it runs, each of which follows the API on its own. Default: up to 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub workers: Option<u32>,
    /// The reply header that names the worker that answered (nginx: `add_header X-Worker $pid`). Used where it is
    /// found. Default: `X-Worker`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_header: Option<String>,
    /// How long a worker may take to follow: `shd_config_timer_interval`. Default: 1s, as Slardar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_interval: Option<Period>,
}

/// What a server has in Slardar's list besides its host and port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SlardarServer {
    /// Its share of the requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Failures after which it gets no requests for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_fails: Option<u32>,
    /// For how many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail_timeout: Option<u32>,
}

impl SlardarServer {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Settings for Slardar {
    templates!(upstream, url, prefix);

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn place(&self) -> (&'static str, &str) {
        ("url", self.url.as_str())
    }

    fn addresses(&self) -> Vec<(&'static str, &str)> {
        self.servers.keys().map(|address| ("servers", address.as_str())).collect()
    }

    fn incompatible_with(&self, registry: &Registry) -> Option<String> {
        has_own_api(registry)
    }

    fn wrong(&self, known: &dyn Fn(&str) -> bool) -> Vec<Wrong> {
        let upstream = self.upstream.fixed().filter(|_| known("upstream"));
        let upstream = upstream.filter(|name| name.contains(is_special)).map(|name| Wrong {
            key: "upstream",
            message: format!("`{}` cannot be said in Slardar's API", quoted(name)),
            helps: vec!["a host has letters, digits, `-`, `_` and `.`".into()],
        });
        let prefix = self.prefix.as_ref().and_then(Template::fixed).filter(|_| known("prefix"));
        let prefix = prefix.filter(|prefix| !prefix.ends_with('/')).map(|prefix| Wrong {
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
