//! The monitor of one gateway. It answers confirmations, checks of capacity and the watch over nodes that are out.

mod attempt;
mod counts;
mod rounds;
mod workers;

use std::collections::BTreeSet;
use std::ops::ControlFlow::Continue;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::driver::GatewayInfo;
use super::look::Looker;
use super::observation::Observation;
use super::proof::{ASSUMED_WORKERS, Method, Proof, Rule};
use super::query::QueryClient;
use super::roster::Roster;
use super::{GatewaySpec, driver};
use crate::text;
use crate::world::World;

use attempt::Attempt;
use rounds::Rounds;
use workers::{Reach, tell_workers};

/// How many connections at once find out how many workers there are; how often this is repeated; and how often
/// without a new worker. If there should be only one, the first row would find a second.
const ACQUAINTANCE: usize = 128;
const MOST_ROWS: u32 = 12;
const ROWS_WITHOUT_NEW: u32 = 3;

/// A monitored gateway. Clones share what they learn about it.
pub struct GatewayMonitor<W> {
    name: String,
    /// What it should follow, for messages.
    registry: Option<Arc<str>>,
    /// The addresses of all nodes.
    nodes: Arc<[String]>,
    looker: Looker<W>,
    roster: Arc<Mutex<Roster>>,
    rounds: Arc<Rounds<W>>,
    /// Why its counts of requests cannot be used. Asked once.
    miscounts: Arc<OnceCell<Option<String>>>,
}

impl<W> Clone for GatewayMonitor<W> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            registry: self.registry.clone(),
            nodes: self.nodes.clone(),
            looker: self.looker.clone(),
            roster: self.roster.clone(),
            rounds: self.rounds.clone(),
            miscounts: self.miscounts.clone(),
        }
    }
}

/// Why nothing was confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unproven {
    /// What was seen last, as text.
    pub seen: String,
    /// The last reads failed.
    pub unreadable: bool,
}

/// A confirmed state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirmation {
    /// The method.
    pub method: Method,
    /// How many replies it took.
    pub reads: u32,
    /// How many workers were distinguished.
    pub workers: usize,
    /// How many of the pool's nodes get requests according to the last reply.
    pub pool: usize,
}

impl<W: World> GatewayMonitor<W> {
    /// Monitors `gateway`.
    #[must_use]
    pub fn new(query_client: QueryClient<W>, gateway: &GatewaySpec) -> Self {
        let nodes: Arc<[String]> = gateway.nodes.clone().into();
        let query_client = query_client.trusting(&gateway.trust);
        let looker = Looker::new(query_client, driver(gateway).into(), nodes.clone());
        let (rule, roster) = (Rule::of(looker.driver().facts()), Arc::default());
        let rounds = Rounds::new(looker.clone(), nodes.clone(), rule, Arc::clone(&roster));
        Self {
            name: gateway.name.clone(),
            registry: None,
            nodes,
            looker,
            roster,
            rounds: Arc::new(rounds),
            miscounts: Arc::default(),
        }
    }

    /// The same monitor of a gateway that should follow `registry`.
    #[must_use]
    pub fn following(self, registry: &str) -> Self {
        Self { registry: Some(registry.into()), ..self }
    }

    /// The gateway's name in messages.
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

    /// Notes that the gateway contradicts a confirmation: later confirmations in this release need more.
    pub fn contradict(&self) {
        self.roster().contradict();
    }

    /// Waits until it is confirmed that the gateway routes to `address`, or that it routes no requests there.
    ///
    /// A reply that lists none of the other nodes shows nothing, and especially not that this node is out.
    /// `written` is when the registry accepted the change. `tell` receives the current state, as text.
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
        let nodes = self.nodes.clone();
        let mut ended = self.rounds.ended();
        let mut attempt = Attempt::new(proof, &self.name, address, routed, nodes, written);
        attempt.follows.clone_from(&self.registry);
        let ticket = self.rounds.join(attempt);
        let trying = async {
            loop {
                match ticket.news() {
                    (Some(method), _) => return method,
                    (None, Some(news)) => tell(news),
                    (None, None) => {}
                }
                self.rounds.next(&mut ended).await;
            }
        };
        let proven = tokio::time::timeout_at(deadline, trying).await;
        let Some(attempt) = ticket.end() else { unreachable!("it takes part until it has ended") };
        attempt.proof.teach(&mut self.roster());
        let Ok(method) = proven else {
            let seen = attempt.standing(attempt.trouble.as_deref());
            return Err(Unproven { seen, unreadable: attempt.unreadable });
        };
        let Attempt { proof, serving, .. } = attempt;
        Ok(Confirmation { method, reads: proof.reads(), workers: proof.workers().0, pool: serving })
    }

    /// Reads every worker once, if workers can be distinguished or reached.
    ///
    /// # Errors
    ///
    /// If a look fails or cannot be understood. The error says what.
    pub async fn observe(&self) -> Result<Observation, String> {
        self.observe_since(Instant::now()).await.map(Arc::unwrap_or_clone)
    }

    /// The same; also accepts looks for another caller, if they began at `since` or later.
    ///
    /// # Errors
    ///
    /// As [`Self::observe`].
    pub async fn observe_since(&self, since: Instant) -> Result<Arc<Observation>, String> {
        self.rounds.observe(since).await
    }

    /// How connections reach its workers, given the known program and whether connections stay open.
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
    /// If it cannot be asked.
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

#[cfg(test)]
mod tests;
