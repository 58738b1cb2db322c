//! Gateways: Debian's nginx with Lua, which follows Consul KV as nginx-upsync does.
//!
//! Every worker follows on its own and sleeps after every answer, so workers lag and disagree right after a write; see
//! `lua/follow.lua`. `lua/peers.lua` records every change of a worker's routes for the auditor.

mod caddy;
mod config;
mod envoy;
mod files;
mod haproxy;
mod program;
mod rendered;
mod resolver;
mod traefik;
pub(crate) mod views;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

pub use caddy::Caddy;
use config::PORT;
pub use config::{ActiveCheck, Follow, GatewayConfig, Include, Source};
pub use envoy::Envoy;
use files::Files;
pub use haproxy::{Haproxy, HaproxyConfig, Reach, Servers};
pub(crate) use program::Program;
pub use rendered::{Rendered, Renderer};
pub use resolver::Resolver;
pub use traefik::Traefik;

use crate::clock::now_ms;
use crate::http;
use crate::process::{Contained, Nursery, children, halt};
use crate::tools;
use crate::wait::until;

/// How long nginx may take to listen, or to replace its workers.
const START: Duration = Duration::from_secs(10);

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    nursery: Nursery,
    name: String,
    address: SocketAddrV4,
    directory: PathBuf,
    config: GatewayConfig,
    process: Option<Contained>,
}

impl Gateway {
    /// Writes the gateway's files; [`Gateway::start`] starts it.
    pub(crate) fn prepare(
        nursery: &Nursery,
        lab: &Path,
        name: String,
        ip: Ipv4Addr,
        config: GatewayConfig,
        (consul, nodes): (&[String], &[SocketAddr]),
    ) -> Result<Self> {
        let directory = lab.join(&name);
        let address = SocketAddrV4::new(ip, PORT);
        let files =
            Files { directory: &directory, listen: address.into(), config: &config, consul, nodes };
        files.write().with_context(|| format!("could not write the files of {name}"))?;
        Ok(Self { nursery: nursery.clone(), name, address, directory, config, process: None })
    }

    /// Starts a gateway that is not running, and returns when it answers.
    ///
    /// # Errors
    ///
    /// When nginx does not start.
    pub fn start(&mut self) -> Result<()> {
        self.note("start")?;
        let argv: Vec<OsString> = vec![
            tools::find("nginx")?.into(),
            "-p".into(),
            self.directory.clone().into(),
            "-e".into(),
            "error.log".into(),
            "-c".into(),
            "nginx.conf".into(),
        ];
        let log = self.directory.join("console.log");
        let mut process = Contained::start(&self.nursery, &self.name, &log, &[], &argv)?;
        until(&format!("{} to answer", self.name), START, || {
            process.require_running()?;
            Ok(http::get(&self.peers_url()).ok())
        })?;
        self.process = Some(process);
        Ok(())
    }

    /// Kills the gateway, with every connection it has.
    ///
    /// # Errors
    ///
    /// When that cannot be recorded for the auditor.
    pub fn stop(&mut self) -> Result<()> {
        self.process = None;
        self.note("stop")
    }

