//! The one place where a running release changes: an event is written before it counts.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use tokio::sync::watch;

use super::journal::Journal;
use super::release::Release;
use super::run::{Record, Sink, Stop};
use crate::event::{Event, Fact, Step};
use crate::lock::Lock;
use crate::secret::Redactor;
use crate::world::World;

/// A running release with its journal and its audience.
pub(super) struct Book<'a, W> {
    pub(super) world: &'a W,
    pub(super) id: String,
    pub(super) release: Release,
    pub(super) journal: Journal,
    pub(super) sink: &'a mut dyn Sink,
    pub(super) redactor: &'a Redactor,
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
            seq: self.release.seq + 1,
            at: self.world.now(),
            release: self.id.clone(),
            node,
            step,
            fact: self.redacted(fact),
        };
        let change = self.release.change(&event)?;
        if event.is_durable()
            && self.unwritten.is_none()
            && let Err(error) = self.journal.append(&event)
        {
            self.stop_unwritten(&error);
            // What takes a node further from its users is not done unless it is written down.
            let leaves = matches!(event.fact, Fact::RegistryWriting { down: true, .. });
            if self.release.started.is_none() || leaves || begins(&event.fact) {
                return Err(error);
            }
        }
        self.release.commit(event.seq, change);
        if let (Some(node), Some(step), Fact::StepStarted {}) =
            (&event.node, event.step, &event.fact)
        {
            self.lock.doing(format!("{node} {step}"));
        }
        self.sink.event(&event, &self.release);
        Ok(())
    }

    fn stop_unwritten(&mut self, error: &anyhow::Error) {
        self.unwritten = Some(anyhow!("{error:#}"));
        self.halt.send_replace(Stop::Unwritten(format!("{error:#}")));
    }

    /// Records what a node asks for and answers when it may go on.
    pub(super) fn take(&mut self, record: Record) {
        // A fact that cannot be recorded leaves `written` unanswered, and its task does not act.
        let written = self.record(record.node, record.step, record.fact);
        match (written, record.written) {
            (Ok(()), Some(answer)) => {
                // The task may have been stopped meanwhile.
                let _ = answer.send(());
            }
            (Err(error), Some(_)) if self.failed.is_none() && self.unwritten.is_none() => {
                self.failed = Some(error.context("an event that may not follow"));
            }
            (Ok(()) | Err(_), _) => {}
        }
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
            Fact::ReleaseFinished(mut finished) => {
                finished.reason.iter_mut().for_each(clean);
                Fact::ReleaseFinished(finished)
            }
            other => other,
        }
    }
}

/// What begins something that only a journal can bring to its end.
fn begins(fact: &Fact) -> bool {
    matches!(fact, Fact::StepStarted {} | Fact::NodeMarked { .. } | Fact::BatchStarted { .. })
}
