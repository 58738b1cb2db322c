//! Caddy in front of the nodes, with its admin API on the same address.
//!
//! Its list of nodes is its own, changed by that API, or comes from Consul's DNS. It retries nothing: a request that it
//! loses is lost for the client.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::config::PORT;
use super::program::Program;
use crate::http;
use crate::pool::UPSTREAM;
use crate::tools;
use crate::wait::until;

/// The port of its admin API.
const ADMIN_PORT: u16 = 2019;

/// How long its admin API may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// The port that its own check requests.
const CHECK_PORT: u16 = 2020;

/// A running Caddy.
#[derive(Debug)]
pub struct Caddy {
    program: Program,
    nodes: Vec<SocketAddr>,
    /// The id of its handler; a change takes effect after the next start.
    pub handler: String,
    dns: Option<SocketAddr>,
}

impl Caddy {
    /// Starts a Caddy and returns when it answers. With `dns` it queries its nodes there.
    pub(crate) fn start(
        program: Program,
        (nodes, dns): (&[SocketAddr], Option<SocketAddr>),
    ) -> Result<Self> {
        let (nodes, handler) = (nodes.to_vec(), UPSTREAM.to_owned());
        let mut caddy = Self { program, nodes, handler, dns };
        caddy.restart()?;
        Ok(caddy)
    }

    /// Kills it and starts it again; changes by its API are lost.
    ///
    /// # Errors
    ///
    /// When it does not start again.
    pub fn restart(&mut self) -> Result<()> {
        let directory = self.program.directory();
        let file = directory.join("caddy.json");
        fs::write(&file, self.settings().to_string())?;
        let home = |name: &str| {
            let mut word = OsString::from(format!("{name}="));
            word.push(directory);
            word
        };
        let argv: [OsString; 8] = [
            tools::find("env")?.into(),
            home("HOME"),
            home("XDG_CONFIG_HOME"),
            home("XDG_DATA_HOME"),
            tools::fetched("caddy")?.into(),
            "run".into(),
            "--config".into(),
            file.into(),
        ];
        self.program.start(&argv, Program::serves)
    }

    /// Kills it, with every connection it has.
    pub fn stop(&mut self) {
        self.program.stop();
    }

    /// Freezes it, or lets it continue: connections are accepted, and no answer comes.
    ///
    /// # Errors
    ///
    /// When it is not running.
    pub fn freeze(&self, still: bool) -> Result<()> {
        self.program.freeze(still)
    }

    /// Makes its active check request a file of each node's name in a folder, until its restart.
    ///
    /// # Errors
    ///
    /// When it does not accept that.
    pub fn look_at_files_in(&self, folder: &Path) -> Result<()> {
        let check = self.program.socket(CHECK_PORT);
        let mut settings = self.settings();
        let servers = &mut settings["apps"]["http"]["servers"];
        servers["web"]["routes"][0]["handle"][0]["health_checks"]["active"] = json!({
            "upstream": check,
            "uri": "/",
            "interval": "250ms",
            "timeout": "500ms",
            // The first check after a start may get no answer.
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
    /// When it does not answer.
    pub fn lists(&self, node: SocketAddr) -> Result<bool> {
        let url = format!("{}/id/{}/upstreams", self.admin_url(), self.handler);
        // With each change of its configuration it closes connections without an answer.
        let list =
            until(&format!("{} to answer", self.name()), ANSWER, || Ok(http::get(&url).ok()))?;
        Ok(list.body.contains(&format!("\"{node}\"")))
    }

    /// Replaces the list of nodes; each entry is used as written.
    ///
    /// # Errors
    ///
    /// When it does not accept that.
    pub fn write(&self, dials: &[String]) -> Result<()> {
        let list: Vec<_> = dials.iter().map(|dial| json!({ "dial": dial })).collect();
        let mut settings = self.settings();
        let servers = &mut settings["apps"]["http"]["servers"];
        servers["web"]["routes"][0]["handle"][0]["upstreams"] = list.into();
        let url = format!("{}/load", self.admin_url());
        let reply = http::request("POST", &url, &settings.to_string())?;
        ensure!(reply.status == 200, "{reply:?}");
        Ok(())
    }

    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.program.name()
    }

    /// Returns the URL of a path behind it; an empty path gives its base.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        self.program.url(path)
    }

    /// Returns the URL of its admin API.
    #[must_use]
    pub fn admin_url(&self) -> String {
        format!("http://{}", self.program.socket(ADMIN_PORT))
    }

    /// Returns the DNS server for its nodes, if it uses one.
    #[must_use]
    pub fn dns(&self) -> Option<SocketAddr> {
        self.dns
    }

    fn settings(&self) -> Value {
        let list: Vec<_> = self.nodes.iter().map(|node| json!({ "dial": node })).collect();
        let admin = self.program.socket(ADMIN_PORT);
        let balance = json!({ "selection_policy": { "policy": "round_robin" } });
        let mut proxy = json!({
            "@id": self.handler,
            "handler": "reverse_proxy",
            "load_balancing": balance,
        });
        if let Some(dns) = self.dns {
            // Over UDP Consul would leave out records.
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
            // On a loopback address it accepts only requests with a known host name.
            "admin": { "listen": admin, "origins": [admin] },
            "apps": { "http": { "servers": { "web": {
                "listen": [self.program.socket(PORT)],
                "automatic_https": { "disable": true },
                "routes": [{ "handle": [proxy] }],
            } } } },
        })
    }
}
