//! The keys of an nginx whose list of servers is a file that somebody renders, with a reload after each change.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::http_table::wrong_groups;
use super::{Settings, Wrong, follows_health, templates};
use crate::playbook::{Period, Registry, Template};

/// nginx with a list of servers that consul-template renders, and a reload after each change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsulTemplate {
    /// What it is called in messages. Default: the host of its ssh destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where it runs: `[user@]host[:port]`, an alias of the user's ssh configuration, or `local`.
    pub ssh: Template,
    /// The rendered file, an absolute path.
    pub file: Template,
    /// The file with the process id of nginx's master. Workers that it has told to leave are waited for.
    pub pid_file: Template,
    /// A regular expression that finds each server in the file, with a group `address`. Default: `server ADDRESS` as
    /// nginx writes it, without those that are `down`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "regex"))]
    pub pattern: Option<String>,
    /// How long the reload may take after the file was rendered. Default: 2s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_interval: Option<Period>,
}

impl Settings for ConsulTemplate {
    templates!(ssh, file, pid_file);

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn place(&self) -> (&'static str, &str) {
        ("ssh", self.ssh.as_str())
    }

    fn destination(&self) -> Option<(&'static str, &str)> {
        Some(("ssh", self.ssh.fixed()?))
    }

    fn incompatible_with(&self, registry: &Registry) -> Option<String> {
        follows_health(registry)
    }

    fn wrong(&self, known: &dyn Fn(&str) -> bool) -> Vec<Wrong> {
        let paths = [("file", &self.file), ("pid_file", &self.pid_file)];
        let relative = paths.into_iter().filter(|(key, path)| {
            known(key) && path.fixed().is_some_and(|path| !path.starts_with('/'))
        });
        let mut wrong: Vec<_> = relative
            .map(|(key, _)| Wrong {
                key,
                message: format!("`{key}` is not an absolute path"),
                helps: vec!["write it from `/` on".into()],
            })
            .collect();
        if let Some(pattern) = self.pattern.as_ref().filter(|_| known("pattern")) {
            wrong.extend(wrong_groups(pattern));
        }
        wrong
    }
}
