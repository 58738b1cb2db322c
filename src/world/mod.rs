//! The port to the outside world: every action on it and every observation of it.
//!
//! The trait is small. Everything above it (Consul client, gateway drivers, drain, health, engine) reaches
//! the outside only through [`World`], so it runs unchanged over a simulated world. The real one is [`Live`].

mod control;
mod destination;
mod exchange;
mod held;
mod http;
mod live;
mod local;
mod names;
mod permit;
mod redirect;
mod refusal;
mod remote_shell;
mod room;
mod script;
mod settings;
mod spare;
mod ssh;
mod tcp;
mod tls;
mod trace;
mod trust;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::process::Command as Process;
use tokio::sync::mpsc;

use crate::secret::{self, Secret};

pub use live::Live;
pub use permit::{NotPermitted, Permit};
pub use room::Held;
pub use settings::LiveSettings;
pub use tls::{ConsulTls, check_authorities};
pub use trace::Traced;
pub use trust::Trust;

/// The outside world. Cheap to share; every method may be called concurrently.
///
/// Dropping a returned future abandons the call: a request is closed, and a command is ended on its node with
/// every process that it started.
pub trait World: Send + Sync + 'static {
    /// Sends one HTTP request and reads the whole reply.
    fn http(&self, request: Request) -> impl Future<Output = Result<Reply, HttpError>> + Send;

    /// Sends the same request over up to `connections` connections that are open at the same time, so that as
    /// many workers of the server as possible answer. Each reply has the flag whether its connection stays
    /// open. Every reply goes to `replies`, in any order; when `replies` is closed, no further request is
    /// sent.
    fn http_held(
        &self,
        request: Request,
        connections: usize,
        replies: mpsc::Sender<Result<Reply, HttpError>>,
    ) -> impl Future<Output = ()> + Send {
        async move {
            for _ in 0..connections {
                if replies.send(self.http(request.clone()).await).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Runs one command on a node, or on this machine.
    fn run(
        &self,
        host: &Host,
        command: Command,
    ) -> impl Future<Output = Result<Output, RunError>> + Send;

    /// Prepares for a command on this host that follows soon, so that it begins faster. Runs nothing.
    fn expect(&self, _host: &Host, _sudo: bool) {}

    /// Opens a TCP connection to `address` (`host:port`), sends a text, and returns the answer of the other
    /// side until it closes. Without a text the connection is closed as soon as it is open.
    fn exchange(
        &self,
        address: &str,
        say: &[u8],
        timeout: Duration,
    ) -> impl Future<Output = Result<Vec<u8>, HttpError>> + Send;

    /// The wall clock, for time stamps only. Waiting uses `tokio::time`.
    fn now(&self) -> jiff::Timestamp;
}

/// A child process, which inherits the whole environment except the secrets.
fn child(program: &str) -> Process {
    let mut child = Process::new(program);
    for variable in secret::variables() {
        child.env_remove(variable);
    }
    for (name, value) in std::env::vars_os() {
        if value.to_str().is_some_and(secret::is_known) {
            child.env_remove(name);
        }
    }
    child
}

/// An HTTP method that rollgate uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `OPTIONS`
    Options,
    /// `PUT`
    Put,
    /// `POST`
    Post,
    /// `PATCH`
    Patch,
    /// `DELETE`
    Delete,
}

impl Method {
    /// Its name in a request.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Options => "OPTIONS",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// The HTTP client settings of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Channel {
    /// A kept-alive connection, never through a proxy: health checks, metrics.
    Direct,
    /// A connection for this one request only: each may reach another worker of a gateway.
    Fresh,
    /// Consul's TLS settings (CA, client certificate, server name); never through a proxy.
    Consul,
}

/// One HTTP request.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// `http://`, `https://`, or `unix:///path/to/socket` followed by `:/path?query`.
    pub url: String,
    /// Header values may be secret and are never shown.
    pub headers: Vec<(Cow<'static, str>, Secret)>,
    /// The `Host` header if it differs from the URL's host. A certificate must be for this name.
    pub host: Option<String>,
    /// The body, if any.
    pub body: Option<Vec<u8>>,
    /// Time limit of the whole exchange.
    pub timeout: Duration,
    /// Connection settings.
    pub channel: Channel,
    /// Which certificates are accepted on any other channel than [`Channel::Consul`].
    pub trust: Trust,
    /// How many redirects are followed.
    pub redirects: u8,
    /// The largest accepted body, in bytes; a reply with a larger one is an error.
    pub limit: usize,
}

impl Request {
    /// A `GET` on a kept-alive connection.
    #[must_use]
    pub fn get(url: impl Into<String>, timeout: Duration) -> Self {
        Self {
            method: Method::Get,
            url: url.into(),
            headers: Vec::new(),
            host: None,
            body: None,
            timeout,
            channel: Channel::Direct,
            trust: Trust::default(),
            redirects: 0,
            limit: BODY_LIMIT,
        }
    }

    /// The same request with a limit for the reply, in bytes.
    #[must_use]
    pub fn at_most(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// The same request on a connection of its own.
    #[must_use]
    pub fn fresh(mut self) -> Self {
        self.channel = Channel::Fresh;
        self
    }
}

/// The reply to a [`Request`], of any status.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// Headers with names in lower case; of equal names the first counts.
    pub headers: BTreeMap<String, String>,
    /// The whole body.
    pub body: Vec<u8>,
    /// The memory that the body reserves among all bodies.
    pub held: Held,
    /// Whether its connection stays open next to the others ([`World::http_held`]).
    pub stays_open: bool,
}

impl Reply {
    /// The body as text, with invalid UTF-8 replaced.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// The body as text for a pattern of the playbook.
    ///
    /// # Errors
    ///
    /// When it is longer than [`PATTERN_LIMIT`].
    pub fn searchable(&self) -> Result<Cow<'_, str>, String> {
        if self.body.len() > PATTERN_LIMIT {
            let size = crate::text::size(self.body.len() as u64);
            return Err(format!("answered {size}, too much to search with a pattern"));
        }
        Ok(self.text())
    }

    /// The body as text with one server per line.
    ///
    /// # Errors
    ///
    /// When it is longer than [`PATTERN_LIMIT`].
    pub fn lines(&self) -> Result<Cow<'_, str>, String> {
        if self.body.len() > PATTERN_LIMIT {
            let size = crate::text::size(self.body.len() as u64);
            return Err(format!("answered {size}, too much for a list of servers"));
        }
        Ok(self.text())
    }

    /// The status, and where a redirect leads, in words.
    #[must_use]
    pub fn ending(&self) -> String {
        match self.header("location").filter(|_| self.is_redirect()) {
            Some(place) => {
                let place = crate::text::line(place, 160);
                format!("{}, a redirect to {place}", self.status)
            }
            None => self.status.to_string(),
        }
    }

    /// Whether it sends the client to another URL.
    #[must_use]
    pub fn is_redirect(&self) -> bool {
        matches!(self.status, 301 | 302 | 303 | 307 | 308)
    }

    /// A header's value; `name` in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// The largest accepted reply body of any request, in bytes; a longer one is an error.
