//! An nginx newer than Debian's that resolves its servers by Consul's DNS: for HTTP, and for any TCP.
//!
//! It has no status page. It retries nothing: a request that it loses is lost for the client.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;

use anyhow::Result;

use super::config::PORT;
use super::program::Program;
use crate::http;
use crate::pool::UPSTREAM;
use crate::tools;

/// The port for clients of any TCP protocol.
const STREAM_PORT: u16 = 8001;

/// This many requests in a row reach every server of its list.
const ROUND: usize = 12;

/// A running nginx that resolves.
#[derive(Debug)]
pub struct Resolver {
    program: Program,
    dns: SocketAddr,
}

impl Resolver {
    /// Starts a gateway that queries this DNS server, and returns when it has found a server.
    pub(crate) fn start(program: Program, dns: SocketAddr) -> Result<Self> {
        let settings = include_str!("resolver.conf")
            .replace("@DNS@", &dns.to_string())
            .replace("@SERVICE@", UPSTREAM)
            .replace("@IP@", &program.ip().to_string())
            .replace("@PORT@", &PORT.to_string())
            .replace("@STREAM_PORT@", &STREAM_PORT.to_string());
        fs::write(program.directory().join("nginx.conf"), settings)?;
        let mut resolver = Self { program, dns };
        resolver.restart()?;
        Ok(resolver)
    }

    /// Kills it, if it is running, starts it again, and returns when it has found a server.
    ///
    /// # Errors
    ///
    /// When it does not start, or finds none.
    pub fn restart(&mut self) -> Result<()> {
        let argv: [OsString; 7] = [
            tools::fetched("nginx-resolve")?.into(),
            "-p".into(),
            self.program.directory().into(),
            "-e".into(),
            "error.log".into(),
            "-c".into(),
            "nginx.conf".into(),
        ];
        self.program.start(&argv, |nginx| nginx.serves() && nginx.serves_at(STREAM_PORT))
    }

    /// Returns whether it sends requests to a node now: all its workers have the same servers, and use them in turn.
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
        self.program.name()
    }

    /// Returns the URL of a path behind it; an empty path gives its base.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        self.program.url(path)
    }

    /// Returns the URL of the service behind the TCP port.
    #[must_use]
    pub fn stream_url(&self) -> String {
        format!("http://{}", self.program.socket(STREAM_PORT))
    }

    /// Returns its DNS server.
    #[must_use]
    pub fn dns(&self) -> SocketAddr {
        self.dns
    }

    /// Returns the name of its DNS records.
    #[must_use]
    pub fn record(&self) -> String {
        format!("{UPSTREAM}.service.consul")
    }
}
