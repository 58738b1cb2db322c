//! Marking a node down and up, and proving that every gateway followed.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::node::{Found, NodeRun, Trouble};
use crate::consul::{Error, KvWrite};
use crate::event::{Fact, Step};
use crate::gateway::Method;
use crate::registry::{is_down, with_down};
use crate::world::World;

/// How often a write is tried while others write the same key.
const ATTEMPTS: u32 = 5;

/// The pause before looking at a key again whose write got no answer.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// For a gateway to follow, beyond twice its own lag: its active checks need their time.
const CONFIRM_TIME: Duration = Duration::from_secs(60);

impl<W: World> NodeRun<W> {
    /// Marks the node down or up: one field, compare-and-set, the original in the journal.
    pub(super) async fn set_down(&mut self, step: Step, down: bool) -> Result<Found, Trouble> {
        let key = self.shared.kv.key(&self.node.address);
        let mut unanswered = None;
        for _ in 0..ATTEMPTS {
            let entry = self.shared.kv.read(&self.node.address).await;
            let entry = entry.map_err(|error| error.to_string())?;
            let Some(entry) = entry else {
                return Err(Trouble::from(format!("Consul has no key {key} any more")));
            };
            let wrong = |error: crate::registry::ValueError| format!("{key}: {error}");
            let modify_index = entry.modify_index;
            if is_down(&entry.value).map_err(wrong)? == down {
                self.written = Instant::now();
                self.unanswered = false;
                let written = Fact::RegistryWritten { key: key.clone(), down, modify_index };
                self.record(Some(step), written).await?;
                return Ok(said(&key, down, modify_index));
            }
            let value = with_down(&entry.value, down).map_err(wrong)?;
            let original = String::from_utf8_lossy(&entry.value).into_owned();
            let writing = Fact::RegistryWriting { key: key.clone(), down, original, modify_index };
            // Noted before anything else can happen: whoever is interrupted from here on has to look.
            self.down |= down;
            self.unanswered = true;
            self.record(Some(step), writing).await?;
            let guard = self.shared.lock.guard().now();
            match self.shared.kv.write(&guard, &entry, &value).await {
                Ok(KvWrite::Done(modify_index)) => {
                    self.written = Instant::now();
                    self.unanswered = false;
                    let written = Fact::RegistryWritten { key: key.clone(), down, modify_index };
                    self.record(Some(step), written).await?;
                    return Ok(said(&key, down, modify_index));
                }
                // Somebody else changed the key meanwhile: their change stays, ours is made on top of it.
                Ok(KvWrite::Conflict) => {
                    unanswered = None;
                    self.not_written(step).await?;
                }
                Ok(KvWrite::NotHeld) => {
                    self.not_written(step).await?;
                    if self.shared.lock.refused(&guard).await.is_err() {
                        return Err(Trouble::Halt);
                    }
                }
                // It may or may not have been done: look.
                Err(error @ Error::Unknown(_)) => {
                    unanswered = Some(error);
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                Err(error) => {
                    self.not_written(step).await?;
                    return Err(Trouble::from(error.to_string()));
                }
            }
        }
        Err(Trouble::from(match unanswered {
            Some(error) => error.to_string(),
            None => format!("{key} was changed by somebody else {ATTEMPTS} times in a row"),
        }))
    }

    async fn not_written(&mut self, step: Step) -> Result<(), Trouble> {
        self.unanswered = false;
        self.record(Some(step), Fact::RegistryRefused {}).await
    }

    /// How long the gateways may take to follow.
    pub(super) fn confirm_time(&self) -> Duration {
        let lag = self.shared.gateways.iter().map(crate::gateway::Watcher::lag).max();
        CONFIRM_TIME + 2 * lag.unwrap_or_default()
    }

    /// Waits until every gateway is proven to route to the node, or to have let go of it.
    pub(super) async fn confirm(
        &self,
        step: Step,
        routed: bool,
        deadline: Instant,
    ) -> Result<Found, Trouble> {
        let (sender, mut receiver) = tokio::sync::mpsc::channel::<String>(16);
        let mut tasks = JoinSet::new();
        let nodes = self.shared.spec.nodes.iter();
        let pool: Vec<String> = nodes.map(|node| node.address.clone()).collect();
        for gateway in &self.shared.gateways {
            let gateway = gateway.clone();
            let (address, written, sender) =
                (self.node.address.clone(), self.written, sender.clone());
            let pool = pool.clone();
            tasks.spawn(async move {
                let tell = |message| {
                    let _ = sender.try_send(message);
                };
                let result =
                    gateway.confirm(&address, routed, &pool, written, deadline, tell).await;
                (gateway.name().to_owned(), result)
            });
        }
        drop(sender);
        let mut proven = Vec::new();
        loop {
            tokio::select! {
                biased;
                ended = tasks.join_next() => match ended {
                    None => break,
                    Some(Ok((gateway, Ok(confirmation)))) => {
                        let method = match confirmation.method {
                            Method::Workers => "workers",
                            Method::Samples => "samples",
                        };
                        proven.push(match confirmation.method {
                            Method::Workers => format!("{gateway} {} workers", confirmation.workers),
                            Method::Samples => format!("{gateway} {} reads", confirmation.reads),
                        });
                        let fact = Fact::GatewayProven {
                            gateway,
                            routed,
                            reads: confirmation.reads,
                            workers: confirmation.workers,
                            method: method.into(),
                            pool: Some(confirmation.pool),
                        };
                        self.record(Some(step), fact).await?;
                    }
                    Some(Ok((_, Err(seen)))) => {
                        let what = if routed { "is back in" } else { "is out" };
                        return Err(Trouble::from(format!("not proven that it {what}: {seen}")));
                    }
                    Some(Err(error)) => return Err(Trouble::from(error.to_string())),
                },
                Some(message) = receiver.recv() => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    self.tell(step, message, None, left);
                }
            }
        }
        proven.sort();
        Ok(Found::from(format!("proven: {}", proven.join(", "))))
    }
}

fn said(key: &str, down: bool, index: u64) -> Found {
    Found::from(format!("consul {key} down={} (index {index})", u8::from(down)))
}
