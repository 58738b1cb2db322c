//! The loop of a release: take a batch, let its nodes go through their steps, write every event before it counts.
//!
//! Nodes of a batch go on at the same time. Each asks for its events to be recorded and goes on only when they
//! are on the disk; so the order in the journal is the order in which things were allowed to happen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, anyhow};
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::capacity::Capacity;
use super::journal::Journal;
use super::node::NodeRun;
use super::release::{Phase, Release, Standing};
use crate::consul::Client;
use crate::event::{Event, Fact, Finished, Outcome, Started, Step};
use crate::gateway::Watcher;
use crate::registry::Kv;
use crate::secret::Redactor;
use crate::spec::Spec;
use crate::world::World;

/// Why a release is to stop, once somebody asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Stop {
    /// Nobody asked.
    #[default]
    No,
    /// Somebody did: the signal's name.
    Requested(&'static str),
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

/// Everything that a release works with.
pub struct Engine<W> {
    /// The world.
    pub world: Arc<W>,
    /// Consul.
    pub consul: Arc<Client<W>>,
    /// What is released.
    pub spec: Arc<Spec>,
    /// What is done to each node.
    pub mode: Mode,
    /// Turns [`Stop::Requested`] when the release is to stop.
    pub stop: watch::Receiver<Stop>,
    /// Takes secrets out of events.
    pub redactor: Redactor,
}

/// A release that has ended.
#[derive(Debug)]
pub struct Ended {
    /// Its state.
    pub release: Release,
    /// Why it could not be written to its journal any more, if that is why it ended.
    pub journal_failed: Option<anyhow::Error>,
}

/// What the nodes' tasks share.
pub(super) struct Shared<W> {
    pub(super) world: Arc<W>,
    pub(super) consul: Arc<Client<W>>,
    pub(super) kv: Kv<W>,
    pub(super) gateways: Vec<Watcher<W>>,
    pub(super) spec: Arc<Spec>,
    pub(super) mode: Mode,
    pub(super) capacity: Mutex<Capacity>,
    /// How many nodes have failed, those that could not be used from the start included.
    pub(super) failures: AtomicUsize,
    pub(super) stop: watch::Receiver<Stop>,
    pub(super) records: mpsc::Sender<Record>,
}

impl<W> Shared<W> {
    /// Returns whether so many have failed that no more nodes may be taken.
    pub(super) fn too_many_failed(&self) -> bool {
        self.failures.load(Ordering::Relaxed) > self.spec.max_failures as usize
    }
}

/// A wish to record a fact.
pub(super) struct Record {
    pub(super) node: Option<String>,
    pub(super) step: Option<Step>,
    pub(super) fact: Fact,
    /// Answered when the event is on the disk; dropped when it cannot be.
    pub(super) written: Option<oneshot::Sender<()>>,
}

/// The one place where a running release changes.
struct Book<'a, W> {
    world: &'a W,
    id: String,
    release: Release,
    journal: Journal,
    sink: &'a mut dyn Sink,
    redactor: &'a Redactor,
    failed: Option<anyhow::Error>,
}

impl<W: World> Book<'_, W> {
    /// Write ahead: an event counts only once it is on the disk.
    fn record(&mut self, node: Option<String>, step: Option<Step>, fact: Fact) -> Result<()> {
        if self.failed.is_some() {
            return Err(anyhow!("the journal can no longer be written"));
        }
        let event = Event {
            seq: self.release.seq + 1,
            at: self.world.now(),
            release: self.id.clone(),
            node,
            step,
            fact: self.redacted(fact),
        };
        self.release.apply(&event)?;
        if event.is_durable()
            && let Err(error) = self.journal.append(&event)
        {
            // What is not on the disk is not acted on: from here on nothing is recorded or begun.
            self.failed = Some(anyhow!("{error:#}"));
            return Err(error);
        }
        self.sink.event(&event, &self.release);
        Ok(())
    }

    fn redacted(&self, fact: Fact) -> Fact {
        let clean = |text: &mut String| *text = self.redactor.redact(text);
        match fact {
            Fact::NodeFailed(mut failure) => {
                clean(&mut failure.reason);
                failure.log.iter_mut().for_each(clean);
                failure.seen.iter_mut().for_each(|(_, text)| clean(text));
                Fact::NodeFailed(failure)
            }
            Fact::Warning { mut message } => {
                clean(&mut message);
                Fact::Warning { message }
            }
            Fact::StepProgress { mut message, in_flight, deadline_s } => {
                clean(&mut message);
                Fact::StepProgress { message, in_flight, deadline_s }
            }
            Fact::StepFinished { elapsed_ms, mut message, drained } => {
                clean(&mut message);
                Fact::StepFinished { elapsed_ms, message, drained }
            }
            other => other,
        }
    }

    fn take(&mut self, record: Record) {
        // A fact that cannot be recorded leaves `written` unanswered, and its task ends without acting.
        let written = self.record(record.node, record.step, record.fact);
        match (written, record.written) {
            (Ok(()), Some(answer)) => {
                // The task may have been stopped meanwhile.
                let _ = answer.send(());
            }
            (Err(error), Some(_)) if self.failed.is_none() => {
                self.failed = Some(error.context("an event that may not follow"));
            }
            (Ok(()) | Err(_), _) => {}
        }
    }
}

