//! A node: its files, its processes, and the effects of operations on them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rollgate::node::NodeScript;
use rollgate::world::{Command, HttpError, Output, Reply, RunError};

use crate::consul::Reaction;
use crate::faults::Fate;
use crate::invariants::Rule;
use crate::process::{Cause, Phase, Process, Start, StopWay};
use crate::world::{Answer, SSH_SILENCE, State};

/// The folder of releases.
pub(crate) const RELEASES: &str = "/srv/app/releases";

/// The tools of every node.
const TOOLS: &str = "tool=ss\ntool=tar\ntool=gzip\ntool=sha256sum\ntool=timeout\ntool=setsid\n";

/// How long an idle connection is kept.
const KEPT_OPEN: u64 = 60_000;

/// Clock ticks that a node was up before the world began.
const UP_BEFORE: u64 = 5_000_000;

/// Whether a node that was up was marked down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Taken {
    #[default]
    No,
    /// It did not serve then.
    Dead,
    Serving,
}

/// What the release did to a node, as the world saw it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Deeds {
    /// Registry writes that changed its key.
    pub(crate) writes: u32,
    /// Whether it was up before and was marked down.
    pub(crate) taken: Taken,
    /// A command touched the service, or the version that it runs.
    pub(crate) touched: bool,
    /// The process that ran before.
    pub(crate) before: Option<u32>,
    /// The release with which it served in rotation before.
    pub(crate) ran: Option<String>,
    /// A process that was started since has served.
    pub(crate) served_since: bool,
    /// When it was marked up after that.
    pub(crate) enabled_at: Option<u64>,
    /// Requests that were cut when it was stopped.
    pub(crate) cut: u64,
    /// Requests that a release said to have cut.
    pub(crate) told_cut: u64,
}

/// A request in flight.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InFlight {
    /// Counts all requests.
    pub(crate) number: u64,
    /// The process that works on it.
    pub(crate) pid: u32,
    /// It came from a worker that used an old list.
    pub(crate) astray: bool,
    pub(crate) since: u64,
    /// When it is answered.
    pub(crate) until: u64,
}

/// A node.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Debug, Clone, Default)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) process: Option<Process>,
    pub(crate) releases: BTreeSet<String>,
    uploads: BTreeSet<String>,
    pub(crate) current: String,
    /// The release that every command must keep.
    pub(crate) keeps: Option<String>,
    pub(crate) booted: Option<u64>,
    pub(crate) next_pid: u32,
    pub(crate) unreachable_until: u64,
    pub(crate) next_commands: VecDeque<Fate>,
    pub(crate) next_start: Option<Start>,
    pub(crate) next_stop: Option<StopWay>,
    /// How a bad new version starts here, always.
    pub(crate) bad_version: Option<Start>,
    pub(crate) disk_full: bool,
    /// Its free space in KiB, in place of the usual.
    pub(crate) free: Option<u64>,
    /// Programs that are not installed.
    pub(crate) lacks: Vec<&'static str>,
    /// The status of its health check until the service starts again, in place of the process's.
    pub(crate) ping: Option<u16>,
    /// Its replies do not have the version.
    pub(crate) names_no_version: bool,
    /// Nothing was installed on it before the first release.
    pub(crate) was_empty: bool,
    /// The playbook cannot stop its service.
    pub(crate) keeps_running: bool,
    /// Out of rotation before the first release.
    pub(crate) was_out: bool,
    /// When another writer last marked it up.
    pub(crate) edited_at: Option<u64>,
    /// Why no process serves.
    pub(crate) down_by: Option<Cause>,
    /// When a fault last ended the serving process.
    pub(crate) struck_at: Option<u64>,
    /// Since when a fault leaves it without a serving process.
    pub(crate) died_at: Option<u64>,
    /// Requests in flight.
    pub(crate) requests: Vec<InFlight>,
    answered_at: u64,
    pub(crate) deeds: Deeds,
    /// Until when each operator's idle connection is kept.
    pub(crate) connections: BTreeMap<usize, u64>,
    /// How long the next connection takes, if not the usual time.
    pub(crate) next_connection: Option<u64>,
}

impl Node {
    /// A node that runs the release of that name.
    pub(crate) fn new(number: usize, release: &str) -> Self {
        let pid = 1_000;
        let version = version_of(release).to_owned();
        let ready_at = Some(0);
        let process = Process { pid, started: 1_000, version, phase: Phase::Ready, ready_at };
        Self {
            name: format!("node-{}", number + 1),
            address: format!("10.0.1.{}:9000", number + 1),
            process: Some(process),
            releases: [release.to_owned()].into(),
            current: release.to_owned(),
            next_pid: pid,
            deeds: Deeds { before: Some(pid), ran: Some(release.to_owned()), ..Deeds::default() },
            ..Self::default()
        }
    }

