//! `resume`: goes on with a release that was stopped, failed, or broke off, from any machine that reaches Consul.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use serde::Deserialize;

use super::deploy::agreed;
use super::hold::{self, LockArguments};
use super::open::{Missing, Opened, Reach, block_on};
use super::output::{self, Refusal};
use super::plan;
use super::signals::Signals;
use super::work::Work;
use super::{Exit, Global, PlaybookArguments};
use crate::journal::history::{self, Past};
use crate::plan::{objections, resumptions};
use crate::playbook::Playbook;
use crate::release::Phase;
use crate::release::{CommandKind, Finished, Outcome, Resumed, Resumption};
use crate::report::say;
use crate::shell::quote;
use crate::text::{count, harmless};

/// What the reading of a release's journal is called while it is waited for.
pub(super) const JOURNAL: &str = "reading the release's journal";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The playbook, which tells where to look; what is done comes from the release's journal
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    file: std::path::PathBuf,
    /// The release, or an unambiguous start of its id [default: the last one]
    #[arg(value_name = "ID")]
    id: Option<String>,
    #[command(flatten)]
    lock: LockArguments,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Exit {
    attempt(arguments, global).unwrap_or_else(|refusal| output::refuse(refusal, global))
}

fn attempt(arguments: &Arguments, global: &Global) -> Result<Exit, Refusal> {
    let playbook = PlaybookArguments::of(&arguments.file);
    let mut opened = Opened::new(&playbook, global, Missing::Open)?;
    block_on(async {
        let reach = opened.reach()?;
        let mut signals = Signals::listen(global)?;
        let past = find(&opened, &reach, arguments.id.as_deref(), CommandKind::is_release);
        let id = signals.unless_stopped(JOURNAL, past).await??.id;
        opened.inputs.release.clone_from(&id);
        let lock =
            Work::begin(CommandKind::Resume, global, &opened, &reach, &arguments.lock, signals)
                .await;
        let result = match lock {
            Ok(work) => {
                let (lock, mut signals) = work.into_parts();
                // Whoever had the lock may have gone on meanwhile: the journal counts as it is now.
                let past = find(&opened, &reach, Some(&id), CommandKind::is_release);
                let past = signals.unless_stopped(JOURNAL, past).await.flatten();
                let result = match past.and_then(|past| Ok((opened.of_release(&past)?, past))) {
                    Ok((opened, past)) => {
                        let work = Work::from_parts(global, &opened, &reach, lock.clone(), signals);
                        go_on(arguments, work, past).await
                    }
                    Err(refusal) => Err(refusal),
                };
                lock.release().await;
                result
            }
            Err(refusal) => Err(refusal),
        };
        reach.world.close().await;
        result
    })?
}

/// Reads the journal of a release; without an id, of the last one whose command is `wanted`.
pub(super) async fn find(
    opened: &Opened,
    reach: &Reach,
    id: Option<&str>,
    wanted: impl Fn(CommandKind) -> bool,
) -> Result<Past, Refusal> {
    let service = &opened.loaded.playbook.service;
    history::find(&opened.state, reach.shared(), service, id, wanted).await.map_err(|error| {
        Refusal::new(Exit::REFUSED, format!("{error:#}")).hint("nothing was changed")
    })
}

async fn go_on(arguments: &Arguments, mut work: Work<'_>, past: Past) -> Result<Exit, Refusal> {
    let (global, opened) = (work.global, work.opened);
    let refused =
        |problem: String| Refusal::new(Exit::REFUSED, problem).hint("nothing was changed");
    let Some(started) = past.release.started.clone() else {
        return Err(refused(format!("release {} never began", past.id)));
    };
    if started.command.is_by_hand() {
        return Err(refused(format!(
            "release {} is a `{}`: do that again",
            past.id, started.command
        )));
    }
    if past.release.finished.as_ref().is_some_and(|finished| finished.result == Outcome::Done) {
        let done = format!("release {} is done", past.id);
        if !global.quiet {
            say(&format!("Nothing to do: {}.\n", harmless(&done)));
        }
        let finished = Finished::unstarted(Outcome::Nothing, Exit::DONE.0, Some(done));
        return Ok(output::end(finished, output::lines(), global));
    }
    let service = &opened.loaded.playbook.service;
    let client = work.reach.shared();
    let later = history::later(&opened.state, client, service, &past, CommandKind::is_release);
    let later = work.unless_stopped(plan::JOURNALS, later).await?;
    if let Some((later, nodes)) = later.map_err(|error| refused(format!("{error:#}")))? {
        return Err(refused(superseded(&past.id, &later, &nodes)));
    }
    let spec = opened.spec()?;
    let mut fleet = work.look(&spec).await?;
    // What the plan found out before anything was changed still counts.
    fleet.take_for_out(|node| {
        let planned = past.release.planned().iter().find(|plan| plan.node == node && plan.was_out);
        planned.map(|planned| planned.strangers.clone())
    });
    let nodes = resumptions(&past.release, &spec, &fleet);
    let problems = objections(&past.release, &spec, &fleet, &nodes);
    if !problems.is_empty() {
        return Err(refused(problems.join("; ")));
    }
    tell_variables(global, &past.id, [&opened.inputs.variables]);
    if !arguments.yes {
        let question = format!("Go on with release {}: {}?", past.id, summary(&past, &nodes));
        work.answer(agreed(&question)).await??;
    }
    work.resume(&spec, past, Resumed { actor: hold::actor(), nodes }).await
}

