//! The ssh processes of one run: their configuration, their sockets and how they are ended.
//!
//! All files are in one private folder. A guardian, a small shell process outside the terminal's foreground
//! group, reads from a pipe that rollgate keeps open. When rollgate ends, by `close`, by a panic or by `kill
//! -9`, the pipe closes, and the guardian ends every ssh process of the folder and removes the folder.
//! `ControlPersist` covers the case that the guardian is killed too.

use std::fmt::Write as _;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openssh::Session;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, ChildStdin};
use tokio::time::timeout;

use super::destination::{Destination, problem};
use super::refusal::explain;
use super::settings::LiveSettings;
use crate::text;

/// An idle master ends by itself after this many seconds.
const IDLE: u32 = 60;
/// Limit of a socket path, `ssh`'s temporary suffix included (macOS allows 104).
const FOLDER_LIMIT: usize = 60;
/// Time limit for the guardian to end everything.
const ENDING: Duration = Duration::from_secs(10);

/// It first ignores the signals of a closing terminal, then reads the pipe to its end.
const GUARDIAN: &str = include_str!("guardian.sh");

const CONNECT: &str = include_str!("connect.sh");

/// The parts of the ssh configuration. They are checked before the first connection.
#[derive(Debug)]
pub(super) struct Configuration {
    text: String,
    /// A copy of the user's file: an `Include` would refuse a file that the group may write, which `ssh -F`
    /// accepts and every checkout has.
    own: Option<String>,
    connect_timeout: Duration,
}

impl Configuration {
    pub(super) fn new(settings: &LiveSettings) -> anyhow::Result<Self> {
        let own = settings.ssh_config.as_deref().map(read).transpose()?;
        let text = configuration(settings)?;
        Ok(Self { text, own, connect_timeout: settings.connect_timeout })
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path)
        .map_err(|error| anyhow::anyhow!("cannot read `{}`: {error}", path.display()))
}

/// ssh takes the first of several values: mandatory settings come before the user's file, defaults after it.
/// `<folder>` is filled in later.
fn configuration(settings: &LiveSettings) -> anyhow::Result<String> {
    let strict = if settings.accept_new { "accept-new" } else { "yes" };
    let seconds = settings.connect_timeout.as_secs().max(1);
    let mut text = format!(
        "BatchMode yes\nStrictHostKeyChecking {strict}\nConnectTimeout {seconds}\n\
         ServerAliveInterval 5\nServerAliveCountMax 3\nControlMaster no\nClearAllForwardings yes\n\
         ForwardX11 no\nPermitLocalCommand no\nRemoteCommand none\nRequestTTY no\nLogLevel INFO\n"
    );
    if let Some(jump) = &settings.jump {
        let mut hosts = String::new();
        for hop in jump.split(',') {
            let hop = Destination::parse(hop).map_err(anyhow::Error::msg)?;
            let _ = write!(hosts, " !{}", hop.host);
        }
        let _ = write!(text, "Host *{hosts}\n  ProxyJump {jump}\nHost *\n");
    }
    let own =
        if settings.ssh_config.is_some() { "\"<folder>/own_config\"" } else { "~/.ssh/config" };
    let _ = write!(text, "Include {own}\nHost *\nInclude /etc/ssh/ssh_config\nHost *\n");
    if let Some(user) = &settings.user {
        if let Some(problem) = problem(user) {
            anyhow::bail!("`{}` is not a user name: {problem}", text::line(user, 80));
        }
        let _ = writeln!(text, "User {user}");
    }
    Ok(text)
}

/// The folder with its guardian. Dropping it ends every process; [`Control::close`] also waits for that.
#[derive(Debug)]
pub(super) struct Control {
    folder: PathBuf,
    connect_timeout: Duration,
    next: AtomicU32,
    guardian: Mutex<Option<(Child, ChildStdin)>>,
}

