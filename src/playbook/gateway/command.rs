//! The keys of a gateway that is reached by commands of the user's, and what must be true of them together.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Settings, Wrong, http_table::wrong_reading};
use crate::playbook::{Period, Registry, Template};

/// Any gateway, by commands: one that lists its peers, and one each that takes a node out and back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandGateway {
    /// What it is called in messages.
    pub name: String,
    /// Prints the peers, as JSON or as text. As every command here it runs in `sh`; other than 0 as its exit code is
    /// an error.
    pub list: Template,
    /// JSON: pointer to the list of peers, an array or an object. Default: the whole document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "json-pointer"))]
    pub peers: Option<String>,
    /// JSON: pointer from a peer to its `host:port`. Default: the peer itself, or its key in an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "json-pointer"))]
    pub address: Option<String>,
    /// JSON: pointer from a peer to whether it is routed (`true`, `1`, `"up"`, `"UP"` …). Default: a peer that is
    /// listed is routed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "json-pointer"))]
    pub routed: Option<String>,
    /// Text instead of JSON: a regular expression matched once per peer, with a group `address`, and a group
    /// `routed` or `down` that takes part in the match only when the peer is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "regex"))]
    pub pattern: Option<String>,
    /// Takes the node out whose address is `$1`. With `out` and `in` it obeys the registry `gateway`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out: Option<Template>,
    /// Takes the node back whose address is `$1`.
    #[serde(default, rename = "in", skip_serializing_if = "Option::is_none")]
    pub back: Option<Template>,
    /// Prints the number of requests in flight at the node whose address is `$1`, and nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<Template>,
    /// The machine that the commands run on: `[user@]host[:port]` or an alias of your ssh configuration. Default: this
    /// machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<String>,
    /// Through `sudo -n`. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sudo: bool,
    /// After this time a command is ended, with all it started. Default: 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Period>,
    /// How long the gateway may still do otherwise than `list` says. Default: 0s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_interval: Option<Period>,
}

impl Settings for CommandGateway {
    super::templates!(list, out, back as "in", in_flight);

    fn name(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn place(&self) -> (&'static str, &str) {
        ("name", &self.name)
    }

    fn destination(&self) -> Option<(&'static str, &str)> {
        Some(("ssh", self.ssh.as_deref()?))
    }

    fn counts_in_flight(&self) -> bool {
        self.in_flight.is_some()
    }

    fn incompatible_with(&self, registry: &Registry) -> Option<String> {
        let is_written = self.out.is_some() && self.back.is_some();
        match registry {
            Registry::Gateway {} if !is_written => {
                Some("it lacks the commands `out` and `in`".into())
            }
            Registry::Gateway {} | Registry::ConsulKv { .. } | Registry::ConsulService { .. } => {
                None
            }
        }
    }

    fn wrong(&self, known: &dyn Fn(&str) -> bool) -> Vec<Wrong> {
        let pointers = [
            ("peers", self.peers.is_some()),
            ("address", self.address.is_some()),
            ("routed", self.routed.is_some()),
        ];
        let mut wrong = wrong_reading(self.pattern.as_deref(), &pointers, known);
        let lone = match (&self.out, &self.back) {
            (Some(_), None) => Some(("out", "in")),
            (None, Some(_)) => Some(("in", "out")),
            (Some(_), Some(_)) | (None, None) => None,
        };
        if let Some((key, other)) = lone.filter(|(key, other)| known(key) && known(other)) {
            wrong.push(Wrong {
                key,
                message: format!("`{key}` without `{other}`"),
                helps: vec!["a node that is taken out has to come back: give both".into()],
            });
        }
        wrong
    }
}
