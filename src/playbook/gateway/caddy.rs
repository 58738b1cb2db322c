//! The keys of Caddy, whose admin API takes upstreams out and back.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Settings, Wrong, templates};
use crate::playbook::{Registry, Template};

/// Caddy, by its admin API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Caddy {
    /// What it is called in messages. Default: the host of its URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where its admin API is: `http://10.0.0.11:2019`.
    pub admin_url: Template,
    /// The `@id` of the `reverse_proxy` handler whose `upstreams` are the nodes.
    pub handler: Template,
    /// The `max_requests` of each upstream: a node that comes back gets it again. An upstream that has another one, or
    /// anything else beside its `dial`, is not taken out, since that would be lost. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_requests: Option<u32>,
}

impl Settings for Caddy {
    templates!(admin_url, handler);

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn place(&self) -> (&'static str, &str) {
        ("admin_url", self.admin_url.as_str())
    }

    fn counts_in_flight(&self) -> bool {
        true
    }

    fn incompatible_with(&self, registry: &Registry) -> Option<String> {
        match registry {
            Registry::Gateway {} => None,
            other => Some(format!("it follows its own admin API, not `{}`", other.kind())),
        }
    }

    fn wrong(&self, known: &dyn Fn(&str) -> bool) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        if known("handler")
            && let Some(handler) = self.handler.fixed()
            && (handler.is_empty() || !handler.chars().all(is_plain))
        {
            wrong.push(Wrong {
                key: "handler",
                message: "`handler` becomes part of a URL: letters, digits, `-`, `_` and `.`"
                    .into(),
                helps: vec!["give the handler such an `@id` in Caddy's configuration".into()],
            });
        }
        wrong
    }
}

fn is_plain(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "-_.".contains(letter)
}