impl Control {
    /// Creates the folder and starts its guardian. Needs a tokio runtime.
    pub(super) fn open(configuration: &Configuration) -> io::Result<Self> {
        let folder = folder()?;
        let mut guardian = super::child("sh")
            .args(["-c", GUARDIAN, "rollgate-guardian"])
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .inspect_err(|_| drop(std::fs::remove_dir_all(&folder)))?;
        let life = guardian.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let control = Self {
            connect_timeout: configuration.connect_timeout,
            next: AtomicU32::new(0),
            guardian: Mutex::new(Some((guardian, life))),
            folder,
        };
        let text = configuration.text.replace("<folder>", &control.folder.display().to_string());
        control.write("config", &text)?;
        if let Some(own) = &configuration.own {
            control.write("own_config", own)?;
        }
        Ok(control)
    }

    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        let path = self.folder.join(name);
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        io::Write::write_all(&mut file, text.as_bytes())
    }

    /// Connects; the error gives the reason in one line. Dropping the future ends the running `ssh`.
    pub(super) async fn connect(
        &self,
        place: &str,
        destination: &Destination,
    ) -> Result<Master, String> {
        if self.guardian.lock().is_ok_and(|guardian| guardian.is_none()) {
            return Err(format!("{place}: rollgate is ending and makes no new connection"));
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let files = Files(self.folder.join(number.to_string()));
        let log = files.with("log");
        let socket = files.with("socket");
        let master = ["-M".into(), "-f".into(), "-N".into()];
        let persist = ["-o".into(), format!("ControlPersist={IDLE}")];
        let arguments = [&master[..], &persist[..], &destination.arguments()[..]].concat();
        if self.ssh(&files, &socket, &arguments).await? {
            let session = Arc::new(Session::resume_mux(socket.into(), None));
            return Ok(Master { session, log });
        }
        let said = || std::fs::read_to_string(&log).unwrap_or_default();
        if said().contains("UNKNOWN port 65535") {
            // The jump host failed. ssh logs its error only without `ControlPersist`.
            let arguments = [&destination.arguments()[..], &["true".into()]].concat();
            self.ssh(&files, Path::new("none"), &arguments).await?;
        }
        let said = said();
        if said.contains("ssh: not found") || said.contains("ssh: command not found") {
            return Err("`ssh` is not installed on this machine".into());
        }
        Err(explain(place, &said, self.connect_timeout))
    }

    /// Runs `ssh` until it exits and returns whether it succeeded; its output goes to the log.
    async fn ssh(&self, files: &Files, socket: &Path, words: &[String]) -> Result<bool, String> {
        let (config, log) = (self.folder.join("config"), files.with("log"));
        let child = super::child("sh")
            .args(["-c", CONNECT, "rollgate-connect"])
            .args([files.0.as_os_str(), "-F".as_ref(), config.as_os_str()])
            .args(["-E".as_ref(), log.as_os_str(), "-S".as_ref(), socket.as_os_str()])
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("cannot start `ssh`: {error}"))?;
        let mut connecting = Connecting { group: child.id(), child, files };
        // `ssh` has the same limit for TCP and key exchange and a clearer message; the extra second lets
        // `ssh` report first. Name resolution and authentication have only this limit.
        let limit = self.connect_timeout.max(Duration::from_secs(1)) + Duration::from_secs(1);
        match timeout(limit, connecting.child.wait()).await {
            Ok(Ok(status)) => {
                if status.success() {
                    connecting.group = None;
                }
                Ok(status.success())
            }
            Ok(Err(error)) => Err(format!("cannot wait for `ssh`: {error}")),
            Err(_) => Ok(false),
        }
    }

    /// Ends every ssh process, removes the folder and waits for both.
    pub(super) async fn close(&self) {
        let guardian = self.guardian.lock().ok().and_then(|mut guardian| guardian.take());
        if let Some((mut guardian, life)) = guardian {
            drop(life);
            let _ = timeout(ENDING, guardian.wait()).await;
        }
    }
}

/// A connected ssh master process.
#[derive(Debug)]
pub(super) struct Master {
    pub(super) session: Arc<Session>,
    log: PathBuf,
}

impl Master {
    /// The last line that the master logged, usually the reason why it ended.
    pub(super) fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let last = text::last_line(&log).unwrap_or("the ssh connection ended");
        text::line(last, 200)
    }
}

/// The files of one connection: one path with several extensions.
#[derive(Debug)]
struct Files(PathBuf);

impl Files {
    fn with(&self, extension: &str) -> PathBuf {
        self.0.with_extension(extension)
    }
}

/// A connecting `ssh` and the `ssh` of its jump host; both are killed unless the connection succeeds.
struct Connecting<'a> {
    group: Option<u32>,
    child: Child,
    files: &'a Files,
}

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        let group = self.group.and_then(|group| Pid::from_raw(group.cast_signed()));
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = std::fs::remove_file(self.files.with("pid"));
    }
}

