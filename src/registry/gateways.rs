//! The gateways' own APIs: a node is marked at each of them, and read back there.
//!
//! Some gateways take whole lists only: a write is then a read, a change and a write, which two nodes' tasks must not do at
//! the same time, and what such a gateway forgets is given back to it. So each gateway is turned by one task at a time, on
//! top of what it shows at that moment, and the last list that it showed is remembered.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::switch::{Error, Look, States, Switch, WriteToken, Written};
use crate::consul::{self, SessionFence};
use crate::gateway::{
    Driver, GatewaySpec, Mark, NotDone, Purpose, QueryClient, QueryError, RotationControl, Told,
    driver, is_passing,
};
use crate::spec::Spec;
use crate::text;
use crate::world::{Permit, Reply, World};

/// Every gateway of a release.
pub(super) struct Gateways<W> {
    query_client: QueryClient<W>,
    gateways: Vec<GatewayHandle>,
}

/// One gateway.
struct GatewayHandle {
    name: String,
    driver: Arc<dyn Driver>,
    nodes: Vec<String>,
    /// Held while it is turned.
    turning: tokio::sync::Mutex<()>,
    memory: Mutex<Memory>,
}

/// What a gateway showed last.
#[derive(Default)]
struct Memory {
    /// How often it was turned: what was asked before that tells nothing new.
    turns: u64,
    /// Its replies, as long as it knew its list.
    list: Option<Vec<Reply>>,
}

/// What a gateway shows now.
struct Shown {
    /// How the node is marked there; down is `None` where it contradicts itself.
    look: Look,
    /// Its replies, or those from before it lost its list.
    replies: Vec<Reply>,
}

impl<W> std::fmt::Debug for Gateways<W> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.gateways.iter().map(|gateway| &gateway.name);
        formatter.debug_list().entries(names).finish()
    }
}

impl<W: World> Gateways<W> {
    pub(super) fn new(query_client: QueryClient<W>, gateways: &[GatewaySpec]) -> Self {
        Self { query_client, gateways: gateways.iter().map(GatewayHandle::new).collect() }
    }

    /// The same; what is changed at a gateway needs this permit.
    pub(super) fn permitted(self, permit: Permit) -> Self {
        Self { query_client: self.query_client.permitted(permit), ..self }
    }

