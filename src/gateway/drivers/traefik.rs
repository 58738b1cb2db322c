//! ## traefik
//!
//! | gateway | `registry` | a playbook |
//! |---|---|---|
//! | Traefik, servers in a file | `gateway` | [traefik-file](../playbooks/traefik-file.yaml) |
//!
//! Traefik 3 with the servers of a service in a file that it watches (its `file` provider, with `filename` or
//! `directory`). The file's name ends in `.yml` or `.yaml`. JSON is also YAML; TOML is not supported.
//!
//! ```yaml
//! api: { insecure: true }                                       # or a router to api@internal
//! providers:
//!   providersThrottleDuration: 100ms                            # default: 2s; Traefik's wait between two changes
//!   file: { filename: /etc/traefik/dynamic/app.yml, watch: true }
//! ```
//!
//! ```yaml
//! http:
//!   routers: { app: { rule: PathPrefix(`/`), service: app } }
//!   services:
//!     app:
//!       loadBalancer:
//!         servers:
//!           - url: http://10.0.1.11:9000
//!           - url: http://10.0.1.12:9000
//!             weight: 2
//! ```
//!
//! ```yaml
//! registry: { type: gateway }
//! gateways:
//!   - { type: traefik, api_url: 'http://10.0.0.11:8080', service: app, ssh: ops@10.0.0.11, file: /etc/traefik/dynamic/app.yml }
//! drain: { in_flight: { http: { url: 'http://${{ node.address }}/metrics', pattern: 'in_flight (\d+)' } } }
//! ```
//!
//! **Writes:**
//!
//! - A server with a weight below 1 gets no new requests, and its requests in flight continue. Therefore rollgate makes
//!   the node's `weight` in the file negative to take it out, and positive again to return it. No weight means 1. A
//!   weight of 0 returns as 1.
//! - Every other byte of the file stays as it is, with comments and formatting. A server that the file repeats by an
//!   anchor or a merge key, and a key that occurs twice on the way to it, are refused.
//! - The file is replaced, and only if it is still as it was read. (Traefik can see a file that is written in place as
//!   empty for a moment, which removes the whole service.)
//! - A file that is mounted alone into a container (`-v /srv/app.yml:…`) is refused, as far as rollgate can see it: the
//!   container keeps the old file when rollgate replaces it. Mount its folder. Only root sees the containers of other
//!   users (`sudo: true`). rollgate never writes such a file in place: the gateway could read a part of it.
//! - A symbolic link in its place is refused, and so is a file of 1 MiB or more.
//! - The file is sent over standard input and is not on any command line. Its owner, group and mode stay.
//!
//! **Confirmation:**
//!
//! - `/api/http/services` shows the change, and shows it again 100 ms later. In 14 manual changes, the last request
//!   reached the node 3 to 666 ms **before** the API showed it out.
//! - A change soon after another one waits for `providersThrottleDuration`.
//! - A node that Traefik's own check shows as `DOWN` is not confirmed in. But after **every** change of the file,
//!   Traefik treats all servers as healthy until its check (`interval`) fails again.
//! - Requests in flight are not reported: use `drain.in_flight` with `http` or `sockets`.
//!
//! **Limits:**
//!
//! - `strategy: p2c` is refused: it ignores weights, and a node got requests as before. `wrr` and `leasttime` were
//!   tested.
//! - Traefik before 3.0 is refused: it does not support weights.
//! - The service must be an HTTP service with a `loadBalancer`, in one file. `weighted` services and services of `tcp`
//!   and `udp` are not supported.
//! - The API has no password: let it listen where only you can reach it.

mod file;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::gateway::driver::{Driver, Facts, GatewayInfo, Purpose};
use crate::gateway::file::{FileControl, GatewayFile, YAML_ENDINGS};
use crate::gateway::guess::{GatewayAddress, Guess};
use crate::gateway::query::{Query, first, get, ok};
use crate::gateway::rotation::RotationControl;
use crate::gateway::settings::{
    Issue, RegistryKind, Settings, SettingsFacts, follows_only, not_absolute, templates,
};
use crate::gateway::view::{Entries, Nodes, Peer, View};
use crate::json;
use crate::template::Template;
use crate::text::{line, quoted};
use crate::url::part;
use crate::world::{Host, Reply};

