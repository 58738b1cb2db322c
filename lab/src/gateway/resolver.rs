//! A newer nginx than Debian's, that asks Consul's DNS for its servers: for HTTP, and for any TCP.
//!
//! It shows nothing of what it knows. It tries nothing twice: what it loses, a client loses.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;

use anyhow::Result;

use super::config::PORT;
use super::program::Program;
use crate::http;
use crate::pool::UPSTREAM;
use crate::tools;

/// Where clients reach it without its looking into what passes.
const STREAM_PORT: u16 = 8001;

/// So many requests in a row reach each server that it knows.
const ROUND: usize = 12;

/// A running nginx that resolves.
#[derive(Debug)]
pub struct Resolver {
    program: Program,
    dns: SocketAddr,
}

impl Resolver {
    /// Starts one that asks there, and returns when it has found a server.
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
        self.program.name()
    }

    /// Returns the URL of a path behind it; an empty path gives its base.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        self.program.url(path)
    }

    /// Returns the URL of the service behind the port at which it looks into nothing that passes.
    #[must_use]
    pub fn stream_url(&self) -> String {
        format!("http://{}", self.program.socket(STREAM_PORT))
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
