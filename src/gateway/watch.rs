//! Looking at a gateway until enough was seen.

mod counts;

use std::collections::BTreeSet;
use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};

use super::driver::GatewayInfo;
use super::look::{Look, Looker};
use super::observation::Observation;
use super::proof::{ASSUMED_WORKERS, Method, Proof, Rule, Verdict};
use super::query::QueryClient;
use super::roster::Roster;
use super::view::View;
use super::{GatewaySpec, driver};
use crate::text::{self, duration};
use crate::world::World;

/// The pause after a look that showed a worker behind; it grows up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_millis(20);

/// The longest pause between two looks while a proof is under way.
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// How many connections at once find out how many workers there are, how often that is tried, and how often without finding
/// another one. Where there should be one only, the first row would find a second.
const ACQUAINTANCE: usize = 128;
const MOST_ROWS: u32 = 12;
const ROWS_WITHOUT_NEW: u32 = 3;

/// Why no row reaches every worker.
const ALONE: &str = "its connections do not stay open together (https, or `keepalive_timeout 0`), and an nginx before 1.21.6, \
     or one whose version of nginx is not known, may give all new ones to one worker";

/// A gateway under observation. Clones share what they learn of it.
pub struct Watcher<W> {
    name: String,
    /// The addresses of all nodes.
    nodes: Arc<[String]>,
    looker: Looker<W>,
    roster: Arc<Mutex<Roster>>,
    /// Why its counts of requests cannot be used; asked once.
    miscounts: Arc<OnceCell<Option<String>>>,
}

impl<W> Clone for Watcher<W> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            nodes: self.nodes.clone(),
            looker: self.looker.clone(),
            roster: self.roster.clone(),
            miscounts: self.miscounts.clone(),
        }
    }
}

/// Why there is no proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unproven {
    /// What was seen last, in words.
    pub seen: String,
    /// In the end it could not be read at all.
    pub unreadable: bool,
}

/// A proof that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirmation {
    /// How.
    pub method: Method,
    /// How many replies it took.
    pub reads: u32,
    /// How many workers were told apart.
    pub workers: usize,
    /// How many of the pool's nodes the last reply routes to.
    pub pool: usize,
}

/// A proof under way.
struct Attempt<'a> {
    proof: Proof,
    address: &'a str,
    routed: bool,
    nodes: &'a [String],
    /// The last look gave nothing to read.
    unreadable: bool,
    /// What stood against it last.
    trouble: Option<String>,
    /// How many nodes the last reply routes to.
    serving: usize,
}

impl<W: World> Watcher<W> {
    /// Observes `gateway`.
    #[must_use]
    pub fn new(query_client: QueryClient<W>, gateway: &GatewaySpec) -> Self {
        let nodes: Arc<[String]> = gateway.nodes.clone().into();
        Self {
            name: gateway.name.clone(),
            looker: Looker::new(query_client, driver(gateway).into(), nodes.clone()),
            nodes,
            roster: Arc::default(),
            miscounts: Arc::default(),
        }
    }

    /// What the gateway is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How long a write may take to reach every worker.
    #[must_use]
    pub fn lag(&self) -> Duration {
        self.looker.driver().facts().lag
    }

    fn rule(&self) -> Rule {
        Rule::of(self.looker.driver().facts())
    }

