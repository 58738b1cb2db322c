//! Caddy in front of the nodes, with its admin API on the same address.
//!
//! Its list of nodes is its own, to be changed by that API, or Consul's DNS has it. It tries nothing twice: what it
//! loses, a client loses.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::gateway::UPSTREAM;
use crate::http;
use crate::process::{Contained, Nursery};
use crate::tools;
use crate::wait::until;

/// Where clients and rollgate reach it.
const PORT: u16 = 8000;
const ADMIN_PORT: u16 = 2019;

/// How long it may take to answer.
const START: Duration = Duration::from_secs(20);

/// Where its own check asks.
const CHECK_PORT: u16 = 2020;

/// A running Caddy.
#[derive(Debug)]
pub struct Caddy {
    nursery: Nursery,
    name: String,
    ip: Ipv4Addr,
    directory: PathBuf,
    nodes: Vec<SocketAddr>,
    /// The id of its handler; a change is in effect when it is started again.
    pub handler: String,
    dns: Option<SocketAddr>,
    process: Option<Contained>,
}

impl Caddy {
    /// Prepares a Caddy; [`Caddy::start`] starts it. With `dns` it asks there for its nodes.
    pub(crate) fn prepare(
        nursery: &Nursery,
        lab: &Path,
        name: String,
        ip: Ipv4Addr,
        (nodes, dns): (&[SocketAddr], Option<SocketAddr>),
    ) -> Result<Self> {
        let directory = lab.join(&name);
        fs::create_dir(&directory)?;
        let (nursery, nodes, handler) = (nursery.clone(), nodes.to_vec(), UPSTREAM.to_owned());
        Ok(Self { nursery, name, ip, directory, nodes, handler, dns, process: None })
    }

    /// Starts a Caddy that is not running, and returns when it answers.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn start(&mut self) -> Result<()> {
        let file = self.directory.join("caddy.json");
        fs::write(&file, self.settings().to_string())?;
        let home = |name: &str| {
            let mut word = OsString::from(format!("{name}="));
            word.push(&self.directory);
            word
        };
        let argv: Vec<OsString> = vec![
            tools::find("env")?.into(),
            home("HOME"),
            home("XDG_CONFIG_HOME"),
            home("XDG_DATA_HOME"),
            tools::fetched("caddy")?.into(),
            "run".into(),
            "--config".into(),
            file.into(),
        ];
        let log = self.directory.join("log");
        let mut process = Contained::start(&self.nursery, &self.name, &log, &[], &argv)?;
        until(&format!("{} to answer", self.name), START, || {
            process.require_running()?;
            Ok(http::get(&self.url("/ping")).ok().filter(|reply| reply.status == 200))
        })?;
        self.process = Some(process);
        Ok(())
    }

    /// Kills it and starts it again; it has forgotten what it was told.
    ///
    /// # Errors
    ///
    /// When it does not start again.
    pub fn restart(&mut self) -> Result<()> {
        self.stop();
        self.start()
    }

    /// Kills it, with every connection it has.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Lets it stand still, or go on: connections are accepted, and nobody answers.
    ///
    /// # Errors
    ///
    /// When it is not running.
    pub fn freeze(&self, still: bool) -> Result<()> {
        self.process.as_ref().with_context(|| format!("{} is off", self.name))?.freeze(still)
    }

    /// Lets its active check ask for a file of each node's name in a folder, until it is restarted.
    ///
    /// # Errors
    ///
    /// When it does not take that.
    pub fn look_at_files_in(&self, folder: &Path) -> Result<()> {
        let check = format!("{}:{CHECK_PORT}", self.ip);
        let mut settings = self.settings();
        let servers = &mut settings["apps"]["http"]["servers"];
        servers["web"]["routes"][0]["handle"][0]["health_checks"]["active"] = json!({
            "upstream": check,
            "uri": "/",
            "interval": "250ms",
            "timeout": "500ms",
            // The first check after a start may find nobody to ask.
            "fails": 2,
            "headers": { "X-Node": ["{http.reverse_proxy.active.target_upstream}"] },
        });
        let file = json!({ "root": folder, "try_files": ["{http.request.header.X-Node}"] });
        let answer = |status| json!([{ "handler": "static_response", "status_code": status }]);
        servers["in"] = json!({
            "listen": [check],
            "automatic_https": { "disable": true },
            "routes": [
                { "match": [{ "file": file }], "handle": answer(200) },
                { "handle": answer(503) },
            ],
        });
        let url = format!("{}/load", self.admin_url());
        let reply = http::request("POST", &url, &settings.to_string())?;
        ensure!(reply.status == 200, "{reply:?}");
        Ok(())
    }

    /// Returns whether a node is in the list that requests are sent to.
    ///
    /// # Errors
    ///
    /// When nobody answers.
    pub fn lists(&self, node: SocketAddr) -> Result<bool> {
        let list = http::get(&format!("{}/id/{}/upstreams", self.admin_url(), self.handler))?.body;
        Ok(list.contains(&format!("\"{node}\"")))
    }

    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the URL of a path behind it; an empty path gives its base.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}:{PORT}{path}", self.ip)
    }

    /// Returns the URL of its admin API.
    #[must_use]
    pub fn admin_url(&self) -> String {
        format!("http://{}:{ADMIN_PORT}", self.ip)
    }

    /// Returns where it asks for its nodes, if it does.
    #[must_use]
    pub fn dns(&self) -> Option<SocketAddr> {
        self.dns
    }

    fn settings(&self) -> Value {
        let list: Vec<_> = self.nodes.iter().map(|node| json!({ "dial": node })).collect();
        let admin = format!("{}:{ADMIN_PORT}", self.ip);
        let balance = json!({ "selection_policy": { "policy": "round_robin" } });
        let mut proxy = json!({
            "@id": self.handler,
            "handler": "reverse_proxy",
            "load_balancing": balance,
        });
        if let Some(dns) = self.dns {
            // Over UDP Consul would leave records out.
            let resolver = json!({ "addresses": [format!("tcp/{dns}")] });
            proxy["dynamic_upstreams"] = json!({
                "source": "srv",
                "name": format!("{UPSTREAM}.service.consul"),
                "refresh": "1s",
                "resolver": resolver,
            });
            proxy["transport"] = json!({ "protocol": "http", "resolver": resolver });
        } else {
            proxy["upstreams"] = list.into();
        }
        json!({
            // On a loopback address it lets only those in who call it by a name that it knows.
            "admin": { "listen": admin, "origins": [admin] },
            "apps": { "http": { "servers": { "web": {
                "listen": [format!("{}:{PORT}", self.ip)],
                "automatic_https": { "disable": true },
                "routes": [{ "handle": [proxy] }],
            } } } },
        })
    }
}
