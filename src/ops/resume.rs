//! `resume`: resumes a release that was stopped, failed, or was interrupted. Any machine that reaches Consul can do it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::caller::{confirm, unless_stopped};
use super::current::{Chosen, choose};
use super::locking::locked;
use super::look::look;
use super::release::{Ending, Job};
use super::{Caller, Connections, Question, Refusal, Session, held, history, restart};
use crate::foreign::Recorded;
use crate::journal::history::{self as journals, JournaledRelease};
use crate::lock::Lock;
use crate::plan::{begin_again, held_nodes, objections, resume_plan, resume_points, returned};
use crate::release::Phase;
use crate::release::{CommandKind, HeldNode, Outcome, Release, ResumePoint, Resumed};
use crate::shell::quote;
use crate::spec::Spec;
use crate::text::{count, harmless};
use crate::world::World;

/// The request of the operator.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The release's id, or an unambiguous start of it. By default, the last release.
    pub id: Option<String>,
    /// Follow the playbook's file as it is now, not the playbook in the journal.
    pub use_current: bool,
    /// Do not ask for confirmation.
    pub yes: bool,
    /// How long to wait for the lock.
    pub lock_wait: Duration,
}

/// Resumes a release.
///
/// # Errors
///
/// If the release does not resume. Nothing was changed.
pub async fn resume<W: World, C: Caller>(
    session: &Session,
    connections: &Connections<W>,
    caller: &mut C,
    request: &Request,
) -> Result<Ending, Refusal> {
    let mut session = session.clone();
    let wanted = request.id.as_deref();
    let past = find(&session, connections, caller, wanted, CommandKind::is_release);
    session.inputs.release = past.await?.id;
    let work = async |lock: &Arc<Lock<W>>, caller: &mut C| {
        // The previous holder of the lock may have continued the release, so the journal is read again.
        let id = Some(session.inputs.release.as_str());
        let past = find(&session, connections, caller, id, CommandKind::is_release).await?;
        let chosen = choose(&session, &past, "resume", request.use_current)?;
        Box::pin(go_on(&chosen, connections, caller, request, lock, past)).await
    };
    locked(&session, connections, caller, (CommandKind::Resume, request.lock_wait), work).await
}

/// Reads the journal of a release. Without an id, it is the last release with a `wanted` command.
pub(super) async fn find<W: World, C: Caller>(
    session: &Session,
    connections: &Connections<W>,
    caller: &C,
    id: Option<&str>,
    wanted: impl Fn(CommandKind) -> bool,
) -> Result<JournaledRelease, Refusal> {
    let past = journals::find(&session.state, connections.shared(), session.service(), id, wanted);
    let past = Box::pin(past);
    let past = unless_stopped(caller, history::JOURNAL, past).await?;
    past.map_err(|error| {
        let refusal = super::refusal::of_error(&error);
        match id {
            Some(_) => {
                refusal.hint_at("shows the releases that are known", session.command("history"))
            }
            None => refusal,
        }
    })
}

