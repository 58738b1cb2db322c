//! The simulated world: one clock, one queue of what is going to happen, one seeded chance.
//!
//! Everything happens through the queue, in the order of virtual time; the first task that reads the world lets it happen. A call
//! puts its effect into the queue and sleeps until its answer is there. A caller that gives up meanwhile takes
//! nothing back: what was sent may still arrive.

mod blocking;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fastrand::Rng;
use rollgate::engine::StopReason;
use rollgate::world::{Command, HttpError, Output, Reply, Request, RunError};
use tokio::sync::{Notify, watch};

use blocking::Watched;

use crate::clients::Clients;
use crate::consul::{Consul, Reaction};
use crate::faults::{Fate, Fault, When};
use crate::fence::Fence;
use crate::gateway::Gateway;
use crate::history_text::{is_lock, is_look, named, shown};
use crate::invariants::Watch;
use crate::node::Node;
use crate::process::Cause;
use crate::schedule::{PREFIX, Schedule};

/// How long a command's connection may be silent before ssh itself gives it up.
pub(crate) const SSH_SILENCE: u64 = 18_000;

/// Something that will happen.
#[derive(Debug, Clone)]
pub(crate) enum Happening {
    /// A call reaches its target.
    Arrives(u64),
    /// A gateway's worker asks the registry.
    Follows { gateway: usize, worker: usize, generation: u32 },
    /// A gateway's own checks show every node.
    Checks { gateway: usize },
    /// A process can serve.
    Ready { node: usize, pid: u32 },
    /// A process ends.
    Exits { node: usize, pid: u32, cause: Cause },
    /// A service is started.
    Spawns { node: usize, ours: bool },
    /// A fault of the schedule.
    Strikes(Fault),
}

/// What is asked of the world.
#[derive(Debug, Clone)]
pub(crate) enum What {
    Http(Request),
    /// The same request over so many connections that are open together.
    Row(Request, usize),
    Run(usize, Command),
    Connect(String),
}

/// What the world answers.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Http(Result<Reply, HttpError>),
    Row(Vec<Result<Reply, HttpError>>),
    Run(Result<Output, RunError>),
}

/// A call that has no answer yet, or whose answer is on its way.
struct Call {
    operator: usize,
    what: What,
    fate: Fate,
    arrived: bool,
    abandoned: bool,
    /// For a blocking query: when it was received.
    since: Option<u64>,
    /// When the caller should look again.
    next: u64,
    /// Wakes the caller of a blocking query.
    woken: Option<Arc<Notify>>,
    /// When it is looked at again, if nothing changes before.
    looked_again: u64,
    answer: Option<(u64, Answer)>,
}

/// Everything there is.
pub(crate) struct State {
    /// Milliseconds since the world began.
    pub(crate) clock: u64,
    pub(crate) rng: Rng,
    pub(crate) consul: Consul,
    pub(crate) gateways: Vec<Gateway>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) clients: Clients,
    pub(crate) watch: Watch,
    pub(crate) fence: Fence,
    /// How many operators there were.
    pub(crate) operators: usize,
    /// Nodes whose key another writer changes right before the next write to it.
    pub(crate) edits: Vec<usize>,
    pub(crate) stop: watch::Sender<StopReason>,
    /// When it will be asked to stop.
    pub(crate) signals: BTreeSet<u64>,
    /// More signals will come than before.
    pub(crate) signals_changed: Arc<Notify>,
    /// When a fault last changed something.
    pub(crate) disturbed_at: Option<u64>,
    /// When the release was asked to stop.
    pub(crate) stopped_at: Option<u64>,
    queue: BTreeMap<(u64, u64), Happening>,
    queued: u64,
    calls: BTreeMap<u64, Box<Call>>,
    /// Blocking queries that wait for a change.
    blocked: Vec<u64>,
    /// What there was when they were looked at last.
    watched: Watched,
    /// How many calls were made.
    pub(crate) made: u64,
    /// How many events were written down.
    durable: u64,
    at_call: BTreeMap<u64, Vec<Fault>>,
    at_event: BTreeMap<u64, Vec<Fault>>,
    history: Option<Vec<String>>,
}

