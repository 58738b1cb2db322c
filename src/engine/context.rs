//! The shared state of a running release: the world, the release's current state, and the channel to the recorder.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::pool::Pool;
use super::stop::Stop;
use crate::consul::Client;
use crate::gateway::GatewayMonitor;
use crate::holds::Holds;
use crate::lock::Lock;
use crate::registry::Registry;
use crate::release::{Event, EventKind, Leaving, NodeState, Planned, Release, Step};
use crate::spec::{NodeSpec, Spec};

/// The operation on each node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// All the playbook's steps.
    Deploy,
    /// Manual removal from rotation.
    Out,
    /// Manual return to rotation.
    In,
}

impl Operation {
    /// Returns whether the operation includes a step of the playbook.
    #[must_use]
    pub fn includes(self, step: Step) -> bool {
        match self {
            Self::Deploy => true,
            Self::Out => matches!(step, Step::Disable | Step::ConfirmOut | Step::Drain),
            Self::In => matches!(step, Step::Health | Step::Enable | Step::ConfirmIn),
        }
    }
}

/// Receives events. It cannot change a release, and its errors cannot stop a release.
pub trait Sink: Send {
    /// Receives an event that counts from now on, and the release's state after it.
    fn event(&mut self, event: &Event, release: &Release);
}

impl<S: Sink + ?Sized> Sink for &mut S {
    fn event(&mut self, event: &Event, release: &Release) {
        (**self).event(event, release);
    }
}

/// The current state of the release. Everything reads it; only the recorder changes it.
#[derive(Debug, Clone, Default)]
pub(super) struct LiveRelease(Arc<RwLock<Release>>);