    /// Kills the gateway and starts it again.
    ///
    /// # Errors
    ///
    /// When nginx does not start again.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.start()
    }

    /// Reloads the configuration, as `nginx -s reload` does, and returns when only new workers accept requests. nginx
    /// lets old and new workers accept them for a tenth of a second.
    ///
    /// # Errors
    ///
    /// When the gateway is not running, or its workers do not change.
    pub fn reload(&self) -> Result<()> {
        let process = self.running()?;
        let old: Vec<u64> =
            children(process.pid()).into_iter().map(pid_inside).collect::<Result<_>>()?;
        process.signal(Signal::HUP)?;
        until(&format!("the old workers of {} to leave", self.name), START, || {
            let left = self.left_workers()?;
            Ok(old.iter().all(|worker| left.contains(worker)).then_some(()))
        })
    }

    /// Returns the workers that have recorded their end.
    fn left_workers(&self) -> Result<Vec<u64>> {
        let views = fs::read_to_string(self.views_file()).context("could not read views.log")?;
        let lines = views.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        Ok(lines
            .filter(|line| line["event"] == "exit")
            .filter_map(|line| line["worker"].as_u64())
            .collect())
    }

    /// Kills one worker, as a crash would; nginx starts a new one.
    ///
    /// # Errors
    ///
    /// When the gateway is not running, or no other worker appears.
    pub fn kill_worker(&self) -> Result<()> {
        let process = self.running()?;
        let before = children(process.pid());
        let victim = *before.last().with_context(|| format!("{} has no worker", self.name))?;
        let inside = pid_inside(victim)?;
        kill_process(victim, Signal::KILL).context("could not kill a worker")?;
        self.append(&json!({ "t": now_ms(), "worker": inside, "event": "exit" }))?;
        until(&format!("another worker of {}", self.name), START, || {
            let now = children(process.pid());
            Ok(now.iter().any(|worker| !before.contains(worker)).then_some(()))
        })
    }

    /// Freezes every process of the gateway, or lets it continue: connections are accepted, and no answer comes.
    ///
    /// # Errors
    ///
    /// When the gateway is not running.
    pub fn freeze(&self, still: bool) -> Result<()> {
        self.running()?.freeze(still)
    }

    /// Freezes one worker: it follows nothing and answers nothing.
    ///
    /// # Errors
    ///
    /// When the gateway is not running, or has no worker.
    pub fn freeze_worker(&self) -> Result<()> {
        let workers = children(self.running()?.pid());
        let worker = *workers.last().with_context(|| format!("{} has no worker", self.name))?;
        halt(worker)
    }

    /// Renames its upstream; this takes effect after the next start.
    ///
    /// # Errors
    ///
    /// When its settings cannot be written.
    pub fn rename_upstream(&self, name: &str) -> Result<()> {
        let path = self.directory.join("settings.json");
        let mut settings: Value = serde_json::from_slice(&fs::read(&path)?)?;
        settings["upstream"] = name.into();
        Ok(fs::write(&path, settings.to_string())?)
    }

    /// Returns whether the gateway was started and not stopped.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    fn running(&self) -> Result<&Contained> {
        self.process.as_ref().with_context(|| format!("{} is not running", self.name))
    }

    /// Returns the gateway's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the gateway's configuration.
    #[must_use]
    pub fn config(&self) -> &GatewayConfig {
        &self.config
    }

    /// Returns the URL of a path behind the gateway; an empty path gives its base.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns the gateway's own address.
    #[must_use]
    pub fn ip(&self) -> Ipv4Addr {
        self.socket().0
    }

    /// Returns the gateway's socket.
    pub(crate) fn socket(&self) -> (Ipv4Addr, u16) {
        (*self.address.ip(), self.address.port())
    }

    /// Returns the URL of upsync's list.
    #[must_use]
    pub fn status_url(&self) -> String {
        self.url("/upstream_list?app")
    }

    /// Returns the URL of the active check's JSON.
    #[must_use]
    pub fn check_url(&self) -> String {
        self.url("/upstream_status?format=json")
    }

    /// Returns the URL of the JSON table of peers.
    #[must_use]
    pub fn peers_url(&self) -> String {
        self.url("/peers")
    }

    /// Returns how many workers route to an address now.
    ///
    /// # Errors
    ///
    /// When their records cannot be read.
    pub fn workers_routing_to(&self, address: &str) -> Result<usize> {
        views::routing(&self.views_file(), address)
    }

    /// Returns the file in which workers record their routes.
    pub(crate) fn views_file(&self) -> PathBuf {
        views::file(&self.directory)
    }

    fn note(&self, event: &str) -> Result<()> {
        self.append(&json!({ "t": now_ms(), "event": event }))
    }

    fn append(&self, line: &Value) -> Result<()> {
        let path = self.views_file();
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("could not open {}", path.display()))?;
        file.write_all(format!("{line}\n").as_bytes())?;
        Ok(())
    }
}

/// Returns the process id that a process has in its own namespace.
fn pid_inside(pid: Pid) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))
        .and_then(|pids| pids.split_whitespace().last())
        .and_then(|pid| pid.parse().ok())
        .with_context(|| format!("process {pid} has no id in its namespace"))
}
