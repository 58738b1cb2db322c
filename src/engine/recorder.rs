//! The only place that changes a running release: it writes an event before the event counts.

use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::context::{LiveRelease, Record, Sink};
use super::stop::{StopReason, Stopper};
use crate::journal::Journal;
use crate::journal::replica::JournalReplica;
use crate::lock::{Lock, NotHeld};
use crate::release::{Change, Event, EventKind, NodeState, Step};
use crate::world::World;

/// Maximum time for a write of the replica once the release is stopping.
const COPY_GRACE: Duration = Duration::from_millis(500);

/// Maximum time to finalize the replica of a finished journal.
const CLOSING_TIME: Duration = Duration::from_secs(1);

/// A running release with its journal and its event sink.
pub(super) struct Recorder<'a, W> {
    pub(super) world: &'a W,
    pub(super) id: String,
    pub(super) release: LiveRelease,
    pub(super) journal: Journal,
    /// The journal's replica in Consul, and the lines that it lacks.
    pub(super) copy: Option<JournalReplica<W>>,
    pub(super) lines: String,
    /// Events for the next write; all of them are written at once.
    pub(super) pending: Vec<Pending>,
    /// Requests that wait until everything is written.
    pub(super) waiting: Vec<oneshot::Sender<()>>,
    pub(super) sink: &'a mut dyn Sink,
    /// The time when something last finished.
    pub(super) moved: Instant,
    /// The lock. Its record shows waiting releases the current step.
    pub(super) lock: &'a Lock<W>,
    /// Requests the stop of all tasks.
    pub(super) halt: Stopper,
    /// Why the journal cannot be written. From then on nothing new begins. Actions that lead to a safe state are still
    /// done and reported.
    pub(super) unwritten: Option<anyhow::Error>,
    /// An internal error: nothing can be recorded any more.
    pub(super) failed: Option<anyhow::Error>,
}

/// An event that counts once it is on disk.
pub(super) struct Pending {
    event: Event,
    change: Change,
    /// Empty if the event is not journalled.
    line: String,
    /// Answered when the event is in the journal and the replica.
    answer: Option<oneshot::Sender<()>>,
}

impl Pending {
    /// The state of a node after the event, if the event changes it.
    fn state_of(&self, node: &str) -> Option<&NodeState> {
        match &self.change {
            Change::Node(name, state) if name == node => Some(state),
            _ => None,
        }
    }

    /// Whether the event requires the journal. Without the journal, such an action is not done; any other action is
    /// done unrecorded.
    fn needs_the_journal(&self) -> bool {
        let first =
            matches!(self.event.fact, EventKind::ReleaseStarted(_) | EventKind::ReleaseResumed(_));
        // An action that moves a node further out of service is done only if the journal records it.
        let leaves = matches!(self.event.fact, EventKind::RegistryWriting { down: true, .. });
        first || leaves || begins(&self.event.fact)
    }
}

