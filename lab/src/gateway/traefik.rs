//! Traefik in front of the nodes, with servers from a file of the first node's folder, or from Consul's catalog.
//!
//! So the file can be written locally, and through that node's sshd. It retries nothing: a request that it loses is
//! lost for the client.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::config::PORT;
use super::program::Program;
use crate::pool::UPSTREAM;
use crate::tools;

/// The port of its API.
const API_PORT: u16 = 8080;

/// The file's name.
const FILE: &str = "app.yml";

/// A running Traefik.
#[derive(Debug)]
pub struct Traefik {
    program: Program,
    /// The folder with the file.
    watched: PathBuf,
    nodes: Vec<SocketAddr>,
    /// The name of the service in its file; a change takes effect after [`Traefik::renew`].
    pub service: String,
    catalog: Option<String>,
}

impl Traefik {
    /// Starts a Traefik and returns when it answers. With a `catalog`, the address of a Consul, it follows that;
    /// otherwise its file is in a new folder below `folder`.
    pub(crate) fn start(
        program: Program,
        folder: &Path,
        (nodes, catalog): (&[SocketAddr], Option<String>),
    ) -> Result<Self> {
        let watched = folder.join(program.name());
        fs::create_dir(&watched)?;
        let (nodes, service) = (nodes.to_vec(), UPSTREAM.to_owned());
        let mut traefik = Self { program, watched, nodes, service, catalog };
        traefik.renew()?;
        traefik.restart()?;
        Ok(traefik)
    }

    /// Kills it and starts it again; the file is kept.
    ///
    /// # Errors
    ///
    /// When it does not start again.
    pub fn restart(&mut self) -> Result<()> {
        let settings = self.program.directory().join("traefik.yml");
        fs::write(&settings, self.settings().to_string())?;
        let mut file = OsString::from("--configfile=");
        file.push(settings);
        self.program.start(&[tools::fetched("traefik")?.into(), file], Program::serves)
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

    /// Writes the initial file with the servers, with every node in.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn renew(&self) -> Result<()> {
        self.write(servers(&self.service, &self.nodes).to_string().as_bytes())
    }

    /// Writes any bytes into the file with the servers.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write(&self, bytes: &[u8]) -> Result<()> {
        Ok(fs::write(self.watched.join(FILE), bytes)?)
    }

    /// Returns the current content of the file with the servers.
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

    /// Returns the URL of its API.
    #[must_use]
    pub fn api_url(&self) -> String {
        format!("http://{}", self.program.socket(API_PORT))
    }

    /// Returns the path of the file with the servers on the first node, if it has one.
    #[must_use]
    pub fn file(&self) -> Option<String> {
        self.catalog.is_none().then(|| format!("/run/node/{}/{FILE}", self.name()))
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
                "web": { "address": self.program.socket(PORT) },
                "traefik": { "address": self.program.socket(API_PORT) },
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
