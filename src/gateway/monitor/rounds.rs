//! Rounds of looks at one gateway. Each round serves every caller that waits: confirmations, checks of capacity,
//! and the watch over nodes that are out. So the number of requests per second does not grow with the number of
//! nodes.
//!
//! * A look counts only for callers that asked before it began.
//! * A round has one look, or a row of connections that are held open together. Its size is the largest that a due
//!   caller needs. A confirmation that needs more takes no part, because fewer connections show it nothing.
//! * A waiting caller that finds the seat free performs the next round. If it is dropped during the round, the
//!   round is lost, and the next waiting caller takes the seat.
//! * [`Pace`] limits the looks.

use std::collections::BTreeMap;
use std::ops::ControlFlow::{Break, Continue};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::attempt::{Attempt, Part};
use crate::gateway::look::{Look, Looker};
use crate::gateway::observation::Observation;
use crate::gateway::proof::{ASSUMED_WORKERS, Method, Rule};
use crate::gateway::roster::Roster;
use crate::gateway::shared_read::READ_EVERY;
use crate::gateway::view::View;
use crate::world::World;

/// The share of a gateway's time that one look costs. Over a longer time, this is the shortest interval between
/// looks.
const COST: Duration = Duration::from_millis(2);

/// How much of this time may be used at once.
const BURST: Duration = Duration::from_millis(500);

/// The observation of a gateway, or why it could not be read.
type Seen = Result<Arc<Observation>, String>;

/// The rounds of one gateway.
pub(super) struct Rounds<W> {
    looker: Looker<W>,
    nodes: Arc<[String]>,
    rule: Rule,
    roster: Arc<Mutex<Roster>>,
    waiting: Mutex<Waiting>,
    pace: Mutex<Pace>,
    /// Held by the caller that performs the next round.
    seat: tokio::sync::Mutex<()>,
    /// Another caller waits.
    arrived: Notify,
    /// How many rounds have ended.
    ended: AtomicU64,
    /// Wakes the callers at the end of a round, in the order in which they began to wait.
    end: Notify,
}

/// The callers that wait for looks.
#[derive(Default)]
struct Waiting {
    attempts: BTreeMap<u64, Attempt>,
    /// The number of the next attempt.
    next: u64,
    /// How many callers wait for an observation.
    observers: usize,
    /// The last observation, and when it began.
    latest: Option<(Instant, Seen)>,
}

/// How fast a gateway may be read.
#[derive(Default)]
struct Pace {
    /// When the time that past looks have used is over.
    used_until: Option<Instant>,
}

impl Pace {
    /// When the next look may begin.
    fn next(&self) -> Option<Instant> {
        self.used_until.and_then(|until| until.checked_sub(BURST))
    }

    fn spend(&mut self, looks: u32) {
        let now = Instant::now();
        let from = self.used_until.map_or(now, |until| until.max(now));
        self.used_until = Some(from + COST * looks);
    }
}

/// An observation in progress.
struct Observing {
    observation: Observation,
    problem: Option<String>,
    server: Option<String>,
    /// What it has taken in: the same view of the same worker adds nothing.
    taken: Vec<(Arc<View>, Option<String>)>,
    /// How many more looks it needs at most.
    left: usize,
}

/// A waiting attempt. Dropping this ends it.
pub(super) struct Ticket<'a, W> {
    rounds: &'a Rounds<W>,
    number: u64,
}

impl<W> Ticket<'_, W> {
    /// Takes the method of the confirmation, or the current state if it should be reported.
    pub(super) fn news(&self) -> (Option<Method>, Option<String>) {
        let mut waiting = self.rounds.waiting();
        let attempt = waiting.attempts.get_mut(&self.number);
        attempt.map_or((None, None), |attempt| (attempt.proven, attempt.news.take()))
    }

    /// Ends the attempt.
    pub(super) fn end(self) -> Option<Attempt> {
        self.rounds.waiting().attempts.remove(&self.number)
    }
}