pub const BODY_LIMIT: usize = 16 * 1024 * 1024;

/// The largest reply that is searched with a pattern, in bytes. Searching is a hundred times slower than
/// reading and blocks everything else.
pub const PATTERN_LIMIT: usize = 1024 * 1024;

/// Why there is no reply, over HTTP or plain TCP.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HttpError {
    /// The request did not reach the server: it had no effect.
    #[error("{0}")]
    NotSent(String),
    /// One side does not accept the other's certificate: the request had no effect, and a retry has none
    /// either.
    #[error("{0}")]
    Untrusted(String),
    /// No reply within the given time: the effect is unknown.
    #[error("no answer within {}", crate::text::duration(*.0))]
    TimedOut(Duration),
    /// The exchange broke after the request may have been received: the effect is unknown.
    #[error("{0}")]
    Broken(String),
}

impl HttpError {
    /// Whether the other side refused the connection because nothing listens there.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::NotSent(problem) if problem.contains("connection refused"))
    }
}

/// Where commands run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Host {
    /// This machine (`ssh: local`).
    Local,
    /// An ssh destination as the user's ssh understands it: `[user@]host-or-alias[:port]`.
    Ssh(String),
}

impl Host {
    /// The host of an `ssh` key: `local` or a missing key is this machine.
    #[must_use]
    pub fn of(ssh: Option<&str>) -> Self {
        match ssh {
            None | Some("local") => Self::Local,
            Some(destination) => Self::Ssh(destination.to_owned()),
        }
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local => formatter.write_str("this machine"),
            Self::Ssh(destination) => formatter.write_str(destination),
        }
    }
}