/// Says which values a command takes from a journal: they are filled into commands.
pub(super) fn tell_variables<'a>(
    global: &Global,
    release: &str,
    taken: impl IntoIterator<Item = &'a BTreeMap<String, String>>,
) {
    let pairs: BTreeSet<_> = taken.into_iter().flatten().collect();
    if global.quiet || pairs.is_empty() {
        return;
    }
    let pairs = pairs.into_iter().map(|(name, value)| quote(&format!("{name}={value}")));
    let pairs = pairs.collect::<Vec<_>>().join(" ");
    say(&format!("variables from the journal of {release}: {}\n", harmless(&pairs)));
}

/// Says which release has taken the place of the one that was to go on.
fn superseded(id: &str, later: &Past, nodes: &[String]) -> String {
    let started = later.release.started.as_ref();
    let command = started.map_or(CommandKind::Deploy, |started| started.command);
    let to = started.and_then(|started| started.to.as_ref());
    let to = to.map_or(String::new(), |to| format!(" to {to}"));
    let (nodes, later) = (nodes.join(", "), &later.id);
    format!(
        "release {id} is superseded: {later}, a {command}{to} that was begun after it, has changed {nodes}; go on with that one, \
         or deploy anew"
    )
}

fn summary(past: &Past, nodes: &[Resumption]) -> String {
    let mut parts: Vec<_> = nodes
        .iter()
        .map(|found| {
            let from = if found.done.is_empty() { "from its start" } else { "from its health" };
            format!("{} {from}", found.node)
        })
        .collect();
    let waiting = past.release.count(|node| node.phase == Phase::Waiting);
    parts.push(format!("{} waiting", count(waiting, "node")));
    parts.join(", ")
}

impl Opened {
    /// The same file's place and secrets, with the playbook and the variables of a release's journal.
    pub(super) fn of_release(&self, past: &Past) -> Result<Self, Refusal> {
        let unreadable = |error: String| {
            let problem =
                format!("the playbook in the journal of {} cannot be read: {error}", past.id);
            Refusal::new(Exit::REFUSED, problem).hint("nothing was changed")
        };
        let started = past.release.started.as_ref();
        let started = started.ok_or_else(|| unreadable("it never began".into()))?;
        let recorded = started.playbook.value().map_err(unreadable)?;
        let playbook = Playbook::deserialize(&recorded);
        let inputs = serde_json::to_value(&started.inputs).unwrap_or_default();
        if let Some(secret) = self.secrets.in_journal(&[recorded, inputs]) {
            let problem =
                format!("the journal of {} holds the value of the secret {secret}", past.id);
            return Err(Refusal::new(Exit::REFUSED, problem)
                .hint("nothing was changed; `deploy` with a playbook that names the secret"));
        }
        let mut opened =
            self.with_playbook(playbook.map_err(|error| unreadable(error.to_string()))?);
        let folder = std::mem::take(&mut opened.inputs.folder);
        let playbook = &opened.loaded.playbook;
        let unfit = |why: String| {
            let problem = format!("the journal of {} is not followed: {why}", past.id);
            Refusal::new(Exit::REFUSED, problem).hint("nothing was changed")
        };
        opened.before = started.before.followed(playbook).map_err(unfit)?;
        opened.toward = started.toward.followed(playbook).map_err(unfit)?;
        opened.inputs = started.inputs.followed(playbook).map_err(unfit)?;
        // On another machine the playbook lies elsewhere.
        if !opened.inputs.folder.exists() {
            opened.inputs.folder = folder;
        }
        Ok(opened)
    }
}
