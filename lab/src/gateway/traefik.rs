//! Traefik in front of the nodes, whose servers are in a file of the first node's folder, or in Consul's catalog.
//!
//! So the file can be written here, and through that node's sshd. It tries nothing twice: what it loses, a client loses.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
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
const API_PORT: u16 = 8080;

/// How long it may take to answer.
const START: Duration = Duration::from_secs(20);

/// The file's name.
const FILE: &str = "app.yml";

/// A running Traefik.
#[derive(Debug)]
pub struct Traefik {
    nursery: Nursery,
    name: String,
    ip: Ipv4Addr,
    directory: PathBuf,
    /// The folder with the file.
    watched: PathBuf,
    nodes: Vec<SocketAddr>,
    /// The name of the service in its file; a change is in effect after [`Traefik::renew`].
    pub service: String,
    catalog: Option<String>,
    process: Option<Contained>,
}

impl Traefik {
    /// Prepares a Traefik; [`Traefik::start`] starts it. With a `catalog`, the address of a Consul, it follows that;
    /// otherwise its file comes to lie in a folder of `folder`.
    pub(crate) fn prepare(
        nursery: &Nursery,
        (lab, folder): (&Path, &Path),
        name: String,
        ip: Ipv4Addr,
        (nodes, catalog): (&[SocketAddr], Option<String>),
    ) -> Result<Self> {
        let (directory, watched) = (lab.join(&name), folder.join(&name));
        fs::create_dir(&directory)?;
        fs::create_dir(&watched)?;
        let (nursery, nodes, service) = (nursery.clone(), nodes.to_vec(), UPSTREAM.to_owned());
        let process = None;
        let traefik =
            Self { nursery, name, ip, directory, watched, nodes, service, catalog, process };
        traefik.renew()?;
        fs::write(traefik.directory.join("traefik.yml"), traefik.settings().to_string())?;
        Ok(traefik)
    }

    /// Starts a Traefik that is not running, and returns when it answers.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn start(&mut self) -> Result<()> {
        let mut file = OsString::from("--configfile=");
        file.push(self.directory.join("traefik.yml"));
        let argv: Vec<OsString> = vec![tools::fetched("traefik")?.into(), file];
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

    /// Writes the file with the servers as it was at first, with every node in.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn renew(&self) -> Result<()> {
        self.write(servers(&self.service, &self.nodes).to_string().as_bytes())
    }

    /// Writes anything into the file with the servers.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write(&self, bytes: &[u8]) -> Result<()> {
        Ok(fs::write(self.watched.join(FILE), bytes)?)
    }

    /// Returns what the file with the servers says now.
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

    /// Returns the URL of its API.
    #[must_use]
    pub fn api_url(&self) -> String {
        format!("http://{}:{API_PORT}", self.ip)
    }

    /// Returns where the file with the servers is for the first node, if it has one.
    #[must_use]
    pub fn file(&self) -> Option<String> {
        self.catalog.is_none().then(|| format!("/run/node/{}/{FILE}", self.name))
    }

    fn settings(&self) -> Value {
        let provider = match &self.catalog {
            None => json!({ "file": { "filename": self.watched.join(FILE), "watch": true } }),
            Some(consul) => json!({ "consulCatalog": {
                "endpoint": { "address": consul },
                "watch": true,
                "exposedByDefault": false,
                "defaultRule": "PathPrefix(`/`)",
            } }),
        };
        let mut settings = json!({
            "global": { "checkNewVersion": false, "sendAnonymousUsage": false },
            "api": { "insecure": true },
            "entryPoints": {
                "web": { "address": format!("{}:{PORT}", self.ip) },
                "traefik": { "address": format!("{}:{API_PORT}", self.ip) },
            },
            "providers": provider,
        });
        settings["providers"]["providersThrottleDuration"] = "100ms".into();
        settings
    }
}

fn servers(service: &str, nodes: &[SocketAddr]) -> Value {
    let servers = nodes.iter().map(|node| json!({ "url": format!("http://{node}") }));
    let balancer = json!({ "servers": servers.collect::<Vec<_>>() });
    let everything =
        json!({ "rule": "PathPrefix(`/`)", "service": service, "entryPoints": ["web"] });
    json!({ "http": {
        "routers": { UPSTREAM: everything },
        "services": { service: { "loadBalancer": balancer } },
    } })
}
