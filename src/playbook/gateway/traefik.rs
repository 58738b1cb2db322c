//! The keys of a Traefik whose servers are in a file of JSON.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Settings, Wrong, templates};
use crate::playbook::findings::quoted;
use crate::playbook::{Registry, Template};

/// How the names of the files end that Traefik reads as YAML, of which JSON is a part.
const ENDINGS: [&str; 2] = [".yml", ".yaml"];

/// What divides a name from its provider, and what would make another path of the API's URL.
const NO_NAME: [char; 5] = ['@', '/', '?', '#', '%'];

/// Traefik with its servers in a file that it watches (the `file` provider), written as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Traefik {
    /// What it is called in messages. Default: the host of its URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where its API is, without `/api`: `http://10.0.0.11:8080`.
    pub api_url: Template,
    /// The service whose servers are the nodes, as the file names it.
    pub service: Template,
    /// Where the file is: `[user@]host[:port]`, an alias of the user's ssh configuration, or `local`.
    pub ssh: Template,
    /// The file, an absolute path that ends in `.yml` or `.yaml`. What stands in it must be JSON.
    pub file: Template,
    /// Read and write the file as root, through `sudo -n`. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sudo: bool,
}

impl Settings for Traefik {
    templates!(api_url, service, ssh, file);

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn place(&self) -> (&'static str, &str) {
        ("api_url", self.api_url.as_str())
    }

    fn destination(&self) -> Option<(&'static str, &str)> {
        Some(("ssh", self.ssh.fixed()?))
    }

    fn incompatible_with(&self, registry: &Registry) -> Option<String> {
        match registry {
            Registry::Gateway {} => None,
            other => Some(format!("it follows a file of its own, not `{}`", other.kind())),
        }
    }

    fn wrong(&self, known: &dyn Fn(&str) -> bool) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        let service = self.service.fixed().filter(|_| known("service"));
        if let Some(service) = service.filter(|name| name.is_empty() || name.contains(NO_NAME)) {
            wrong.push(Wrong {
                key: "service",
                message: format!("`{}` is no name of a service in the file", quoted(service)),
                helps: vec!["write it as it stands below `http.services`, without `@file`".into()],
            });
        }
        let Some(path) = self.file.fixed().filter(|_| known("file")) else { return wrong };
        if !path.starts_with('/') {
            wrong.push(Wrong {
                key: "file",
                message: "`file` is not an absolute path".into(),
                helps: vec!["write it from `/` on".into()],
            });
        }
        if !ENDINGS.iter().any(|ending| path.ends_with(ending)) {
            wrong.push(Wrong {
                key: "file",
                message: "Traefik reads no JSON from a file of this name".into(),
                helps: vec!["let its name end in `.yml`; every JSON is YAML as well".into()],
            });
        }
        wrong
    }
}