/// Makes a private folder whose path is short enough for sockets.
fn folder() -> io::Result<PathBuf> {
    let told = |name: &str| std::env::var_os(name).map(|value| (format!("{name}: "), value.into()));
    let told = ["XDG_RUNTIME_DIR", "TMPDIR"].into_iter().filter_map(told);
    let usual = ["/tmp", "/var/tmp", "/dev/shm"].map(|path| (String::new(), path.into()));
    folder_in(told.chain(usual))
}

/// Makes the folder in the first of these places that takes it. The error names every place.
fn folder_in(places: impl Iterator<Item = (String, PathBuf)>) -> io::Result<PathBuf> {
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix("rollgate-");
    let mut problems = Vec::new();
    for (name, place) in places {
        let made = match unusable(&place) {
            Some(why) => Err(why.to_owned()),
            None => make(builder, &place).map_err(|error| reason(&error)),
        };
        match made {
            Ok(folder) => return Ok(folder),
            Err(why) => problems.push(format!("{name}{}: {why}", place.display())),
        }
    }
    let problems = problems.join("; ");
    Err(io::Error::other(format!(
        "{problems}; set TMPDIR or XDG_RUNTIME_DIR to a folder with a short path that this user can write to"
    )))
}

/// Why a folder cannot have sockets of ssh.
fn unusable(path: &Path) -> Option<&'static str> {
    let is_plain = |path: &str| !path.contains(|c: char| " \"'%\\".contains(c));
    if !path.is_absolute() {
        Some("it is not an absolute path")
    } else if path.as_os_str().len() >= FOLDER_LIMIT {
        Some("its path is too long for a socket")
    } else if !path.to_str().is_some_and(is_plain) {
        Some("its path has a character that ssh does not accept")
    } else {
        None
    }
}

/// An error of the system without the path, which is named beside it.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" at path").next().unwrap_or(&text);
    text.split(" (os error").next().unwrap_or(text).to_lowercase()
}

fn make(builder: &tempfile::Builder<'_, '_>, parent: &Path) -> io::Result<PathBuf> {
    builder
        .make_in(parent, |path| std::fs::DirBuilder::new().mode(0o700).create(path))
        .map(|folder| folder.into_temp_path().keep().map_err(io::Error::from))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_is_made_in_the_first_place_that_takes_it() {
        let root = tempfile::Builder::new().prefix("r").tempdir_in("/tmp").expect("a folder");
        let place = |name: &str| (String::new(), root.path().join(name));
        std::fs::create_dir(root.path().join("b")).expect("a folder");
        let long = ("TMPDIR: ".to_owned(), root.path().join("x".repeat(FOLDER_LIMIT)));
        let found = folder_in([long.clone(), place("missing"), place("b")].into_iter());
        assert!(found.expect("a place").starts_with(root.path().join("b")));
        let blank = ("XDG_RUNTIME_DIR: ".to_owned(), root.path().join("a b"));
        let error = folder_in([long, blank, place("missing")].into_iter()).expect_err("no place");
        let error = error.to_string();
        for part in [
            "TMPDIR: /tmp/r",
            "x: its path is too long for a socket; XDG_RUNTIME_DIR: /tmp/r",
            "/a b: its path has a character that ssh does not accept; /tmp/r",
            "/missing: no such file or directory; set TMPDIR or XDG_RUNTIME_DIR to a folder",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn mandatory_settings_come_first_and_defaults_last() {
        let settings = LiveSettings {
            user: Some("deploy".into()),
            jump: Some("me@bastion:2222".into()),
            ..LiveSettings::default()
        };
        let text = configuration(&settings).expect("valid");
        let place = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what}: {text}"));
        assert!(place("StrictHostKeyChecking yes") < place("Include ~/.ssh/config"));
        assert!(place("Host * !bastion\n  ProxyJump me@bastion:2222") < place("Include"));
        assert!(place("Include /etc/ssh/ssh_config") < place("User deploy"));
    }

    #[test]
    fn setting_value_cannot_inject_another_setting() {
        let evil = Some("a\nProxyCommand x".to_owned());
        let settings = LiveSettings { user: evil.clone(), ..LiveSettings::default() };
        assert!(configuration(&settings).is_err());
        let settings = LiveSettings { jump: evil, ..LiveSettings::default() };
        assert!(configuration(&settings).is_err());
    }
}
