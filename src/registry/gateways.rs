//! The gateways' own APIs: a node is marked at each gateway, and read back there.
//!
//! Some gateways accept only whole lists. A write is then a read, a change and a write, and the tasks of two nodes
//! must not do this at the same time. A list that such a gateway forgets is written again. So each gateway is
//! changed by one task at a time, based on its current list, and the last list that it showed is remembered.
//!
//! One read of a gateway serves every node that waits for it, so the number of reads per second does not grow with
//! the number of nodes that are out. A read from before a change serves no later question.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::switch::{Error, Look, Rights, States, Switch, WriteToken, Written};
use crate::consul::{self, Entry, SessionFence};
use crate::gateway::{
    Driver, GatewaySpec, Listed, Listing, NotDone, Purpose, QueryClient, QueryError,
    RotationControl, SharedRead, driver, is_passing,
};
use crate::mark::Mark;
use crate::spec::Spec;
use crate::text;
use crate::world::{Permit, Reply, Trust, World};

/// Every gateway of a release.
pub(super) struct Gateways<W> {
    query_client: QueryClient<W>,
    gateways: Vec<GatewayHandle>,
}

/// One gateway.
struct GatewayHandle {
    name: String,
    /// Its place in the playbook.
    place: usize,
    driver: Arc<dyn Driver>,
    nodes: Vec<String>,
    trust: Trust,
    /// Held during a change.
    turning: tokio::sync::Mutex<()>,
    memory: Mutex<Memory>,
    reads: SharedRead<Result<Replies, Error>>,
}

/// A gateway's replies about its marks.
type Replies = Arc<Vec<Reply>>;

/// The last state that a gateway showed.
#[derive(Default)]
struct Memory {
    /// When it was changed last. Reads that began before a change show nothing new.
    changed: Option<Instant>,
    /// Its replies, as long as it had its list.
    list: Option<Replies>,
}

/// The current state of a gateway.
struct Shown {
    /// The node's mark there. `down` is `None` if the gateway contradicts itself.
    look: Look,
    /// Its replies, or those from before it lost its list.
    replies: Replies,
}

impl<W> std::fmt::Debug for Gateways<W> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.gateways.iter().map(|gateway| &gateway.name);
        formatter.debug_list().entries(names).finish()
    }
}

impl<W: World> Gateways<W> {
    /// The gateways of this registry among all gateways.
    pub(super) fn new(
        query_client: QueryClient<W>,
        gateways: &[GatewaySpec],
        registry: usize,
    ) -> Self {
        let own = gateways.iter().enumerate().filter(|(_, gateway)| gateway.registry == registry);
        Self { query_client, gateways: own.map(GatewayHandle::new).collect() }
    }

    /// The same; changes at a gateway need this permit.
    pub(super) fn permitted(self, permit: Permit) -> Self {
        Self { query_client: self.query_client.permitted(permit), ..self }
    }

    /// Reads every node's switch. Each gateway is asked once, regardless of the number of nodes.
    pub(super) async fn look(&self, spec: &Spec) -> States {
        let mut shown = Vec::new();
        for gateway in &self.gateways {
            shown.push((gateway, gateway.ask(&self.query_client).await));
        }
        let look = |address: &str| {
            let found = shown.iter().map(|(gateway, replies)| {
                let replies = replies.as_ref().map_err(Clone::clone)?;
                Ok(gateway.judge(address, gateway.listing(replies, address)?))
            });
            let found: Vec<_> = found.collect::<Result<_, Error>>()?;
            Ok(agreed(&found))
        };
        let looks = spec.nodes.iter().map(|node| {
            let look = look(&node.address).map_err(|error: Error| error.to_string());
            (node.name.clone(), look)
        });
        looks.collect()
    }

    pub(super) async fn read(&self, address: &str) -> Result<Switch, Error> {
        let mut found = Vec::new();
        for (at, gateway) in self.gateways.iter().enumerate() {
            let shown = gateway.read(&self.query_client, address, Instant::now()).await?;
            found.push((at, shown.look));
        }
        Ok(self.switch(address, &found))
    }

    /// Reads the mark at one gateway, by its place in the playbook, from a read that began at `since` or later.
    pub(super) async fn read_at(
        &self,
        place: usize,
        address: &str,
        since: Instant,
    ) -> Option<Result<Switch, Error>> {
        let at = self.gateways.iter().position(|gateway| gateway.place == place)?;
        let shown = self.gateways.get(at)?.read(&self.query_client, address, since).await;
        Some(shown.map(|shown| self.switch(address, &[(at, shown.look)])))
    }

    /// Combines what the gateways say about a node.
    fn switch(&self, address: &str, found: &[(usize, Look)]) -> Switch {
        let name = |at: usize| self.gateways[at].name.as_str();
        let names: Vec<_> = found.iter().map(|(at, _)| name(*at)).collect();
        let told = found.iter().map(|(at, look)| {
            let word = match look.mark {
                Mark::Unknown => "partly down",
                known => known.word(),
            };
            format!("{} {word}", name(*at))
        });
        let looks: Vec<_> = found.iter().map(|(_, look)| look.clone()).collect();
        let Look { mark, absent, strangers, .. } = agreed(&looks);
        Switch {
            name: format!("{address} at {}", names.join(", ")),
            mark,
            absent,
            strangers,
            original: told.collect::<Vec<_>>().join(", "),
            modify_index: 0,
            token: WriteToken::Gateways(found.iter().map(|(at, _)| *at).collect()),
        }
    }

