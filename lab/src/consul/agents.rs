//! Consul's client agents: one on each node, owning the node's instance of the service.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::checks::Check;
use super::settings::{PORT, SETTINGS};
use crate::http::{Reply, request};
use crate::pool::UPSTREAM;
use crate::process::{Contained, Nursery};
use crate::tools;
use crate::wait::until;

/// How long an agent may take to join, or its instance to pass its check.
const JOIN: Duration = Duration::from_secs(60);

/// An agent that owns one instance.
#[derive(Debug)]
pub struct Agent {
    node: String,
    service: SocketAddr,
    check: Check,
    url: String,
    _process: Contained,
    _watcher: Option<Contained>,
}

impl Agent {
    /// Starts the agent of a node, for an instance with this check; it joins the servers.
    pub(crate) fn start(
        nursery: &Nursery,
        lab: &Path,
        node: &str,
        (service, check): (SocketAddr, Check),
        servers: &[Ipv4Addr],
    ) -> Result<Self> {
        let name = format!("agent-{node}");
        let directory = lab.join(&name);
        std::fs::create_dir(&directory)?;
        let ip = service.ip();
        let options = [
            "agent".to_owned(),
            format!("-node={node}"),
            format!("-bind={ip}"),
            format!("-client={ip}"),
            format!("-data-dir={}", directory.join("data").display()),
            "-retry-interval=250ms".to_owned(),
            "-log-level=warn".to_owned(),
            format!("-hcl={SETTINGS}"),
            "-hcl=ports { dns = -1 }".to_owned(),
        ];
        let joins = servers.iter().map(|server| format!("-retry-join={server}"));
        let program = [OsString::from(tools::find("consul")?)];
        let mut argv: Vec<OsString> =
            program.into_iter().chain(options.into_iter().chain(joins).map(Into::into)).collect();
        let id = instance_of(node);
        if check == Check::Script {
            let file = directory.join("instance.json");
            let instance = json!({ "service": instance(&id, service, check) });
            std::fs::write(&file, instance.to_string())?;
            argv.extend(["-enable-local-script-checks".into(), "-config-file".into(), file.into()]);
        }
        let log = directory.join("log");
        let process = Contained::start(nursery, &name, &log, &[], &argv)?;
        let url = format!("http://{ip}:{PORT}");
        let watcher = check.watcher(service, &url, &id).map(|watch| {
            let argv = ["/bin/sh", "-c", &watch].map(OsString::from);
            let log = directory.join("watcher.log");
            Contained::start(nursery, &format!("watcher-{node}"), &log, &[], &argv)
        });
        let (node, watcher) = (node.to_owned(), watcher.transpose()?);
        Ok(Self { node, service, check, url, _process: process, _watcher: watcher })
    }

    /// Returns the id of the instance that it owns.
    #[must_use]
    pub fn instance(&self) -> String {
        instance_of(&self.node)
    }

    /// Returns its `http://ip:port`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Registers the instance, unless its configuration has it, and returns when it passes its check.
    ///
    /// # Errors
    ///
    /// When it does not pass.
    pub fn register(&self) -> Result<()> {
        if self.check != Check::Script {
            let registration = instance(&self.instance(), self.service, self.check).to_string();
            until(&format!("the agent of {}", self.node), JOIN, || {
                let reply = self.ask("PUT", "v1/agent/service/register", &registration);
                Ok(reply.ok().filter(|reply| reply.status == 200))
            })?;
        }
        until(&format!("the instance of {}", self.node), JOIN, || {
            let path = format!("v1/health/service/{UPSTREAM}?passing");
            let passing = self.ask("GET", &path, "").map(|reply| reply.body).unwrap_or_default();
            Ok(passing.contains(&self.instance()).then_some(()))
        })
    }

    /// Returns the reason of the maintenance of its instance, if it is in maintenance.
    ///
    /// # Errors
    ///
    /// When the agent does not answer.
    pub fn maintenance(&self) -> Result<Option<String>> {
        let reply = self.ask("GET", "v1/agent/checks", "")?;
        let checks: serde_json::Value = serde_json::from_str(&reply.body)?;
        let own = format!("_service_maintenance:{}", self.instance());
        Ok(checks[&own]["Notes"].as_str().map(str::to_owned))
    }

    /// Deregisters its instance.
    ///
    /// # Errors
    ///
    /// When the agent does not do so.
    pub fn deregister(&self) -> Result<()> {
        let path = format!("v1/agent/service/deregister/{}", self.instance());
        let reply = self.ask("PUT", &path, "")?;
        ensure!(reply.status == 200, "{} {}", reply.status, reply.body);
        Ok(())
    }

    /// Puts its instance into maintenance, or ends the maintenance.
    ///
    /// # Errors
    ///
    /// When the agent does not do so.
    pub fn maintain(&self, on: bool, reason: &str) -> Result<()> {
        let path =
            format!("v1/agent/service/maintenance/{}?enable={on}&reason={reason}", self.instance());
        let reply = self.ask("PUT", &path, "")?;
        ensure!(reply.status == 200, "{} {}", reply.status, reply.body);
        Ok(())
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Result<Reply> {
        let url = format!("{}/{path}", self.url);
        request(method, &url, body)
            .with_context(|| format!("no answer by the agent of {}", self.node))
    }
}

fn instance_of(node: &str) -> String {
    format!("{UPSTREAM}-{node}")
}

/// Returns an instance in the JSON of Consul's API.
fn instance(id: &str, service: SocketAddr, check: Check) -> Value {
    json!({
        "ID": id,
        "Name": UPSTREAM,
        "Tags": ["traefik.enable=true"],
        "Address": service.ip().to_string(),
        "Port": service.port(),
        "Check": check.definition(service),
    })
}
