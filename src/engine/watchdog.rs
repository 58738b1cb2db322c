//! While a node is out of rotation, checks repeatedly that it stays out, and marks it down again if it does not.
//!
//! Another writer may edit the key. A gateway may reload or restart with an old list. The watchdog corrects the key at
//! once. It reports a gateway that routes to the node although the key says down, and nothing is stopped before the
//! node is confirmed out again. The key and each gateway are watched separately: one that does not answer does not
//! delay the others.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::RwLock;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::context::Context;
use crate::gateway::Observation;
use crate::mark::Mark;
use crate::registry::Written;
use crate::release::EventKind;
use crate::spec::NodeSpec;
use crate::text;
use crate::world::{NotPermitted, Permit, World};

/// Pause between two checks.
const PAUSE: Duration = Duration::from_secs(1);

/// Maximum age of a gateway read made for another purpose.
const LATELY: Duration = Duration::from_millis(500);

/// Maximum wait for a write in progress before the watch ends anyway.
const WRITE_GRACE: Duration = Duration::from_secs(1);

/// Watches one node.
pub(super) struct Watchdog<W> {
    /// The watch tasks; they end with the watchdog.
    _watches: JoinSet<()>,
    watched: Arc<Watched<W>>,
}

/// State shared by the watch tasks and the node's own steps.
struct Watched<W> {
    context: Arc<Context<W>>,
    node: Arc<NodeSpec>,
    /// Why the node may have been in rotation meanwhile: a gateway routes to it again, or the key was set back to up.
    astray: Mutex<Option<String>>,
    /// Held for reading by a task that sets a switch.
    writing: RwLock<()>,
}

/// The watch of one part: the registry or one gateway.
struct Watch<W> {
    watched: Arc<Watched<W>>,
    /// The gateway's index in the playbook.
    gateway: Option<usize>,
    /// The last problem that was reported.
    told: Option<String>,
    /// Why the last check could not read the gateway.
    unread: Option<String>,
}

impl<W: World> Watchdog<W> {
    /// Watches a node that was confirmed out.
    pub(super) fn new(context: &Arc<Context<W>>, node: &Arc<NodeSpec>) -> Self {
        let (context, node) = (context.clone(), node.clone());
        let (astray, writing) = (Mutex::default(), RwLock::default());
        let watched = Arc::new(Watched { context, node, astray, writing });
        Self { _watches: watched.each().map(Watch::go).collect(), watched }
    }

    /// Checks at once whether the node is out at every gateway and has been since the previous call. A gateway that
    /// cannot be read may be starting with an old list.
    ///
    /// # Errors
    ///
    /// The reason why the node must be confirmed out again.
    pub(super) async fn stayed_out(&self) -> Result<(), String> {
        self.watched.stayed_out().await
    }

    /// Permits a command only while the lock is held and the node is confirmed out. It asks when the host is ready to
    /// run the command, because connecting may take seconds. If the node is the reason for a refusal,
    /// [`strayed`](Self::strayed) returns why.
    pub(super) fn permit(&self) -> Permit {
        let (watched, lock) = (self.watched.clone(), self.watched.context.lock.permit());
        Permit::new(move || {
            let (watched, lock) = (watched.clone(), lock.clone());
            async move {
                if let Err(why) = watched.stayed_out().await {
                    *watched.astray() = Some(why);
                }
                lock.ask().await?;
                // The watch may have seen another problem while the lock was verified.
                match watched.astray().clone() {
                    Some(reason) => Err(NotPermitted { reason, is_final: false }),
                    None => Ok(()),
                }
            }
        })
    }

    /// Takes the reason why the node must be confirmed out again, if there is one.
    pub(super) fn strayed(&self) -> Option<String> {
        self.watched.astray().take()
    }

    /// Ends the watch. A write in progress gets a short grace period.
    pub(super) async fn end(self) {
        let _written = tokio::time::timeout(WRITE_GRACE, self.watched.writing.write()).await;
    }
}

impl<W: World> Watched<W> {
    fn astray(&self) -> MutexGuard<'_, Option<String>> {
        self.astray.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a watch of each part.
    fn each(self: &Arc<Self>) -> impl Iterator<Item = Watch<W>> {
        let gateways = (0..self.context.gateways.len()).map(Some);
        gateways.chain([None]).map(|gateway| {
            let watched = self.clone();
            Watch { watched, gateway, told: None, unread: None }
        })
    }

    async fn stayed_out(self: &Arc<Self>) -> Result<(), String> {
        let looks = self.each().map(|mut watch| async move {
            watch.look_and_tell(Instant::now()).await;
            if watch.unread.is_some() {
                watch.look_and_tell(Instant::now()).await;
            }
            let unread = watch.unread.take();
            if let Some(problem) = &unread {
                watch.tell(&format!("{problem}; confirming again that the node is out")).await;
            }
            unread
        });
        let unread = looks.collect::<JoinSet<_>>().join_all().await.into_iter().flatten().next();
        let astray = self.astray().take();
        astray.or(unread).map_or(Ok(()), Err)
    }
}