    /// Checks whether the gateways' keys in Consul may be written; writes nothing.
    pub(super) async fn may_write(&self) -> Result<Rights, consul::Error> {
        let (mut entries, mut unread) = (Vec::new(), Vec::new());
        for gateway in &self.gateways {
            let keys = gateway.control().map(RotationControl::keys).unwrap_or_default();
            if keys.is_empty() {
                continue;
            }
            match gateway.entries(&self.query_client).await {
                Ok(own) => entries.extend(own),
                Err(why) => unread.push(format!(
                    "whether the token may write {} is unknown: {why}",
                    keys.join(", ")
                )),
            }
        }
        self.query_client.may_write(&entries).await?;
        Ok(if unread.is_empty() {
            Rights::Keys(entries.into_iter().map(|entry| entry.key).collect())
        } else {
            Rights::Unread(unread.join("; "))
        })
    }

    /// Marks a node at each of these gateways that has it otherwise, one after the other: if one refuses, the rest
    /// are left alone. A gateway that lacks the node and has unknown entries counts as having it otherwise, unless
    /// it `may_lack` the node.
    pub(super) async fn write(
        &self,
        guard: &SessionFence,
        at: &[usize],
        address: &str,
        down: bool,
        may_lack: bool,
    ) -> Result<Written, Error> {
        let writer = self.query_client.guarded(guard);
        let mut begun = false;
        for gateway in at.iter().filter_map(|at| self.gateways.get(*at)) {
            match gateway.set(&self.query_client, &writer, address, down, may_lack).await {
                Ok(turned) => begun |= turned,
                Err(refused) => return refused.told(begun),
            }
        }
        Ok(Written::Done(0))
    }
}

/// The common state of all of them, if they agree.
fn agreed(found: &[Look]) -> Look {
    let first = found.first().map(|look| look.mark);
    Look {
        mark: first
            .filter(|first| found.iter().all(|look| look.mark == *first))
            .unwrap_or_default(),
        absent: found.iter().find_map(|look| look.absent.clone()),
        strangers: found.iter().flat_map(|look| look.strangers.iter().cloned()).collect(),
        ..Look::default()
    }
}

/// Why a gateway was not changed.
enum Refused {
    /// Consul no longer has the value on which the change is based; nothing was changed here.
    Conflict,
    /// The lock is not held; nothing was changed here.
    NotHeld,
    Error(Error),
}

impl Refused {
    /// The result of the whole write. `begun` says whether another gateway was changed before.
    fn told(self, begun: bool) -> Result<Written, Error> {
        let told = match self {
            Self::Conflict => Ok(Written::Conflict),
            Self::NotHeld => Ok(Written::NotHeld),
            Self::Error(error) => Err(error),
        };
        if begun { Err(Error::of_the_rest(told)) } else { told }
    }
}

