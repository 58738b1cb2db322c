//! Consul: one real server, or three with a leader that can be killed.

mod access;
mod agents;
mod checks;
mod settings;
mod token;

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::authority::Authority;
use crate::home::Home;
use crate::http::{Reply, request_as};
use crate::part_kind;
use crate::process::{Contained, Nursery};
use crate::tools;
use crate::wait::until;

pub use access::Access;
pub use agents::Agent;
pub use checks::Check;
pub(crate) use settings::DNS_PORT;
use settings::{PORT, SETTINGS};

/// How long an election, or a lone server's start, may take.
const ELECTION: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Server {
    name: String,
    address: Ipv4Addr,
    directory: PathBuf,
    /// The settings of its access mode.
    settings: String,
    process: Option<Contained>,
}

/// The lab's Consul servers.
#[derive(Debug)]
pub struct Consul {
    nursery: Nursery,
    servers: Vec<Server>,
    access: Access,
    authority: Option<Authority>,
}

impl Consul {
    /// Starts the servers; [`Consul::wait_for_leader`] waits until they can be used.
    pub(crate) fn start_all(
        nursery: &Nursery,
        home: &Home,
        servers: u8,
        access: Access,
    ) -> Result<Self> {
        ensure!((1..=3).contains(&servers), "the lab has one to three Consul servers");
        let authority = (access == Access::Tls)
            .then(|| Authority::create(&home.directory().join("authority")))
            .transpose()?;
        let servers = part_kind::CONSUL.start_all(home, 0..servers, |name, address, _| {
            let directory = home.directory().join(&name);
            std::fs::create_dir(&directory)?;
            let settings = access.settings(address, &directory, authority.as_ref())?;
            Ok(Server { name, address, directory, settings, process: None })
        })?;
        let mut consul = Self { nursery: nursery.clone(), servers, access, authority };
        for index in 0..consul.servers.len() {
            consul.start(index)?;
        }
        Ok(consul)
    }