impl LiveRelease {
    pub(super) fn new(release: Release) -> Self {
        Self(Arc::new(RwLock::new(release)))
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, Release> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the release. Only the recorder calls this.
    pub(super) fn update(&self, update: impl FnOnce(&mut Release)) {
        update(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Reads a value from a node's state.
    pub(super) fn node<T: Default>(&self, name: &str, read: impl FnOnce(&NodeState) -> T) -> T {
        self.read().nodes.get(name).map(read).unwrap_or_default()
    }
}

/// The shared state of a running release.
pub(super) struct Context<W> {
    pub(super) world: Arc<W>,
    pub(super) consul: Arc<Client<W>>,
    pub(super) registry: Registry<W>,
    pub(super) gateways: Vec<GatewayMonitor<W>>,
    pub(super) spec: Arc<Spec>,
    /// Every node, by name.
    pub(super) nodes: BTreeMap<String, Known>,
    pub(super) operation: Operation,
    pub(super) lock: Arc<Lock<W>>,
    /// The nodes that operators hold.
    pub(super) holds: Holds<W>,
    pub(super) release: LiveRelease,
    /// Held during the decision whether a node may leave rotation: one decision at a time.
    pub(super) turn: Arc<Mutex<()>>,
    /// The nodes that serve.
    pub(super) pool: Pool,
    pub(super) stop: Stop,
    pub(super) records: mpsc::Sender<Record>,
    /// What is done on finished nodes, beside the others.
    pub(super) tidying: std::sync::Mutex<JoinSet<()>>,
}

/// The facts about a node that are known from the start.
#[derive(Debug)]
pub(super) struct Known {
    /// The specification of the target version.
    pub(super) node: Arc<NodeSpec>,
    /// The specification of the rollback, if the previous version is known.
    pub(super) back: Option<Arc<NodeSpec>>,
    /// The plan for the node.
    pub(super) planned: Option<Arc<Planned>>,
    /// The folder of the release that it ran before, if that is known.
    pub(super) ran: Option<String>,
    /// Held while old releases are deleted on the node.
    pub(super) tidying: Arc<Mutex<()>>,
}

impl Known {
    /// Every node, by name.
    pub(super) fn all(spec: &Spec, release: &Release) -> BTreeMap<String, Self> {
        let before = release.started.as_ref().map(|started| started.before.folders());
        let mut ran = before.unwrap_or_default();
        let known = |node: &Arc<NodeSpec>| Self {
            node: node.clone(),
            back: spec.back.get(&node.name).cloned(),
            planned: release.plan_of(&node.name).cloned().map(Arc::new),
            ran: ran.remove(node.name.as_str()),
            tidying: Arc::default(),
        };
        let names = spec.nodes.iter().map(|node| node.name.clone());
        names.zip(spec.nodes.iter().map(known)).collect()
    }
}

impl<W> Context<W> {
    /// Returns whether no more nodes may be removed from rotation because too many nodes have failed.
    /// The count includes nodes that were unusable from the start and failures that are not in the journal yet.
    pub(super) fn too_many_failed(&self) -> bool {
        let release = self.release.read();
        let is_written = |name: &str| release.nodes.get(name).is_some_and(NodeState::has_failed);
        self.spec.stops_after(release.failures() + self.pool.failing(|name| !is_written(name)))
    }

    /// Returns the addresses of nodes that are leaving rotation, have left it and were not confirmed back in, or are
    /// held. A gateway may still list them.
    pub(super) fn leaving(&self) -> BTreeSet<String> {
        let release = self.release.read();
        let leaves = |node: &&Arc<NodeSpec>| {
            let state = release.nodes.get(&node.name);
            state.is_some_and(|state| state.leaving != Leaving::No || state.is_held())
        };
        self.spec.nodes.iter().filter(leaves).map(|node| node.address.clone()).collect()
    }

    /// Records facts about a node, in one write. Returns when they are on disk, or an error when the last one cannot be
    /// written.
    pub(super) async fn record(&self, node: &str, facts: Vec<Noted>) -> Result<(), NotRecorded> {
        let (written, answer) = oneshot::channel();
        let record = Record { node: Some(node.to_owned()), facts, written: Some(written) };
        self.records.send(record).await.map_err(|_| NotRecorded)?;
        answer.await.map_err(|_| NotRecorded)
    }

    /// Records facts about a node without waiting for the write.
    pub(super) async fn note(&self, node: &str, facts: Vec<Noted>) {
        let _ =
            self.records.send(Record { node: Some(node.to_owned()), facts, written: None }).await;
    }

    /// Does work on a finished node that no other node waits for.
    pub(super) fn tidy_up(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tidying.lock().unwrap_or_else(PoisonError::into_inner).spawn(work);
    }

    /// The work on finished nodes that has not ended.
    pub(super) fn take_tidying(&self) -> JoinSet<()> {
        std::mem::take(&mut *self.tidying.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns once everything sent to the recorder so far is recorded.
    pub(super) async fn catch_up(&self) {
        let (written, answer) = oneshot::channel();
        let nothing = Record { node: None, facts: Vec::new(), written: Some(written) };
        if self.records.send(nothing).await.is_ok() {
            let _ = answer.await;
        }
    }

    /// Reports the progress of a node's step. The report is dropped when the recorder's queue is full.
    pub(super) fn tell(&self, node: &str, step: Step, fact: EventKind) {
        let facts = vec![(Some(step), fact)];
        let record = Record { node: Some(node.to_owned()), facts, written: None };
        let _ = self.records.try_send(record);
    }
}

/// A fact cannot be recorded: the journal cannot be written, or the lock is lost.
#[derive(Debug, Clone, Copy)]
pub(super) struct NotRecorded;

/// A fact, and the step to which it belongs.
pub(super) type Noted = (Option<Step>, EventKind);

/// A request to record facts about a node, in order. Without facts it only waits for earlier requests.
pub(super) struct Record {
    pub(super) node: Option<String>,
    pub(super) facts: Vec<Noted>,
    /// Answered when the last event is on disk; dropped when it cannot be written.
    pub(super) written: Option<oneshot::Sender<()>>,
}

pub(super) fn millis(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}
