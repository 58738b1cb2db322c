//! Commands on nodes over the user's own OpenSSH: one connection per host for the whole run.
//!
//! The first command connects and the others share its connection; a dead connection is replaced. A command
//! is tried again only if it certainly did not start, which depends on the script's go-ahead.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use openssh::Error;
use tokio::sync::{Mutex, OnceCell, Semaphore};
use tokio::time::{Instant, sleep, timeout};

use super::control::{Configuration, Control, Master};
use super::destination::Destination;
use super::exchange::{Exchange, converse, open};
use super::local::{conclude, refused};
use super::remote_shell::{self, ANSWERING, RemoteShell, Unopened, alive};
use super::script::Script;
use super::spare::Spares;
use super::{Command, Output, RunError};

/// Channels on one connection at the same time; sshd's `MaxSessions` is 10 by default and often less.
const CHANNELS: usize = 4;
/// Pause before a refused channel is requested again, and how often that is done.
const BUSY_PAUSE: Duration = Duration::from_millis(100);
const BUSY_LIMIT: u32 = 50;

/// All connections of one run.
#[derive(Debug)]
pub(super) struct Ssh {
    configuration: Configuration,
    control: OnceCell<Control>,
    connecting: Semaphore,
    nodes: StdMutex<BTreeMap<String, Arc<Node>>>,
}

/// One destination.
#[derive(Debug)]
struct Node {
    place: String,
    destination: Destination,
    channels: Semaphore,
    spares: Arc<Spares>,
    link: Mutex<Link>,
}

#[derive(Debug, Default)]
struct Link {
    master: Option<Arc<Master>>,
    /// The last failure to connect. Waiting commands get it too.
    failure: Option<(Instant, String)>,
}

/// Why an attempt has no result.
enum Failure {
    /// Nothing was started, and the connection is dead.
    Dead(String),
    /// Nothing was started: the node has no free channel.
    Busy(String),
    /// Nothing was started: the channel that was opened ahead has ended.
    Stale,
    /// The final error; no retry.
    Final(RunError),
}

impl From<Unopened> for Failure {
    fn from(unopened: Unopened) -> Self {
        match unopened {
            Unopened::Dead(text) => Self::Dead(text),
            Unopened::Busy(text) => Self::Busy(text),
        }
    }
}

impl Ssh {
    pub(super) fn new(configuration: Configuration, max_connections: usize) -> Self {
        Self {
            configuration,
            control: OnceCell::new(),
            connecting: Semaphore::new(max_connections.max(1)),
            nodes: StdMutex::default(),
        }
    }

    /// Runs a command on a node.
    pub(super) async fn run(&self, place: &str, command: Command) -> Result<Output, RunError> {
        let node = self.node(place)?;
        let _channel = node
            .channels
            .acquire()
            .await
            .map_err(|error| RunError::NotStarted(error.to_string()))?;
        let (mut retried, mut busy, mut takes_spare) = (false, 0, true);
        loop {
            let master = self.master(&node).await.map_err(RunError::NotStarted)?;
            let spare =
                if takes_spare { node.spares.take(&master, command.sudo).await } else { None };
            if spare.is_some() {
                // Commands follow each other.
                node.spares.open(&master, command.sudo);
            }
            let failure = match attempt(&master, place, &command, spare).await {
                Ok(output) => return Ok(output),
                Err(failure) => failure,
            };
            match failure {
                Failure::Stale => takes_spare = false,
                Failure::Busy(_) if busy < BUSY_LIMIT => {
                    node.spares.refuse();
                    busy += 1;
                    sleep(BUSY_PAUSE).await;
                }
                Failure::Dead(_) if !retried => {
                    retried = true;
                    node.forget(&master).await;
                }
                Failure::Dead(text) | Failure::Busy(text) => {
                    node.forget(&master).await;
                    return Err(RunError::NotStarted(format!("{place}: {text}")));
                }
                Failure::Final(error) => {
                    if matches!(error, RunError::Lost(_)) {
                        node.forget(&master).await;
                    }
                    return Err(error);
                }
            }
        }
    }