    /// Starts a server that is not running; its data is kept.
    ///
    /// # Errors
    ///
    /// When the process cannot be started.
    pub fn start(&mut self, index: usize) -> Result<()> {
        let expected = self.servers.len();
        let others: Vec<String> = self
            .servers
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != index)
            .map(|(_, server)| format!("-retry-join={}", server.address))
            .collect();
        let server = self.servers.get_mut(index).context("no such Consul server")?;
        let mut argv: Vec<OsString> = vec![tools::find("consul")?.into()];
        let directory = server.directory.join("data");
        let options = [
            "agent".to_owned(),
            "-server".to_owned(),
            format!("-bootstrap-expect={expected}"),
            format!("-node={}", server.name),
            format!("-bind={}", server.address),
            format!("-client={}", server.address),
            format!("-data-dir={}", directory.display()),
            "-retry-interval=250ms".to_owned(),
            "-log-level=warn".to_owned(),
            format!("-hcl={SETTINGS}"),
            format!("-hcl={}", server.settings),
        ];
        argv.extend(options.into_iter().chain(others).map(OsString::from));
        let log = server.directory.join("log");
        server.process = Some(Contained::start(&self.nursery, &server.name, &log, &[], &argv)?);
        Ok(())
    }

    /// Kills a server; its data is kept.
    pub fn stop(&mut self, index: usize) {
        if let Some(server) = self.servers.get_mut(index) {
            server.process = None;
        }
    }

    /// Freezes a server, or lets it continue.
    ///
    /// # Errors
    ///
    /// When it is not running.
    pub fn freeze(&self, index: usize, still: bool) -> Result<()> {
        let server = self.servers.get(index).context("no such Consul server")?;
        let process = server.process.as_ref();
        process.with_context(|| format!("{} is off", server.name))?.freeze(still)
    }

    /// Returns whether a server was started and not stopped.
    #[must_use]
    pub fn is_running(&self, index: usize) -> bool {
        self.servers.get(index).is_some_and(|server| server.process.is_some())
    }

    /// Kills the leader and returns its index; an election follows where servers are left.
    ///
    /// # Errors
    ///
    /// When there is no leader to kill.
    pub fn kill_leader(&mut self) -> Result<usize> {
        let leader = self.leader()?.context("there is no Consul leader to kill")?;
        self.stop(leader);
        Ok(leader)
    }

    /// Returns the index of the leading server, as far as the running ones know.
    ///
    /// # Errors
    ///
    /// When no server is running.
    pub fn leader(&self) -> Result<Option<usize>> {
        let reply = self.ask("GET", "v1/status/leader", "")?;
        let address = reply.body.trim().trim_matches('"').split(':').next().unwrap_or_default();
        Ok(self.servers.iter().position(|server| server.address.to_string() == address))
    }

    /// Returns once the servers agree on a leader that answers consistent reads.
    ///
    /// # Errors
    ///
    /// When a server that should run has ended, or the election takes too long.
    pub fn wait_for_leader(&mut self) -> Result<()> {
        until("a Consul leader", ELECTION, || {
            for server in &mut self.servers {
                if let Some(process) = &mut server.process {
                    process.require_running()?;
                }
            }
            let reply = self.ask("GET", "v1/kv/any?consistent", "");
            Ok(reply.is_ok_and(|reply| [200, 404].contains(&reply.status)).then_some(()))
        })
    }

    /// Writes a key.
    ///
    /// # Errors
    ///
    /// When no server accepts it within the time of an election.
    pub fn put(&self, key: &str, value: &str) -> Result<()> {
        self.insist("PUT", &format!("v1/kv/{key}"), value).map(|_| ())
    }

    /// Reads a key.
    ///
    /// # Errors
    ///
    /// When no server answers within the time of an election.
    pub fn get(&self, key: &str) -> Result<Option<String>> {
        let reply = self.insist("GET", &format!("v1/kv/{key}?raw"), "")?;
        Ok((reply.status == 200).then_some(reply.body))
    }

    /// Lists the keys below a prefix.
    ///
    /// # Errors
    ///
    /// When no server answers within the time of an election.
    pub fn keys(&self, prefix: &str) -> Result<Vec<String>> {
        let reply = self.insist("GET", &format!("v1/kv/{prefix}?keys"), "")?;
        if reply.status == 404 { Ok(Vec::new()) } else { Ok(serde_json::from_str(&reply.body)?) }
    }

    /// Deletes a key.
    ///
    /// # Errors
    ///
    /// When no server does it within the time of an election.
    pub fn delete(&self, key: &str) -> Result<()> {
        self.insist("DELETE", &format!("v1/kv/{key}"), "").map(|_| ())
    }

    /// Returns every server's `http://ip:port`, running or not.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.servers.iter().map(|server| format!("http://{}:{PORT}", server.address)).collect()
    }

    /// Returns every server's own address, running or not.
    #[must_use]
    pub fn ips(&self) -> Vec<Ipv4Addr> {
        self.servers.iter().map(|server| server.address).collect()
    }

    /// Returns the socket of every server.
    pub(crate) fn sockets(&self) -> Vec<(Ipv4Addr, u16)> {
        self.servers.iter().map(|server| (server.address, PORT)).collect()
    }

    /// Sends a request to any part of the API, with all rights.
    ///
    /// # Errors
    ///
    /// When no server answers within the time of an election.
    pub fn insist(&self, method: &str, path: &str, body: &str) -> Result<Reply> {
        until(&format!("Consul to answer {method} {path}"), ELECTION, || {
            let reply = self.ask(method, path, body).ok();
            Ok(reply.filter(|reply| reply.status < 500))
        })
    }

    /// Sends a request to the first running server that answers.
    fn ask(&self, method: &str, path: &str, body: &str) -> Result<Reply> {
        let mut last = None;
        for server in self.servers.iter().filter(|server| server.process.is_some()) {
            let url = format!("http://{}:{PORT}/{path}", server.address);
            match request_as(self.access.token(), method, &url, body) {
                Ok(reply) => return Ok(reply),
                Err(error) => last = Some(error),
            }
        }
        match last {
            Some(error) => Err(error),
            None => bail!("no Consul server is running"),
        }
    }
}