impl<W: World> Recorder<'_, W> {
    /// Write ahead: an event counts only once it is on disk.
    pub(super) fn record(
        &mut self,
        node: Option<String>,
        step: Option<Step>,
        fact: EventKind,
    ) -> Result<()> {
        // The tasks that wait for these events receive the result.
        let _ = self.write();
        let pending = self.prepare(node, step, fact)?;
        self.pending.push(pending);
        self.write()
    }

    /// Computes the change of an event that follows the pending ones.
    fn prepare(
        &mut self,
        node: Option<String>,
        step: Option<Step>,
        fact: EventKind,
    ) -> Result<Pending> {
        if self.failed.is_some() || (self.unwritten.is_some() && begins(&fact)) {
            return Err(anyhow!("the journal can no longer be written"));
        }
        let last = self
            .pending
            .last()
            .map_or_else(|| self.release.read().seq, |pending| pending.event.seq);
        let event = Event {
            seq: last.saturating_add(1),
            at: self.world.now(),
            release: self.id.clone(),
            node,
            step,
            fact: fact.without_secrets(),
        };
        let before =
            |name: &String| self.pending.iter().rev().find_map(|pending| pending.state_of(name));
        let change =
            self.release.read().change_after(&event, event.node.as_ref().and_then(before))?;
        let line = if event.is_durable() { event.to_line() + "\n" } else { String::new() };
        Ok(Pending { event, change, line, answer: None })
    }

    /// Writes all pending events in one write; then they count.
    ///
    /// # Errors
    ///
    /// When the last event could not be written and does not count.
    fn write(&mut self) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        let lines: String = pending.iter().map(|pending| pending.line.as_str()).collect();
        let mut error = None;
        if self.unwritten.is_none()
            && let Err(refused) = self.journal.append(&lines)
        {
            self.stop_unwritten(&refused);
            error = Some(refused);
        }
        let mut result = Ok(());
        for pending in pending {
            result = match &error {
                Some(error) if pending.needs_the_journal() => Err(anyhow!("{error:#}")),
                _ => {
                    self.count(pending);
                    Ok(())
                }
            };
        }
        result
    }

    /// Applies an event to the release.
    fn count(&mut self, pending: Pending) {
        let Pending { event, change, line, answer } = pending;
        self.lines += &line;
        if self.is_progress(&event) {
            self.moved = Instant::now();
        }
        self.release.update(|release| release.commit(&event, change));
        if let (Some(node), Some(step), EventKind::StepStarted {}) =
            (&event.node, event.step, &event.fact)
        {
            self.lock.doing(format!("{node} {step}"));
        }
        self.waiting.extend(answer);
        self.sink.event(&event, &self.release.read());
    }

    pub(super) fn failures(&self) -> usize {
        self.release.read().failures()
    }

    /// Whether the release updates no further nodes.
    pub(super) fn is_stopping(&self) -> bool {
        self.release.read().stopping.is_some()
    }

    /// Whether an event is progress towards the end of the release. A repeated step is not progress.
    fn is_progress(&self, event: &Event) -> bool {
        match event.fact {
            EventKind::StepFinished { .. } => {
                let name = event.node.as_deref().unwrap_or_default();
                let was_done = |step| self.release.node(name, |node| node.done.contains(&step));
                !event.step.is_some_and(was_done)
            }
            EventKind::ReleaseStarted(_)
            | EventKind::ReleaseResumed(_)
            | EventKind::BatchStarted { .. }
            | EventKind::NodeFailed(_)
            | EventKind::NodePutBack { .. }
            | EventKind::NodeInterrupted {}
            | EventKind::NodeRollingBack { .. }
            | EventKind::NodeRolledBack { .. }
            | EventKind::NodeDone { .. }
            | EventKind::ReleaseStopping { .. }
            | EventKind::ReleaseFinished(_) => true,
            EventKind::StepStarted {}
            | EventKind::CapacitySeen { .. }
            | EventKind::RegistryWriting { .. }
            | EventKind::RegistryWritten { .. }
            | EventKind::RegistryRefused {}
            | EventKind::NodeMarked { .. }
            | EventKind::GatewayProven { .. }
            | EventKind::StepProgress { .. }
            | EventKind::Notice { .. }
            | EventKind::Warning { .. } => false,
        }
    }

    /// Stops a release in which nothing has finished for this long.
    pub(super) fn stall(&self, patience: Duration) {
        let reason = format!("no step finished for {}", crate::text::duration(patience));
        self.halt.stop(StopReason::Stalled(reason));
    }

    /// Verifies the lock at the end. A release that has lost the lock since its last write must not report success.
    pub(super) async fn ask_for_the_lock(&self) {
        let held = tokio::select! {
            biased;
            () = self.halt.watch().requested() => return,
            held = self.lock.verify() => held,
        };
        if let Err(NotHeld::Lost(reason)) = held {
            self.halt.stop(StopReason::LockLost(reason));
        }
    }

    fn stop_unwritten(&mut self, error: &anyhow::Error) {
        self.unwritten = Some(anyhow!("{error:#}"));
        self.halt.stop(StopReason::Unwritten(format!("{error:#}")));
    }

    /// Writes pending events to the journal and the replica, and answers the tasks that wait for them.
    pub(super) async fn flush(&mut self) {
        // Without an answer, the task that waits for the event does not act.
        let _ = self.write();
        let lines = std::mem::take(&mut self.lines);
        let requested = self.halt.watch().requested();
        let stop = async {
            requested.await;
            tokio::time::sleep(COPY_GRACE).await;
        };
        if let Some(copy) = &mut self.copy
            && !lines.is_empty()
        {
            let fact = match copy.append(lines.as_bytes(), stop).await {
                Ok(false) => None,
                Ok(true) => {
                    let message = "the journal's copy in Consul is complete again".to_owned();
                    Some(EventKind::Notice { message })
                }
                Err(error) => {
                    let message = format!("the journal's copy in Consul is late: {error}");
                    Some(EventKind::Warning { message })
                }
            };
            if let Some(fact) = fact {
                let _ = self.record(None, None, fact);
            }
        }
        for answer in self.waiting.drain(..) {
            // The task may have been stopped in the meantime.
            let _ = answer.send(());
        }
    }

    /// Records one fact about the release itself, and waits until it is in the journal and the replica.
    pub(super) async fn tell(&mut self, fact: EventKind) -> Result<()> {
        let result = self.record(None, None, fact);
        self.flush().await;
        result
    }

    /// Queues a request of a node; [`flush`](Self::flush) writes and answers it.
    pub(super) fn take(&mut self, record: Record) {
        // A fact that cannot be recorded leaves `written` unanswered, and its task does not act.
        let is_awaited = record.written.is_some();
        let is_empty = record.facts.is_empty();
        for (step, fact) in record.facts {
            match self.prepare(record.node.clone(), step, fact) {
                Ok(pending) => self.pending.push(pending),
                Err(error) if is_awaited && self.failed.is_none() && self.unwritten.is_none() => {
                    let why = "an event that cannot follow the one before it";
                    self.failed = Some(error.context(why));
                    return;
                }
                Err(_) => return,
            }
        }
        match self.pending.last_mut().filter(|_| !is_empty) {
            Some(last) => last.answer = record.written,
            None => self.waiting.extend(record.written),
        }
    }

    /// Finalizes the replica of the finished journal for other machines, within the time that a cancelled job has left.
    pub(super) async fn close(&mut self) {
        if let Some(copy) = &mut self.copy
            && self.unwritten.is_none()
            && let Ok(whole) = std::fs::read(self.journal.path())
        {
            // The replica is readable without this step, too.
            let _ = tokio::time::timeout(CLOSING_TIME, copy.close(&whole)).await;
        }
    }
}

