//! The keys of a gateway with dyups, and what must be true of them together.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Settings, Wrong, has_own_api, templates};
use crate::playbook::findings::quoted;
use crate::playbook::{Period, Registry, Template};

/// nginx with `ngx_http_dyups_module`, through its own API. Every write is the whole list: the playbook says how it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dyups {
    /// What it is called in messages. Default: the host of its URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The gateway's name for the pool.
    pub upstream: Template,
    /// Where its API (`dyups_interface`) begins: `/detail` and `/upstream/…` are put behind it.
    pub url: Template,
    /// Which dyups it is: `classic` until 2020-03, `head` since 2020-04. Say `head` only when `proxy_pass` names the
    /// upstream by a `$dyups_` variable (`$dyups_host`): otherwise only one worker does what the API is told. Default: classic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<DyupsMode>,
    /// What stands behind each node's address in the list: `weight=5 max_fails=3`. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<Template>,
    /// By a node's address: what stands behind it in place of `server`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub servers: BTreeMap<String, Template>,
    /// The servers of the list that are no nodes, each as nginx writes it: `server 10.9.9.9:80 backup;`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Template>,
    /// What else stands in the upstream: `keepalive 8;`. The classic API never shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extras: Option<Template>,
    /// How many workers it runs, each of which follows the API on its own. Default: up to 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub workers: Option<u32>,
    /// The reply header that names the worker that answered (nginx: `add_header X-Worker $pid`). Used where it is
    /// found. Default: `X-Worker`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_header: Option<String>,
    /// How long a worker may take to follow: `dyups_read_msg_timeout`. Default: 1s, as dyups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_interval: Option<Period>,
}

/// Which dyups it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DyupsMode {
    /// Until 2020-03: each worker reads messages, and `GET /detail` shows the list.
    Classic,
    /// Since 2020-04: the list is in shared memory, and read when `$dyups_…` is used.
    Head,
}

impl Settings for Dyups {
    templates!(upstream, url, server, servers, others, extras);

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
                wrong.push(Wrong {
                    key: "others",
                    message: format!("`{}` is not one `server` of an upstream", quoted(other)),
                    helps: vec!["write it as nginx does: `server 10.9.9.9:80 backup;`".into()],
                });
            }
        }
        let extras = self.extras.as_ref().and_then(Template::fixed).filter(|_| known("extras"));
        if let Some(extras) = extras.filter(|extras| !is_extra(extras)) {
            wrong.push(Wrong {
                key: "extras",
                message: format!("`{}` is not what may stand beside servers", quoted(extras)),
                helps: vec![
                    "write it as nginx does, with its semicolons: `keepalive 8;`".into(),
                    "servers that are no nodes belong under `others`".into(),
                ],
            });
        }
        wrong
    }
}

/// What is wrong with the parameters of a `server`.
fn wrong_parameters(key: &'static str, parameters: &str) -> Option<Wrong> {
    let message = if parameters.contains([';', '{', '}', '#', '\n']) {
        format!("`{}` is more than the parameters of one server", quoted(parameters))
    } else if parameters.split_whitespace().any(|word| word == "down") {
        "`down` is what a release changes".to_owned()
    } else {
        return None;
    };
    let helps = vec!["write what stands behind the address: `weight=5 max_fails=3`".into()];
    Some(Wrong { key, message, helps })
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