    /// A command for this host follows soon: opens a channel for it, if the host is connected.
    pub(super) fn expect(&self, place: &str, sudo: bool) {
        let Ok(node) = self.node(place) else { return };
        // A connection that is being made serves the command itself.
        let master = node.link.try_lock().ok().and_then(|link| link.master.clone());
        if let Some(master) = master {
            node.spares.open(&master, sudo);
        }
    }

    /// Ends every connection and removes the private folder.
    pub(super) async fn close(&self) {
        if let Some(control) = self.control.get() {
            control.close().await;
        }
    }

    fn node(&self, place: &str) -> Result<Arc<Node>, RunError> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(node) = nodes.get(place) {
            return Ok(Arc::clone(node));
        }
        let node = Arc::new(Node {
            place: crate::text::line(place, 120),
            destination: Destination::parse(place).map_err(RunError::NotStarted)?,
            channels: Semaphore::new(CHANNELS),
            spares: Arc::default(),
            link: Mutex::default(),
        });
        nodes.insert(place.to_owned(), Arc::clone(&node));
        Ok(node)
    }

    /// Returns the node's connection; connects first if there is none.
    async fn master(&self, node: &Node) -> Result<Arc<Master>, String> {
        let asked = Instant::now();
        let mut link = node.link.lock().await;
        if let Some(master) = &link.master {
            return Ok(Arc::clone(master));
        }
        if let Some((at, text)) = &link.failure
            && *at > asked
        {
            return Err(text.clone());
        }
        let _turn = self.connecting.acquire().await.map_err(|error| error.to_string())?;
        let control = self
            .control
            .get_or_try_init(|| async { Control::open(&self.configuration) })
            .await
            .map_err(|error| {
                format!("cannot make a private folder for the sockets of ssh: {error}")
            })?;
        match control.connect(&node.place, &node.destination).await {
            Ok(master) => Ok(Arc::clone(link.master.insert(Arc::new(master)))),
            Err(text) => {
                link.failure = Some((Instant::now(), text.clone()));
                Err(text)
            }
        }
    }
}

impl Node {
    /// Lets the next command reconnect, unless another command has done so already.
    async fn forget(&self, dead: &Arc<Master>) {
        let mut link = self.link.lock().await;
        if link.master.as_ref().is_some_and(|master| Arc::ptr_eq(master, dead)) {
            link.master = None;
        }
    }
}

async fn attempt(
    master: &Master,
    place: &str,
    command: &Command,
    spare: Option<RemoteShell>,
) -> Result<Output, Failure> {
    let input = open(&command.stdin).await.map_err(Failure::Final)?;
    let is_spare = spare.is_some();
    let mut child = match spare {
        Some(shell) => shell,
        None => remote_shell::open(master, command.sudo).await?,
    };
    let (Some(stdin), Some(stdout), Some(stderr)) =
        (child.stdin().take(), child.stdout().take(), child.stderr().take())
    else {
        return Err(Failure::Dead("ssh gave no streams".into()));
    };
    let script = Script::new(command);
    let talk = converse(stdin, (stdout, stderr), &script, input, command);
    let exchange = talk.await.map_err(Failure::Final)?;
    // Waiting also keeps the channel counted until the node has ended it.
    let status = timeout(ANSWERING, child.wait()).await.ok().and_then(|result| match result {
        Ok(status) => status.code(),
        Err(Error::Remote(_)) => Some(127),
        Err(_) => None,
    });
    if let Some(end) = exchange.end.clone() {
        return conclude(end, exchange, command, place).map_err(Failure::Final);
    }
    if is_spare && !exchange.sent && alive(master).await {
        return Err(Failure::Stale);
    }
    silent(master, place, exchange, status).await
}

/// Judges a conversation that ended without a status line about the command.
async fn silent(
    master: &Master,
    place: &str,
    exchange: Exchange,
    status: Option<i32>,
) -> Result<Output, Failure> {
    let alive = alive(master).await;
    Err(match (alive, exchange.sent, exchange.started) {
        (false, false, _) => Failure::Dead(master.last_words()),
        (false, true, _) => Failure::Final(RunError::Lost(master.last_words())),
        (true, _, false) => Failure::Final(refused(place, &exchange, status)),
        // The guard was ended, and its end of the life line ended the command too.
        (true, _, true) => {
            return Ok(Output { status: None, ..exchange.output });
        }
    })
}