/// Whether a fact begins an action that can be completed only with the journal.
fn begins(fact: &EventKind) -> bool {
    matches!(
        fact,
        EventKind::StepStarted {} | EventKind::NodeMarked { .. } | EventKind::BatchStarted { .. }
    )
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::lock::{FileLock, Holder};
    use crate::release::Release;
    use crate::world::{Command, Host, HttpError, Output, Reply, Request, RunError};

    /// A world that receives no requests.
    struct Quiet;

    impl World for Quiet {
        async fn http(&self, _: Request) -> Result<Reply, HttpError> {
            unreachable!("nothing is asked")
        }

        async fn run(&self, _: &Host, _: Command) -> Result<Output, RunError> {
            unreachable!("nothing runs")
        }

        async fn exchange(&self, _: &str, _: &[u8], _: Duration) -> Result<Vec<u8>, HttpError> {
            unreachable!("nothing is asked")
        }

        fn now(&self) -> jiff::Timestamp {
            jiff::Timestamp::UNIX_EPOCH
        }
    }

    /// Reads the number of journal lines whenever an event counts.
    #[derive(Default)]
    struct Lines {
        journal: PathBuf,
        seen: Vec<usize>,
    }

    impl Sink for Lines {
        fn event(&mut self, _: &Event, _: &Release) {
            let journal = std::fs::read_to_string(&self.journal).expect("the journal");
            self.seen.push(journal.lines().count());
        }
    }

    fn started(nodes: &[String]) -> EventKind {
        let planned = |name: &String| serde_json::json!({ "node": name, "will": "update" });
        let started = serde_json::json!({ "type": "release.started", "data": {
            "service": "app", "command": "deploy", "actor": "me", "file": "app.yaml",
            "playbook": null, "nodes": nodes.iter().map(planned).collect::<Vec<_>>(),
            "inputs": { "release": "r1", "folder": "", "variables": {}, "artifact": null },
        }});
        serde_json::from_value(started).expect("a fact")
    }

    #[tokio::test]
    async fn events_that_come_together_are_flushed_once_and_answered_after_that() {
        let state = tempfile::tempdir().expect("a folder");
        let file = FileLock::take(state.path()).expect("a lock").expect("free");
        let now = jiff::Timestamp::UNIX_EPOCH;
        let holder = Holder {
            release: "r1".into(),
            command: "deploy".into(),
            by: "me".into(),
            host: "here".into(),
            pid: 1,
            since: now,
            seen: now,
            doing: String::new(),
            file: None,
            released: false,
        };
        let lock = Lock::local("app", holder, file);
        let journal = Journal::create(state.path(), "r1").expect("a journal");
        let mut sink = Lines { journal: journal.path().to_owned(), seen: Vec::new() };
        let mut recorder = Recorder {
            world: &Quiet,
            id: "r1".into(),
            release: LiveRelease::default(),
            journal,
            copy: None,
            lines: String::new(),
            pending: Vec::new(),
            waiting: Vec::new(),
            sink: &mut sink,
            moved: Instant::now(),
            lock: &lock,
            halt: Stopper::new(),
            unwritten: None,
            failed: None,
        };
        let nodes: Vec<_> = (1..=40).map(|number| format!("node-{number}")).collect();
        recorder.tell(started(&nodes)).await.expect("written");
        let mut answers = Vec::new();
        let mut ask = |recorder: &mut Recorder<'_, Quiet>, node: &str, fact| {
            let (written, answer) = oneshot::channel();
            let (node, step) = (Some(node.to_owned()), Some(Step::Stage));
            recorder.take(Record { node, facts: vec![(step, fact)], written: Some(written) });
            answers.push(answer);
        };
        for node in &nodes {
            ask(&mut recorder, node, EventKind::StepStarted {});
        }
        // This event follows one that does not count yet.
        let message = "done".to_owned();
        ask(
            &mut recorder,
            "node-1",
            EventKind::StepFinished { elapsed_ms: 1, message, drained: None },
        );
        assert!(answers.iter_mut().all(|answer| answer.try_recv().is_err()), "nothing settled yet");
        recorder.flush().await;
        assert!(answers.iter_mut().all(|answer| answer.try_recv().is_ok()));
        assert!(
            recorder.failed.is_none()
                && recorder.release.node("node-1", |node| node.done == [Step::Stage])
        );
        assert_eq!(sink.seen[..], [[1].as_slice(), &[42; 41]].concat());
    }
}
