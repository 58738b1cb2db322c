//! Looking at a gateway until enough was seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::proof::FAVOUR;
use super::{
    ASSUMED_WORKERS, Asker, Driver, Method, Nature, Proof, Rule, Verdict, View, driver, reads_for,
};
use crate::spec::{GatewaySpec, Spec};
use crate::world::World;

/// Looks at a gateway at the same time, at most: several connections at once reach more workers than one by one.
const AT_ONCE: usize = 4;

/// The pause after a look that showed a worker behind.
const PAUSE: Duration = Duration::from_millis(20);

/// A gateway under observation.
pub struct Watcher<W> {
    asker: Asker<W>,
    name: String,
    driver: Arc<dyn Driver>,
}

impl<W> Clone for Watcher<W> {
    fn clone(&self) -> Self {
        Self { asker: self.asker.clone(), name: self.name.clone(), driver: self.driver.clone() }
    }
}

/// What was seen of a gateway when nothing is being waited for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observation {
    /// By address: whether every worker that answered routes there.
    pub routed: BTreeMap<String, bool>,
    /// By address: whether any worker that answered routes there.
    pub routed_somewhere: BTreeMap<String, bool>,
    /// By address: whether every worker's list lets go.
    pub out: BTreeMap<String, bool>,
    /// By address: the most requests in flight that any worker told.
    pub in_flight: BTreeMap<String, u64>,
    /// Why requests go to everybody, whatever the list says of them.
    pub disregarded: Option<String>,
    /// How many workers were told apart.
    pub workers: usize,
    /// How many replies were read.
    pub reads: u32,
}

impl Observation {
    /// Returns whether every worker routes to `address`.
    #[must_use]
    pub fn routes_to(&self, address: &str) -> bool {
        self.routed.get(address).copied().unwrap_or(false)
    }

    /// Returns how many nodes of the playbook every worker routes to.
    #[must_use]
    pub fn serving(&self, spec: &Spec) -> usize {
        spec.nodes.iter().filter(|node| self.routes_to(&node.address)).count()
    }

    /// Returns whether any worker routes to `address`: then its users would miss it.
    #[must_use]
    pub fn routes_somewhere_to(&self, address: &str) -> bool {
        self.routed_somewhere.get(address).copied().unwrap_or(false)
    }

