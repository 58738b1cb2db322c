//! The one place where a running release changes: an event is written before it counts.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::node::stopped_for;
use super::run::{Record, Sink, Stop};
use crate::journal::Journal;
use crate::journal::replica::Copy;
use crate::lock::{Lock, NotHeld};
use crate::release::Release;
use crate::release::{Event, Fact, Step};
use crate::world::World;

/// How long a write of the copy may still take once the release is to stop.
const COPY_GRACE: Duration = Duration::from_millis(500);

/// How long the copy of a finished journal may take to be put in order.
const CLOSING_TIME: Duration = Duration::from_secs(1);

/// A running release with its journal and its audience.
pub(super) struct Book<'a, W> {
    pub(super) world: &'a W,
    pub(super) id: String,
    pub(super) release: Release,
    pub(super) journal: Journal,
    /// The journal's copy in Consul, and the lines that it does not have yet.
    pub(super) copy: Option<Copy<W>>,
    pub(super) lines: String,
    /// Those who may go on when everything is written.
    pub(super) waiting: Vec<oneshot::Sender<()>>,
    pub(super) sink: &'a mut dyn Sink,
    /// When something came to its end last.
    pub(super) moved: Instant,
    /// Tells whoever waits what is being done.
    pub(super) lock: &'a Lock<W>,
    /// Tells everybody to stop.
    pub(super) halt: Arc<watch::Sender<Stop>>,
    /// Why the journal cannot be written any more. From then on nothing new begins; what leads back to a safe
    /// place is still done, and told.
    pub(super) unwritten: Option<anyhow::Error>,
    /// An error within: nothing can be recorded any more.
    pub(super) failed: Option<anyhow::Error>,
}

impl<W: World> Book<'_, W> {
    /// Write ahead: an event counts only once it is on the disk.
    pub(super) fn record(
        &mut self,
        node: Option<String>,
        step: Option<Step>,
        fact: Fact,
    ) -> Result<()> {
        if self.failed.is_some() || (self.unwritten.is_some() && begins(&fact)) {
            return Err(anyhow!("the journal can no longer be written"));
        }
        let event = Event {
            seq: self.release.seq.saturating_add(1),
            at: self.world.now(),
            release: self.id.clone(),
            node,
            step,
            fact: fact.without_secrets(),
        };
        let change = self.release.change(&event)?;
        let line = if event.is_durable() { event.to_line() + "\n" } else { String::new() };
        if self.unwritten.is_none()
            && let Err(error) = self.journal.append(&line)
        {
            self.stop_unwritten(&error);
            // What takes a node further from its users is not done unless it is written down.
            let leaves = matches!(event.fact, Fact::RegistryWriting { down: true, .. });
            let first = matches!(event.fact, Fact::ReleaseStarted(_) | Fact::ReleaseResumed(_));
            if first || leaves || begins(&event.fact) {
                return Err(error);
            }
        }
        self.lines += &line;
        if self.is_progress(&event) {
            self.moved = Instant::now();
        }
        self.release.commit(&event, change);
        if let (Some(node), Some(step), Fact::StepStarted {}) =
            (&event.node, event.step, &event.fact)
        {
            self.lock.doing(format!("{node} {step}"));
        }
        self.sink.event(&event, &self.release);
        Ok(())
    }

    /// Whether an event brings the release nearer to its end: what is only done again does not.
    fn is_progress(&self, event: &Event) -> bool {
        let node = event.node.as_ref().and_then(|name| self.release.nodes.get(name));
        match event.fact {
            Fact::StepFinished { .. } => {
                !node.zip(event.step).is_some_and(|(node, step)| node.done.contains(&step))
            }
            Fact::ReleaseStarted(_)
            | Fact::ReleaseResumed(_)
            | Fact::BatchStarted { .. }
            | Fact::NodeFailed(_)
            | Fact::NodePutBack { .. }
            | Fact::NodeInterrupted {}
            | Fact::NodeRollingBack { .. }
            | Fact::NodeRolledBack { .. }
            | Fact::NodeDone { .. }
            | Fact::ReleaseStopping { .. }
            | Fact::ReleaseFinished(_) => true,
            Fact::StepStarted {}
            | Fact::CapacitySeen { .. }
            | Fact::RegistryWriting { .. }
            | Fact::RegistryWritten { .. }
            | Fact::RegistryRefused {}
            | Fact::NodeMarked { .. }
            | Fact::GatewayProven { .. }
            | Fact::StepProgress { .. }
            | Fact::Warning { .. } => false,
        }
    }

    /// Stops a release of which nothing has come to its end for so long.
    pub(super) fn stall(&self, patience: Duration) {
        let reason = format!("nothing came to its end for {}", crate::text::duration(patience));
        self.halt.send_replace(Stop::Stalled(reason));
    }

    /// Asks for the lock at the end: a release that has lost it since its last write must not say that it is done.
    pub(super) async fn ask_for_the_lock(&self) {
        let held = tokio::select! {
            biased;
            () = stopped_for(self.halt.subscribe(), Duration::ZERO) => return,
            held = self.lock.verify() => held,
        };
        if let Err(NotHeld::Lost(reason)) = held {
            self.halt.send_replace(Stop::LockLost(reason));
        }
    }

    fn stop_unwritten(&mut self, error: &anyhow::Error) {
        self.unwritten = Some(anyhow!("{error:#}"));
        self.halt.send_replace(Stop::Unwritten(format!("{error:#}")));
    }

    /// Brings the copy up to date, and lets those go on who wait for it.
    pub(super) async fn settle(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        let stop = stopped_for(self.halt.subscribe(), COPY_GRACE);
        if let Some(copy) = &mut self.copy
            && !lines.is_empty()
            && let Err(error) = copy.append(lines.as_bytes(), stop).await
        {
            let message = format!("the journal's copy in Consul is behind: {error}");
            let _ = self.record(None, None, Fact::Warning { message });
        }
        for answer in self.waiting.drain(..) {
            // The task may have been stopped meanwhile.
            let _ = answer.send(());
        }
    }

    /// Records one fact of the release itself, and waits until it is written everywhere.
    pub(super) async fn tell(&mut self, fact: Fact) -> Result<()> {
        let result = self.record(None, None, fact);
        self.settle().await;
        result
    }

    /// Records what a node asks for; [`settle`](Self::settle) lets it go on.
    pub(super) fn take(&mut self, record: Record) {
        // A fact that cannot be recorded leaves `written` unanswered, and its task does not act.
        let written = self.record(record.node, record.step, record.fact);
        match (written, record.written) {
            (Ok(()), Some(answer)) => self.waiting.push(answer),
            (Err(error), Some(_)) if self.failed.is_none() && self.unwritten.is_none() => {
                self.failed = Some(error.context("an event that may not follow"));
            }
            (Ok(()) | Err(_), _) => {}
        }
    }

    /// Leaves the finished journal where others find it, in the time that a cancelled job has left.
    pub(super) async fn close(&mut self) {
        if let Some(copy) = &mut self.copy
            && self.unwritten.is_none()
            && let Ok(whole) = std::fs::read(self.journal.path())
        {
            // As it is it can be read as well.
            let _ = tokio::time::timeout(CLOSING_TIME, copy.close(&whole)).await;
        }
    }
}

/// What begins something that only a journal can bring to its end.
fn begins(fact: &Fact) -> bool {
    matches!(fact, Fact::StepStarted {} | Fact::NodeMarked { .. } | Fact::BatchStarted { .. })
}
