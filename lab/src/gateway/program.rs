//! A gateway that is one program with a folder and an address of its own.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::config::PORT;
use crate::http;
use crate::process::{Contained, Nursery};
use crate::wait::until;

/// How long it may take to answer.
const START: Duration = Duration::from_secs(20);

/// The program, running or not.
#[derive(Debug)]
pub(crate) struct Program {
    nursery: Nursery,
    name: String,
    ip: Ipv4Addr,
    directory: PathBuf,
    process: Option<Contained>,
}

impl Program {
    /// Makes its folder; [`Program::start`] starts it.
    pub(crate) fn new(nursery: &Nursery, lab: &Path, name: String, ip: Ipv4Addr) -> Result<Self> {
        let directory = lab.join(&name);
        fs::create_dir(&directory)?;
        Ok(Self { nursery: nursery.clone(), name, ip, directory, process: None })
    }

    /// Starts or restarts it, and returns when it `answers`.
    pub(super) fn start(
        &mut self,
        argv: &[OsString],
        answers: impl Fn(&Self) -> bool,
    ) -> Result<()> {
        self.stop();
        let log = self.directory.join("log");
        let mut process = Contained::start(&self.nursery, &self.name, &log, &[], argv)?;
        until(&format!("{} to answer", self.name), START, || {
            process.require_running()?;
            Ok(answers(self).then_some(()))
        })?;
        self.process = Some(process);
        Ok(())
    }

    /// Returns whether a node answers through it.
    pub(super) fn serves(&self) -> bool {
        self.serves_at(PORT)
    }

    /// Returns whether a node answers through one of its ports.
    pub(super) fn serves_at(&self, port: u16) -> bool {
        let url = format!("http://{}/ping", self.socket(port));
        http::get(&url).is_ok_and(|reply| reply.status == 200)
    }

    /// Kills it, with every connection it has.
    pub(super) fn stop(&mut self) {
        self.process = None;
    }

    /// Returns its process, or an error when it is off.
    pub(super) fn running(&self) -> Result<&Contained> {
        self.process.as_ref().with_context(|| format!("{} is off", self.name))
    }

    /// Freezes it, or lets it continue: connections are accepted, and no answer comes.
    pub(super) fn freeze(&self, still: bool) -> Result<()> {
        self.running()?.freeze(still)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the folder that holds its settings and its log.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns its own address.
    pub(super) fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    /// Returns a port of its own address.
    pub(super) fn socket(&self, port: u16) -> SocketAddr {
        (self.ip, port).into()
    }

    /// Returns the URL of a path behind it; an empty path gives its base.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.socket(PORT))
    }
}
