//! The gateways' own APIs: a node is marked at each of them, and read back there.

use std::sync::Arc;

use super::{Basis, Error, Looks, Switch, Written};
use crate::gateway::{AskError, Asker, Driver, driver};
use crate::spec::{GatewaySpec, Spec};
use crate::world::{Reply, World};

/// Every gateway of a release.
pub(super) struct Gateways<W> {
    asker: Asker<W>,
    gateways: Vec<(String, Arc<dyn Driver>)>,
}

impl<W> std::fmt::Debug for Gateways<W> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.gateways.iter().map(|(name, _)| name);
        formatter.debug_list().entries(names).finish()
    }
}

impl<W: World> Gateways<W> {
    pub(super) fn new(asker: Asker<W>, gateways: &[GatewaySpec]) -> Self {
        let named = |gateway: &GatewaySpec| (gateway.name.clone(), driver(gateway).into());
        Self { asker, gateways: gateways.iter().map(named).collect() }
    }

    pub(super) async fn look(&self, spec: &Spec) -> Looks {
        let mut looks = Looks::new();
        for node in &spec.nodes {
            let look = self.read(&node.address).await;
            let look = look.map(|switch| switch.down).map_err(|error| error.to_string());
            looks.insert(node.name.clone(), look);
        }
        looks
    }

    pub(super) async fn read(&self, address: &str) -> Result<Switch, Error> {
        let mut found = Vec::new();
        let mut told = Vec::new();
        for (name, driver) in &self.gateways {
            let (down, replies) = self.read_one(name, driver.as_ref(), address).await?;
            told.push(format!("{name} {}", if down { "down" } else { "up" }));
            found.push((down, replies));
        }
        let first = found.first().map(|(down, _)| *down);
        let same = found.iter().all(|(down, _)| Some(*down) == first);
        let names: Vec<_> = self.gateways.iter().map(|(name, _)| name.as_str()).collect();
        Ok(Switch {
            name: format!("{address} at {}", names.join(", ")),
            down: first.filter(|_| same),
            original: told.join(", "),
            modify_index: 0,
            basis: Basis::Gateways(found),
        })
    }

    async fn read_one(
        &self,
        name: &str,
        driver: &dyn Driver,
        address: &str,
    ) -> Result<(bool, Vec<Reply>), Error> {
        let failed = |problem: String| Error::Failed(format!("{name}: {problem}"));
        let switch =
            driver.switch().ok_or_else(|| failed("nothing can be written to it".into()))?;
        let replies = self.asker.ask_all(&switch.asks()).await;
        let replies = replies.map_err(|error| failed(error.to_string()))?;
        let down = switch.is_down(&replies, address).map_err(failed)?;
        Ok((down, replies))
    }

    /// Turns a node at every gateway that has it otherwise. One after the other: where the first says no, the others
    /// are left alone.
    pub(super) async fn write(
        &self,
        address: &str,
        found: &[(bool, Vec<Reply>)],
        down: bool,
    ) -> Result<Written, Error> {
        let mut begun = false;
        let left = self.gateways.iter().zip(found).filter(|(_, (is_down, _))| *is_down != down);
        for ((name, driver), (_, replies)) in left {
            let turned = self.turn(name, driver.as_ref(), address, replies, down).await;
            match turned {
                Ok(()) => begun = true,
                // What was turned at another gateway meanwhile makes the whole uncertain.
                Err(Error::Failed(problem)) if begun => return Err(Error::Unknown(problem)),
                Err(error) => return Err(error),
            }
        }
        Ok(Written::Done(0))
    }

    async fn turn(
        &self,
        name: &str,
        driver: &dyn Driver,
        address: &str,
        found: &[Reply],
        down: bool,
    ) -> Result<(), Error> {
        let failed = |problem: String| Error::Failed(format!("{name}: {problem}"));
        let unknown = |problem: String| Error::Unknown(format!("{name}: {problem}"));
        let switch =
            driver.switch().ok_or_else(|| failed("nothing can be written to it".into()))?;
        let asks = switch.turn(found, address, down).map_err(failed)?;
        let replies = self.asker.ask_all(&asks).await.map_err(|error| match error {
            AskError::NotSent(problem) => failed(problem),
            AskError::Unknown(problem) | AskError::Failed(problem) => unknown(problem),
        })?;
        switch.is_done(&replies).map_err(unknown)?;
        // What a gateway says it did is one thing, what it then shows another.
        match self.read_one(name, driver, address).await {
            Ok((is_down, _)) if is_down == down => Ok(()),
            Ok(_) => {
                let what = if down { "up" } else { "down" };
                Err(unknown(format!("it took the change and still shows {address} {what}")))
            }
            Err(error) => Err(Error::Unknown(error.to_string())),
        }
    }
}
