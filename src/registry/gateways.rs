//! The gateways' own APIs: a node is marked at each of them, and read back there.
//!
//! Some gateways take whole lists only: a write is then a read, a change and a write, which two nodes' tasks must not do at
//! the same time, and what such a gateway forgets is given back to it. So each gateway is turned by one task at a time, on
//! top of what it shows at that moment, and the last list that it showed is remembered.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Basis, Error, Looks, Switch, Written};
use crate::consul::{self, Guard};
use crate::gateway::{self, AskError, Asker, Driver, driver};
use crate::spec::{GatewaySpec, Spec};
use crate::world::{Permit, Reply, World};

/// Every gateway of a release.
pub(super) struct Gateways<W> {
    asker: Asker<W>,
    gateways: Vec<One>,
}

/// One gateway.
struct One {
    name: String,
    driver: Arc<dyn Driver>,
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
    /// Whether the node is down there; `None` where it contradicts itself.
    down: Option<bool>,
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
    pub(super) fn new(asker: Asker<W>, gateways: &[GatewaySpec]) -> Self {
        let one = |gateway: &GatewaySpec| One::new(gateway.name.clone(), driver(gateway).into());
        Self { asker, gateways: gateways.iter().map(one).collect() }
    }

    /// The same; what is changed at a gateway needs this permit.
    pub(super) fn permitted(self, permit: Permit) -> Self {
        Self { asker: self.asker.permitted(permit), ..self }
    }

    /// Looks at every node's switch; each gateway is asked once, however many nodes there are.
    pub(super) async fn look(&self, spec: &Spec) -> Looks {
        let mut shown = Vec::new();
        for gateway in &self.gateways {
            shown.push((gateway, gateway.ask(&self.asker).await));
        }
        let look = |address: &str| {
            let found = shown.iter().map(|(gateway, replies)| {
                let replies = replies.as_ref().map_err(Clone::clone)?;
                gateway.judge(replies, address)
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
            found.push((at, gateway.read(&self.asker, address).await?.down));
        }
        Ok(self.switch(address, &found))
    }

    /// Reads the mark at one gateway, by its place in the playbook.
    pub(super) async fn read_at(&self, at: usize, address: &str) -> Option<Result<Switch, Error>> {
        let shown = self.gateways.get(at)?.read(&self.asker, address).await;
        Some(shown.map(|shown| self.switch(address, &[(at, shown.down)])))
    }

    /// What gateways were found to say of a node.
    fn switch(&self, address: &str, found: &[(usize, Option<bool>)]) -> Switch {
        let name = |at: usize| self.gateways[at].name.as_str();
        let names: Vec<_> = found.iter().map(|(at, _)| name(*at)).collect();
        let told = found.iter().map(|(at, down)| {
            let word = match down {
                Some(true) => "down",
                Some(false) => "up",
                None => "half down",
            };
            format!("{} {word}", name(*at))
        });
        let downs: Vec<_> = found.iter().map(|(_, down)| *down).collect();
        Switch {
            name: format!("{address} at {}", names.join(", ")),
            down: agreed(&downs),
            original: told.collect::<Vec<_>>().join(", "),
            modify_index: 0,
            basis: Basis::Gateways(found.iter().map(|(at, _)| *at).collect()),
        }
    }

    /// Asks whether what the gateways keep in Consul may be written; writes nothing.
    pub(super) async fn may_write(&self) -> Result<(), consul::Error> {
        let mut keys = Vec::new();
        for switch in self.gateways.iter().filter_map(|gateway| gateway.driver.switch()) {
            // One that does not answer now is found out by whoever turns it.
            if let Ok(replies) = self.asker.ask_all(&switch.asks()).await {
                keys.extend(switch.keys(&replies));
            }
        }
        self.asker.may_write(&keys).await
    }

    /// Turns a node at each of these gateways that has it otherwise. One after the other: where the first says no, the
    /// others are left alone.
    pub(super) async fn write(
        &self,
        guard: &Guard,
        at: &[usize],
        address: &str,
        down: bool,
    ) -> Result<Written, Error> {
        let writer = self.asker.guarded(guard);
        let mut begun = false;
        for gateway in at.iter().filter_map(|at| self.gateways.get(*at)) {
            match gateway.turn(&self.asker, &writer, address, down).await {
                Ok(turned) => begun |= turned,
                Err(refused) => return refused.told(begun),
            }
        }
        Ok(Written::Done(0))
    }
}

/// What all of them say, if they do.
fn agreed(found: &[Option<bool>]) -> Option<bool> {
    let first = found.first().copied().flatten();
    first.filter(|_| found.iter().all(|down| *down == first))
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
            Self::Conflict if begun => Err(Error::Unknown(AskError::Conflict.to_string())),
            Self::NotHeld if begun => Err(Error::Unknown(AskError::NotHeld.to_string())),
            Self::Conflict => Ok(Written::Conflict),
            Self::NotHeld => Ok(Written::NotHeld),
            Self::Error(Error::Failed(problem)) if begun => Err(Error::Unknown(problem)),
            Self::Error(error) => Err(error),
        }
    }
}