    /// Looks at every node's switch; each gateway is asked once, however many nodes there are.
    pub(super) async fn look(&self, spec: &Spec) -> States {
        let mut shown = Vec::new();
        for gateway in &self.gateways {
            shown.push((gateway, gateway.ask(&self.query_client).await));
        }
        let look = |address: &str| {
            let found = shown.iter().map(|(gateway, replies)| {
                let replies = replies.as_ref().map_err(Clone::clone)?;
                Ok(gateway.judge(address, gateway.told(replies, address)?))
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
            found.push((at, gateway.read(&self.query_client, address).await?.look));
        }
        Ok(self.switch(address, &found))
    }

    /// Reads the mark at one gateway, by its place in the playbook.
    pub(super) async fn read_at(&self, at: usize, address: &str) -> Option<Result<Switch, Error>> {
        let shown = self.gateways.get(at)?.read(&self.query_client, address).await;
        Some(shown.map(|shown| self.switch(address, &[(at, shown.look)])))
    }

    /// What gateways were found to say of a node.
    fn switch(&self, address: &str, found: &[(usize, Look)]) -> Switch {
        let name = |at: usize| self.gateways[at].name.as_str();
        let names: Vec<_> = found.iter().map(|(at, _)| name(*at)).collect();
        let told = found.iter().map(|(at, look)| {
            let word = match look.down {
                Some(true) => "down",
                Some(false) => "up",
                None => "half down",
            };
            format!("{} {word}", name(*at))
        });
        let looks: Vec<_> = found.iter().map(|(_, look)| look.clone()).collect();
        let Look { down, absent, strangers } = agreed(&looks);
        Switch {
            name: format!("{address} at {}", names.join(", ")),
            down,
            absent,
            strangers,
            original: told.collect::<Vec<_>>().join(", "),
            modify_index: 0,
            token: WriteToken::Gateways(found.iter().map(|(at, _)| *at).collect()),
        }
    }

    /// Asks whether what the gateways keep in Consul may be written; writes nothing.
    pub(super) async fn may_write(&self) -> Result<(), consul::Error> {
        let mut keys = Vec::new();
        for gateway in &self.gateways {
            // One that does not answer now is found out when it is told something.
            let Ok(replies) = gateway.ask(&self.query_client).await else { continue };
            let told = |node: &String| gateway.told(&replies, node).ok();
            keys.extend(
                gateway.nodes.iter().find_map(told).map(|told| told.keys).unwrap_or_default(),
            );
        }
        self.query_client.may_write(&keys).await
    }

    /// Turns a node at each of these gateways that has it otherwise. One after the other: where the first says no, the
    /// others are left alone. One that lacks the node among entries of no node has it otherwise, unless it `may_lack` it.
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

/// What all of them say, if they do.
fn agreed(found: &[Look]) -> Look {
    let first = found.first().and_then(|look| look.down);
    Look {
        down: first.filter(|_| found.iter().all(|look| look.down == first)),
        absent: found.iter().find_map(|look| look.absent.clone()),
        strangers: found.iter().flat_map(|look| look.strangers.iter().cloned()).collect(),
    }
}

/// Why a gateway was not turned.
enum Refused {
    /// Consul does not have the value any more that the change rests on; nothing was changed here.
    Conflict,
    /// The lock is not held; nothing was changed here.
    NotHeld,
    Error(Error),
}

impl Refused {
    /// What was turned at another gateway meanwhile makes the whole uncertain.
    fn told(self, begun: bool) -> Result<Written, Error> {
        match self {
            Self::Conflict if begun => Err(Error::NotShown(QueryError::Conflict.to_string())),
            Self::NotHeld if begun => Err(Error::NotShown(QueryError::NotHeld.to_string())),
            Self::Conflict => Ok(Written::Conflict),
            Self::NotHeld => Ok(Written::NotHeld),
            Self::Error(Error::Failed(problem) | Error::Away(problem)) if begun => {
                Err(Error::NotShown(problem))
            }
            Self::Error(error) => Err(error),
        }
    }
}

impl GatewayHandle {
    fn new(gateway: &GatewaySpec) -> Self {
        Self {
            name: gateway.name.clone(),
            driver: driver(gateway).into(),
            nodes: gateway.nodes.clone(),
            turning: tokio::sync::Mutex::default(),
            memory: Mutex::default(),
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, problem: &str) -> Error {
        Error::Failed(format!("{}: {problem}", self.name))
    }

    fn control(&self) -> Result<&dyn RotationControl, Error> {
        self.driver.rotation_control().ok_or_else(|| self.failed("nothing can be written to it"))
    }

    /// Asks what it was told last. What cannot be had at the moment may be had later.
    async fn ask<W: World>(&self, query_client: &QueryClient<W>) -> Result<Vec<Reply>, Error> {
        let away = |problem: &str| Error::Away(format!("{}: {problem}", self.name));
        self.control()?;
        let asks = self.driver.queries(Purpose::Rotation);
        let replies = query_client.ask_all(&asks).await.map_err(|error| match error {
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

    /// What the gateway was told of a node, as its replies say.
    fn told(&self, replies: &[Reply], address: &str) -> Result<Told, Error> {
        let told = self.control()?.told(replies, address);
        told.map_err(|problem| self.failed(&problem))
    }

    /// How a node is marked there.
    fn judge(&self, address: &str, told: Told) -> Look {
        let Told { mark, is_inconsistent, strangers, .. } = told;
        let down = (!is_inconsistent).then_some(mark != Mark::Up);
        let may_be_another = mark == Mark::Absent && !strangers.is_empty();
        let absent = may_be_another.then(|| absent_among(&self.name, address, &strangers));
        Look { down, absent, strangers: strangers.into_iter().collect() }
    }

    async fn read<W: World>(&self, client: &QueryClient<W>, address: &str) -> Result<Shown, Error> {
        let turns = self.memory().turns;
        let replies = self.ask(client).await?;
        let told = self.told(&replies, address)?;
        let mut memory = self.memory();
        let replies = if told.is_lost {
            memory.list.clone().unwrap_or(replies)
        } else {
            if memory.turns == turns {
                memory.list = Some(replies.clone());
            }
            replies
        };
        drop(memory);
        Ok(Shown { look: self.judge(address, told), replies })
    }

    /// Marks a node on top of what the gateway shows now; returns whether there was anything to do.
    async fn set<W: World>(
        &self,
        query_client: &QueryClient<W>,
        writer: &QueryClient<W>,
        address: &str,
        down: bool,
        may_lack: bool,
    ) -> Result<bool, Refused> {
        let _turning = self.turning.lock().await;
        let found = self.read(query_client, address).await.map_err(Refused::Error)?;
        // It had the node when it was read before.
        if found.look.absent.is_some() && !may_lack {
            return Err(Refused::Conflict);
        }
        if found.look.down == Some(down) {
            return Ok(false);
        }
        let told = |error: fn(String) -> Error, problem: &str| {
            Refused::Error(error(format!("{}: {problem}", self.name)))
        };
        let control = self.control().map_err(Refused::Error)?;
        let asks = control.set(&found.replies, address, down);
        let asks = asks.map_err(|problem| told(Error::Failed, &problem))?;
        let replies = writer.ask_all(&asks).await;
        self.memory().turns += 1;
        let replies = replies.map_err(|error| match error {
            QueryError::NotSent(problem) => told(Error::Away, &problem),
            QueryError::Refused(problem) => told(Error::Failed, &problem),
            // What a command did before it failed is not known.
            QueryError::Unknown(problem) | QueryError::Failed(problem) => {
                told(Error::Unknown, &problem)
            }
            QueryError::Conflict => Refused::Conflict,
            QueryError::NotHeld => Refused::NotHeld,
        })?;
        // Of several writes the first ones were done.
        let is_alone = replies.len() == 1;
        control.is_done(&replies).map_err(|error| match error {
            NotDone::Refused(problem) if is_alone => told(Error::Failed, &problem),
            NotDone::Conflict(_) if is_alone => Refused::Conflict,
            NotDone::Later(problem) if is_alone => told(Error::Away, &problem),
            NotDone::Unknown(problem) => told(Error::Unknown, &problem),
            other => told(Error::NotShown, &other.to_string()),
        })?;
        // What a gateway says it did is one thing, what it then shows another.
        match self.read(query_client, address).await {
            Ok(shown) if shown.look.down == Some(down) => Ok(true),
            Ok(_) => {
                let what = if down { "up" } else { "down" };
                let problem = format!("it took the change and still shows {address} {what}");
                Err(told(Error::NotShown, &problem))
            }
            Err(error) => Err(Refused::Error(Error::Unknown(error.to_string()))),
        }
    }
}

/// How many entries a message names.
const NAMED: usize = 3;

/// Says that a gateway does not list a node, and what it lists in its place.
fn absent_among(gateway: &str, address: &str, strangers: &[String]) -> String {
    let named = strangers.iter().take(NAMED).map(|entry| text::line(entry, 60));
    let named = named.collect::<Vec<_>>().join(", ");
    let more = match strangers.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let are = if strangers.len() == 1 { "which is no node" } else { "which are no nodes" };
    format!(
        "{gateway} does not list {address} but lists {named}{more}, {are} of the playbook: one of them may be this node; \
         correct its address, or add it to {gateway} by hand"
    )
}

#[cfg(test)]
mod caddy_tests;
#[cfg(test)]
mod tests;
