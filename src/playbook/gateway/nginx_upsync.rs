//! The keys of an nginx-upsync gateway, and what must be true of them together.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Settings, Wrong, follows_keys, templates};
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

impl Settings for NginxUpsync {
    templates!(upstream, status_url, check_url);

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn place(&self) -> (&'static str, &str) {
        ("status_url", self.status_url.as_str())
    }

    fn disobeys(&self, registry: &Registry) -> Option<String> {
        follows_keys(registry)
    }

    fn wrong(&self, known: &dyn Fn(&str) -> bool) -> Vec<Wrong> {
        let query = (known("upstream") && known("status_url")).then(|| self.wrong_query());
        query.flatten().into_iter().collect()
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