/// One command for a [`Host`].
#[derive(Debug, Clone)]
pub struct Command {
    /// What to do; the live world runs its [`script`](crate::node::NodeScript::script).
    pub script: crate::node::NodeScript,
    /// The command's standard input.
    pub stdin: Stdin,
    /// After this time the command and every process that it started are ended.
    pub timeout: Duration,
    /// Run as root through `sudo -n`.
    pub sudo: bool,
    /// Requested when the host is ready, right before the go-ahead.
    pub permit: Permit,
}

impl Command {
    /// A command that reads nothing and needs no permit.
    #[must_use]
    pub fn new(script: crate::node::NodeScript, timeout: Duration, sudo: bool) -> Self {
        Self { script, stdin: Stdin::Empty, timeout, sudo, permit: Permit::default() }
    }

    /// The same command with standard input.
    #[must_use]
    pub fn reading(self, stdin: Stdin) -> Self {
        Self { stdin, ..self }
    }

    /// The same command, which begins only with a permit.
    #[must_use]
    pub fn permitted(self, permit: Permit) -> Self {
        Self { permit, ..self }
    }
}

/// The standard input of a [`Command`].
#[derive(Debug, Clone)]
pub enum Stdin {
    /// Nothing. The connection then serves as a life line: when it breaks, the command is ended.
    Empty,
    /// The bytes of a local file.
    File(PathBuf),
    /// A text that must not appear on a command line.
    Text(Secret),
}

/// The result of a finished command. Output beyond [`OUTPUT_LIMIT`] is dropped from the front.
#[derive(Debug, Clone, Default)]
pub struct Output {
    /// The exit status, or `None` when a signal ended the command.
    pub status: Option<i32>,
    /// The last part of standard output.
    pub stdout: Vec<u8>,
    /// The last part of standard error.
    pub stderr: Vec<u8>,
    /// The start of the host's standard output before the command began, as one line: the start files of a
    /// login shell may print.
    pub noise: Option<String>,
}

impl Output {
    /// Returns whether the command exited with 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.status == Some(0)
    }

    /// Describes how the command ended: `exit 3`, or `ended by a signal`.
    #[must_use]
    pub fn ending(&self) -> String {
        self.status
            .map_or_else(|| "ended by a signal".to_owned(), |status| format!("exit {status}"))
    }

    /// Returns whether the start of standard output may be missing.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.stdout.len() >= OUTPUT_LIMIT
    }

    /// Standard output as text.
    #[must_use]
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    #[must_use]
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

/// How much of each output stream is kept, in bytes.
pub const OUTPUT_LIMIT: usize = 1024 * 1024;

/// Why a command has no result.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RunError {
    /// The command was never started: nothing has changed on the node.
    #[error("{0}")]
    NotStarted(String),
    /// The command was not permitted to begin: nothing has changed on the node.
    #[error(transparent)]
    NotPermitted(#[from] NotPermitted),
    /// The time ran out; the command and its processes were ended, except `left` processes.
    #[error("not finished within {}{}", crate::text::duration(*.after), still_running(*.left))]
    TimedOut {
        /// The command's time.
        after: Duration,
        /// How many of its processes could not be ended.
        left: usize,
    },
    /// The connection was lost while the command ran: its effect is unknown, inspect the node before acting.
    #[error("connection lost while the command ran: {0}")]
    Lost(String),
}

fn still_running(left: usize) -> String {
    match left {
        0 => String::new(),
        1 => "; 1 process it started is still running".to_owned(),
        left => format!("; {left} processes it started are still running"),
    }
}
