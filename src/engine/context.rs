//! What everything in a running release shares: the world, the release as it stands, and the way to the recorder.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::time::Instant;

use super::pool::Pool;
use crate::consul::Client;
use crate::gateway::GatewayMonitor;
use crate::lock::Lock;
use crate::registry::Registry;
use crate::release::{Event, EventKind, Leaving, NodeState, Planned, Release, Step};
use crate::spec::{NodeSpec, Spec};

/// Why a release is to stop, once somebody or something asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum StopReason {
    /// Nobody asked.
    #[default]
    No,
    /// Somebody did: the signal's name.
    Requested(&'static str),
    /// Nothing can be written down any more: nothing new begins, and what was only marked down is put back.
    Unwritten(String),
    /// Nothing came to its end for too long.
    Stalled(String),
    /// The lock is not ours any more: nothing is done at all.
    LockLost(String),
}

impl StopReason {
    /// Returns why, if it is to stop.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::No => None,
            Self::Requested(signal) => Some(signal),
            Self::Unwritten(reason) | Self::Stalled(reason) | Self::LockLost(reason) => {
                Some(reason)
            }
        }
    }
}

/// What is done to each node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// All the playbook's steps.
    Deploy,
    /// Out of rotation by hand.
    Out,
    /// Back into rotation by hand.
    In,
}

impl Mode {
    /// Returns whether a step of the playbook belongs to it.
    #[must_use]
    pub fn includes(self, step: Step) -> bool {
        match self {
            Self::Deploy => true,
            Self::Out => matches!(step, Step::Disable | Step::ConfirmOut | Step::Drain),
            Self::In => matches!(step, Step::Health | Step::Enable | Step::ConfirmIn),
        }
    }
}

/// Who hears of events. Cannot change a release, and its troubles cannot stop one.
pub trait Sink: Send {
    /// An event that counts from now on, and the release after it.
    fn event(&mut self, event: &Event, release: &Release);
}

impl<S: Sink + ?Sized> Sink for &mut S {
    fn event(&mut self, event: &Event, release: &Release) {
        (**self).event(event, release);
    }
}

/// The release as it stands: everything reads it, the recorder alone changes it.
#[derive(Debug, Clone, Default)]
pub(super) struct LiveRelease(Arc<RwLock<Release>>);

impl LiveRelease {
    pub(super) fn new(release: Release) -> Self {
        Self(Arc::new(RwLock::new(release)))
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, Release> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes it; for the recorder.
    pub(super) fn update(&self, update: impl FnOnce(&mut Release)) {
        update(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Reads something of a node.
    pub(super) fn node<T: Default>(&self, name: &str, read: impl FnOnce(&NodeState) -> T) -> T {
        self.read().nodes.get(name).map(read).unwrap_or_default()
    }
}

/// What everything in a running release shares.
pub(super) struct Context<W> {
    pub(super) world: Arc<W>,
    pub(super) consul: Arc<Client<W>>,
    pub(super) registry: Registry<W>,
    pub(super) gateways: Vec<GatewayMonitor<W>>,
    pub(super) spec: Arc<Spec>,
    /// Every node, by name.
    pub(super) nodes: BTreeMap<String, Known>,
    pub(super) mode: Mode,
    pub(super) lock: Arc<Lock<W>>,
    pub(super) release: LiveRelease,
    /// Held while it is decided whether a node may leave: one at a time.
    pub(super) turn: Arc<Mutex<()>>,
    /// The nodes that serve.
    pub(super) pool: Pool,
    pub(super) stop: watch::Receiver<StopReason>,
    pub(super) records: mpsc::Sender<Record>,
}

/// What is known of a node from the start.
#[derive(Debug)]
pub(super) struct Known {
    /// What it is brought to.
    pub(super) node: Arc<NodeSpec>,
    /// What brings it back to what it ran, where that is known.
    pub(super) back: Option<Arc<NodeSpec>>,
    /// What was planned for it.
    pub(super) planned: Option<Arc<Planned>>,
}

impl Known {
    /// Every node, by name.
    pub(super) fn all(spec: &Spec, release: &Release) -> BTreeMap<String, Self> {
        let planned = release.planned().iter();
        let mut planned: BTreeMap<_, _> =
            planned.map(|planned| (planned.node.as_str(), Arc::new(planned.clone()))).collect();
        let known = |node: &NodeSpec| Self {
            node: Arc::new(node.clone()),
            back: spec.back.get(&node.name).cloned().map(Arc::new),
            planned: planned.remove(node.name.as_str()),
        };
        let names = spec.nodes.iter().map(|node| node.name.clone());
        names.zip(spec.nodes.iter().map(known)).collect()
    }
}

impl<W> Context<W> {
    /// Returns whether so many have failed that no more nodes may be taken: those that could not be used from the start
    /// included, and those whose failure is not written down yet.
    pub(super) fn too_many_failed(&self) -> bool {
        let release = self.release.read();
        let is_written = |name: &str| release.nodes.get(name).is_some_and(NodeState::has_failed);
        self.spec.stops_after(release.failures() + self.pool.failing(|name| !is_written(name)))
    }

    /// The addresses of nodes that leave rotation, or have left it and were not seen back, although a gateway may still show
    /// them.
    pub(super) fn leaving(&self) -> BTreeSet<String> {
        let release = self.release.read();
        let leaves = |node: &&NodeSpec| {
            release.nodes.get(&node.name).is_some_and(|state| state.leaving != Leaving::No)
        };
        self.spec.nodes.iter().filter(leaves).map(|node| node.address.clone()).collect()
    }

    /// Records a fact of a node and returns when it is on the disk, or that it cannot be.
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

    /// Records a fact of a node without waiting for it.
    pub(super) async fn note(&self, node: &str, fact: EventKind) {
        let record =
            Record { node: Some(node.to_owned()), step: None, fact: Some(fact), written: None };
        let _ = self.records.send(record).await;
    }

    /// Returns once everything that was to be recorded so far is.
    pub(super) async fn catch_up(&self) {
        let (written, answer) = oneshot::channel();
        let nothing = Record { node: None, step: None, fact: None, written: Some(written) };
        if self.records.send(nothing).await.is_ok() {
            let _ = answer.await;
        }
    }

    /// Tells how a step of a node goes on. Lost when nothing has time to listen.
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

/// A fact cannot be recorded any more: the journal cannot be written, or the lock is lost.
#[derive(Debug, Clone, Copy)]
pub(super) struct NotRecorded;

/// A wish to record a fact.
pub(super) struct Record {
    pub(super) node: Option<String>,
    pub(super) step: Option<Step>,
    /// Nothing where only what was asked before is waited for.
    pub(super) fact: Option<EventKind>,
    /// Answered when the event is on the disk; dropped when it cannot be.
    pub(super) written: Option<oneshot::Sender<()>>,
}

/// Returns once the release is stopping, and then some.
pub(super) async fn stopped_for(mut stop: watch::Receiver<StopReason>, grace: Duration) {
    if stop.wait_for(|stop| *stop != StopReason::No).await.is_err() {
        // Nothing is left that could ask.
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(grace).await;
}

pub(super) fn millis(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}