impl State {
    /// The world as a schedule says.
    pub(crate) fn new(schedule: &Schedule, history: bool) -> Self {
        let (stop, _) = watch::channel(StopReason::No);
        let mut state = State {
            clock: 0,
            rng: Rng::with_seed(schedule.seed ^ 0x005e_ed0f_0cc0_ffee),
            consul: Consul::new(schedule.shape.servers),
            gateways: Vec::new(),
            nodes: Vec::new(),
            clients: Clients::default(),
            watch: Watch::new(&schedule.shape),
            fence: Fence::default(),
            operators: 0,
            edits: Vec::new(),
            stop,
            signals: BTreeSet::new(),
            signals_changed: Arc::default(),
            disturbed_at: None,
            stopped_at: None,
            queue: BTreeMap::new(),
            queued: 0,
            calls: BTreeMap::new(),
            blocked: Vec::new(),
            watched: Watched::default(),
            made: 0,
            durable: 0,
            at_call: BTreeMap::new(),
            at_event: BTreeMap::new(),
            history: history.then(Vec::new),
        };
        schedule.furnish(&mut state);
        for (when, fault) in &schedule.faults {
            match when {
                When::At(at) if matches!(fault, Fault::Signal) => state.signal_at(*at),
                When::At(at) => state.after(*at, Happening::Strikes(fault.clone())),
                When::Call(call) => state.at_call.entry(*call).or_default().push(fault.clone()),
                When::Event(event) => {
                    state.at_event.entry(*event).or_default().push(fault.clone());
                }
            }
        }
        state
    }

    /// Puts something into the queue.
    pub(crate) fn after(&mut self, delay: u64, happening: Happening) {
        self.queued += 1;
        self.queue.insert((self.clock + delay, self.queued), happening);
    }

