//! The shared state of a running release: the world, the release's current state, and the channel to the recorder.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use tokio::sync::{Mutex, mpsc, oneshot};
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

    /// Records a fact about a node. Returns when it is on disk, or an error when it cannot be written.
    pub(super) async fn record(
        &self,
        node: &str,
        step: Option<Step>,
        fact: EventKind,
    ) -> Result<(), NotRecorded> {
        let (written, answer) = oneshot::channel();
        let record =
            Record { node: Some(node.to_owned()), step, fact: Some(fact), written: Some(written) };
        self.records.send(record).await.map_err(|_| NotRecorded)?;
        answer.await.map_err(|_| NotRecorded)
    }

    /// Records a fact about a node without waiting for the write.
    pub(super) async fn note(&self, node: &str, fact: EventKind) {
        let record =
            Record { node: Some(node.to_owned()), step: None, fact: Some(fact), written: None };
        let _ = self.records.send(record).await;
    }

    /// Returns once everything sent to the recorder so far is recorded.
    pub(super) async fn catch_up(&self) {
        let (written, answer) = oneshot::channel();
        let nothing = Record { node: None, step: None, fact: None, written: Some(written) };
        if self.records.send(nothing).await.is_ok() {
            let _ = answer.await;
        }
    }

    /// Reports the progress of a node's step. The report is dropped when the recorder's queue is full.
    pub(super) fn tell(&self, node: &str, step: Step, fact: EventKind) {
        let record = Record {
            node: Some(node.to_owned()),
            step: Some(step),
            fact: Some(fact),
            written: None,
        };
        let _ = self.records.try_send(record);
    }
}

/// A fact cannot be recorded: the journal cannot be written, or the lock is lost.
#[derive(Debug, Clone, Copy)]
pub(super) struct NotRecorded;

/// A request to record a fact.
pub(super) struct Record {
    pub(super) node: Option<String>,
    pub(super) step: Option<Step>,
    /// `None` if the request only waits for earlier requests.
    pub(super) fact: Option<EventKind>,
    /// Answered when the event is on disk; dropped when it cannot be written.
    pub(super) written: Option<oneshot::Sender<()>>,
}

pub(super) fn millis(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}
