//! A command that changes something: it holds the lock, hears signals, and runs a release to its report.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::history;
use super::hold::{self, LockArguments};
use super::open::{Opened, Reach};
use super::output::{self, Refusal};
use super::signals::Signals;
use super::{Exit, Global, plan};
use crate::engine::{Begin, Engine, Mode, Stop};
use crate::journal::Journal;
use crate::journal::history::Past;
use crate::journal::replica::Copy;
use crate::lock::Lock;
use crate::release::{CommandKind, Finished, Outcome, Resumed, Started};
use crate::report::{Report, say, say_in_time};
use crate::spec::Spec;
use crate::survey::{Fleet, PATIENCE, survey};
use crate::text;
use crate::world::{Live, World};

/// For the look at everything after a release that did not go well.
const LAST_LOOK: Duration = Duration::from_secs(3);

/// The same when somebody waits for the end.
const HURRIED_LOOK: Duration = Duration::from_millis(500);

/// What such a command works with.
pub(super) struct Work<'a> {
    pub(super) global: &'a Global,
    pub(super) opened: &'a Opened,
    pub(super) reach: &'a Reach,
    pub(super) lock: Arc<Lock<Live>>,
    signals: Signals,
}

impl<'a> Work<'a> {
    /// Takes the lock.
    pub(super) async fn begin(
        command: CommandKind,
        global: &'a Global,
        opened: &'a Opened,
        reach: &'a Reach,
        arguments: &LockArguments,
        mut signals: Signals,
    ) -> Result<Self, Refusal> {
        let lock = hold::take(arguments, opened, reach, command, &mut signals).await?;
        Ok(Self { global, opened, reach, lock, signals })
    }

    /// Takes it apart, to go on with another playbook under the same lock.
    pub(super) fn into_parts(self) -> (Arc<Lock<Live>>, Signals) {
        (self.lock, self.signals)
    }

    /// Puts it together again.
    pub(super) fn from_parts(
        global: &'a Global,
        opened: &'a Opened,
        reach: &'a Reach,
        lock: Arc<Lock<Live>>,
        signals: Signals,
    ) -> Self {
        Self { global, opened, reach, lock, signals }
    }

    /// Does something that changes nothing, unless a signal asks to stop.
    pub(super) fn unless_stopped<'b, T: 'b>(
        &'b mut self,
        what: &'b str,
        work: impl Future<Output = T> + 'b,
    ) -> impl Future<Output = Result<T, Refusal>> + 'b {
        self.signals.unless_stopped(what, work)
    }

    /// Waits for the answer of a person, unless a signal asks to stop.
    pub(super) async fn answer<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Refusal> {
        self.signals.unless_stopped_silently(work).await
    }

    /// Looks at everything.
    pub(super) async fn look(&mut self, spec: &Arc<Spec>) -> Result<Fleet, Refusal> {
        let (opened, reach) = (self.opened, self.reach);
        let look = async {
            let mut fleet = survey(&reach.world, &reach.consul, spec, PATIENCE).await;
            history::take_for_out(opened, reach, &mut fleet).await;
            fleet
        };
        self.unless_stopped(plan::LOOK, Box::pin(look)).await
    }

    /// Runs a new release to its end and reports it.
    pub(super) async fn release(
        self,
        spec: &Arc<Spec>,
        mode: Mode,
        started: Started,
    ) -> Result<Exit, Refusal> {
        let journal = Journal::create(&self.opened.state, &self.opened.inputs.release);
        let begin = Begin::Started(Box::new(started));
        self.run(spec, mode, begin, journal.map_err(|error| refused(&error))?, Vec::new()).await
    }

    /// Goes on with a release that ended or broke off before.
    pub(super) async fn resume(
        self,
        spec: &Arc<Spec>,
        past: Past,
        resumed: Resumed,
    ) -> Result<Exit, Refusal> {
        let journal = Journal::take_over(&self.opened.state, &past.id, &past.bytes);
        let begin = Begin::Resumed(Box::new(past.release), resumed);
        let journal = journal.map_err(|error| refused(&error))?;
        self.run(spec, Mode::Deploy, begin, journal, past.bytes).await
    }

    async fn run(
        self,
        spec: &Arc<Spec>,
        mode: Mode,
        begin: Begin,
        journal: Journal,
        so_far: Vec<u8>,
    ) -> Result<Exit, Refusal> {
        let Self { global, opened, reach, lock, signals } = self;
        let stop = signals.stop();
        let id = opened.inputs.release.clone();
        let path = journal.path().display().to_string();
        let since = match &begin {
            Begin::Resumed(release, _) => release.begun,
            Begin::Started(_) => None,
        };
        let since = since.unwrap_or_else(|| reach.world.now());
        let copy = reach
            .shared()
            .map(|consul| Copy::new(consul, lock.fence(), &spec.service, &id, since, so_far));
        let engine = Engine {
            world: reach.world.clone(),
            consul: reach.consul.clone(),
            spec: spec.clone(),
            mode,
            stop: stop.clone(),
            lock: lock.clone(),
            copy,
        };
        let mut view = output::view(global);
        let ended = engine.run(&id, begin, journal, &mut view.sinks).await;
        let ended = ended.map_err(|error| refused(&error))?;
        lock.release().await;
        // The live view leaves the terminal before anything else is said.
        drop(view);
        let Some(finished) = &ended.release.finished else {
            let why = ended.failed.map_or(String::new(), |error| format!(": {error:#}"));
            let reason = text::harmless(&format!("the release broke off{why}"));
            let status = opened.command("status");
            say(&format!("error: {reason}\nhint: `{status}` tells where each node stands\n"));
            let finished = Finished::unstarted(Outcome::Degraded, 22, Some(reason));
            let next = vec![("look at every node".to_owned(), status)];
            let lines = output::lines().after(&id, ended.release.seq);
            return Ok(output::end(Finished { next, ..finished }, lines, global));
        };
        let exit = Exit(finished.exit_code);
        if finished.result != Outcome::Done || !global.quiet {
            let mut fleet = last_look(finished.result, reach, spec, &stop).await;
            if let Some(fleet) = &mut fleet {
                fleet.take_for_out(|node| ended.release.nodes.get(node)?.taken_out());
            }
            let report = Report { release: &ended.release, spec, fleet: fleet.as_ref() };
            let mut text = report.render();
            if finished.result != Outcome::Done {
                let torn = if ended.unwritten.is_some() { " (its end is missing)" } else { "" };
                text += &format!("\njournal {path}{torn}\nexit {}\n", exit.0);
            }
            say_in_time(text);
        }
        Ok(exit)
    }
}

fn refused(error: &anyhow::Error) -> Refusal {
    Refusal::new(Exit::REFUSED, format!("{error:#}")).hint("nothing was changed")
}

/// Looks at everything once more, so that the report says what is, not what should be.
async fn last_look(
    result: Outcome,
    reach: &Reach,
    spec: &Arc<Spec>,
    stop: &watch::Receiver<Stop>,
) -> Option<Fleet> {
    if result == Outcome::Done {
        return None;
    }
    let hurried = matches!(*stop.borrow(), Stop::Requested(_));
    let time = if hurried { HURRIED_LOOK } else { LAST_LOOK };
    Some(survey(&reach.world, &reach.consul, spec, time).await)
}
