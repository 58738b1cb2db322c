//! SSH hosts: each node is a real sshd in namespaces of its own, with its own file tree, users,
//! sudo rights and processes, and the demo service under a control script.

mod tree;

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;

use crate::artifact::{Fault, Release};
use crate::consul::Check;
use crate::http;
use crate::process::{Contained, Nursery};
use crate::tools;
use crate::wait::until;

/// The port of sshd on each node's address.
pub(crate) const SSH_PORT: u16 = 2222;

/// The port of the demo service on each node's address.
const SERVICE_PORT: u16 = 9000;

/// How long a node may take until sshd and the service answer, besides the service's own delay.
const BOOT: Duration = Duration::from_secs(20);

/// The configuration of a node.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Whether `deploy` may use sudo, without a password.
    pub sudo: bool,
    /// Limits `/srv`, which is then in memory and starts empty after every reboot.
    pub disk_mib: Option<u32>,
    /// The release that runs here, when it is not the lab's.
    pub release: Option<Release>,
    /// Whether no release is installed, so that nothing runs here.
    pub empty: bool,
    /// The check by which its agent, if it has one, knows the service's health.
    pub check: Check,
    /// The unit `app.service`, if systemd starts the service and is the first process of the node.
    pub unit: Option<String>,
}

impl Default for NodeConfig {
    fn default() -> Self {
        let check = Check::default();
        Self { sudo: true, disk_mib: None, release: None, empty: false, check, unit: None }
    }
}

/// An SSH host with the demo service.
#[derive(Debug)]
pub struct Node {
    nursery: Nursery,
    name: String,
    ip: Ipv4Addr,
    directory: PathBuf,
    binaries: PathBuf,
    config: NodeConfig,
    installed: Release,
    process: Option<Contained>,
}

impl Node {
    /// Writes the node's files, with `archive` installed as the running release unless the node is empty.
    pub(crate) fn prepare(
        nursery: &Nursery,
        lab: &Path,
        name: String,
        ip: Ipv4Addr,
        config: NodeConfig,
        installed: (Release, &Path),
    ) -> Result<Self> {
        let (installed, archive) = installed;
        let directory = lab.join("nodes").join(&name);
        let node = Self {
            nursery: nursery.clone(),
            binaries: lab.join("bin"),
            name,
            ip,
            directory,
            config,
            installed,
            process: None,
        };
        let layout = tree::Layout {
            directory: &node.directory,
            name: &node.name,
            ssh: SocketAddr::from((ip, SSH_PORT)),
            service: node.address(),
            sudo: node.config.sudo,
            client_key: &lab.join("id.pub"),
            unit: node.config.unit.as_deref(),
        };
        let archive = (!node.config.empty).then_some(archive);
        layout.write(archive).with_context(|| format!("could not lay out {}", node.name))?;
        Ok(node)
    }

    /// Starts a node that is off; [`Node::wait_until_up`] waits until it answers.
    ///
    /// # Errors
    ///
    /// When its namespaces cannot be created.
    pub fn boot(&mut self) -> Result<()> {
        let mut argv: Vec<OsString> = vec!["/bin/sh".into(), self.directory.join("init.sh").into()];
        argv.extend([
            self.directory.clone().into(),
            self.binaries.clone().into(),
            OsString::from(&self.name),
            self.config.disk_mib.unwrap_or(0).to_string().into(),
            tools::find("sshd")?.into(),
            self.cgroup().into(),
        ]);
        let namespaces = ["--mount", "--mount-proc", "--uts", "--propagation", "private"];
        let log = self.directory.join("console.log");
        self.process = Some(Contained::start(&self.nursery, &self.name, &log, &namespaces, &argv)?);
        Ok(())
    }

    /// Returns once sshd answers, and the service too unless there is none or its release never does.
    ///
    /// # Errors
    ///
    /// When the node has ended or takes too long.
    pub fn wait_until_up(&mut self) -> Result<()> {
        let ssh = SocketAddr::from((self.ip, SSH_PORT));
        until(&format!("sshd of {}", self.name), BOOT, || {
            self.process.as_mut().context("the node is off")?.require_running()?;
            Ok(TcpStream::connect_timeout(&ssh, Duration::from_secs(1)).ok())
        })?;
        if self.config.empty {
            return Ok(());
        }
        let answers = match self.installed.fault {
            Fault::CrashOnStart | Fault::ReadyThenCrash(_) => return Ok(()),
            Fault::NeverReady => 503,
            Fault::None | Fault::IgnoreTerm | Fault::KeepsPort => 200,
        };
        let limit = BOOT + self.installed.start_delay;
        let url = self.service_url("/ping");
        until(&format!("the service of {}", self.name), limit, || {
            Ok(http::get(&url).ok().filter(|reply| reply.status == answers).map(|_| ()))
        })
        .with_context(|| tools::tail(&self.directory.join("srv/app/log")))
    }

    /// Turns the node off: everything on it dies at once.
    pub fn power_off(&mut self) {
        if self.process.take().is_some() && self.config.unit.is_some() {
            self.remove_cgroups();
        }
    }