    /// Nothing was ever installed on it.
    pub(crate) fn empty(&mut self) {
        (self.process, self.deeds) = (None, Deeds::default());
        self.was_empty = true;
        self.current.clear();
        self.releases.clear();
        // Requests to it are lost like those to a node that has crashed.
        (self.down_by, self.died_at) = (Some(Cause::Fault), Some(0));
    }

    /// Answers the requests that are due.
    pub(crate) fn answer(&mut self, now: u64) {
        let answered_at = &mut self.answered_at;
        self.requests.retain(|request| {
            let is_open = request.until > now;
            if !is_open {
                *answered_at = request.until.max(*answered_at);
            }
            is_open
        });
    }

    pub(crate) fn serves(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.phase == Phase::Ready)
    }

    /// Whether nothing was installed on it so far. Then it is no fault that it does not serve.
    pub(crate) fn is_empty(&self) -> bool {
        self.was_empty && self.current.is_empty()
    }

    /// Whether it is as the rollback of a first install leaves it: out of rotation, and stopped if the playbook can do
    /// that. A reboot may start the service.
    pub(crate) fn is_as_before_install(&self, up: bool) -> bool {
        let stays = self.keeps_running || self.booted.is_some();
        self.was_empty && !up && (self.process.is_none() || stays)
    }

    pub(crate) fn ticks(&self, clock: u64) -> u64 {
        match self.booted {
            Some(booted) => clock.saturating_sub(booted) / 10,
            None => UP_BEFORE + clock / 10,
        }
    }

    fn listener(&self, clock: u64) -> String {
        let mut text = format!("mark={}\n", self.ticks(clock));
        // A process that is ending has already closed its port.
        let listening = self.process.as_ref().filter(|process| process.phase != Phase::Ending);
        if let Some(Process { pid, started, .. }) = listening {
            let address = &self.address;
            text += &format!(
                "listen=LISTEN 0 511 {address} 0.0.0.0:* users:((\"app\",pid={pid},fd=9))\n\
                 process={pid} {started} /srv/app/current/app\n"
            );
        }
        text
    }

    /// Names the programs that it lacks.
    fn missing(&self, names: &[String]) -> String {
        let missing = names.iter().filter(|name| self.lacks.contains(&name.as_str()));
        missing.flat_map(|name| ["missing=", name, "\n"]).collect()
    }

    fn sockets(&self, clock: u64) -> String {
        let mut text = format!("listen=LISTEN 0 511 {} 0.0.0.0:*\n", self.address);
        let mut connection = |port: usize, sent: u64, last_sent: u64, last_received: u64| {
            text += &format!(
                "0 0 {} 10.0.0.9:{port}\n\t cubic bytes_sent:{sent} bytes_received:100 \
                 lastsnd:{last_sent} lastrcv:{last_received}\n",
                self.address
            );
        };
        for (place, InFlight { number, since, .. }) in self.requests.iter().enumerate() {
            let age = clock.saturating_sub(*since);
            // The first request on its connection, or a further one.
            let (sent, sent_at) = if number.is_multiple_of(2) { (0, age) } else { (200, age + 20) };
            connection(20_000 + place, sent, sent_at, age);
        }
        // A connection that a gateway keeps open.
        let since = clock.saturating_sub(self.answered_at);
        connection(19_999, 200, since, since + 5);
        text
    }
}

/// The version that a release's folder is named after: `app-<version>-<checksum>`.
pub(crate) fn version_of(folder: &str) -> &str {
    folder.split('-').nth(1).unwrap_or(folder)
}

pub(crate) fn output(status: i32, stdout: impl Into<Vec<u8>>, stderr: &str) -> Reaction {
    let (stdout, stderr) = (stdout.into(), stderr.into());
    let output = Output { status: Some(status), stdout, stderr, noise: None };
    Reaction::Answer(0, Answer::Run(Ok(output)))
}

