//! The keys of an Envoy whose endpoints are a file (EDS).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Settings, Wrong, templates};
use crate::playbook::{Registry, Template};

/// Envoy with its endpoints in a file of JSON that it watches (EDS).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Envoy {
    /// What it is called in messages. Default: the host of its URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where its admin page is: `http://10.0.0.11:9901`.
    pub admin_url: Template,
    /// The cluster whose endpoints are the nodes.
    pub cluster: Template,
    /// Where the file is: `[user@]host[:port]`, an alias of the user's ssh configuration, or `local`.
    pub ssh: Template,
    /// The file with the endpoints, an absolute path, in the directory that Envoy watches.
    pub file: Template,
    /// Read and write the file as root, through `sudo -n`. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sudo: bool,
    /// The cluster's `healthy_panic_threshold`, in percent: when fewer of the nodes that are not drained are healthy,
    /// Envoy sends requests to all nodes, drained ones too. Default: 50, as in Envoy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub panic_threshold: Option<u8>,
}

impl Settings for Envoy {
    templates!(admin_url, cluster, ssh, file);

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn place(&self) -> (&'static str, &str) {
        ("admin_url", self.admin_url.as_str())
    }

    fn destination(&self) -> Option<(&'static str, &str)> {
        Some(("ssh", self.ssh.fixed()?))
    }

    fn counts_in_flight(&self) -> bool {
        true
    }

    fn incompatible_with(&self, registry: &Registry) -> Option<String> {
        match registry {
            Registry::Gateway {} => None,
            other => Some(format!("it follows a file of its own, not `{}`", other.kind())),
        }
    }

    fn wrong(&self, known: &dyn Fn(&str) -> bool) -> Vec<Wrong> {
        let is_relative = self.file.fixed().is_some_and(|path| !path.starts_with('/'));
        let relative = (known("file") && is_relative).then(|| Wrong {
            key: "file",
            message: "`file` is not an absolute path".into(),
            helps: vec!["write it from `/` on".into()],
        });
        relative.into_iter().collect()
    }
}