    /// The control group of a node with systemd: its path below the root of all groups. Empty for other nodes.
    fn cgroup(&self) -> String {
        let path = self.directory.display().to_string();
        if self.config.unit.is_some() {
            path.trim_matches('/').replace('/', "-")
        } else {
            String::new()
        }
    }

    /// Removes the control groups that systemd made. A group can be removed once its processes are gone.
    fn remove_cgroups(&self) {
        let remove = format!(
            "mount -t cgroup2 none /mnt && cd /mnt && for try in 1 2 3 4 5; do \
             find '{}' -depth -type d -exec rmdir {{}} + 2>/dev/null && break; sleep 0.1; done",
            self.cgroup()
        );
        let _ = Command::new("unshare").args(["--mount", "sh", "-c", &remove]).status();
    }

    /// Returns whether the node is on.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.process.is_some()
    }

    /// Kills every process on the node and starts it again, with its service.
    ///
    /// # Errors
    ///
    /// When it does not come up again.
    pub fn reboot(&mut self) -> Result<()> {
        self.power_off();
        self.boot()?;
        self.wait_until_up()
    }

    /// Kills sshd and every session; the service keeps running.
    ///
    /// # Errors
    ///
    /// When the node is off.
    pub fn kill_sshd(&self) -> Result<()> {
        self.signal_sshd(Signal::KILL)
    }

    /// Freezes sshd and every session: connections are accepted but no answer comes.
    ///
    /// # Errors
    ///
    /// When the node is off.
    pub fn hang_sshd(&self) -> Result<()> {
        self.signal_sshd(Signal::STOP)
    }

    /// Ends the effect of [`Node::hang_sshd`].
    ///
    /// # Errors
    ///
    /// When the node is off.
    pub fn thaw_sshd(&self) -> Result<()> {
        self.signal_sshd(Signal::CONT)
    }

    /// Starts sshd again after [`Node::kill_sshd`].
    ///
    /// # Errors
    ///
    /// When the node is off or sshd does not start.
    pub fn start_sshd(&self) -> Result<()> {
        let sshd = tools::find("sshd")?;
        let command =
            format!("{} -E /run/node/console.log -f /run/node/sshd_config", sshd.display());
        tools::run(&mut self.command(&command)?).map(|_| ())
    }

    fn signal_sshd(&self, signal: Signal) -> Result<()> {
        let number = signal.as_raw();
        let command = format!(
            "for p in /proc/[0-9]*; do \
             if [ \"$(cat $p/comm)\" = sshd ]; then kill -{number} ${{p#/proc/}}; fi; \
             done 2>/dev/null; true"
        );
        self.exec(&command).map(|_| ())
    }

    /// Runs a shell command on the node as root, without SSH.
    ///
    /// # Errors
    ///
    /// When the node is off.
    pub fn exec(&self, command: &str) -> Result<Output> {
        self.command(command)?
            .output()
            .with_context(|| format!("could not run `{command}` on {}", self.name))
    }

    fn command(&self, command: &str) -> Result<Command> {
        let init = self.process.as_ref().with_context(|| format!("{} is off", self.name))?.pid();
        let mut enter = Command::new(tools::find("nsenter")?);
        enter.arg(format!("--target={init}")).args(["--mount", "--pid", "--uts", "--wd=/", "--"]);
        enter.args(["/bin/sh", "-c", command]);
        Ok(enter)
    }

    /// Returns the path outside the node of a path on it, such as `/srv/app/log`.
    ///
    /// # Errors
    ///
    /// When the node is off.
    pub fn path(&self, path: &str) -> Result<PathBuf> {
        let init = self.process.as_ref().with_context(|| format!("{} is off", self.name))?.pid();
        Ok(PathBuf::from(format!("/proc/{init}/root{path}")))
    }

    /// Returns the node's name for `ssh -F`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the service's address for gateways.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((self.ip, SERVICE_PORT))
    }

    /// Returns the node's own address.
    #[must_use]
    pub fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    /// Returns the sockets of sshd and the service.
    pub(crate) fn sockets(&self) -> [(Ipv4Addr, u16); 2] {
        [SSH_PORT, SERVICE_PORT].map(|port| (self.ip, port))
    }

    /// Returns the URL of a path of the service, without a gateway.
    #[must_use]
    pub fn service_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    /// Returns the version in the service's answer, if it answers.
    #[must_use]
    pub fn version(&self) -> Option<String> {
        let reply = http::get(&self.service_url("/ping")).ok()?;
        reply.header("X-App-Version").map(str::to_owned)
    }

    /// Returns the service's log.
    ///
    /// # Errors
    ///
    /// When the node is off or its service has never started.
    pub fn service_log(&self) -> Result<String> {
        let path = self.path("/srv/app/log")?;
        fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))
    }

    /// Returns the kind of its Consul check.
    pub(crate) fn check(&self) -> Check {
        self.config.check
    }

    /// Returns the folder that the node sees as `/run/node`.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the file in which the service records its starts and stops.
    pub(crate) fn audit_file(&self) -> PathBuf {
        self.directory.join("audit.jsonl")
    }

    /// Returns the public half of the node's host key.
    pub(crate) fn host_key(&self) -> Result<String> {
        let path = self.directory.join("host_key.pub");
        fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.power_off();
    }
}