impl<W> Drop for Ticket<'_, W> {
    fn drop(&mut self) {
        self.rounds.waiting().attempts.remove(&self.number);
    }
}

/// A caller that waits for an observation. Dropping this ends the wait.
struct Observer<'a, W>(&'a Rounds<W>);

impl<W> Drop for Observer<'_, W> {
    fn drop(&mut self) {
        self.0.waiting().observers -= 1;
    }
}

impl<W> Rounds<W> {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W: World> Rounds<W> {
    pub(super) fn new(
        looker: Looker<W>,
        nodes: Arc<[String]>,
        rule: Rule,
        roster: Arc<Mutex<Roster>>,
    ) -> Self {
        Self {
            looker,
            nodes,
            rule,
            roster,
            waiting: Mutex::default(),
            pace: Mutex::default(),
            seat: tokio::sync::Mutex::default(),
            arrived: Notify::new(),
            ended: AtomicU64::new(0),
            end: Notify::new(),
        }
    }

    /// Lets an attempt take part in rounds.
    pub(super) fn join(&self, attempt: Attempt) -> Ticket<'_, W> {
        let mut waiting = self.waiting();
        let number = waiting.next;
        waiting.next += 1;
        waiting.attempts.insert(number, attempt);
        self.arrived.notify_one();
        Ticket { rounds: self, number }
    }

    /// How many rounds have ended so far.
    pub(super) fn ended(&self) -> u64 {
        self.ended.load(Ordering::SeqCst)
    }

    /// Waits until more rounds than `ended` have ended, and counts them. Performs the round if no other caller does.
    pub(super) async fn next(&self, ended: &mut u64) {
        let mut end = pin!(self.end.notified());
        end.as_mut().enable();
        if self.ended() == *ended {
            tokio::select! {
                biased;
                () = end => {}
                _seat = self.seat.lock() => self.perform().await,
            }
        }
        *ended = self.ended();
    }

    /// Returns the observation of looks that began at `since` or later.
    pub(super) async fn observe(&self, since: Instant) -> Seen {
        self.waiting().observers += 1;
        let _observer = Observer(self);
        self.arrived.notify_one();
        let mut ended = self.ended();
        loop {
            let latest = self.waiting().latest.clone();
            if let Some((_, seen)) = latest.filter(|(begun, _)| *begun >= since) {
                return seen;
            }
            self.next(&mut ended).await;
        }
    }

    /// Waits until the pace allows one more query that is not a look.
    pub(super) async fn one_more(&self) {
        loop {
            let next = self.pace().next();
            match next.filter(|next| *next > Instant::now()) {
                Some(next) => sleep_until(next).await,
                None => return self.pace().spend(1),
            }
        }
    }

    /// Performs a round when one is due.
    async fn perform(&self) {
        let (connections, observes) = loop {
            let now = Instant::now();
            let (due, round) = self.due(now);
            if let Some(round) = round {
                break round;
            }
            tokio::select! {
                biased;
                () = self.arrived.notified() => {}
                () = sleep_until(due) => {}
            }
        };
        let begun = Instant::now();
        for attempt in self.waiting().attempts.values_mut() {
            attempt.begin(begun, connections);
        }
        let mut observing = observes.then(|| Observing {
            observation: Observation::default(),
            problem: None,
            server: None,
            taken: Vec::new(),
            left: self.observed_connections(),
        });
        let mut looks = 0;
        let mut take = |look: Result<Look, String>| {
            looks += 1;
            let goes_on = self.hand_out(&look, observing.as_mut());
            if goes_on { Continue(()) } else { Break(()) }
        };
        let whole = if connections == 1 {
            let look = self.looker.one().await;
            let _ = take(look);
            false
        } else {
            self.looker.row(connections, take).await
        };
        self.pace().spend(looks);
        let mut waiting = self.waiting();
        for attempt in waiting.attempts.values_mut() {
            attempt.end_round(whole);
        }
        if let Some(Observing { observation, problem, server, .. }) = observing {
            self.roster.lock().unwrap_or_else(PoisonError::into_inner).learn(server.as_deref());
            waiting.latest = Some((begun, problem.map_or(Ok(Arc::new(observation)), Err)));
        }
        drop(waiting);
        self.ended.fetch_add(1, Ordering::SeqCst);
        self.end.notify_waiters();
    }

