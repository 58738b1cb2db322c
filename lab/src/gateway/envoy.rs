//! Envoy in front of the nodes, with their endpoints in a file of the first node's folder.
//!
//! So the file can be written here, and through that node's sshd. It tries nothing twice: what it loses, a client loses.

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::gateway::UPSTREAM;
use crate::http;
use crate::process::{Contained, Nursery};
use crate::tools;
use crate::wait::until;

/// Where clients and rollgate reach it.
const PORT: u16 = 8000;
const ADMIN_PORT: u16 = 9901;

/// How long it may take to answer.
const START: Duration = Duration::from_secs(20);

/// The file's name.
const FILE: &str = "endpoints.json";

/// What Envoy calls the types of its settings.
const TYPES: &str = "type.googleapis.com/envoy";

/// A running Envoy.
#[derive(Debug)]
pub struct Envoy {
    nursery: Nursery,
    name: String,
    ip: Ipv4Addr,
    directory: PathBuf,
    /// The folder that it watches.
    watched: PathBuf,
    nodes: Vec<SocketAddr>,
    /// Below so many percent of healthy nodes it sends requests to all; a change is in effect when it is started again.
    pub panic_threshold: u8,
    /// The name of its cluster; a change is in effect after [`Envoy::renew`] and a start.
    pub cluster: String,
    process: Option<Contained>,
}

impl Envoy {
    /// Prepares an Envoy; [`Envoy::start`] starts it. The file comes to lie in a folder of `folder`.
    pub(crate) fn prepare(
        nursery: &Nursery,
        (lab, folder): (&Path, &Path),
        name: String,
        ip: Ipv4Addr,
        nodes: &[SocketAddr],
    ) -> Result<Self> {
        let (directory, watched) = (lab.join(&name), folder.join(&name));
        fs::create_dir(&directory)?;
        fs::create_dir(&watched)?;
        let (nursery, nodes, cluster) = (nursery.clone(), nodes.to_vec(), UPSTREAM.to_owned());
        let envoy = Self {
            nursery,
            name,
            ip,
            directory,
            watched,
            nodes,
            panic_threshold: 0,
            cluster,
            process: None,
        };
        envoy.renew()?;
        Ok(envoy)
    }

    /// Writes the file with the endpoints as it was at first, with every node in.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn renew(&self) -> Result<()> {
        self.write(self.endpoints().to_string().as_bytes())
    }

    /// Writes anything into the file with the endpoints.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write(&self, bytes: &[u8]) -> Result<()> {
        Ok(fs::write(self.watched.join(FILE), bytes)?)
    }

    /// Starts an Envoy that is not running, and returns when it answers.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn start(&mut self) -> Result<()> {
        let settings = self.directory.join("envoy.json");
        fs::write(&settings, self.settings().to_string())?;
        let argv: Vec<OsString> = vec![
            tools::fetched("envoy")?.into(),
            "--use-dynamic-base-id".into(),
            "--concurrency".into(),
            "2".into(),
            "-c".into(),
            settings.into(),
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

    /// Kills it and starts it again; the file is as it was left.
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

    /// Returns whether requests are kept from a node.
    ///
    /// # Errors
    ///
    /// When nobody answers, or it does not know the node.
    pub fn drains(&self, node: SocketAddr) -> Result<bool> {
        // Its admin page does not speak the lab's HTTP/1.0.
        let mut page = TcpStream::connect((self.ip, ADMIN_PORT))?;
        page.set_read_timeout(Some(START))?;
        write!(page, "GET /clusters HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n")?;
        let mut clusters = String::new();
        page.read_to_string(&mut clusters)?;
        let flags = format!("{}::{node}::health_flags::", self.cluster);
        let line = clusters.lines().find(|line| line.starts_with(&flags));
        Ok(line.with_context(|| format!("no {node} in:\n{clusters}"))?.contains("draining"))
    }

    /// Returns what the file with the endpoints says now.
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
        &self.name
    }

    /// Returns the URL of a path behind it; an empty path gives its base.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}:{PORT}{path}", self.ip)
    }

    /// Returns the URL of its admin page.
    #[must_use]
    pub fn admin_url(&self) -> String {
        format!("http://{}:{ADMIN_PORT}", self.ip)
    }

    /// Returns where the file with the endpoints is for the first node.
    #[must_use]
    pub fn file(&self) -> String {
        format!("/run/node/{}/{FILE}", self.name)
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
                // The lab's own questions.
                "http_protocol_options": { "accept_http_10": true },
                "http_filters": [router],
            },
        });
        let source = json!({
            "path": self.watched.join(FILE), "watched_directory": { "path": self.watched },
        });
        json!({
            "node": { "id": self.name, "cluster": "lab" },
            "admin": { "address": socket((self.ip, ADMIN_PORT).into()) },
            "static_resources": {
                "listeners": [{
                    "name": "web",
                    "address": socket((self.ip, PORT).into()),
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