/// Characters that separate a name from its provider, or that would make another path of the API's URL.
const NO_NAME: [char; 5] = ['@', '/', '?', '#', '%'];

/// Traefik with its servers in a YAML file that it watches (the `file` provider).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Traefik {
    /// Its name in messages. Default: the host of its URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The URL of its API, without `/api`: `http://10.0.0.11:8080`.
    pub api_url: Template,
    /// A PEM file with the only authorities that may have signed its certificate; relative to the playbook. Default:
    /// those of the system, or of `SSL_CERT_FILE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// The service whose servers are the nodes, by its name in the file.
    pub service: Template,
    /// The machine with the file: `[user@]host[:port]`, an alias of the user's ssh configuration, or `local`.
    pub ssh: Template,
    /// The file, an absolute path that ends in `.yml` or `.yaml`. Its content is YAML, or JSON, which is also YAML.
    pub file: Template,
    /// Read and write the file as root, through `sudo -n`. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sudo: bool,
}

impl Settings for Traefik {
    templates!(api_url, service, ssh, file);

    fn guesses(address: &GatewayAddress, names: &[String]) -> Vec<Guess> {
        let guesses = address.named("api_url", "service", names).into_iter();
        let asking = |guess: Guess| {
            guess.asking(&[
                ("ssh", "The machine with Traefik's file of servers, for ssh", "local"),
                ("file", "The file of servers that Traefik watches", "/etc/traefik/app.yaml"),
            ])
        };
        guesses.map(asking).collect()
    }

    fn facts(&self) -> SettingsFacts<'_> {
        SettingsFacts {
            ca: self.ca.as_deref(),
            name: self.name.as_deref(),
            place: ("api_url", self.api_url.as_str()),
            ssh: self.ssh.fixed().map(|ssh| ("ssh", ssh)),
            incompatible_with: follows_only(RegistryKind::Gateway, "it follows its own file"),
            ..SettingsFacts::default()
        }
    }

    fn issues(&self, known: &dyn Fn(&str) -> bool) -> Vec<Issue> {
        let mut wrong = Vec::new();
        let service = self.service.fixed().filter(|_| known("service"));
        if let Some(service) = service.filter(|name| name.is_empty() || name.contains(NO_NAME)) {
            wrong.push(Issue {
                key: "service",
                message: format!("`{}` is not the name of a service in the file", quoted(service)),
                helps: vec!["write it as in `http.services`, without `@file`".into()],
            });
        }
        let Some(path) = self.file.fixed().filter(|_| known("file")) else { return wrong };
        wrong.extend(not_absolute("file", &self.file));
        if !YAML_ENDINGS.iter().any(|ending| path.ends_with(ending)) {
            wrong.push(Issue {
                key: "file",
                message: "Traefik does not read YAML from a file with this name".into(),
                helps: vec!["use a name that ends in `.yml`; TOML is not supported".into()],
            });
        }
        wrong
    }
}

/// The time from when the API shows a change until every entry point acts on it.
const APPLY_DELAY: Duration = Duration::from_millis(100);

/// The strategy that ignores weights.
const WEIGHTLESS: &str = "p2c";

/// Traefik with its servers in a file (the `file` provider): rollgate writes the file, and Traefik's API confirms
/// the change.
///
/// A server with a weight below one gets no new requests. So the sign of its weight takes a node out, and the file
/// itself has the weight with which it returns.
pub(super) struct TraefikDriver {
    facts: Facts,
    nodes: Nodes,
    api_url: String,
    control: FileControl,
}

/// A service as the API shows it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Service<'a> {
    #[serde(borrow)]
    load_balancer: Option<LoadBalancer<'a>>,
    /// Why it does not match the file.
    error: Option<&'a RawValue>,
    /// `UP` or `DOWN` by URL, from Traefik's own checks.
    server_status: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct LoadBalancer<'a> {
    #[serde(borrow)]
    servers: Option<&'a RawValue>,
    #[serde(default)]
    strategy: String,
}

#[derive(Deserialize)]
struct Version {
    #[serde(rename = "Version")]
    version: String,
}