impl<W: World> Engine<W> {
    /// Runs a release to its end: done, failed, or stopped on request.
    ///
    /// # Errors
    ///
    /// When the journal refuses its first event: nothing was done then.
    pub async fn run(
        self,
        id: &str,
        started: Started,
        journal: Journal,
        sink: &mut dyn Sink,
    ) -> Result<Ended> {
        let begun = Instant::now();
        let (sender, mut receiver) = mpsc::channel(256);
        let mut stop = self.stop.clone();
        let gateways = self.spec.gateways.iter();
        let shared = Arc::new(Shared {
            kv: Kv::new(self.consul.clone(), self.spec.prefix.clone()),
            gateways: gateways.map(|gateway| Watcher::new(self.world.clone(), gateway)).collect(),
            world: self.world.clone(),
            consul: self.consul,
            spec: self.spec,
            mode: self.mode,
            capacity: Mutex::new(Capacity::default()),
            failures: AtomicUsize::new(0),
            stop: self.stop,
            records: sender,
        });
        let mut book = Book {
            world: self.world.as_ref(),
            id: id.to_owned(),
            release: Release::default(),
            journal,
            sink,
            redactor: &self.redactor,
            failed: None,
        };
        book.record(None, None, Fact::ReleaseStarted(Box::new(started)))?;
        shared.failures.store(book.release.failures(), Ordering::Relaxed);

        let staged = !matches!(self.mode, Mode::Deploy)
            || stage(&shared, &mut book, &mut receiver, &mut stop).await;
        while staged && book.failed.is_none() {
            note_stop(&mut book, &stop);
            let size = shared.spec.batches.size(book.release.batch, shared.spec.nodes.len());
            let nodes = book.release.next_batch(size);
            if nodes.is_empty() {
                break;
            }
            let number = book.release.batch + 1;
            let taken = Fact::BatchStarted { number, nodes: nodes.clone() };
            if book.record(None, None, taken).is_err() {
                break;
            }
            let mut tasks = JoinSet::new();
            for name in nodes {
                if let Some(run) = NodeRun::new(&shared, &book.release, &name) {
                    tasks.spawn(run.go());
                }
            }
            drive(&mut tasks, &mut book, &mut receiver, &mut stop).await;
            let failures = book.release.failures();
            let limit = shared.spec.max_failures as usize;
            if failures > limit && book.release.stopping.is_none() {
                let failed = crate::text::count(failures, "node");
                let reason = format!("{failed} failed, the limit is {limit}");
                let _ = book.record(None, None, Fact::ReleaseStopping { reason });
            }
        }
        note_stop(&mut book, &stop);
        let elapsed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let finished = conclude(&book, &shared.spec, staged, &stop, elapsed_ms);
        let _ = book.record(None, None, Fact::ReleaseFinished(finished));
        Ok(Ended { release: book.release, journal_failed: book.failed })
    }
}

