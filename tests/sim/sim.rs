//! The port: rollgate's [`World`] over the simulated [`State`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rollgate::world::{Command, Host, HttpError, Output, Reply, Request, RunError, World};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::schedule::Schedule;
use crate::world::{Answer, State, What};

/// The time that the real world adds to a command's own before it gives up the connection.
const SSH_GRACE: u64 = 7_000;

/// How many connections of a row are opened, and answered, at once: as rollgate does it, and more in long rows.
const STEP: usize = 4;
const LATER_STEP: usize = 16;
const SOON: usize = 16;

/// The world that operators share.
pub(crate) type Shared = Arc<Mutex<State>>;

/// The world as one operator reaches it, within a runtime of its own.
pub(crate) struct Sim {
    pub(crate) operator: usize,
    begun: Instant,
    /// The world's clock at `begun`.
    since: AtomicU64,
    state: Shared,
}

/// A call under way; dropping it abandons the call.
struct Waiting<'a> {
    sim: &'a Sim,
    id: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.sim.state().abandon(self.id);
    }
}

impl Sim {
    /// A world for the schedule, within a paused runtime.
    pub(crate) fn new(schedule: &Schedule, history: bool) -> Self {
        Self::reach(&Arc::new(Mutex::new(State::new(schedule, history))), 0, 0)
    }

    /// The world for an operator whose time begins at `since`.
    pub(crate) fn reach(state: &Shared, operator: usize, since: u64) -> Self {
        let since = AtomicU64::new(since);
        Self { operator, begun: Instant::now(), since, state: state.clone() }
    }

    /// The world went on for this long while this operator and its clock were suspended.
    pub(crate) fn slept(&self, milliseconds: u64) {
        self.since.fetch_add(milliseconds, Ordering::Relaxed);
    }

    pub(crate) fn clock(&self) -> u64 {
        let elapsed = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.since.load(Ordering::Relaxed).saturating_add(elapsed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the current state.
    pub(crate) fn look<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        state.advance(self.clock());
        with(&mut state)
    }

    /// Sleeps until a moment of the world's clock.
    pub(crate) async fn until(&self, clock: u64) {
        let after = clock.saturating_sub(self.since.load(Ordering::Relaxed));
        tokio::time::sleep_until(self.begun + Duration::from_millis(after)).await;
    }

    async fn call(&self, what: What, limit: Duration) -> Option<Answer> {
        let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let deadline = self.clock().saturating_add(limit);
        let waiting =
            Waiting { sim: self, id: self.look(|state| state.begin(self.operator, what)) };
        loop {
            let (next, woken) = match self.look(|state| state.take_answer(waiting.id)) {
                Ok(answer) => return Some(answer),
                Err(next) => next,
            };
            if self.clock() >= deadline {
                return None;
            }
            let sleep = self.until(next.min(deadline));
            match woken {
                None => sleep.await,
                Some(woken) => tokio::select! {
                    biased;
                    () = woken.notified() => {}
                    () = sleep => {}
                },
            }
        }
    }
}

impl World for Sim {
    async fn http(&self, request: Request) -> Result<Reply, HttpError> {
        let timeout = request.timeout;
        match self.call(What::Http(request), timeout).await {
            Some(Answer::Http(reply)) => reply,
            Some(_) | None => Err(HttpError::TimedOut(timeout)),
        }
    }

    async fn http_held(
        &self,
        request: Request,
        connections: usize,
        replies: mpsc::Sender<Result<Reply, HttpError>>,
    ) {
        let timeout = request.timeout;
        let mut begun = 0;
        while begun < connections {
            // Most callers have seen enough before that.
            let most = if begun < SOON { STEP } else { LATER_STEP };
            let step = most.min(connections - begun);
            begun += step;
            let answers = match self.call(What::Row(request.clone(), step), timeout).await {
                Some(Answer::Row(answers)) => answers,
                Some(Answer::Http(Err(error))) => vec![Err(error); step],
                _ => vec![Err(HttpError::TimedOut(timeout)); step],
            };
            for reply in answers {
                let reply = reply.map(|reply| Reply { stays_open: true, ..reply });
                if replies.send(reply).await.is_err() {
                    return;
                }
            }
        }
    }

    async fn run(&self, host: &Host, mut command: Command) -> Result<Output, RunError> {
        let timeout = command.timeout;
        let name = host.to_string();
        let node = self.look(|state| state.nodes.iter().position(|node| node.name == name));
        let Some(node) = node else {
            return Err(RunError::NotStarted(format!("no host {name}")));
        };
        let open = self.look(|state| state.open_channel(self.operator, node));
        self.until(self.clock() + open).await;
        // The world outlives its operators, so it must keep nothing of theirs.
        std::mem::take(&mut command.permit).ask().await?;
        let limit = timeout + Duration::from_millis(SSH_GRACE);
        match self.call(What::Run(node, command), limit).await {
            Some(Answer::Run(output)) => output,
            Some(_) | None => Err(RunError::TimedOut { after: timeout, left: 0 }),
        }
    }

    async fn exchange(
        &self,
        address: &str,
        say: &[u8],
        timeout: Duration,
    ) -> Result<Vec<u8>, HttpError> {
        assert!(say.is_empty(), "nothing here understands it");
        match self.call(What::Connect(address.to_owned()), timeout).await {
            Some(Answer::Http(reply)) => reply.map(|_| Vec::new()),
            Some(_) | None => Err(HttpError::TimedOut(timeout)),
        }
    }

    fn now(&self) -> jiff::Timestamp {
        time_of_day(self.clock())
    }
}

/// The time of day at a moment, in milliseconds from the beginning.
pub(crate) fn time_of_day(clock: u64) -> jiff::Timestamp {
    let begin = jiff::Timestamp::from_second(1_750_000_000).expect("a time");
    begin + Duration::from_millis(clock)
}