impl TraefikDriver {
    pub(super) fn new(settings: &Traefik, nodes: Nodes) -> Self {
        // Traefik is one process.
        let facts = Facts::immediate("Traefik");
        Self {
            facts: Facts { apply_delay: APPLY_DELAY, ..facts },
            nodes,
            api_url: settings.api_url.as_str().trim_end_matches('/').to_owned(),
            control: FileControl {
                file: GatewayFile {
                    host: Host::of(Some(settings.ssh.as_str())),
                    path: settings.file.as_str().to_owned(),
                    sudo: settings.sudo,
                },
                pool: settings.service.as_str().to_owned(),
                find: file::servers,
                is_down: file::is_down,
                mark: file::mark,
            },
        }
    }
}

/// Why a version does not support negative weights.
fn too_old(version: &str) -> Option<String> {
    let major: u32 = version.trim_start_matches('v').split('.').next()?.parse().ok()?;
    let why = "Traefik before 3.0 does not support server weights and rejects such a file";
    (major < 3).then(|| why.into())
}

impl Driver for TraefikDriver {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn queries(&self, purpose: Purpose<'_>) -> Vec<Query> {
        let ask = |path: &str| Query::Http(get(&format!("{}/api/{path}", self.api_url)));
        let service = || ask(&format!("http/services/{}@file", part(&self.control.pool)));
        match purpose {
            Purpose::Look => vec![service()],
            Purpose::Probe => vec![service(), ask("version")],
            Purpose::Rotation => vec![self.control.file.ask()],
            Purpose::Count(_) => Vec::new(),
        }
    }

    fn read(&self, replies: &[Reply]) -> Result<View, String> {
        let reply = first(replies)?;
        let name = &self.control.pool;
        let unreadable = |error: String| format!("its service cannot be read: {error}");
        let document = json::document(&ok(reply)?.body).map_err(unreadable)?;
        let service: Service<'_> = json::typed(document).map_err(unreadable)?;
        let errors = service.error.map(json::list).transpose().map_err(unreadable)?;
        if let Some(error) = errors.unwrap_or_default().first() {
            let said = json::string(Some(error)).unwrap_or_else(|| error.get().into());
            return Err(format!("`{name}` is in error: {}", line(&said, 200)));
        }
        let balancer = service
            .load_balancer
            .ok_or_else(|| format!("`{name}` has no servers of its own (`loadBalancer`)"))?;
        if balancer.strategy == WEIGHTLESS {
            return Err(format!(
                "`{name}` has the strategy `{WEIGHTLESS}`, which ignores weights: no node could be taken out"
            ));
        }
        let mut held = BTreeSet::new();
        if let Some(status) = service.server_status.filter(|status| !json::is_null(status)) {
            json::each(status, |url, status| {
                if json::string(Some(status)).as_deref() != Some("UP") {
                    held.extend(url.map(str::to_owned));
                }
                Ok(())
            })
            .map_err(unreadable)?;
        }
        let mut entries = Entries::new(&self.nodes);
        if let Some(servers) = balancer.servers.filter(|servers| !json::is_null(servers)) {
            json::each(servers, |_, server| {
                let server = json::value(server, json::SMALL)?;
                let url = server["url"].as_str().unwrap_or_default();
                let peer = file::is_shown_down(&server).map(|down| {
                    let failing_check = !down && held.contains(url);
                    Peer { up: !down, failing_check, in_flight: None }
                });
                entries.add(file::address(url), peer);
                Ok(())
            })
            .map_err(unreadable)?;
        }
        entries.view()
    }

    fn info(&self, replies: &[Reply]) -> GatewayInfo {
        let version =
            replies.get(1).and_then(|reply| json::typed(json::document(&reply.body).ok()?).ok());
        let mut blockers: Vec<_> = self.read(replies).err().into_iter().collect();
        let is = match version {
            Some(Version { version }) => {
                blockers.extend(too_old(&version));
                format!("Traefik {}", line(&version, 20))
            }
            None => self.facts.kind.clone(),
        };
        GatewayInfo { is, blockers, ..GatewayInfo::default() }
    }

    fn rotation_control(&self) -> Option<&dyn RotationControl> {
        Some(&self.control)
    }
}
