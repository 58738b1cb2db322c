//! Envoy in front of the nodes, with their endpoints in a file of the first node's folder.
//!
//! So the file can be written locally, and through that node's sshd. It retries nothing: a request that it loses is
//! lost for the client.

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::config::PORT;
use super::program::Program;
use crate::pool::UPSTREAM;
use crate::tools;

/// The port of its admin API.
const ADMIN_PORT: u16 = 9901;

/// The time limit for its whole admin page.
const PATIENCE: Duration = Duration::from_secs(20);

/// The file's name.
const FILE: &str = "endpoints.json";

/// The prefix of types in Envoy's settings.
const TYPES: &str = "type.googleapis.com/envoy";

/// A running Envoy.
#[derive(Debug)]
pub struct Envoy {
    program: Program,
    /// The folder that it watches.
    watched: PathBuf,
    nodes: Vec<SocketAddr>,
    /// Below this percentage of healthy nodes it sends requests to all; a change takes effect after the next start.
    pub panic_threshold: u8,
    /// The name of its cluster; a change takes effect after [`Envoy::renew`] and [`Envoy::restart`].
    pub cluster: String,
}

impl Envoy {
    /// Starts an Envoy and returns when it answers. The file is in a new folder below `folder`.
    pub(crate) fn start(program: Program, folder: &Path, nodes: &[SocketAddr]) -> Result<Self> {
        let watched = folder.join(program.name());
        fs::create_dir(&watched)?;
        let (nodes, cluster) = (nodes.to_vec(), UPSTREAM.to_owned());
        let mut envoy = Self { program, watched, nodes, panic_threshold: 0, cluster };
        envoy.renew()?;
        envoy.restart()?;
        Ok(envoy)
    }

    /// Writes the initial file with the endpoints, with every node in.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn renew(&self) -> Result<()> {
        self.write(self.endpoints().to_string().as_bytes())
    }

    /// Writes any bytes into the file with the endpoints.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write(&self, bytes: &[u8]) -> Result<()> {
        Ok(fs::write(self.watched.join(FILE), bytes)?)
    }

    /// Kills it and starts it again; the file is kept.
    ///
    /// # Errors
    ///
    /// When it does not start again.
    pub fn restart(&mut self) -> Result<()> {
        let settings = self.program.directory().join("envoy.json");
        fs::write(&settings, self.settings().to_string())?;
        let argv: [OsString; 6] = [
            tools::fetched("envoy")?.into(),
            "--use-dynamic-base-id".into(),
            "--concurrency".into(),
            "2".into(),
            "-c".into(),
            settings.into(),
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

    /// Returns whether it sends no requests to a node.
    ///
    /// # Errors
    ///
    /// When it does not answer, or does not list the node.
    pub fn drains(&self, node: SocketAddr) -> Result<bool> {
        // Its admin page does not support the lab's HTTP/1.0.
        let mut page = TcpStream::connect(self.program.socket(ADMIN_PORT))?;
        page.set_read_timeout(Some(PATIENCE))?;
        write!(page, "GET /clusters HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n")?;
        let mut clusters = String::new();
        page.read_to_string(&mut clusters)?;
        let flags = format!("{}::{node}::health_flags::", self.cluster);
        let line = clusters.lines().find(|line| line.starts_with(&flags));
        Ok(line.with_context(|| format!("no {node} in:\n{clusters}"))?.contains("draining"))
    }

    /// Returns the current content of the file with the endpoints.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn says(&self) -> Result<String> {
        let path = self.watched.join(FILE);
        fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))
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

    /// Returns the URL of its admin page.
    #[must_use]
    pub fn admin_url(&self) -> String {
        format!("http://{}", self.program.socket(ADMIN_PORT))
    }

    /// Returns the path of the file with the endpoints on the first node.
    #[must_use]
    pub fn file(&self) -> String {
        format!("/run/node/{}/{FILE}", self.name())
    }

    fn endpoints(&self) -> Value {
        let endpoints = self.nodes.iter();
        let endpoints = endpoints.map(|node| json!({ "endpoint": { "address": socket(*node) } }));
        let endpoints: Vec<_> = endpoints.collect();
        let assignment = json!({
            "@type": format!("{TYPES}.config.endpoint.v3.ClusterLoadAssignment"),
            "cluster_name": self.cluster,
            "endpoints": [{ "lb_endpoints": endpoints }],
        });
        json!({ "resources": [assignment] })
    }

    fn settings(&self) -> Value {
        let everything =
            json!([{ "match": { "prefix": "/" }, "route": { "cluster": self.cluster } }]);
        let router = json!({
            "name": "envoy.filters.http.router",
            "typed_config": { "@type": format!("{TYPES}.extensions.filters.http.router.v3.Router") },
        });
        let manager = json!({
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": format!(
                    "{TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
                ),
                "stat_prefix": "web",
                "route_config": {
                    "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": everything }],
                },
                // For the lab's own requests.
                "http_protocol_options": { "accept_http_10": true },
                "http_filters": [router],
            },
        });
        let source = json!({
            "path": self.watched.join(FILE), "watched_directory": { "path": self.watched },
        });
        json!({
            "node": { "id": self.name(), "cluster": "lab" },
            "admin": { "address": socket(self.program.socket(ADMIN_PORT)) },
            "static_resources": {
                "listeners": [{
                    "name": "web",
                    "address": socket(self.program.socket(PORT)),
                    "filter_chains": [{ "filters": [manager] }],
                }],
                "clusters": [{
                    "name": self.cluster,
                    "type": "EDS",
                    "eds_cluster_config": { "eds_config": { "path_config_source": source } },
                    "common_lb_config": { "healthy_panic_threshold": { "value": self.panic_threshold } },
                }],
            },
        })
    }
}

fn socket(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip(), "port_value": address.port() } })
}