    fn roster(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the gateway does what a proof had ruled out: later proofs of this release need more.
    pub fn contradict(&self) {
        self.roster().contradict();
    }

    /// Waits until the gateway is proven to route to `address`, or to route no requests there.
    ///
    /// A reply that lists none of the other nodes shows nothing at all, and least of all that this one is out. `written` is
    /// when the registry took the change; `tell` hears how it stands, in words.
    ///
    /// # Errors
    ///
    /// At `deadline`: what was seen last.
    pub async fn confirm(
        &self,
        address: &str,
        routed: bool,
        written: Instant,
        deadline: Instant,
        tell: impl Fn(String),
    ) -> Result<Confirmation, Unproven> {
        let proof = Proof::new(self.rule(), self.roster().clone());
        let mut attempt = Attempt {
            proof,
            address,
            routed,
            nodes: &self.nodes,
            unreadable: true,
            trouble: None,
            serving: 0,
        };
        let trying = self.try_until_proven(&mut attempt, written, tell);
        let proven = tokio::time::timeout_at(deadline, trying).await;
        attempt.proof.teach(&mut self.roster());
        let Ok(method) = proven else {
            let seen = self.standing(&attempt.proof, attempt.trouble.as_deref());
            return Err(Unproven { seen, unreadable: attempt.unreadable });
        };
        let Attempt { proof, serving, .. } = attempt;
        Ok(Confirmation { method, reads: proof.reads(), workers: proof.workers().0, pool: serving })
    }

    async fn try_until_proven(
        &self,
        attempt: &mut Attempt<'_>,
        written: Instant,
        tell: impl Fn(String),
    ) -> Method {
        let mut pause = PAUSE;
        loop {
            let since = written.elapsed();
            let connections = attempt.proof.connections(since);
            if connections == 1 {
                let look = self.looker.one().await;
                let _ = attempt.take(look, since);
                attempt.proof.end_row(false);
            } else {
                let row = self.looker.row(connections, |look| attempt.take(look, since));
                let whole = row.await;
                attempt.proof.end_row(whole);
                if attempt.proof.is_beyond_reach() {
                    attempt.trouble = Some(ALONE.into());
                }
            }
            let verdict = attempt.proof.verdict();
            let trouble = attempt.trouble.as_deref().filter(|_| verdict == Verdict::Disagrees);
            match verdict {
                Verdict::Proven(method) => return method,
                // The first worker agrees: the row follows at once.
                Verdict::Open
                    if connections == 1 && attempt.proof.connections(written.elapsed()) > 1 =>
                {
                    continue;
                }
                Verdict::Disagrees | Verdict::Open => tell(self.standing(&attempt.proof, trouble)),
            }
            // While a worker is behind, or only time is missing, there is no use in asking at full speed.
            sleep(pause).await;
            // A row that did not complete the proof is not repeated at full speed either.
            let in_vain = attempt.proof.row() == 0 || connections > 1;
            pause = if in_vain { (pause * 3 / 2).min(LONGEST_PAUSE) } else { PAUSE };
        }
    }

    fn standing(&self, proof: &Proof, trouble: Option<&str>) -> String {
        let progress = match (self.rule().workers, proof.workers()) {
            (Some(all), (agreeing, seen)) if seen > 0 => format!("{agreeing} of {all} workers"),
            _ => {
                format!("{} of {} reads in a row", proof.row().min(proof.enough()), proof.enough())
            }
        };
        let missing: Vec<_> =
            proof.missing().iter().take(4).map(|name| text::line(name, 20)).collect();
        match trouble {
            Some(trouble) => format!("{}: {progress}; {trouble}", self.name),
            None if !missing.is_empty() => {
                let missing = missing.join(", ");
                format!("{}: {progress}; no answer from worker {missing}", self.name)
            }
            None if proof.row() >= proof.enough() => {
                let lag = duration(self.lag().max(self.looker.driver().facts().apply_delay));
                format!("{}: {progress}, until its lag of {lag} is over", self.name)
            }
            None => format!("{}: {progress}", self.name),
        }
    }

    /// Looks at every worker once, as far as they can be told apart or reached.
    ///
    /// # Errors
    ///
    /// When a look fails or cannot be understood: says what.
    pub async fn observe(&self) -> Result<Observation, String> {
        let rule = self.rule();
        let (even, contradicted) = {
            let roster = self.roster();
            (roster.is_even(), roster.is_contradicted())
        };
        let mut observation = Observation::default();
        if rule.workers == Some(1) && !contradicted {
            observation.take(self.looker.one().await?, &self.nodes);
            return Ok(observation);
        }
        let all = rule.workers.filter(|workers| *workers > 1).unwrap_or(ASSUMED_WORKERS);
        let mut problem = None;
        let mut server = None;
        let connections = Rule { workers: Some(all), ..rule }.reads(even) as usize;
        let row = self.looker.row(connections, |look| match look {
            Ok(mut look) => {
                server = look.server.take().or(server.take());
                observation.take(look, &self.nodes);
                let met = observation.workers.len();
                // Each of a known number has answered; nothing more is to be seen.
                if rule.workers.is_some_and(|all| all > 1 && met >= all as usize) {
                    return Break(());
                }
                Continue(())
            }
            Err(error) => {
                problem = Some(error);
                Break(())
            }
        });
        row.await;
        self.roster().learn(server.as_deref());
        problem.map_or(Ok(observation), Err)
    }

    /// How connections reach its workers, by what is known of the program and whether connections stay open.
    fn reach(&self, stays_open: bool) -> Reach {
        let roster = self.roster();
        match (roster.is_even(), roster.favours() && !stays_open) {
            (true, _) => Reach::Even,
            (false, true) => Reach::Some,
            (false, false) => Reach::Uneven,
        }
    }

    /// Returns what it is, and whether it has the workers that it should have.
    ///
    /// # Errors
    ///
    /// When it cannot be asked.
    pub async fn probe(&self) -> Result<GatewayInfo, String> {
        let mut info = self.looker.probe().await?;
        info.miscounts = self.miscounts.get_or_init(|| async { info.miscounts }).await.clone();
        let facts = self.looker.driver().facts();
        let (told, has_names) = (facts.workers, facts.worker_header.is_some());
        if !has_names && told == Some(1) {
            return Ok(info);
        }
        let mut names = BTreeSet::new();
        let (mut server, mut stays_open) = (None, false);
        let expected = told.filter(|told| *told > 1).unwrap_or(ASSUMED_WORKERS) as usize;
        let (mut rows, mut without_new) = (0, 0);
        while rows < MOST_ROWS && without_new < ROWS_WITHOUT_NEW {
            let before = names.len();
            let row = self.looker.row(ACQUAINTANCE, |look| {
                if let Ok(look) = look {
                    names.extend(look.worker.map(|name| text::line(&name, 20)));
                    server = look.server.or(server.take());
                    stays_open |= look.stays_open;
                }
                Continue(())
            });
            row.await;
            (rows, without_new) =
                (rows + 1, if names.len() > before { 0 } else { without_new + 1 });
            let alone = told == Some(1) && names.len() == 1;
            if alone || names.len() >= expected || names.is_empty() {
                break;
            }
        }
        self.roster().learn(server.as_deref());
        let reach = self.reach(stays_open);
        tell_workers(&mut info, names.len(), told, reach);
        Ok(info)
    }
}

impl Attempt<'_> {
    /// Takes in a look that was asked for so long `since` the write; breaks off where more of the same kind tells nothing.
    fn take(&mut self, look: Result<Look, String>, since: Duration) -> ControlFlow<()> {
        self.unreadable = look.is_err();
        match look {
            Err(problem) => {
                self.proof.fail();
                self.trouble = Some(problem);
            }
            Ok(Look { worker, server, stays_open, view }) => {
                self.proof.learn(server.as_deref(), stays_open);
                if self.is_about_the_pool(&view) {
                    let against = self.weigh(worker.as_deref(), &view, since);
                    self.trouble = against.or(self.trouble.take());
                    self.serving = self.nodes.iter().filter(|node| view.routes_to(node)).count();
                } else {
                    self.proof.fail();
                    self.trouble =
                        Some("the reply lists none of the playbook's other nodes".into());
                }
            }
        }
        if self.proof.verdict() == Verdict::Open { Continue(()) } else { Break(()) }
    }

