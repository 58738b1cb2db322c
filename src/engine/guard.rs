//! While a node is out: looks again and again whether it still is, and takes it out again when it is not.
//!
//! Somebody may edit the key, a gateway may be reloaded or restarted with an old list. The key is set right at once; a
//! gateway that routes to the node although the key says down is told of, and nothing is stopped before it is proven
//! out again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinHandle;

use super::run::{Record, Shared};
use crate::consul::Index;
use crate::event::{Fact, Step};
use crate::registry::Written;
use crate::spec::NodeSpec;
use crate::text;
use crate::world::World;

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a write that is under way may take before the watch is ended all the same.
const WRITE_GRACE: Duration = Duration::from_secs(1);

/// Watches one node.
pub(super) struct Guard {
    task: JoinHandle<()>,
    state: Arc<State>,
}

/// What the watch and the node's own way share.
struct State {
    /// A gateway routes to the node again, or may have.
    astray: AtomicBool,
    /// Held while the key is written.
    writing: Mutex<()>,
}

/// The watch itself.
struct Watch<W> {
    shared: Arc<Shared<W>>,
    node: NodeSpec,
    state: Arc<State>,
    /// The last trouble that was told.
    told: Option<String>,
    /// Why the last look did not see every gateway.
    unread: Option<String>,
}

impl Guard {
    /// Watches a node that was proven out.
    pub(super) fn new<W: World>(shared: &Arc<Shared<W>>, node: &NodeSpec) -> Self {
        let state = Arc::new(State { astray: AtomicBool::new(false), writing: Mutex::default() });
        let watch = Watch::new(shared, node, &state);
        Self { task: tokio::spawn(watch.go()), state }
    }

    /// Looks right now and returns whether the node is out at every gateway, and was since this was asked last; otherwise
    /// it has to be proven out anew. A gateway that cannot be read may be about to begin with an old list.
    pub(super) async fn stayed_out<W: World>(
        &self,
        shared: &Arc<Shared<W>>,
        node: &NodeSpec,
    ) -> bool {
        let mut watch = Watch::new(shared, node, &self.state);
        watch.look_and_tell().await;
        if watch.unread.is_some() {
            watch.look_and_tell().await;
        }
        if let Some(problem) = &watch.unread {
            watch.tell(&format!("{problem}; the node is proven out again")).await;
        }
        !self.state.astray.swap(false, Ordering::Relaxed) && watch.unread.is_none()
    }

    /// Ends the watch; a write that is under way gets a moment.
    pub(super) async fn end(self) {
        let _written = tokio::time::timeout(WRITE_GRACE, self.state.writing.lock()).await;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<W: World> Watch<W> {
    fn new(shared: &Arc<Shared<W>>, node: &NodeSpec, state: &Arc<State>) -> Self {
        let (shared, node, state) = (shared.clone(), node.clone(), state.clone());
        Self { shared, node, state, told: None, unread: None }
    }

    async fn go(mut self) {
        let mut since = Index::default();
        loop {
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = self.shared.registry.changed(&mut since) => {}
            }
            self.look_and_tell().await;
        }
    }

    async fn look_and_tell(&mut self) {
        let trouble = self.look().await;
        if let Some(trouble) = trouble.as_ref() {
            self.state.astray.store(true, Ordering::Relaxed);
            if self.told.as_ref() != Some(trouble) {
                self.tell(trouble).await;
            }
        }
        self.told = trouble;
    }

    async fn tell(&self, trouble: &str) {
        let message = format!("{}: {trouble}", self.node.name);
        let fact = Fact::Warning { message };
        let node = Some(self.node.name.clone());
        let record = Record { node, step: None, fact, written: None };
        let _ = self.shared.records.send(record).await;
    }

    /// Looks once; mends what can be mended and returns what was wrong.
    async fn look(&mut self) -> Option<String> {
        self.unread = None;
        if let Some(trouble) = self.set_right().await {
            return Some(trouble);
        }
        for gateway in &self.shared.gateways {
            let seen = match gateway.observe().await {
                Ok(seen) => seen,
                // It proves nothing either way.
                Err(problem) => {
                    self.unread = Some(format!("{} cannot be read: {problem}", gateway.name()));
                    continue;
                }
            };
            if seen.routes_somewhere_to(&self.node.address) {
                let why = seen.disregarded.map_or(String::new(), |why| format!(": {why}"));
                let name = gateway.name();
                return Some(format!("{name} routes to it again although it is down{why}"));
            }
        }
        None
    }

    /// Marks the node down again if its switch says otherwise.
    async fn set_right(&self) -> Option<String> {
        let registry = &self.shared.registry;
        // What cannot be read right now proves nothing either way; an instance that is gone is out.
        let switch = registry.read_of_some(&self.node).await.ok()?;
        if switch.down == Some(true) {
            return None;
        }
        if !registry.is_fenced() && self.shared.lock.verify().await.is_err() {
            return None;
        }
        let (key, modify_index) = (switch.name.clone(), switch.modify_index);
        let _writing = self.state.writing.lock().await;
        let original = switch.original.clone();
        self.record(Fact::RegistryWriting { key: key.clone(), down: true, original, modify_index })
            .await?;
        let fence = self.shared.lock.guard().now();
        match registry.write(&fence, &self.node, &switch, true).await {
            Ok(Written::Done(modify_index)) => {
                let key = key.clone();
                self.record(Fact::RegistryWritten { key, down: true, modify_index }).await?;
            }
            // The next look tells whether it was done, and the lock's own watch whether it is ours.
            Ok(Written::NotHeld | Written::Conflict) | Err(_) => {
                self.record(Fact::RegistryRefused {}).await?;
            }
        }
        let key = text::line(&key, 120);
        Some(if registry.is_fenced() {
            format!("somebody set {key} back to up; it was marked down again")
        } else {
            format!("{key} was up again; it was marked down again")
        })
    }

    /// Records a fact and returns when it is written down; nothing when it cannot be.
    async fn record(&self, fact: Fact) -> Option<()> {
        let (written, answer) = oneshot::channel();
        let node = Some(self.node.name.clone());
        let record = Record { node, step: None::<Step>, fact, written: Some(written) };
        self.shared.records.send(record).await.ok()?;
        answer.await.ok()
    }
}
