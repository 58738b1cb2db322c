//! The keys of a gateway that lists its peers at a URL, and what must be true of them together.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Settings, Wrong, templates};
use crate::pattern::Pattern;
use crate::playbook::{Period, Registry, Template};

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
    /// JSON: pointer from a peer to whether it is down (`true`, `1`), where that is what the gateway tells. A peer that
    /// tells nothing of it is routed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "json-pointer"))]
    pub down: Option<String>,
    /// JSON: pointer from a peer to its number of requests in flight. With `routed` or `down` only: otherwise a peer that
    /// is out is not listed.
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

impl Settings for HttpTable {
    templates!(url);

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn place(&self) -> (&'static str, &str) {
        ("url", self.url.as_str())
    }

    fn counts_in_flight(&self) -> bool {
        self.in_flight.is_some()
    }

    fn incompatible_with(&self, registry: &Registry) -> Option<String> {
        let gateway = matches!(registry, Registry::Gateway {});
        gateway.then(|| "it shows its peers, and nothing can be written to it".to_owned())
    }

    fn wrong(&self, known: &dyn Fn(&str) -> bool) -> Vec<Wrong> {
        let pointers = [
            ("list", self.list.is_some()),
            ("address", self.address.is_some()),
            ("routed", self.routed.is_some()),
            ("down", self.down.is_some()),
            ("in_flight", self.in_flight.is_some()),
        ];
        let mut wrong = wrong_reading(self.pattern.as_deref(), &pointers, known);
        let tells_who_is_out =
            self.routed.is_some() || self.down.is_some() || self.pattern.is_some();
        if self.in_flight.is_some() && !tells_who_is_out && known("in_flight") {
            wrong.push(Wrong {
                key: "in_flight",
                message: "`in_flight` without `routed` or `down`: a node that is out is not listed".into(),
                helps: vec![
                    "where whoever is listed is routed nothing tells the requests of one that is out; use `drain.in_flight` \
                     with `http` or `sockets`"
                        .into(),
                ],
            });
        }
        if self.routed.is_some() && self.down.is_some() {
            wrong.push(Wrong {
                key: "down",
                message: "both `routed` and `down` are given".into(),
                helps: vec!["keep the one that the gateway tells of each peer".into()],
            });
        }
        wrong
    }
}

/// What is wrong with how peers are found: by a pattern, or by pointers of which some are given.
pub(super) fn wrong_reading(
    pattern: Option<&str>,
    pointers: &[(&'static str, bool)],
    known: &dyn Fn(&str) -> bool,
) -> Vec<Wrong> {
    let Some(pattern) = pattern.filter(|_| known("pattern")) else {
        return Vec::new();
    };
    let given = pointers.iter().filter(|(_, is_given)| *is_given);
    let mut wrong: Vec<_> = given
        .map(|(key, _)| Wrong {
            key,
            message: format!("both `{key}` and `pattern` are given"),
            helps: vec![
                "`pattern` reads text, the pointers read JSON: keep one or the other".into(),
            ],
        })
        .collect();
    wrong.extend(wrong_groups(pattern));
    wrong
}

/// What is wrong with the groups of a pattern that finds peers in text.
pub(super) fn wrong_groups(pattern: &str) -> Vec<Wrong> {
    let Ok(pattern) = Pattern::new(pattern) else {
        return Vec::new();
    };
    let has = |group: &str| pattern.has_group(group);
    let wrong = |message: &str, help: &str| Wrong {
        key: "pattern",
        message: message.into(),
        helps: vec![help.into()],
    };
    let mut found = Vec::new();
    if !has("address") {
        found.push(wrong(
            "the pattern has no group `address`",
            r"name the part that is `host:port`: `(?<address>\S+)`",
        ));
    }
    if has("routed") && has("down") {
        found.push(wrong(
            "the pattern has both groups `routed` and `down`",
            "keep the one that takes part in the match only when the peer is so",
        ));
    }
    found
}