impl State {
    /// How long until an operator's next command can begin: over a channel of its connection, or a new connection.
    pub(crate) fn open_channel(&mut self, operator: usize, at: usize) -> u64 {
        let (usual, slow) = (self.rng.u64(5..=150), self.rng.u64(150..=4_000));
        let is_slow = self.rng.u8(0..8) == 0;
        let node = &mut self.nodes[at];
        let is_open = node.connections.get(&operator).is_some_and(|until| *until >= self.clock);
        let takes = match node.next_connection.take_if(|_| !is_open) {
            Some(takes) => takes,
            None if is_open => 2,
            None if is_slow => slow,
            None => usual,
        };
        node.connections.insert(operator, self.clock + takes + KEPT_OPEN);
        takes
    }

    /// How long a command takes before it has its effect.
    pub(crate) fn command_takes(&mut self, script: &NodeScript) -> u64 {
        match script {
            NodeScript::Upload { .. } => self.rng.u64(50..=2_000),
            NodeScript::Unpack { .. } => self.rng.u64(30..=800),
            NodeScript::User { .. }
            | NodeScript::Survey { .. }
            | NodeScript::Programs { .. }
            | NodeScript::Activate { .. }
            | NodeScript::Prune { .. }
            | NodeScript::Listener { .. }
            | NodeScript::Sockets { .. }
            | NodeScript::Rendered { .. }
            | NodeScript::UnixSocket { .. }
            | NodeScript::Fetch { .. }
            | NodeScript::File { .. }
            | NodeScript::Replace { .. } => self.rng.u64(3..=25),
        }
    }

    /// A restart brings no release, and starts the one that ran.
    pub(crate) fn check_kept(&mut self, at: usize, what: &str) {
        let node = &self.nodes[at];
        if node.keeps.is_some() {
            let text = format!("{} runs {}, {what}", node.name, node.current);
            self.violate(Rule::VersionChanged, text);
        }
    }

    /// A command takes effect on a node.
    pub(crate) fn command(&mut self, at: usize, command: &Command) -> Reaction {
        let clock = self.clock;
        if clock < self.nodes[at].unreachable_until {
            // The connection was lost while the command was under way: ssh notices by itself.
            let lost = RunError::Lost("Timeout, server not responding".into());
            return Reaction::Answer(SSH_SILENCE, Answer::Run(Err(lost)));
        }
        if let NodeScript::Upload { .. } | NodeScript::Unpack { .. } | NodeScript::Activate { .. } =
            &command.script
        {
            self.check_kept(at, "and a restart brings another release");
        }
        match &command.script {
            NodeScript::User { command } => self.user(at, command.trim()),
            NodeScript::Rendered { .. } | NodeScript::File { .. } | NodeScript::Replace { .. } => {
                output(1, "", "nothing is rendered here")
            }
            NodeScript::Fetch { .. } => output(7, "", "curl: (7) connection refused"),
            NodeScript::Programs { names } => output(0, self.nodes[at].missing(names), ""),
            NodeScript::Survey { layout, programs, .. } => {
                let node = &self.nodes[at];
                let mut text = TOOLS.to_owned() + &node.missing(programs);
                if let Some(layout) = layout {
                    let usual = if node.disk_full { 10 } else { 10_000_000 };
                    let free = node.free.unwrap_or(usual);
                    text += &format!("writable=releases\nwritable=current\nfree_kib={free}\n");
                    if !node.current.is_empty() {
                        let current = &node.current;
                        text += &format!("current={RELEASES}/{current}\ncurrent_age=86400\n");
                    }
                    let complete = node.releases.iter();
                    text.extend(complete.flat_map(|name| ["complete=", name, "\n"]));
                    if node.releases.contains(&layout.name) {
                        text += "staged=yes\n";
                    }
                }
                output(0, text + &node.listener(clock), "")
            }
            NodeScript::Upload { layout } | NodeScript::Unpack { layout }
                if self.nodes[at].disk_full =>
            {
                output(
                    1,
                    "",
                    &format!("cat: write error at {}: No space left on device", layout.name),
                )
            }
            NodeScript::Upload { layout } => {
                self.nodes[at].uploads.insert(layout.name.clone());
                output(0, "", "")
            }
            NodeScript::Unpack { layout } => {
                let node = &mut self.nodes[at];
                if node.uploads.remove(&layout.name) {
                    node.releases.insert(layout.name.clone());
                } else if !node.releases.contains(&layout.name) {
                    return output(1, "", "sh: cannot open the upload: No such file");
                }
                output(0, "", "")
            }
            NodeScript::Activate { layout } => {
                self.touch(at);
                let node = &mut self.nodes[at];
                if !node.releases.contains(&layout.name) {
                    return output(1, "", "the folder does not exist");
                }
                node.current.clone_from(&layout.name);
                output(0, "", "")
            }
            NodeScript::Prune { layout, keep, spare } => {
                let deleted = keep.map(|keep| self.prune(at, &layout.name, keep as usize, spare));
                let told = deleted.iter().flatten().map(|name| format!("deleted={name}\n"));
                output(0, told.collect::<String>(), "")
            }
            NodeScript::Listener { .. } => output(0, self.nodes[at].listener(clock), ""),
            NodeScript::Sockets { .. } => output(0, self.nodes[at].sockets(clock), ""),
            // The simulation has no gateway behind a machine.
            NodeScript::UnixSocket { .. } => output(1, String::new(), "there is no such socket"),
        }
    }