    /// Returns whether every worker's list has let go of `address`.
    #[must_use]
    pub fn lets_go_of(&self, address: &str) -> bool {
        self.out.get(address).copied().unwrap_or(true)
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

impl<W: World> Watcher<W> {
    /// Observes `gateway`.
    #[must_use]
    pub fn new(asker: Asker<W>, gateway: &GatewaySpec) -> Self {
        Self { asker, name: gateway.name.clone(), driver: driver(gateway).into() }
    }

    /// What the gateway is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How long a write may take to reach every worker.
    #[must_use]
    pub fn lag(&self) -> Duration {
        self.driver.lag()
    }

    fn rule(&self) -> Rule {
        let workers = self.driver.workers();
        Rule {
            workers,
            reads: reads_for(workers.unwrap_or(ASSUMED_WORKERS)),
            lag: self.driver.lag(),
            spread: self.driver.spread(),
        }
    }

    /// Waits until the gateway is proven to route to `address`, or to have let go of it.
    ///
    /// `pool` is every address of the playbook: a reply that lists none of the others shows nothing at all, and
    /// least of all that this one is out. `written` is when the registry took the change; `tell` hears how it
    /// stands, in words.
    ///
    /// # Errors
    ///
    /// At `deadline`: what was seen last.
    pub async fn confirm(
        &self,
        address: &str,
        routed: bool,
        pool: &[String],
        written: Instant,
        deadline: Instant,
        tell: impl Fn(String),
    ) -> Result<Confirmation, Unproven> {
        let rule = self.rule();
        let at_once = AT_ONCE.min(rule.reads as usize);
        let mut proof = Proof::new(rule);
        let mut unreadable = true;
        let mut looks = JoinSet::new();
        let mut trouble = None;
        let mut serving = 0;
        // Who is shown to be in is in, though nobody else may be left.
        let is_ours =
            |view: &View| view.shows_any(pool, address) || (routed && view.routes_to(address));
        loop {
            while looks.len() < at_once {
                let (since, look) =
                    (written.elapsed(), look(self.asker.clone(), self.driver.clone()));
                looks.spawn(async move { (since, look.await) });
            }
            let Ok(seen) = tokio::time::timeout_at(deadline, looks.join_next()).await else {
                break;
            };
            unreadable = !matches!(seen, Some(Ok((_, Ok(_)))));
            match seen {
                Some(Ok((_, Ok((_, view))))) if !is_ours(&view) => {
                    proof.fail();
                    trouble = Some("the reply lists none of the playbook's other nodes".into());
                }
                Some(Ok((since, Ok((worker, view))))) => {
                    let against =
                        weigh(&mut proof, address, routed, worker.as_deref(), &view, since);
                    trouble = against.or(trouble);
                    serving = pool.iter().filter(|address| view.routes_to(address)).count();
                }
                Some(Ok((_, Err(problem)))) => {
                    proof.fail();
                    trouble = Some(problem);
                }
                Some(Err(_)) | None => proof.fail(),
            }
            let verdict = proof.verdict();
            if let Verdict::Proven(method) = verdict {
                let (workers, _) = proof.workers();
                return Ok(Confirmation { method, reads: proof.reads(), workers, pool: serving });
            }
            tell(
                self.standing(&proof, trouble.as_deref().filter(|_| verdict == Verdict::Disagrees)),
            );
            // While somebody is behind, or only time is missing, there is no use in asking at full speed.
            let early = proof.row() >= rule.reads && proof.is_early(written.elapsed());
            if verdict == Verdict::Disagrees || early {
                tokio::time::sleep_until(deadline.min(Instant::now() + PAUSE)).await;
            }
        }
        Err(Unproven { seen: self.standing(&proof, trouble.as_deref()), unreadable })
    }

    fn standing(&self, proof: &Proof, trouble: Option<&str>) -> String {
        let progress = match (self.driver.workers(), proof.workers()) {
            (Some(all), (agreeing, seen)) if seen > 0 => format!("{agreeing} of {all} workers"),
            _ => {
                format!("{} of {} reads in a row", proof.row().min(proof.enough()), proof.enough())
            }
        };
        match trouble {
            Some(trouble) => format!("{}: {progress}; {trouble}", self.name),
            None if proof.row() >= proof.enough() => {
                let lag = crate::text::duration(self.lag().max(self.driver.spread()));
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
        let mut observation = Observation::default();
        let mut workers = BTreeSet::new();
        let mut looks = JoinSet::new();
        let mut begun = 0;
        loop {
            // Where workers are told apart it is known that one is missing: it is worth some patience.
            let named = rule.workers.is_some() && !workers.is_empty();
            let most = if named { rule.reads * FAVOUR } else { rule.reads };
            while looks.len() < AT_ONCE && begun < most {
                begun += 1;
                looks.spawn(look(self.asker.clone(), self.driver.clone()));
            }
            let Some(seen) = looks.join_next().await else { break };
            let (worker, view) = seen.map_err(|error| error.to_string())??;
            observation.reads += 1;
            let first = observation.reads == 1;
            for (address, peer) in &view.peers {
                let routed = observation.routed.entry(address.clone()).or_insert(first);
                *routed &= peer.routed();
                let somewhere =
                    observation.routed_somewhere.entry(address.clone()).or_insert(false);
                *somewhere |= peer.routed() || view.disregarded.is_some();
                let out = observation.out.entry(address.clone()).or_insert(true);
                *out &= !peer.up && view.disregarded.is_none();
                if let Some(told) = peer.in_flight {
                    let most = observation.in_flight.entry(address.clone()).or_insert(0);
                    *most = (*most).max(told);
                }
            }
            // A peer that only some workers list is not routed by all.
            for (address, routed) in &mut observation.routed {
                *routed &= view.peers.contains_key(address);
            }
            observation.disregarded = observation.disregarded.or(view.disregarded);
            workers.extend(worker);
            if rule.workers.is_some_and(|all| workers.len() >= all as usize) {
                break;
            }
        }
        observation.workers = workers.len();
        Ok(observation)
    }

    /// Makes its acquaintance: what it is, and whether it has the workers that it should have.
    ///
    /// # Errors
    ///
    /// When it cannot be asked.
    pub async fn meet(&self) -> Result<Nature, String> {
        let replies = self.asker.ask_all(&self.driver.greeting()).await;
        let mut nature = self.driver.nature(&replies.map_err(|error| error.to_string())?);
        let told = self.driver.workers();
        let expected = match told {
            Some(several) if several > 1 => several,
            // Without names nobody can be counted.
            _ if !self.names_workers().await => return Ok(nature),
            _ => told.unwrap_or(ASSUMED_WORKERS),
        };
        let mut names = BTreeSet::new();
        let mut looks = JoinSet::new();
        for _ in 0..reads_for(ASSUMED_WORKERS) {
            if looks.len() >= AT_ONCE
                && let Some(Ok(Ok((Some(name), _)))) = looks.join_next().await
            {
                names.insert(name);
            }
            looks.spawn(look(self.asker.clone(), self.driver.clone()));
        }
        while let Some(seen) = looks.join_next().await {
            names.extend(seen.ok().and_then(Result::ok).and_then(|(name, _)| name));
        }
        match (names.len(), told) {
            (0, _) => nature.is += &format!(", {expected} workers that tell no name"),
            (seen, None) if seen > expected as usize => nature.unfit.push(format!(
                "{seen} workers answer, and without `workers` in the playbook {expected} are assumed: say how many"
            )),
            (seen, Some(1)) if seen > 1 => nature.unfit.push(format!(
                "{seen} workers answer, and the playbook says `workers: 1`: the word of 1 proves nothing; say how many, \
                 though they may share one list"
            )),
            (seen, Some(_)) if seen > expected as usize => nature.unfit.push(format!(
                "{seen} workers answer, and the playbook says `workers: {expected}`: the word of {expected} proves \
                 nothing"
            )),
            (seen, Some(_)) => nature.is += &format!(", {seen} of {expected} workers seen"),
            (seen, None) => nature.is += &format!(", {} seen", crate::text::count(seen, "worker")),
        }
        Ok(nature)
    }

    /// Returns whether a reply names its worker.
    async fn names_workers(&self) -> bool {
        self.driver.worker_header().is_some()
            && look(self.asker.clone(), self.driver.clone())
                .await
                .is_ok_and(|(name, _)| name.is_some())
    }

    /// Returns whether there are requests at all that it could count.
    #[must_use]
    pub fn has_requests(&self) -> bool {
        self.driver.has_requests()
    }

    /// Counts the requests in flight at `address`, where the gateway tells: the most that any worker told.
    ///
    /// # Errors
    ///
    /// When it does not, or cannot be read.
    pub async fn in_flight(&self, address: &str) -> Result<u64, String> {
        if let Some(ask) = self.driver.count(address) {
            let reply = self.asker.ask(&ask).await.map_err(|error| error.to_string());
            let told = reply.and_then(|reply| self.driver.read_count(&reply));
            return told.map_err(|problem| format!("{}: {problem}", self.name));
        }
        let seen = self.observe().await?;
        let idle = self.driver.lists_the_busy().then_some(0);
        let told = seen.in_flight.get(address).copied().or(idle);
        told.ok_or_else(|| format!("{} tells no requests in flight at {address}", self.name))
    }
}

/// Takes into the proof what was shown, asked for so long `since` the write; returns what stands against it.
fn weigh(
    proof: &mut Proof,
    address: &str,
    routed: bool,
    worker: Option<&str>,
    view: &View,
    since: Duration,
) -> Option<String> {
    let shown = if routed {
        view.routes_to(address)
    } else {
        view.lets_go_of(address) && view.disregarded.is_none()
    };
    if let Some(why) = view.unsettled.as_ref().filter(|_| shown && !routed) {
        proof.unsettle(since);
        return Some(why.clone());
    }
    proof.see(worker, shown, since);
    (!shown).then(|| disagreement(address, routed, view, worker))
}

fn disagreement(address: &str, routed: bool, view: &View, worker: Option<&str>) -> String {
    if let (false, Some(why)) = (routed, &view.disregarded) {
        return why.clone();
    }
    let worker = worker
        .map_or("a worker".into(), |worker| format!("worker {}", crate::text::line(worker, 20)));
    match (routed, view.peers.get(address)) {
        (false, _) => format!("{worker} still routes to {address}"),
        (true, None) => format!("{worker} does not list {address}"),
        (true, Some(peer)) if peer.up => format!("its own check holds {address} down"),
        (true, Some(_)) => format!("{worker} has {address} down"),
    }
}

/// One look: every request of the driver on a connection of its own, one after the other.
async fn look<W: World>(
    asker: Asker<W>,
    driver: Arc<dyn Driver>,
) -> Result<(Option<String>, View), String> {
    let replies = asker.ask_all(&driver.asks()).await.map_err(|error| error.to_string())?;
    let header = driver.worker_header();
    let worker = header.and_then(|header| replies.first()?.header(header));
    let worker = worker.map(ToOwned::to_owned);
    Ok((worker, driver.read(&replies)?))
}

#[cfg(test)]
mod tests;
