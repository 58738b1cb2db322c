//! An sshd for each test, and helpers to inspect processes.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio as Pipe};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use rollgate::node::NodeScript;
use rollgate::world::{Command, Host, Live, LiveSettings, Output, RunError, World as _};

/// One sshd with its keys, and the `ssh_config` that names it `node`.
pub(crate) struct Sshd {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) address: String,
    pub(crate) port: u16,
    child: Child,
}

pub(crate) const NODE: &str = "node";

impl Sshd {
    pub(crate) fn start(extra: &str) -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(10);
        std::fs::create_dir_all("/run/sshd").expect("tests run as root");
        let folder = tempfile::tempdir().expect("temp dir");
        let address = format!("127.0.0.{}", NEXT.fetch_add(1, Ordering::Relaxed));
        // The listener must be closed before sshd binds its port.
        let free = TcpListener::bind((address.as_str(), 0)).expect("bind");
        let port = free.local_addr().expect("address").port();
        drop(free);
        let at = |name: &str| folder.path().join(name).display().to_string();
        for key in ["host", "user"] {
            run(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", &at(key)]);
        }
        let config = format!(
            "ListenAddress {address}:{port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\n\
             UsePAM no\nStrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\n{extra}\n",
            at("host"),
            at("user.pub"),
        );
        std::fs::write(at("sshd_config"), config).expect("write");
        let log = std::fs::File::create(at("sshd.log")).expect("log");
        let child = Process::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f", &at("sshd_config")])
            .stdin(Pipe::null())
            .stdout(Pipe::null())
            .stderr(log)
            .spawn()
            .expect("sshd starts");
        let sshd = Self { folder, address, port, child };
        sshd.trust(&std::fs::read_to_string(sshd.path("host.pub")).expect("key"));
        std::fs::write(sshd.path("ssh_config"), sshd.block(NODE, "")).expect("write");
        until("sshd listens", || {
            std::net::TcpStream::connect((sshd.address.as_str(), sshd.port)).is_ok()
        });
        sshd
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes `key` the only known host key.
    pub(crate) fn trust(&self, key: &str) {
        let line = format!("[{}]:{} {key}", self.address, self.port);
        std::fs::write(self.path("known_hosts"), line).expect("write");
    }

    pub(crate) fn block(&self, alias: &str, extra: &str) -> String {
        format!(
            "Host {alias}\n HostName {}\n Port {}\n User root\n IdentityFile {}\n IdentitiesOnly yes\n \
             UserKnownHostsFile {}\n GlobalKnownHostsFile /dev/null\n {extra}\n",
            self.address,
            self.port,
            self.path("user").display(),
            self.path("known_hosts").display(),
        )
    }

    pub(crate) fn settings(&self) -> LiveSettings {
        LiveSettings {
            ssh_config: Some(self.path("ssh_config")),
            connect_timeout: Duration::from_secs(5),
            ..LiveSettings::default()
        }
    }

    pub(crate) fn live(&self) -> Live {
        Live::new(self.settings()).expect("settings are fine")
    }

    /// Kills the sshd children that serve connections.
    pub(crate) fn cut_connections(&self) {
        for (pid, stat) in processes() {
            if parent(&stat) == Some(self.child.id()) {
                // A connection that has just ended by itself is equally cut.
                let pid = pid.to_string();
                let _ = Process::new("kill").args(["-KILL", &pid]).stderr(Pipe::null()).status();
            }
        }
    }

    /// The shells that its connections have started.
    pub(crate) fn shells(&self) -> BTreeSet<u32> {
        let processes = processes();
        let children = |of: &BTreeSet<u32>| -> BTreeSet<u32> {
            let is_child = |stat: &str| parent(stat).is_some_and(|parent| of.contains(&parent));
            processes.iter().filter(|(_, stat)| is_child(stat)).map(|(pid, _)| *pid).collect()
        };
        children(&children(&BTreeSet::from([self.child.id()])))
    }

    pub(crate) fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.path("sshd.log")).unwrap_or_default();
            println!("sshd said:\n{log}");
        }
        self.cut_connections();
        self.stop();
    }
}

pub(crate) fn run(words: &[&str]) {
    let status = Process::new(words[0]).args(&words[1..]).status().expect("starts");
    assert!(status.success(), "{words:?}");
}

pub(crate) fn node() -> Host {
    Host::Ssh(NODE.into())
}

pub(crate) fn command(script: &str, seconds: u64) -> Command {
    let script = NodeScript::User { command: script.into() };
    Command::new(script, Duration::from_secs(seconds), false)
}

pub(crate) async fn sh(live: &Live, host: &Host, script: &str) -> Result<Output, RunError> {
    live.run(host, command(script, 30)).await
}

/// Polls until `condition` holds; fails after a minute.
#[track_caller]
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The same without blocking the runtime.
pub(crate) async fn until_async(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "not within a minute: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits for a pid that a command writes into a file.
pub(crate) async fn pid(path: &Path) -> u32 {
    let mut found = None;
    until_async("pid file", || {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        found = text.ends_with('\n').then(|| text.trim().parse().expect("pid"));
        found.is_some()
    })
    .await;
    found.expect("found")
}

pub(crate) fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(") ")?.1.split_whitespace().nth(1)?.parse().ok()
}

fn processes() -> Vec<(u32, String)> {
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        Some((pid, std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?))
    };
    std::fs::read_dir("/proc").expect("/proc").filter_map(read).collect()
}

/// The command lines of running processes that contain `text`.
pub(crate) fn mentioning(text: &str) -> Vec<String> {
    let line = |(pid, _): (u32, String)| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        (line.contains(text) && alive(pid)).then_some(line)
    };
    processes().into_iter().filter_map(line).collect()
}
