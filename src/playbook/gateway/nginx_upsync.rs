//! The keys of an nginx-upsync gateway, and what must be true of them together.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Settings, Wrong, follows_health, follows_keys, templates};
use crate::playbook::findings::quoted;
use crate::playbook::{Period, Registry, Template};

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
    pub sync_interval: Option<Period>,
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

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn place(&self) -> (&'static str, &str) {
        ("status_url", self.status_url.as_str())
    }

    fn takes_ipv6(&self) -> bool {
        false
    }

    fn incompatible_with(&self, registry: &Registry) -> Option<String> {
        match self.upsync_type.unwrap_or(UpsyncType::Consul) {
            UpsyncType::Consul => follows_keys(registry),
            UpsyncType::ConsulHealth => follows_health(registry),
            UpsyncType::ConsulServices => Some(
                "its `upsync_type` reads the catalog, in which maintenance mode and failing checks have no \
                 effect; `consul_health` would follow `consul-service`"
                    .into(),
            ),
        }
    }

    fn wrong(&self, known: &dyn Fn(&str) -> bool) -> Vec<Wrong> {
        let query = (known("upstream") && known("status_url")).then(|| self.wrong_query());
        let check =
            self.check_url.as_ref().and_then(Template::fixed).filter(|_| known("check_url"));
        let filtered =
            |url: &&str| url.split(['?', '&']).skip(1).any(|part| part.starts_with("status="));
        let filtered = check.filter(filtered).map(|url| Wrong {
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
    fn wrong_query(&self) -> Option<Wrong> {
        let (url, upstream) = (self.status_url.fixed()?, self.upstream.fixed()?);
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        (!query.eq_ignore_ascii_case(upstream)).then(|| Wrong {
            key: "status_url",
            message: "the query must be the upstream's bare name".into(),
            helps: vec![
                format!("write `{}`", quoted(&format!("{base}?{upstream}"))),
                "nginx-upsync answers 200 to anything else, with another list or none".into(),
            ],
        })
    }
}
