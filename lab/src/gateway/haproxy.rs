//! Debian's HAProxy in front of the nodes, with its runtime API on a Unix socket and on TCP, and its stats page.
//!
//! The socket is in the first node's own folder, so it can be reached locally and through that node's sshd. HAProxy
//! retries nothing: a request that it loses is lost for the client.

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;

use super::config::PORT;
use super::program::Program;
use crate::pool::UPSTREAM;
use crate::tools;
use crate::wait::until;

/// The port of the runtime API and the stats page.
const RUNTIME_PORT: u16 = 9999;
const PAGE_PORT: u16 = 8404;

/// How long it may take to list its servers, or to replace its process.
const START: Duration = Duration::from_secs(10);

/// The administrative bits of a server that keep it out; other bits show the source of its address.
const OUT: u64 = 0x3b;

/// The time limit for one answer of the runtime API.
const PATIENCE: Duration = Duration::from_secs(5);

/// How rollgate reaches an HAProxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The Unix socket, through the first node's sshd.
    Socket,
    /// The runtime API over TCP.
    Tcp,
    /// The stats page.
    Page,
}

/// The source of its servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Servers {
    /// Every node is in the configuration.
    Listed,
    /// As listed, and each is checked every 200 ms.
    Checked,
    /// Slots that follow the SRV records of Consul's DNS.
    Template,
}

/// The configuration of an HAProxy.
#[derive(Clone, Debug)]
pub struct HaproxyConfig {
    /// How rollgate reaches it.
    pub reach: Reach,
    /// The source of its servers.
    pub servers: Servers,
    /// The backend's name.
    pub backend: String,
    /// The level of the Unix socket: `user`, `operator` or `admin`.
    pub level: &'static str,
}

impl HaproxyConfig {
    /// Returns an HAProxy that lists every node.
    #[must_use]
    pub fn new(reach: Reach) -> Self {
        let backend = UPSTREAM.to_owned();
        Self { reach, servers: Servers::Listed, backend, level: "admin" }
    }
}

/// A running HAProxy.
#[derive(Debug)]
pub struct Haproxy {
    program: Program,
    socket: PathBuf,
    /// Its configuration; a change takes effect after the next start.
    pub config: HaproxyConfig,
    nodes: Vec<SocketAddr>,
    dns: Vec<SocketAddr>,
}

impl Haproxy {
    /// Starts an HAProxy and returns when it answers. The socket is in `folder`.
    pub(crate) fn start(
        program: Program,
        folder: &Path,
        config: HaproxyConfig,
        (nodes, dns): (Vec<SocketAddr>, Vec<SocketAddr>),
    ) -> Result<Self> {
        let socket = folder.join(format!("{}.sock", program.name()));
        let servers = nodes.len();
        let mut haproxy = Self { program, socket, config, nodes, dns };
        haproxy.launch(servers)?;
        Ok(haproxy)
    }

    /// Starts it, and returns when it answers and, where its servers come from DNS, lists at least this many.
    fn launch(&mut self, servers: usize) -> Result<()> {
        let file = self.program.directory().join("haproxy.cfg");
        fs::write(&file, self.settings())?;
        let argv: [OsString; 4] =
            [tools::find("haproxy")?.into(), "-W".into(), "-f".into(), file.into()];
        let socket = self.socket.clone();
        self.program
            .start(&argv, |_| say(&socket, "show info").is_ok_and(|info| info.contains("Pid: ")))?;
        if self.config.servers == Servers::Template {
            until(&format!("the servers of {}", self.name()), START, || {
                let up = |node: &&SocketAddr| self.admin_state(**node).ok() == Some(0);
                Ok((self.nodes.iter().filter(up).count() >= servers).then_some(()))
            })
            .with_context(|| self.says("show servers state;show resolvers").unwrap_or_default())?;
        }
        Ok(())
    }

    /// Kills it, with every connection it has.
    pub fn stop(&mut self) {
        self.program.stop();
    }

    /// Kills it and starts it again; changes by its API are lost.
    ///
    /// # Errors
    ///
    /// When it does not start again.
    pub fn restart(&mut self) -> Result<()> {
        self.launch(1)
    }