impl GatewayHandle {
    fn new((place, gateway): (usize, &GatewaySpec)) -> Self {
        Self {
            name: gateway.name.clone(),
            place,
            driver: driver(gateway).into(),
            nodes: gateway.nodes.clone(),
            trust: gateway.trust.clone(),
            turning: tokio::sync::Mutex::default(),
            memory: Mutex::default(),
            reads: SharedRead::default(),
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, problem: &str) -> Error {
        Error::Failed(format!("{}: {problem}", self.name))
    }

    fn control(&self) -> Result<&dyn RotationControl, Error> {
        self.driver.rotation_control().ok_or_else(|| self.failed("it has no API for changes"))
    }

    /// Reads its marks. A failure at the moment can be temporary.
    async fn ask<W: World>(&self, query_client: &QueryClient<W>) -> Result<Vec<Reply>, Error> {
        let away = |problem: &str| Error::Away(format!("{}: {problem}", self.name));
        self.control()?;
        let asks = self.driver.queries(Purpose::Rotation);
        let client = query_client.clone().trusting(&self.trust);
        let replies = client.ask_all(&asks).await.map_err(|error| match error {
            QueryError::Refused(problem) => self.failed(&problem),
            other => away(&other.to_string()),
        })?;
        for (ask, reply) in asks.iter().zip(&replies) {
            if is_passing(reply.status) {
                let said = text::line(&reply.text(), 80);
                return Err(away(&format!("answered {} {said}", reply.status)));
            }
            if ask.is_conversation() && reply.body.is_empty() {
                return Err(away("it closed the connection without an answer"));
            }
        }
        Ok(replies)
    }

    /// The gateway's mark of a node, from its replies.
    fn listing(&self, replies: &[Reply], address: &str) -> Result<Listing, Error> {
        let listing = self.control()?.listing(replies, address);
        listing.map_err(|problem| self.failed(&problem))
    }

    /// The keys in Consul that a change of any node writes.
    async fn entries<W: World>(&self, client: &QueryClient<W>) -> Result<Vec<Entry>, Error> {
        let replies = self.ask(client).await?;
        let mut problem = self.failed("it has no node");
        for node in &self.nodes {
            match self.listing(&replies, node) {
                Ok(listing) => return Ok(listing.keys),
                Err(error) => problem = error,
            }
        }
        Err(problem)
    }

    /// The node's mark there.
    fn judge(&self, address: &str, listing: Listing) -> Look {
        let Listing { node, is_inconsistent, strangers, .. } = listing;
        let mark = if is_inconsistent { Mark::Unknown } else { Mark::of(node != Listed::Up) };
        let may_be_another = node == Listed::Absent && !strangers.is_empty();
        let absent = may_be_another.then(|| absent_among(&self.name, address, &strangers));
        let strangers = strangers.into_iter().collect();
        Look { absent, strangers, ..mark.into() }
    }

    /// Reads the node's mark there, or uses a read that began at `since` or later, and after the last change.
    async fn read<W: World>(
        &self,
        client: &QueryClient<W>,
        address: &str,
        since: Instant,
    ) -> Result<Shown, Error> {
        let since = self.memory().changed.map_or(since, |changed| changed.max(since));
        let read = async || self.ask(client).await.map(Arc::new);
        let (begun, replies) = self.reads.since(since, read).await;
        let replies = replies?;
        let listing = self.listing(&replies, address)?;
        let mut memory = self.memory();
        let replies = if listing.is_lost {
            memory.list.clone().unwrap_or(replies)
        } else {
            if memory.changed.is_none_or(|changed| begun >= changed) {
                memory.list = Some(replies.clone());
            }
            replies
        };
        drop(memory);
        Ok(Shown { look: self.judge(address, listing), replies })
    }

    /// Marks a node, based on the gateway's current list. Returns whether there was anything to do.
    async fn set<W: World>(
        &self,
        query_client: &QueryClient<W>,
        writer: &QueryClient<W>,
        address: &str,
        down: bool,
        may_lack: bool,
    ) -> Result<bool, Refused> {
        let _turning = self.turning.lock().await;
        let found = self.read(query_client, address, Instant::now()).await;
        let found = found.map_err(Refused::Error)?;
        // It had the node when it was read before.
        if found.look.absent.is_some() && !may_lack {
            return Err(Refused::Conflict);
        }
        if found.look.mark == Mark::of(down) {
            return Ok(false);
        }
        let told = |error: fn(String) -> Error, problem: &str| {
            Refused::Error(error(format!("{}: {problem}", self.name)))
        };
        let control = self.control().map_err(Refused::Error)?;
        let asks = control.set(&found.replies, address, down);
        let asks = asks.map_err(|problem| told(Error::Failed, &problem))?;
        let replies = writer.clone().trusting(&self.trust).ask_all(&asks).await;
        self.memory().changed = Some(Instant::now());
        let replies = replies.map_err(|error| match error {
            QueryError::NotSent(problem) => told(Error::Away, &problem),
            QueryError::Refused(problem) => told(Error::Failed, &problem),
            // The effect of a command before it failed is unknown.
            QueryError::Unknown(problem) | QueryError::Failed(problem) => {
                told(Error::Unknown, &problem)
            }
            QueryError::Conflict => Refused::Conflict,
            QueryError::NotHeld => Refused::NotHeld,
        })?;
        // If there are several writes, the first ones were made.
        let is_alone = replies.len() == 1;
        control.is_done(&replies).map_err(|error| match error {
            NotDone::Refused(problem) if is_alone => told(Error::Failed, &problem),
            NotDone::Conflict(_) if is_alone => Refused::Conflict,
            NotDone::Later(problem) if is_alone => told(Error::Away, &problem),
            NotDone::Unknown(problem) => told(Error::Unknown, &problem),
            other => told(Error::NotShown, &other.to_string()),
        })?;
        // A gateway can confirm a change and then show another state.
        match self.read(query_client, address, Instant::now()).await {
            Ok(shown) if shown.look.mark == Mark::of(down) => Ok(true),
            Ok(_) => {
                let what = if down { "up" } else { "down" };
                let problem = format!("it confirmed the change but still shows {address} {what}");
                Err(told(Error::NotShown, &problem))
            }
            Err(error) => Err(Refused::Error(Error::Unknown(error.to_string()))),
        }
    }
}

/// Says that a gateway does not list a node, and which entries it lists instead.
fn absent_among(gateway: &str, address: &str, strangers: &[String]) -> String {
    let named = text::first_of(strangers.iter().map(String::as_str), strangers.len());
    let (are, which) = match strangers.len() {
        1 => ("which is not a node", "it"),
        _ => ("which are not nodes", "one of them"),
    };
    format!(
        "{gateway} does not list {address} but lists {named}, {are} of the playbook: {which} may be this node; \
         correct its address, or add it to {gateway} by hand"
    )
}

#[cfg(test)]
mod caddy_tests;
#[cfg(test)]
mod tests;