    /// Gives a look to every caller that takes part in the round. Returns whether any of them needs another look.
    fn hand_out(&self, look: &Result<Look, String>, observing: Option<&mut Observing>) -> bool {
        let mut goes_on = false;
        for attempt in self.waiting().attempts.values_mut() {
            if attempt.part != Part::None {
                attempt.take(look);
                goes_on |= attempt.part != Part::None;
            }
        }
        if let Some(observing) = observing {
            self.observe_look(look, observing);
            goes_on |= observing.left > 0;
        }
        goes_on
    }

    fn observe_look(&self, look: &Result<Look, String>, observing: &mut Observing) {
        if observing.left == 0 {
            return;
        }
        observing.left -= 1;
        match look {
            Ok(look) => {
                if look.server.is_some() && observing.server != look.server {
                    observing.server.clone_from(&look.server);
                }
                let is_same = |(view, worker): &(Arc<View>, Option<String>)| {
                    Arc::ptr_eq(view, &look.view) && *worker == look.worker
                };
                if observing.taken.iter().any(is_same) {
                    observing.observation.take_again();
                } else {
                    observing.observation.take(look, &self.nodes);
                    observing.taken.push((look.view.clone(), look.worker.clone()));
                }
                let met = observing.observation.workers.len();
                // The number of workers is known and each one has answered, so more looks cannot show more.
                if self.rule.workers.is_some_and(|all| all > 1 && met >= all as usize) {
                    observing.left = 0;
                }
            }
            Err(problem) => (observing.problem, observing.left) = (Some(problem.clone()), 0),
        }
    }

    /// How many connections an observation needs to read every worker once, if workers can be distinguished or
    /// reached.
    fn observed_connections(&self) -> usize {
        let roster = self.roster.lock().unwrap_or_else(PoisonError::into_inner);
        if self.rule.workers == Some(1) && !roster.is_contradicted() {
            return 1;
        }
        let all = self.rule.workers.filter(|workers| *workers > 1).unwrap_or(ASSUMED_WORKERS);
        Rule { workers: Some(all), ..self.rule }.reads(roster.is_even()) as usize
    }

    /// When to check again whether a round is due, and the round that is due now: how many connections it needs,
    /// and whether it observes.
    fn due(&self, now: Instant) -> (Instant, Option<(usize, bool)>) {
        let (waiting, every_worker) = (self.waiting(), self.observed_connections());
        let paced = self.pace().next().unwrap_or(now);
        let attempts = waiting.attempts.values().filter(|attempt| attempt.proven.is_none());
        let due = attempts.clone().map(|attempt| attempt.due.max(paced)).min();
        let observes = waiting.observers > 0;
        let last = waiting.latest.as_ref().map(|(begun, _)| *begun + READ_EVERY);
        let observed_from = last.map_or(paced, |last| last.max(paced));
        let due = due.into_iter().chain(observes.then_some(observed_from)).min();
        // No caller waits only while the one with the seat is about to end.
        let due = due.unwrap_or(now + BURST);
        if due > now {
            return (due, None);
        }
        let wanted = attempts
            .filter(|attempt| attempt.due <= now)
            .map(|attempt| attempt.wanted(now))
            .chain((observes && observed_from <= now).then_some(every_worker));
        let connections = wanted.max().unwrap_or(1);
        (due, Some((connections, observes && connections >= every_worker)))
    }
}
