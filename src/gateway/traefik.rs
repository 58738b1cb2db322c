//! Traefik with its servers in a file (the `file` provider): what the file says is written, what Traefik's API shows
//! proves it.
//!
//! A server whose weight is below one gets no new requests. So a node is taken out by the sign of its weight, and the
//! file itself says what it comes back with.

mod file;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::json_file::JsonFile;
use super::{Driver, GatewayInfo, Mark, Nodes, NotDone, Peer, Query, Switch, View, get, ok};
use crate::json;
use crate::playbook;
use crate::text::line;
use crate::url::part;
use crate::world::{Host, Reply};

/// From what the API shows to what every entry point does.
const APPLY_DELAY: Duration = Duration::from_millis(100);

/// The strategy that knows no weights.
const WEIGHTLESS: &str = "p2c";

/// A gateway of this kind.
pub(super) struct Traefik {
    nodes: Nodes,
    api_url: String,
    service: String,
    file: JsonFile,
}

/// A service as the API shows it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Service<'a> {
    #[serde(borrow)]
    load_balancer: Option<LoadBalancer<'a>>,
    /// Why it is not what the file says.
    error: Option<&'a RawValue>,
    /// `UP` or `DOWN` by its URL, as checks of Traefik's own say.
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

impl Traefik {
    pub(super) fn new(settings: &playbook::Traefik, nodes: Nodes) -> Self {
        Self {
            nodes,
            api_url: settings.api_url.as_str().trim_end_matches('/').to_owned(),
            service: settings.service.as_str().to_owned(),
            file: JsonFile {
                host: Host::of(Some(settings.ssh.as_str())),
                path: settings.file.as_str().to_owned(),
                sudo: settings.sudo,
            },
        }
    }
}

/// Why a version could not do what is written.
fn too_old(version: &str) -> Option<String> {
    let major: u32 = version.trim_start_matches('v').split('.').next()?.parse().ok()?;
    let why = "before 3.0 it knows no weight of a server, and takes no file that has one";
    (major < 3).then(|| why.into())
}

impl Driver for Traefik {
    fn asks(&self) -> Vec<Query> {
        let url = format!("{}/api/http/services/{}@file", self.api_url, part(&self.service));
        vec![Query::Http(get(&url))]
    }

    fn read(&self, replies: &[Reply]) -> Result<View, String> {
        let [reply, ..] = replies else { return Err("no reply".into()) };
        let name = &self.service;
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
                "`{name}` has the strategy `{WEIGHTLESS}`, which knows no weights: nobody could be taken out"
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
        let mut view = View::default();
        let mut unplaced = None;
        let mut take = |server: &RawValue| {
            let server = json::value(server, json::SMALL)?;
            let url = server["url"].as_str().unwrap_or_default();
            let address = match file::address(url) {
                Ok(address) => self.nodes.name(&address),
                Err(why) => {
                    unplaced.get_or_insert(why);
                    return Ok(());
                }
            };
            match file::is_down(&server) {
                Ok(down) => {
                    let failing_check = !down && held.contains(url);
                    view.add(address, Peer { up: !down, failing_check, in_flight: None });
                }
                Err(why) => view.add_unread(address, why),
            }
            Ok(())
        };
        if let Some(servers) = balancer.servers.filter(|servers| !json::is_null(servers)) {
            json::each(servers, |_, server| take(server)).map_err(unreadable)?;
        }
        match unplaced {
            Some(why) if view.peers.is_empty() => Err(why),
            _ => view.readable(),
        }
    }

    fn greeting(&self) -> Vec<Query> {
        let version = get(&format!("{}/api/version", self.api_url));
        Driver::asks(self).into_iter().chain([Query::Http(version)]).collect()
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
            None => self.kind(),
        };
        GatewayInfo { is, blockers, ..GatewayInfo::default() }
    }

    fn kind(&self) -> String {
        "Traefik".into()
    }

    fn interval(&self) -> Duration {
        Duration::ZERO
    }

    fn lag(&self) -> Duration {
        Duration::ZERO
    }

    fn apply_delay(&self) -> Duration {
        APPLY_DELAY
    }

    /// One process.
    fn workers(&self) -> Option<u32> {
        Some(1)
    }

    fn switch(&self) -> Option<&dyn Switch> {
        Some(self)
    }
}

impl Switch for Traefik {
    fn asks(&self) -> Vec<Query> {
        vec![self.file.ask()]
    }

    fn mark(&self, replies: &[Reply], address: &str) -> Result<Mark, String> {
        let (_, mut document) = file::parse(replies)?;
        let servers = file::servers(&mut document, &self.service, address)?;
        let down = servers
            .iter()
            .try_fold(true, |down, server| file::is_down(server).map(|server| down & server))?;
        Ok(if down { Mark::Down } else { Mark::Up })
    }

    fn turn(&self, replies: &[Reply], address: &str, down: bool) -> Result<Vec<Query>, String> {
        let (reply, mut document) = file::parse(replies)?;
        for server in file::servers(&mut document, &self.service, address)? {
            file::mark(server, down)?;
        }
        Ok(vec![self.file.replace(reply, &document)?])
    }

    fn is_done(&self, _: &[Reply]) -> Result<(), NotDone> {
        Ok(())
    }
}