/// Stages the artifact on every node before any of them leaves rotation. Returns whether the release may go on.
async fn stage<W: World>(
    shared: &Arc<Shared<W>>,
    book: &mut Book<'_, W>,
    receiver: &mut mpsc::Receiver<Record>,
    stop: &mut watch::Receiver<Stop>,
) -> bool {
    if shared.spec.artifact.is_none() {
        return true;
    }
    let waiting: Vec<_> = book.release.next_batch(usize::MAX);
    let mut tasks = JoinSet::new();
    let places = Arc::new(tokio::sync::Semaphore::new(super::stage::AT_ONCE));
    for name in waiting {
        if let Some(run) = NodeRun::new(shared, &book.release, &name) {
            tasks.spawn(run.stage(places.clone()));
        }
    }
    drive(&mut tasks, book, receiver, stop).await;
    book.release.failures() <= shared.spec.max_failures as usize && book.failed.is_none()
}

/// Lets tasks go on and records what they ask for, until all have ended.
async fn drive<W: World>(
    tasks: &mut JoinSet<()>,
    book: &mut Book<'_, W>,
    receiver: &mut mpsc::Receiver<Record>,
    stop: &mut watch::Receiver<Stop>,
) {
    let mut listening = true;
    loop {
        tokio::select! {
            biased;
            Some(record) = receiver.recv() => book.take(record),
            changed = stop.changed(), if listening => {
                listening = changed.is_ok();
                note_stop(book, stop);
            }
            ended = tasks.join_next() => match ended {
                None => break,
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    book.failed.get_or_insert_with(|| anyhow!("a step crashed: {error}"));
                }
            },
        }
        if book.failed.is_some() {
            // Nobody may act on what cannot be written down.
            tasks.shutdown().await;
        }
    }
    while let Ok(record) = receiver.try_recv() {
        book.take(record);
    }
}

fn note_stop<W: World>(book: &mut Book<'_, W>, stop: &watch::Receiver<Stop>) {
    let requested = stop.borrow().clone();
    if let Stop::Requested(signal) = requested
        && book.release.stopping.is_none()
    {
        let _ = book.record(None, None, Fact::ReleaseStopping { reason: signal.to_owned() });
    }
}

/// Says how the release ended.
fn conclude<W: World>(
    book: &Book<'_, W>,
    spec: &Spec,
    staged: bool,
    stop: &watch::Receiver<Stop>,
    elapsed_ms: u64,
) -> Finished {
    let release = &book.release;
    // Nodes that the release has nothing to do with serve as before.
    let others = spec.nodes.len() - release.nodes.len();
    let serving = release
        .in_order()
        .filter(|(name, node)| match node.standing() {
            Standing::Untouched => {
                !release.planned().iter().any(|plan| plan.node == *name && plan.was_out)
            }
            Standing::PutBack | Standing::Updated | Standing::Enabled => true,
            Standing::Out | Standing::Unknown => false,
        })
        .count()
        + others;
    let stopped = matches!(*stop.borrow(), Stop::Requested(_));
    let untouched = release.nodes.values().all(|node| node.standing() == Standing::Untouched);
    let left = release.count(|node| matches!(node.phase, Phase::Waiting | Phase::Interrupted));
    let complete = release.failures() == 0 && !(stopped && left > 0);
    let unknown = release.count(|node| {
        node.standing() == Standing::Unknown
            || node.failure.as_ref().is_some_and(|failure| failure.unknown)
    });
    let (result, exit_code) = if book.failed.is_some() || unknown > 0 {
        (Outcome::Degraded, 22)
    } else if complete {
        (Outcome::Done, 0)
    } else if !staged && untouched && !stopped {
        (Outcome::Refused, 3)
    } else if serving < spec.floor() && !untouched {
        (Outcome::Degraded, 22)
    } else if release.failures() > 0 {
        (Outcome::Failed, 20)
    } else {
        (Outcome::Stopped, 10)
    };
    let mut nodes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, node) in release.in_order() {
        let word = match node.phase {
            Phase::Waiting | Phase::Taken => "not_started",
            Phase::Done => "done",
            Phase::Skipped => "skipped",
            Phase::LeftOut => "left_out",
            Phase::Blocked => "blocked",
            Phase::Failed => "failed",
            Phase::Interrupted => "interrupted",
        };
        nodes.entry(word.into()).or_default().push(name.to_owned());
    }
    let next = crate::next::commands(release, spec, result);
    Finished { result, exit_code, nodes, next, elapsed_ms }
}