async fn go_on<W: World, C: Caller>(
    chosen: &Chosen,
    connections: &Connections<W>,
    caller: &mut C,
    request: &Request,
    lock: &Arc<Lock<W>>,
    past: JournaledRelease,
) -> Result<Ending, Refusal> {
    let mut session = &chosen.session;
    let Some(command) = past.release.started.as_ref().map(|started| started.command) else {
        return Err(Refusal::refused(format!("release {} did not start", past.id)));
    };
    if command.is_by_hand() {
        let problem =
            format!("release {} is a `{command}`, which cannot be resumed: run it again", past.id);
        return Err(Refusal::refused(problem));
    }
    if past.release.finished.as_ref().is_some_and(|finished| finished.result == Outcome::Done) {
        return Ok(Ending::Nothing(format!("release {} is done", past.id)));
    }
    let (client, service) = (connections.shared(), session.service());
    let later = journals::later(&session.state, client, service, &past, CommandKind::is_release);
    let later = unless_stopped(caller, history::JOURNALS, later).await?;
    if let Some((later, nodes)) = later.map_err(|error| super::refusal::of_error(&error))? {
        let refusal = Refusal::refused(superseded(&past.id, &later, &nodes));
        let status = session.command("status");
        return Err(refusal.hint_at("shows every node, and what to do next", status));
    }
    if let Some(notice) = &chosen.notice {
        caller.notice(notice);
    }
    let mut spec = session.spec()?;
    let mut fleet = look(session, connections, caller, &spec).await?;
    // Nodes that were out at planning time, before anything was changed, still count as out.
    fleet.take_for_out(|node| {
        let planned = past.release.plan_of(node).filter(|planned| planned.was_out);
        planned.map(|planned| planned.strangers.clone())
    });
    let unknown =
        if session.restart { without_steps(&past.release, &spec) } else { BTreeSet::new() };
    let known;
    if !unknown.is_empty() {
        known =
            restart::keep_more(session, connections, caller, &spec, &mut fleet, &unknown).await?;
        (session, spec) = (&known, known.spec()?);
    }
    let mut nodes = resume_points(&past.release, &spec, &fleet);
    if let Some(before) = &chosen.replaced {
        begin_again(&mut nodes, &past.release, &*before.spec()?, &spec);
    }
    let held = held_nodes(&past.release, &fleet);
    let problems = objections(&past.release, &spec, &fleet, &nodes);
    if !problems.is_empty() {
        return Err(Refusal::refused(problems.join("; ")));
    }
    let left_out = held.iter().map(|found| found.node.as_str());
    held::tell(caller, session, &fleet, left_out, None);
    let from = format!("from the journal of {}", past.id);
    tell_variables(caller, &from, [&session.inputs.variables]);
    if !request.yes {
        let prompt =
            &format!("Resume release {}: {}?", past.id, summary(&past, &spec, &nodes, &held));
        let plan = resume_plan(&past.release, &spec, &fleet, &nodes);
        confirm(caller, Question { prompt, plan: Some(&plan) }).await?;
    }
    let playbook = chosen.replaced.as_ref().map(|_| session.written());
    let toward = (!unknown.is_empty()).then(|| Recorded::new(session.toward.clone()));
    let resumed = Resumed { actor: caller.identity().actor.clone(), nodes, playbook, held, toward };
    let yes = request.yes;
    let file_was_changed = chosen.file_was_changed;
    Job { session, connections, lock, spec: &spec, yes, file_was_changed }
        .resume(caller, past, resumed)
        .await
}

/// The unfinished nodes without steps. A restart could not inspect them, so what they run was not known.
fn without_steps<'a>(release: &'a Release, spec: &Spec) -> BTreeSet<&'a str> {
    let unfinished = release.in_order().filter(|(_, state)| state.is_unfinished());
    let names = unfinished.map(|(name, _)| name);
    names.filter(|name| spec.node(name).is_some_and(|node| node.steps.is_empty())).collect()
}

/// Reports the values that a command takes from a journal, because they are inserted into commands.
pub(super) fn tell_variables<'a>(
    caller: &impl Caller,
    from: &str,
    taken: impl IntoIterator<Item = &'a BTreeMap<String, String>>,
) {
    let pairs: BTreeSet<_> = taken.into_iter().flatten().collect();
    if pairs.is_empty() {
        return;
    }
    let pairs = pairs.into_iter().map(|(name, value)| quote(&format!("{name}={value}")));
    let pairs = pairs.collect::<Vec<_>>().join(" ");
    caller.notice(&format!("variables {from}: {}", harmless(&pairs)));
}

/// Describes the later release that supersedes this one.
fn superseded(id: &str, later: &JournaledRelease, nodes: &[String]) -> String {
    let started = later.release.started.as_ref();
    let command = started.map_or(CommandKind::Deploy, |started| started.command);
    let to = started.and_then(|started| started.to.as_ref());
    let to = to.map_or(String::new(), |to| format!(" to {to}"));
    let (nodes, later) = (nodes.join(", "), &later.id);
    format!("release {id} is superseded: {later} ({command}{to}) started later and changed {nodes}")
}

fn summary(
    past: &JournaledRelease,
    spec: &Spec,
    nodes: &[ResumePoint],
    held: &[HeldNode],
) -> String {
    let returned = returned(&past.release, spec, nodes);
    let mut parts: Vec<_> = nodes
        .iter()
        .map(|found| {
            let returns =
                returned.as_ref().is_some_and(|names| names.contains(found.node.as_str()));
            let from = match found.done.as_slice() {
                _ if returns => "returns to rotation unchanged",
                [] => "from its first step",
                _ => "from its health check",
            };
            format!("{} {from}", found.node)
        })
        .collect();
    let is_held = |name: &str| held.iter().any(|found| found.node == name);
    let waiting = past
        .release
        .in_order()
        .filter(|(name, node)| node.phase == Phase::Waiting && !is_held(name))
        .filter(|_| returned.is_none());
    match waiting.count() {
        0 if parts.is_empty() => parts.push("no node is left to update".to_owned()),
        0 => {}
        waiting if parts.is_empty() => parts.push(count(waiting, "waiting node")),
        1 => parts.push("then 1 more node".to_owned()),
        waiting => parts.push(format!("then {waiting} more nodes")),
    }
    parts.join(", ")
}