    /// A node that is shown to be in is in, though no other one may be left.
    fn is_about_the_pool(&self, view: &View) -> bool {
        view.shows_any(self.nodes, self.address) || (self.routed && view.routes_to(self.address))
    }

    /// Takes into the proof what was shown; returns what stands against it.
    fn weigh(&mut self, worker: Option<&str>, view: &View, since: Duration) -> Option<String> {
        let shown = if self.routed {
            view.routes_to(self.address)
        } else {
            view.is_out(self.address) && view.overridden.is_none()
        };
        if let Some(why) = view.unsettled.as_ref().filter(|_| shown && !self.routed) {
            self.proof.unsettle(since);
            return Some(why.clone());
        }
        self.proof.see(worker, shown, since);
        (!shown).then(|| disagreement(self.address, self.routed, view, worker))
    }
}

fn disagreement(address: &str, routed: bool, view: &View, worker: Option<&str>) -> String {
    if let (false, Some(why)) = (routed, &view.overridden) {
        return why.clone();
    }
    if let Some(why) = view.unread.get(address) {
        return format!("its entry of {address} cannot be read: {why}");
    }
    let worker =
        worker.map_or("a worker".into(), |worker| format!("worker {}", text::line(worker, 20)));
    match (routed, view.peers.get(address)) {
        (false, _) => format!("{worker} still routes to {address}"),
        (true, None) => format!("{worker} does not list {address}"),
        (true, Some(peer)) if peer.up => format!("its own check holds {address} down"),
        (true, Some(_)) => format!("{worker} has {address} down"),
    }
}

