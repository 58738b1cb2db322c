//! Consul's client agents: one on each node, owning the node's instance of the service.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{PORT, SETTINGS};
use crate::gateway::UPSTREAM;
use crate::http::{Reply, request};
use crate::process::{Contained, Nursery};
use crate::tools;
use crate::wait::until;

/// How long an agent may take to join, or its instance to pass.
const JOIN: Duration = Duration::from_secs(60);

/// An agent that owns one instance.
#[derive(Debug)]
pub struct Agent {
    node: String,
    service: SocketAddr,
    url: String,
    _process: Contained,
}

impl Agent {
    /// Starts the agent of a node; it joins the servers.
    pub(crate) fn start(
        nursery: &Nursery,
        lab: &Path,
        node: &str,
        service: SocketAddr,
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
        let argv: Vec<OsString> =
            program.into_iter().chain(options.into_iter().chain(joins).map(Into::into)).collect();
        let process = Contained::start(nursery, &name, &directory.join("log"), &[], &argv)?;
        let url = format!("http://{ip}:{PORT}");
        Ok(Self { node: node.to_owned(), service, url, _process: process })
    }

    /// Returns the id of the instance that it owns.
    #[must_use]
    pub fn instance(&self) -> String {
        format!("{UPSTREAM}-{}", self.node)
    }

    /// Returns its `http://ip:port`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns what registers its instance, as the API takes it.
    #[must_use]
    pub fn registration(&self) -> String {
        json!({
            "ID": self.instance(),
            "Name": UPSTREAM,
            "Address": self.service.ip().to_string(),
            "Port": self.service.port(),
            "Check": {
                "HTTP": format!("http://{}/ping", self.service), "Interval": "300ms", "Timeout": "1s",
            },
        })
        .to_string()
    }

    /// Registers the instance and returns when it passes.
    pub(crate) fn register(&self) -> Result<()> {
        until(&format!("the agent of {}", self.node), JOIN, || {
            let reply = self.ask("PUT", "v1/agent/service/register", &self.registration());
            Ok(reply.ok().filter(|reply| reply.status == 200))
        })?;
        until(&format!("the instance of {}", self.node), JOIN, || {
            let path = format!("v1/health/service/{UPSTREAM}?passing");
            let passing = self.ask("GET", &path, "").map(|reply| reply.body).unwrap_or_default();
            Ok(passing.contains(&self.instance()).then_some(()))
        })
    }

    /// Returns the reason for which its instance is in maintenance, if it is.
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

    /// Puts its instance into maintenance, or takes it out.
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