    /// Deletes old releases as on a node without notes of earlier releases.
    fn prune(&mut self, at: usize, name: &str, keep: usize, spare: &[String]) -> Vec<String> {
        let node = &mut self.nodes[at];
        let needed = |release: &&String| {
            **release != node.current && *release != name && !spare.contains(release)
        };
        let mut deleted: Vec<_> = node.releases.iter().filter(needed).cloned().collect();
        deleted.truncate(node.releases.len().saturating_sub(keep));
        node.releases.retain(|release| !deleted.contains(release));
        if let Some(ran) = node.deeds.ran.clone().filter(|ran| deleted.contains(ran)) {
            let text = format!("{} ran {ran} before the release, which deletes it", node.name);
            self.violate(Rule::WayBackLost, text);
        }
        deleted
    }

    fn user(&mut self, at: usize, command: &str) -> Reaction {
        let program = command.split(' ').next().unwrap_or_default();
        if self.nodes[at].lacks.contains(&program) {
            return output(127, "", &format!("sh: {program}: not found"));
        }
        match command {
            "true" => output(0, "", ""),
            "svc log" => output(0, "app: starting\napp: no database\n", ""),
            "svc note" => {
                self.touch(at);
                output(0, "", "")
            }
            "svc stop" if self.nodes[at].current.is_empty() => {
                output(5, "", "Failed to stop app.service: Unit app.service not loaded.")
            }
            "svc stop" => self.end(at, false),
            "svc restart" => self.end(at, true),
            "svc start" => {
                self.touch(at);
                if self.nodes[at].next_start == Some(Start::Fails) {
                    self.nodes[at].next_start = None;
                    return output(1, "", "app: cannot read its configuration");
                }
                self.spawn(at, true);
                output(0, "", "")
            }
            _ => output(127, "", "sh: not found"),
        }
    }

    pub(crate) fn touch(&mut self, at: usize) {
        self.nodes[at].deeds.touched = true;
    }

    /// A node's own HTTP: its check and its count of requests.
    pub(crate) fn node_serves(&mut self, host: &str, path: &str) -> Result<Reply, HttpError> {
        self.connects(host)?;
        let Some(node) = self.nodes.iter().find(|node| node.address == host) else {
            return Err(HttpError::NotSent("no such host".into()));
        };
        let Some(process) = &node.process else {
            return Err(HttpError::NotSent("connection refused".into()));
        };
        let mut headers = BTreeMap::from([("x-app-version".to_owned(), process.version.clone())]);
        headers.retain(|_, _| !node.names_no_version);
        let (status, body) = match (path, process.phase) {
            ("/ping", _) if node.ping.is_some() => {
                (node.ping.unwrap_or_default(), "not found".to_owned())
            }
            ("/metrics", _) => (200, format!("{{\"in_flight\":{}}}", node.requests.len())),
            (_, Phase::Ready) => (200, "pong".to_owned()),
            (_, Phase::Starting | Phase::Ending) => (503, "not ready".to_owned()),
        };
        Ok(Reply { status, headers, body: body.into_bytes(), ..Reply::default() })
    }

    pub(crate) fn connects(&self, address: &str) -> Result<(), HttpError> {
        let node = self.nodes.iter().find(|node| node.address == address);
        let listens = node.and_then(|node| node.process.as_ref());
        match listens {
            Some(process) if process.phase != Phase::Ending => Ok(()),
            Some(_) | None => Err(HttpError::NotSent("connection refused".into())),
        }
    }

    /// The instances that Consul's own checks find passing; read only where it matters.
    pub(crate) fn passing(&self, path: &str) -> Vec<(String, bool)> {
        if !path.starts_with("/v1/health/") {
            return Vec::new();
        }
        self.nodes.iter().map(|node| (node.address.clone(), node.serves())).collect()
    }
}
