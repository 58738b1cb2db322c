//! A newer nginx than Debian's, that asks Consul's DNS for its servers: for HTTP, and for any TCP.
//!
//! It shows nothing of what it knows. It tries nothing twice: what it loses, a client loses.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use crate::gateway::UPSTREAM;
use crate::http;
use crate::process::{Contained, Nursery};
use crate::tools;
use crate::wait::until;

/// Where clients reach it.
const PORT: u16 = 8000;
const STREAM_PORT: u16 = 8001;

/// How long it may take to answer.
const START: Duration = Duration::from_secs(10);

/// So many requests in a row reach each server that it knows.
const ROUND: usize = 12;

/// A running nginx that resolves.
#[derive(Debug)]
pub struct Resolver {
    name: String,
    ip: Ipv4Addr,
    dns: SocketAddr,
    nursery: Nursery,
    directory: PathBuf,
    process: Option<Contained>,
}

impl Resolver {
    /// Starts one that asks there, and returns when it has found a server.
    pub(crate) fn start(
        nursery: &Nursery,
        lab: &Path,
        name: String,
        ip: Ipv4Addr,
        dns: SocketAddr,
    ) -> Result<Self> {
        let directory = lab.join(&name);
        fs::create_dir(&directory)?;
        let settings = include_str!("resolver.conf")
            .replace("@DNS@", &dns.to_string())
            .replace("@SERVICE@", UPSTREAM)
            .replace("@IP@", &ip.to_string())
            .replace("@PORT@", &PORT.to_string())
            .replace("@STREAM_PORT@", &STREAM_PORT.to_string());
        fs::write(directory.join("nginx.conf"), settings)?;
        let nursery = nursery.clone();
        let mut resolver = Self { name, ip, dns, nursery, directory, process: None };
        resolver.restart()?;
        Ok(resolver)
    }

    /// Kills it, if it is running, starts it again, and returns when it has found a server.
    ///
    /// # Errors
    ///
    /// When it does not start, or finds none.
    pub fn restart(&mut self) -> Result<()> {
        self.process = None;
        let argv: [OsString; 7] = [
            tools::fetched("nginx-resolve")?.into(),
            "-p".into(),
            self.directory.clone().into(),
            "-e".into(),
            "error.log".into(),
            "-c".into(),
            "nginx.conf".into(),
        ];
        let log = self.directory.join("console.log");
        let mut process = Contained::start(&self.nursery, &self.name, &log, &[], &argv)?;
        for url in [self.url("/ping"), format!("{}/ping", self.stream_url())] {
            until(&format!("{url} to answer"), START, || {
                process.require_running()?;
                Ok(http::get(&url).ok().filter(|reply| reply.status == 200))
            })?;
        }
        self.process = Some(process);
        Ok(())
    }

    /// Returns whether it sends requests to a node now: all its workers know the same servers, and take turns.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub fn routes_to(&self, node: SocketAddr) -> Result<bool> {
        for _ in 0..ROUND {
            let reply = http::get(&self.url("/ping"))?;
            if reply.header("X-Upstream") == Some(&node.to_string()) {
                return Ok(true);
            }
        }
        Ok(false)
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

    /// Returns the URL of the service behind the port at which it looks into nothing that passes.
    #[must_use]
    pub fn stream_url(&self) -> String {
        format!("http://{}:{STREAM_PORT}", self.ip)
    }

    /// Returns where it asks.
    #[must_use]
    pub fn dns(&self) -> SocketAddr {
        self.dns
    }

    /// Returns the name of the records that tell what it knows.
    #[must_use]
    pub fn record(&self) -> String {
        format!("{UPSTREAM}.service.consul")
    }
}