/// Which workers of a gateway many connections reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Each of them, with the same share.
    Even,
    /// Each of them; some may get few.
    Uneven,
    /// Some of them may get none.
    Some,
}

/// Says how many workers were told apart by their names, where the playbook says that there are `told` of them.
fn tell_workers(info: &mut GatewayInfo, seen: usize, told: Option<u32>, reach: Reach) {
    let count = |number: usize| text::count(number, "worker");
    match (seen, told) {
        (0, Some(1)) => {}
        (0, _) if reach == Reach::Some => info.blockers.push(format!(
            "{ALONE}: a proof needs names, `add_header X-Worker $pid always;` at that location and `workers: N` in the playbook"
        )),
        (0, _) => {
            let number = told.map_or("workers".into(), |told| count(told as usize));
            let connections = Rule { workers: told, lag: Duration::ZERO, apply_delay: Duration::ZERO };
            let connections = connections.reads(reach == Reach::Even);
            info.is += &format!(
                ", {number} without names: a proof takes {connections} connections and the whole lag, and can miss a worker; \
                 `add_header X-Worker $pid always;` at that location and `workers: N` in the playbook make it exact"
            );
        }
        (seen, None) if seen > ASSUMED_WORKERS as usize => info.blockers.push(format!(
            "{} answer, and without `workers` in the playbook {ASSUMED_WORKERS} are assumed: say how many",
            count(seen)
        )),
        (seen, None) => info.is += &format!(", {} seen", count(seen)),
        (seen, Some(told)) if seen > told as usize => info.blockers.push(format!(
            "{} answer, and the playbook says `workers: {told}`: {told} of them prove nothing about the others; say how many \
             there are",
            count(seen)
        )),
        (seen, Some(told)) if seen < told as usize && reach == Reach::Some => info.blockers.push(format!(
            "{} of {told} have answered: {ALONE}; let them stay open at that location",
            count(seen)
        )),
        (seen, Some(told)) if seen < told as usize => info.blockers.push(format!(
            "{} answer, and the playbook says `workers: {told}`: no proof would be complete; set `workers: {seen}`, or see \
             why the others do not answer",
            count(seen)
        )),
        (seen, Some(told)) => info.is += &format!(", {seen} of {} seen", count(told as usize)),
    }
}

#[cfg(test)]
mod tests;