    /// Reloads the configuration, and returns when the new process answers. With `remember` the states of the servers
    /// are saved before, and the new process begins with them.
    ///
    /// # Errors
    ///
    /// When it is not running, or no new process answers.
    pub fn reload(&self, remember: bool) -> Result<()> {
        let process = self.program.running()?;
        let state = if remember { self.says("show servers state")? } else { String::new() };
        fs::write(self.state_file(), state)?;
        let pid = self.pid()?;
        process.signal(Signal::USR2)?;
        until(&format!("a new process of {}", self.name()), START, || {
            Ok(self.pid().ok().filter(|new| *new != pid).map(|_| ()))
        })
    }

    /// Freezes all its processes, or lets them continue: connections are accepted, and no answer comes.
    ///
    /// # Errors
    ///
    /// When it is not running.
    pub fn freeze(&self, still: bool) -> Result<()> {
        self.program.freeze(still)
    }

    /// Sends a line to the runtime API.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub fn says(&self, line: &str) -> Result<String> {
        say(&self.socket, line)
    }

    /// Returns why a node's server is out, as HAProxy's bits. 0 means that it is not out.
    ///
    /// # Errors
    ///
    /// When it does not answer, or there is no such server.
    pub fn admin_state(&self, node: SocketAddr) -> Result<u64> {
        let answer = self.says(&format!("show servers state {}", self.config.backend))?;
        let (ip, port) = (node.ip().to_string(), node.port().to_string());
        let rows = answer.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let mut rows = rows.filter(|row| row.get(4) == Some(&&*ip) && row.get(18) == Some(&&*port));
        let row = rows.next().with_context(|| format!("no server at {node}:\n{answer}"))?;
        Ok(row[6].parse::<u64>()? & OUT)
    }

    fn pid(&self) -> Result<String> {
        let info = self.says("show info")?;
        let pid = info.lines().find_map(|line| line.strip_prefix("Pid: "));
        Ok(pid.context("`show info` has no pid")?.to_owned())
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

    /// Returns the address of its runtime API on TCP.
    #[must_use]
    pub fn runtime(&self) -> SocketAddr {
        self.program.socket(RUNTIME_PORT)
    }

    /// Returns the address of its stats page.
    #[must_use]
    pub fn page(&self) -> SocketAddr {
        self.program.socket(PAGE_PORT)
    }

    /// Returns the path of the runtime API's socket on this machine.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    fn state_file(&self) -> PathBuf {
        self.program.directory().join("server-state")
    }

    fn settings(&self) -> String {
        let servers = match self.config.servers {
            Servers::Listed | Servers::Checked => {
                let checked = self.config.servers == Servers::Checked;
                let check = if checked { " check inter 200ms fall 2 rise 2" } else { "" };
                let nodes = (1..).zip(&self.nodes);
                lines(nodes.map(|(index, node)| format!("    server s{index} {node}{check}")))
            }
            Servers::Template => format!(
                "    server-template slot {} _{UPSTREAM}._tcp.service.consul resolvers consul \
                 init-addr none",
                self.nodes.len()
            ),
        };
        let nameservers = (1..).zip(&self.dns);
        let nameservers =
            lines(nameservers.map(|(index, dns)| format!("    nameserver consul-{index} {dns}")));
        include_str!("haproxy.cfg")
            .replace("@SOCKET@", &self.socket.display().to_string())
            .replace("@STATE@", &self.state_file().display().to_string())
            .replace("@IP@", &self.program.ip().to_string())
            .replace("@PORT@", &PORT.to_string())
            .replace("@RUNTIME_PORT@", &RUNTIME_PORT.to_string())
            .replace("@PAGE_PORT@", &PAGE_PORT.to_string())
            .replace("@BACKEND@", &self.config.backend)
            .replace("@LEVEL@", self.config.level)
            .replace("@NAMESERVERS@", &nameservers)
            .replace("@SERVERS@", &servers)
    }
}

fn say(socket: &Path, line: &str) -> Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{line}\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn lines(lines: impl Iterator<Item = String>) -> String {
    lines.collect::<Vec<_>>().join("\n")
}