impl<W: World> Watch<W> {
    async fn go(mut self) {
        let mut changes = self.watched.context.registry.changes();
        loop {
            tokio::select! {
                biased;
                () = changes.next(), if self.gateway.is_none() => {}
                () = tokio::time::sleep(PAUSE) => {}
            }
            // A recent read made for another purpose is enough.
            self.look_and_tell(Instant::now() - LATELY).await;
        }
    }

    /// Checks a read made at `since` or later, and reports a new problem.
    async fn look_and_tell(&mut self, since: Instant) {
        let trouble = self.look(since).await;
        if let Some(trouble) = trouble.as_ref() {
            *self.watched.astray() = Some(trouble.clone());
            if self.told.as_ref() != Some(trouble) {
                self.tell(trouble).await;
            }
        }
        self.told = trouble;
    }

    async fn tell(&self, trouble: &str) {
        let message = format!("{}: {trouble}", self.watched.node.name);
        let fact = EventKind::Warning { message };
        self.watched.context.note(&self.watched.node.name, vec![(None, fact)]).await;
    }

    /// Checks once, corrects the key if needed, and returns the problem.
    async fn look(&mut self, since: Instant) -> Option<String> {
        self.unread = None;
        if let Some(trouble) = self.set_right(since).await {
            return Some(trouble);
        }
        let gateway = self.watched.context.gateways.get(self.gateway?)?;
        let name = gateway.name();
        match gateway.observe_since(since).await {
            Ok(seen) => {
                let astray = astray(&seen, &self.watched.node.address)?;
                // The key says down and the node was confirmed out. A later confirmation must not rest on weaker
                // evidence.
                gateway.contradict();
                return Some(format!("{name} {astray}"));
            }
            // A failed read proves nothing.
            Err(problem) => self.unread = Some(format!("{name} cannot be read: {problem}")),
        }
        None
    }

    /// Marks the node down again if its switch says otherwise.
    async fn set_right(&self, since: Instant) -> Option<String> {
        let registry = &self.watched.context.registry;
        // A failed read proves nothing. A deregistered instance is out.
        let switch = registry.read_part(&self.watched.node, self.gateway, since).await?.ok()?;
        if switch.mark == Mark::Down {
            return None;
        }
        if !switch.is_fenced() && self.watched.context.lock.verify().await.is_err() {
            return None;
        }
        let key = switch.name.clone();
        let _writing = self.watched.writing.read().await;
        self.record(switch.writing(true)).await?;
        let fence = self.watched.context.lock.fence().now();
        let written = registry.write(&fence, &self.watched.node, &switch, true).await;
        let told = text::line(&key, 120);
        let told = if switch.is_fenced() {
            format!("another writer marked {told} up")
        } else {
            format!("{told} was up again")
        };
        let refused = match written {
            Ok(Written::Done(modify_index)) => {
                self.record(EventKind::RegistryWritten { key, down: true, modify_index }).await?;
                return Some(format!("{told}; it was marked down again"));
            }
            Ok(Written::NotHeld) => "the lock is not held".to_owned(),
            Ok(Written::Conflict) => "lost a concurrent write".to_owned(),
            Err(error) => text::line(&error.to_string(), 200),
        };
        // The next check shows whether the write took effect. The lock's own watch shows whether the lock is still
        // held.
        self.record(EventKind::RegistryRefused {}).await?;
        Some(format!("{told}; it could not be marked down again: {refused}"))
    }

    /// Records a fact and returns when it is in the journal, or `None` when it cannot be written.
    async fn record(&self, fact: EventKind) -> Option<()> {
        self.watched.context.record(&self.watched.node.name, vec![(None, fact)]).await.ok()
    }
}

/// Returns the problem, if a gateway has not fully stopped routing to a node that is down.
fn astray(seen: &Observation, address: &str) -> Option<String> {
    if seen.is_out(address) {
        return None;
    }
    let why = seen.overridden.as_ref().map_or(String::new(), |why| format!(": {why}"));
    Some(if seen.routes_somewhere_to(address) {
        format!("routes to it although it is marked down{why}")
    } else {
        "lists it as up; only its health check keeps traffic away".into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A health check may pass once the service starts, before rollgate verifies its health.
    #[test]
    fn a_gateway_whose_check_alone_keeps_requests_away_has_not_let_go() {
        let told = |out: bool, routed: bool| {
            let mut seen = Observation::default();
            seen.out.insert("10.0.0.1:80".into(), out);
            seen.routed_somewhere.insert("10.0.0.1:80".into(), routed);
            astray(&seen, "10.0.0.1:80").unwrap_or_default()
        };
        assert_eq!(told(true, false), "");
        assert_eq!(told(false, true), "routes to it although it is marked down");
        assert!(told(false, false).starts_with("lists it as up;"), "{}", told(false, false));
        assert_eq!(astray(&Observation::default(), "10.0.0.1:80"), None, "not listed at all");
    }
}