    /// Writes a line of history, if it is wanted.
    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(history) = &mut self.history {
            let (seconds, millis) = (self.clock / 1000, self.clock % 1000);
            history.push(format!("{seconds:>5}.{millis:03} {}", line()));
        }
    }

    /// What happened so far, if the history is wanted.
    pub(crate) fn history(&self) -> Vec<String> {
        self.history.clone().unwrap_or_default()
    }

    /// Lets everything happen up to `now`.
    pub(crate) fn advance(&mut self, now: u64) {
        self.wake_blocked();
        while let Some(entry) = self.queue.first_entry() {
            let (at, _) = *entry.key();
            if at > now {
                break;
            }
            let happening = entry.remove();
            self.serve_clients(at);
            self.clock = self.clock.max(at);
            self.happen(happening);
            self.wake_blocked();
        }
        self.serve_clients(now);
        self.clock = self.clock.max(now);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrives(call) => self.arrive(call),
            Happening::Follows { gateway, worker, generation } => {
                self.follow(gateway, worker, generation);
            }
            Happening::Checks { gateway } => self.check(gateway),
            Happening::Ready { node, pid } => self.ready(node, pid),
            Happening::Exits { node, pid, cause } => self.exit(node, pid, cause),
            Happening::Spawns { node, ours } => self.spawn(node, ours),
            Happening::Strikes(fault) => self.strike(&fault),
        }
    }

    /// An event of the release is on the disk.
    pub(crate) fn written_down(&mut self, line: impl FnOnce() -> String) {
        self.note(line);
        self.durable += 1;
        for fault in self.at_event.remove(&self.durable).unwrap_or_default() {
            self.strike(&fault);
        }
    }

    /// A new operator hears signals.
    pub(crate) fn listen(&mut self) {
        self.stop = watch::channel(StopReason::No).0;
        self.stopped_at = None;
    }

    /// Whatever was still to go wrong does not.
    pub(crate) fn cancel_faults(&mut self) {
        self.at_call.clear();
        self.at_event.clear();
        self.signals.clear();
        self.queue.retain(|_, happening| {
            !matches!(
                happening,
                Happening::Strikes(_) | Happening::Exits { cause: Cause::Fault, .. }
            )
        });
    }

    pub(crate) fn begin(&mut self, operator: usize, what: What) -> u64 {
        // Each connection of a row counts.
        self.made += if let What::Row(_, connections) = &what { *connections as u64 } else { 1 };
        let id = self.made;
        while let Some(entry) = self.at_call.first_entry().filter(|entry| *entry.key() <= id) {
            for fault in entry.remove() {
                self.strike(&fault);
            }
        }
        let fate = self.fate(&what);
        self.note(|| format!("{operator}: call {id}: {}{}", named(&what), fate.said()));
        self.check_fence(operator, &what, &fate);
        let takes = self.takes(&what);
        let mut call = Box::new(Call {
            operator,
            what,
            fate,
            arrived: false,
            abandoned: false,
            since: None,
            next: u64::MAX,
            woken: None,
            looked_again: 0,
            answer: None,
        });
        match &call.fate {
            Fate::NotSent(problem) => {
                let answer = match call.what {
                    What::Run(..) => Answer::Run(Err(RunError::NotStarted(problem.clone()))),
                    What::Http(_) | What::Row(..) | What::Connect(_) => {
                        Answer::Http(Err(HttpError::NotSent(problem.clone())))
                    }
                };
                call.answer = Some((self.clock + takes, answer));
            }
            Fate::Vanishes => self.silent(&mut call),
            Fate::Plain | Fate::AnswerLost | Fate::AnswerSilent | Fate::CommittedThen500(_) => {
                call.next = self.clock + takes;
                self.after(takes, Happening::Arrives(id));
            }
            Fate::Late(delay) => {
                let delay = *delay;
                self.silent(&mut call);
                self.after(delay, Happening::Arrives(id));
            }
        }
        self.calls.insert(id, call);
        id
    }

    /// Nobody answers; ssh notices by itself after a while.
    fn silent(&mut self, call: &mut Call) {
        if matches!(call.what, What::Run(..)) {
            let lost = RunError::Lost("Timeout, server not responding".into());
            call.answer = Some((self.clock + SSH_SILENCE, Answer::Run(Err(lost))));
        }
    }

    fn takes(&mut self, what: &What) -> u64 {
        match what {
            What::Http(_) | What::Row(..) | What::Connect(_) => self.rng.u64(1..=4),
            What::Run(_, command) => self.command_takes(&command.script),
        }
    }

    fn arrive(&mut self, id: u64) {
        let Some(mut call) = self.calls.remove(&id) else { return };
        if call.answer.is_some() && call.since.is_some() {
            // A blocking query was answered before the end of its time.
            self.calls.insert(id, call);
            return;
        }
        call.arrived = true;
        if matches!(call.fate, Fate::Late(_)) {
            self.disturbed_at = Some(self.clock);
        }
        call.next = u64::MAX;
        let reaction = match &call.what {
            What::Http(request) => self.serve(call.operator, request, call.since),
            What::Row(request, connections) => self.serve_row(request, *connections),
            What::Connect(address) => {
                let reply = self.connects(address).map(|()| Reply::default());
                Reaction::Answer(0, Answer::Http(reply))
            }
            What::Run(node, command) => self.command(*node, command),
        };
        match reaction {
            Reaction::Blocks(until) => {
                self.block(id, &mut call, until);
            }
            Reaction::Never => {}
            Reaction::Answer(delay, answer) => {
                let at = self.clock + delay + self.rng.u64(1..=4);
                self.note_answer(id, &call.what, &answer);
                match call.fate {
                    Fate::Plain => call.answer = Some((at, answer)),
                    Fate::AnswerLost => {
                        let broken = match answer {
                            Answer::Run(_) => Answer::Run(Err(RunError::Lost("reset".into()))),
                            Answer::Http(_) | Answer::Row(_) => {
                                Answer::Http(Err(HttpError::Broken("reset".into())))
                            }
                        };
                        call.answer = Some((at, broken));
                    }
                    Fate::CommittedThen500(lasts) => {
                        self.consul.election_until = self.clock + lasts;
                        let body = b"leadership lost while committing log".to_vec();
                        let reply = Reply { status: 500, body, ..Reply::default() };
                        call.answer = Some((at, Answer::Http(Ok(reply))));
                    }
                    Fate::AnswerSilent => self.silent(&mut call),
                    // Its answer, if there is one, was decided when it was made.
                    Fate::NotSent(_) | Fate::Vanishes | Fate::Late(_) => {}
                }
            }
        }
        if !call.abandoned {
            self.calls.insert(id, call);
        }
    }

    fn note_answer(&mut self, id: u64, what: &What, answer: &Answer) {
        let is_left_out = |what: &What| match what {
            What::Http(request) | What::Row(request, _) => is_look(request) || is_lock(request),
            What::Run(..) | What::Connect(_) => false,
        };
        if self.history.is_some() && !is_left_out(what) {
            self.note(|| format!("call {id}: answer {}", shown(answer)));
        }
    }

    /// Answers an HTTP request.
    fn serve(&mut self, operator: usize, request: &Request, since: Option<u64>) -> Reaction {
        let (host, path) = split(&request.url);
        if host.starts_with("consul-") {
            let passing = self.passing(path);
            let clock = self.clock;
            self.edit_first(request);
            let reaction = self.consul.handle(clock, &mut self.rng, request, path, since, &passing);
            for change in self.consul.take_changes() {
                self.registry_written(&change);
            }
            self.note_fence(operator, path, &reaction);
            return reaction;
        }
        if let Some(gateway) = self.gateway(host) {
            if self.is_frozen(gateway) {
                return Reaction::Never;
            }
            let reply = self.shows(gateway, path, 1).pop().unwrap_or_default();
            return Reaction::Answer(0, Answer::Http(Ok(reply)));
        }
        Reaction::Answer(0, Answer::Http(self.node_serves(host, path)))
    }

    /// Answers the same request over several connections to a gateway.
    fn serve_row(&mut self, request: &Request, connections: usize) -> Reaction {
        let (host, path) = split(&request.url);
        match self.gateway(host) {
            None => {
                Reaction::Answer(0, Answer::Http(Err(HttpError::NotSent("no such host".into()))))
            }
            Some(gateway) if self.is_frozen(gateway) => Reaction::Never,
            Some(gateway) => {
                let replies = self.shows(gateway, path, connections);
                Reaction::Answer(0, Answer::Row(replies.into_iter().map(Ok).collect()))
            }
        }
    }

    fn gateway(&self, host: &str) -> Option<usize> {
        self.gateways.iter().position(|gateway| gateway.name == host)
    }

    /// Whether none of its workers runs.
    fn is_frozen(&self, gateway: usize) -> bool {
        let mut workers = self.gateways[gateway].workers.iter();
        workers.all(|worker| self.clock < worker.frozen_until)
    }

    /// A change of the registry reaches the gateways that wait for one.
    pub(crate) fn registry_changed(&mut self, key: &str) {
        if key.starts_with(PREFIX) {
            self.wake_followers();
        }
    }

    /// Takes the answer to a call, or says when its caller should look again, and what wakes it before that.
    pub(crate) fn take_answer(&mut self, id: u64) -> Result<Answer, (u64, Option<Arc<Notify>>)> {
        let Some(call) = self.calls.get(&id) else { return Err((u64::MAX, None)) };
        match &call.answer {
            Some((at, _)) if *at > self.clock => return Err((*at, None)),
            Some(_) => {}
            None if call.woken.is_some() => {
                return Err((self.looks_again(call), call.woken.clone()));
            }
            None => return Err((call.next, None)),
        }
        let call = self.calls.remove(&id).and_then(|call| call.answer);
        call.map(|(_, answer)| answer).ok_or((u64::MAX, None))
    }

    /// The caller has given up; what was sent may have left already.
    pub(crate) fn abandon(&mut self, id: u64) {
        let Some(mut call) = self.calls.remove(&id) else { return };
        self.note(|| format!("call {id}: given up"));
        let pending = !call.arrived || call.since.is_some();
        let late = matches!(call.fate, Fate::Late(_));
        if pending && !call.arrived && (late || self.rng.bool()) {
            call.abandoned = true;
            self.calls.insert(id, call);
        }
    }
}

/// `http://host[:port]/path?query` → host with its port, the rest.
fn split(url: &str) -> (&str, &str) {
    let rest = url.strip_prefix("http://").unwrap_or(url);
    rest.find('/').map_or((rest, "/"), |at| rest.split_at(at))
}