impl One {
    fn new(name: String, driver: Arc<dyn Driver>) -> Self {
        Self { name, driver, turning: tokio::sync::Mutex::default(), memory: Mutex::default() }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, problem: &str) -> Error {
        Error::Failed(format!("{}: {problem}", self.name))
    }

    fn switch(&self) -> Result<&dyn gateway::Switch, Error> {
        self.driver.switch().ok_or_else(|| self.failed("nothing can be written to it"))
    }

    /// Asks what it was told last.
    async fn ask<W: World>(&self, asker: &Asker<W>) -> Result<Vec<Reply>, Error> {
        let replies = asker.ask_all(&self.switch()?.asks()).await;
        replies.map_err(|error| self.failed(&error.to_string()))
    }

    /// Whether a node is down there, as its replies say; `None` where it contradicts itself.
    fn judge(&self, replies: &[Reply], address: &str) -> Result<Option<bool>, Error> {
        let switch = self.switch()?;
        let down = switch.is_down(replies, address).map_err(|problem| self.failed(&problem))?;
        Ok((!switch.is_half_turned(replies, address)).then_some(down))
    }

    async fn read<W: World>(&self, asker: &Asker<W>, address: &str) -> Result<Shown, Error> {
        let switch = self.switch()?;
        let turns = self.memory().turns;
        let replies = self.ask(asker).await?;
        let down = self.judge(&replies, address)?;
        let mut memory = self.memory();
        let replies = if switch.is_lost(&replies) {
            memory.list.clone().unwrap_or(replies)
        } else {
            if memory.turns == turns {
                memory.list = Some(replies.clone());
            }
            replies
        };
        Ok(Shown { down, replies })
    }

    /// Marks a node on top of what the gateway shows now; returns whether there was anything to do.
    async fn turn<W: World>(
        &self,
        asker: &Asker<W>,
        writer: &Asker<W>,
        address: &str,
        down: bool,
    ) -> Result<bool, Refused> {
        let _turning = self.turning.lock().await;
        let found = self.read(asker, address).await.map_err(Refused::Error)?;
        if found.down == Some(down) {
            return Ok(false);
        }
        let failed = |problem: &str| Refused::Error(self.failed(problem));
        let unknown =
            |problem: &str| Refused::Error(Error::Unknown(format!("{}: {problem}", self.name)));
        let switch = self.switch().map_err(Refused::Error)?;
        let asks = switch.turn(&found.replies, address, down);
        let asks = asks.map_err(|problem| failed(&problem))?;
        let replies = writer.ask_all(&asks).await;
        self.memory().turns += 1;
        let replies = replies.map_err(|error| match error {
            AskError::NotSent(problem) => failed(&problem),
            AskError::Unknown(problem) | AskError::Failed(problem) => unknown(&problem),
            AskError::Conflict => Refused::Conflict,
            AskError::NotHeld => Refused::NotHeld,
        })?;
        switch.is_done(&replies).map_err(|problem| unknown(&problem))?;
        // What a gateway says it did is one thing, what it then shows another.
        match self.read(asker, address).await {
            Ok(shown) if shown.down == Some(down) => Ok(true),
            Ok(_) => {
                let what = if down { "up" } else { "down" };
                Err(unknown(&format!("it took the change and still shows {address} {what}")))
            }
            Err(error) => Err(Refused::Error(Error::Unknown(error.to_string()))),
        }
    }
}

#[cfg(test)]
mod tests;
