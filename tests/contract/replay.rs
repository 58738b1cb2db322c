//! A world in which one gateway answers with recorded bytes. Its clock is tokio's paused one.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rollgate::node::NodeScript;
use rollgate::world::{
    Channel, Command, Host, HttpError, Output, Reply, Request, RunError, Stdin, World,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::stage::{Ailment, Hands, Stage, spec_of};

/// The nodes of every subject.
pub(crate) const NODES: [&str; 3] = ["127.0.0.1:19001", "127.0.0.1:19002", "127.0.0.1:19003"];

/// The address of Consul.
const CONSUL: &str = "http://127.0.0.1:8500";

/// One request to the gateway.
#[derive(Debug)]
pub(crate) enum Question<'a> {
    Http(&'a Request),
    Run(&'a NodeScript),
    /// A file's new content.
    Write(&'a str),
    Exchange(&'a [u8]),
}

impl Question<'_> {
    /// Returns what is sent: the method and URL, the script, or the bytes.
    pub(crate) fn says(&self) -> String {
        match self {
            Self::Http(request) => format!("{:?} {}", request.method, request.url),
            Self::Run(script) => script.text(),
            Self::Write(content) => (*content).to_owned(),
            Self::Exchange(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        }
    }
}

/// The state of the gateway at a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    /// Which nodes the answering worker has down.
    pub(crate) down: [bool; 3],
    /// Which nodes were last marked down, by whichever worker.
    pub(crate) told: [bool; 3],
    /// Requests in flight at the first node.
    pub(crate) in_flight: u64,
    /// Which worker answers.
    pub(crate) worker: u32,
    /// Whether it has the playbook's upstream.
    pub(crate) knows: bool,
}

/// The answer to a request.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) reply: Reply,
    /// The exit code of a command.
    pub(crate) exit: i32,
    pub(crate) stderr: String,
    /// Which nodes are down from now on, when the request changes that: a subject with an API of its own sets it.
    pub(crate) effect: Option<[bool; 3]>,
}

impl Answer {
    /// An answer with status 200, or of a successful command.
    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::status(200, body)
    }

    pub(crate) fn status(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let reply = Reply { status, body: body.into(), ..Reply::default() };
        Self { reply, ..Self::default() }
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.reply.headers.insert(name.into(), value.into());
        self
    }
}

/// One kind of gateway, as its driver sees it.
pub(crate) trait Subject: Send + Sync {
    /// The name in messages.
    fn name(&self) -> &'static str;

    /// Its entry in a playbook.
    fn gateway(&self) -> Value;

    /// The registry that it follows.
    fn registry(&self) -> Value {
        json!({ "type": "gateway" })
    }

    /// The nodes' addresses.
    fn nodes(&self) -> [String; 3] {
        NODES.map(str::to_owned)
    }

    /// How many workers follow on their own.
    fn workers(&self) -> u32 {
        1
    }

    /// The longest lag of a worker.
    fn lag(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether it counts requests in flight.
    fn counts(&self) -> bool {
        false
    }

    /// Whether a restart loses the marks of nodes.
    fn forgets(&self) -> bool {
        true
    }

    /// Whether a restart leaves it without any list, like a gateway that never had one.
    fn loses(&self) -> bool {
        false
    }

    /// Whether its answer for an unknown upstream differs from that for an empty one.
    fn tells_the_unknown(&self) -> bool {
        true
    }

    /// Answers with the bytes of a real gateway.
    fn answer(&self, question: &Question<'_>, seen: &Seen) -> Answer;
}

/// The state of a gateway in the course of a scenario.
struct State {
    /// Which nodes are down since when, oldest first.
    told: Vec<(Instant, [bool; 3])>,
    in_flight: u64,
    asked: u32,
    writes: usize,
    is_stuck: bool,
    is_respelled: bool,
    has_lost: bool,
    ailment: Option<Ailment>,
}

pub(crate) struct Replay {
    subject: &'static dyn Subject,
    state: Mutex<State>,
}

/// Returns the stage of a subject.
pub(crate) fn stage_of(subject: &'static dyn Subject) -> Stage<Replay> {
    let nodes = subject.nodes();
    let spec = spec_of(&subject.gateway(), &subject.registry(), &nodes);
    let state = State {
        told: vec![(Instant::now(), [false; 3])],
        in_flight: 0,
        asked: 0,
        writes: 0,
        is_stuck: false,
        is_respelled: false,
        has_lost: false,
        ailment: None,
    };
    let world = Arc::new(Replay { subject, state: Mutex::new(state) });
    Stage::new(&world, spec, Box::new(world.clone()), CONSUL)
}

impl State {
    /// Returns the marks that a worker has: the first worker follows at once, the last after the whole lag.
    fn has(&self, subject: &dyn Subject, worker: u32) -> [bool; 3] {
        let last = subject.workers() - 1;
        if self.is_stuck && worker == last {
            return self.told[0].1;
        }
        let behind = if last == 0 { subject.lag() } else { subject.lag() * worker / last };
        let known = self.told.iter().rev().find(|(since, _)| since.elapsed() >= behind);
        known.unwrap_or(&self.told[0]).1
    }
}

impl Replay {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no scenario continues after a panic")
    }

    /// Answers, or fails to answer, within `timeout`.
    async fn ask(&self, question: Question<'_>, timeout: Duration) -> Result<Answer, HttpError> {
        // A request must take some time; otherwise a paused clock would never move.
        sleep(Duration::from_millis(1)).await;
        let (answer, ailment) = {
            let mut state = self.state();
            let worker = state.asked % self.subject.workers();
            state.asked += 1;
            let ailment = state.ailment.clone();
            if ailment == Some(Ailment::Unreachable) {
                return Err(HttpError::NotSent("connection refused".into()));
            }
            let seen = Seen {
                down: state.has(self.subject, worker),
                told: state.told.last().expect("never empty").1,
                in_flight: state.in_flight,
                worker,
                knows: ailment != Some(Ailment::Unknown) && !state.has_lost,
            };
            let answer = self.subject.answer(&question, &seen);
            let mut answer = answer;
            if state.is_respelled {
                let body = String::from_utf8_lossy(&answer.reply.body).replace("19001", "19009");
                answer.reply.body = body.into_bytes();
            }
            if let Some(effect) =
                answer.effect.filter(|_| !matches!(ailment, Some(Ailment::Garbage(_))))
            {
                state.told.push((Instant::now(), effect));
                state.writes += 1;
                state.has_lost = false;
            }
            (answer, ailment)
        };
        let is_write = answer.effect.is_some();
        match ailment {
            Some(Ailment::Swallowing) if !is_write => Ok(answer),
            Some(Ailment::Silent | Ailment::Swallowing) => {
                sleep(timeout).await;
                Err(HttpError::TimedOut(timeout))
            }
            Some(Ailment::Garbage(garbage)) => Ok(Answer::ok(garbage)),
            Some(Ailment::Cut(length)) => match question {
                // HTTP announces the length of an answer.
                Question::Http(_) => Err(HttpError::Broken("the body ended early".into())),
                Question::Run(_) | Question::Write(_) | Question::Exchange(_) => {
                    let mut answer = answer;
                    answer.reply.body.truncate(length);
                    Ok(answer)
                }
            },
            _ => Ok(answer),
        }
    }
}

impl World for Replay {
    async fn http(&self, request: Request) -> Result<Reply, HttpError> {
        // All requests on one connection reach one worker.
        assert_ne!(request.channel, Channel::Direct, "{}: {}", self.subject.name(), request.url);
        let answer = self.ask(Question::Http(&request), request.timeout).await?;
        Ok(answer.reply)
    }

    async fn run(&self, _: &Host, command: Command) -> Result<Output, RunError> {
        let question = match (&command.script, &command.stdin) {
            (NodeScript::Replace { .. }, Stdin::Text(content)) => Question::Write(content.expose()),
            (script, _) => Question::Run(script),
        };
        let answer = self.ask(question, command.timeout).await;
        let answer = answer.map_err(|error| match error {
            HttpError::TimedOut(time) => RunError::TimedOut { after: time, left: 0 },
            error => RunError::NotStarted(error.to_string()),
        })?;
        let stderr = answer.stderr.into_bytes();
        Ok(Output { status: Some(answer.exit), stdout: answer.reply.body, stderr, noise: None })
    }

    async fn exchange(&self, _: &str, say: &[u8], timeout: Duration) -> Result<Vec<u8>, HttpError> {
        Ok(self.ask(Question::Exchange(say), timeout).await?.reply.body)
    }

    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }
}

impl Hands for Arc<Replay> {
    fn name(&self) -> &str {
        self.subject.name()
    }

    fn mark(&self, node: usize, down: bool) {
        let mut state = self.state();
        let mut now = state.told.last().expect("never empty").1;
        now[node] = down;
        state.told.push((Instant::now(), now));
    }

    fn hold(&self, requests: u64) -> bool {
        self.state().in_flight = requests;
        self.subject.counts()
    }

    fn restart(&self) -> bool {
        if self.subject.forgets() {
            self.state().told = vec![(Instant::now(), [false; 3])];
            self.state().has_lost = self.subject.loses();
        }
        self.subject.forgets()
    }

    fn has_lost_its_list(&self) -> bool {
        self.state().has_lost
    }

    fn befall(&self, ailment: Ailment) -> bool {
        // A gateway that has lost its list looks like one that never had it.
        if ailment == Ailment::Unknown && self.subject.loses() {
            return false;
        }
        self.state().ailment = Some(ailment);
        true
    }

    fn respell(&self) -> bool {
        self.state().is_respelled = true;
        true
    }

    fn tells_the_unknown(&self) -> bool {
        self.subject.tells_the_unknown()
    }

    fn stick(&self) -> bool {
        self.state().is_stuck = true;
        self.subject.workers() > 1
    }

    fn everybody_has(&self, node: usize, down: bool) -> bool {
        let state = self.state();
        (0..self.subject.workers()).all(|worker| state.has(self.subject, worker)[node] == down)
    }

    fn lag(&self) -> Duration {
        self.subject.lag()
    }

    fn writes(&self) -> usize {
        self.state().writes
    }
}
