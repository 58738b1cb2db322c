//! The keys of a gateway with `ngx_dynamic_upstream`, and what must be true of them together.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Settings, Wrong, has_own_api, templates};
use crate::playbook::findings::quoted;
use crate::playbook::{Registry, Template};

/// nginx with `ngx_dynamic_upstream`, through its own API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NgxDynamicUpstream {
    /// What it is called in messages. Default: the host of its URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The gateway's name for the pool: with cubicdaiya's module the name of its `zone`, with `ZigzagAK`'s that of
    /// the `upstream`.
    pub upstream: Template,
    /// The `dynamic_upstream` location.
    pub url: Template,
    /// Whose module it is. Default: zigzagak.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<DynamicUpstreamVariant>,
}

/// Whose `ngx_dynamic_upstream` it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DynamicUpstreamVariant {
    /// `ZigzagAK`'s: it counts requests in flight, also at a peer that is down.
    Zigzagak,
    /// cubicdaiya's, the first of that name: it counts nothing.
    Cubicdaiya,
}

impl Settings for NgxDynamicUpstream {
    templates!(upstream, url);

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn place(&self) -> (&'static str, &str) {
        ("url", self.url.as_str())
    }

    fn counts_in_flight(&self) -> bool {
        self.variant != Some(DynamicUpstreamVariant::Cubicdaiya)
    }

    fn incompatible_with(&self, registry: &Registry) -> Option<String> {
        has_own_api(registry)
    }

    fn wrong(&self, known: &dyn Fn(&str) -> bool) -> Vec<Wrong> {
        let name = self.upstream.fixed().filter(|_| known("upstream"));
        let query = self.url.fixed().filter(|url| known("url") && url.contains('?'));
        let name = name.filter(|name| name.contains(is_special)).map(|name| Wrong {
            key: "upstream",
            message: format!("`{}` cannot be said in the module's API", quoted(name)),
            helps: vec!["it takes every character of a query as it is: rename the upstream".into()],
        });
        let query = query.map(|url| Wrong {
            key: "url",
            message: format!("`{}` has a query", quoted(url)),
            helps: vec!["name the location alone; what is asked is put behind it".into()],
        });
        name.into_iter().chain(query).collect()
    }
}

/// The module does not decode a query.
fn is_special(character: char) -> bool {
    !(character.is_ascii_alphanumeric() || "-_.:".contains(character))
}
