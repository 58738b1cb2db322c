//! `rollback`: returns nodes to the version that they ran before a release, with the same engine and confirmations.

use std::sync::Arc;
use std::time::Duration;

use super::caller::{confirm, unless_stopped};
use super::current::{Chosen, choose};
use super::locking::locked;
use super::look::look;
use super::release::{Ending, Job};
use super::resume::{find, tell_variables};
use super::{Caller, Cause, Connections, Question, Refusal, Session, held, history};
use crate::engine::Operation;
use crate::foreign::Recorded;
use crate::journal::history::JournaledRelease;
use crate::lock::Lock;
use crate::plan::{NotUndone, Plan, Selection, missing_releases, restore_points, stops_too_many};
use crate::release::{CommandKind, PlannedAction, RestorePoint, Started};
use crate::spec::{NodeSpec, Spec};
use crate::text::{NAMES_TOLD, count, few};
use crate::world::World;

/// The request of the operator.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The id of the release to roll back, or an unambiguous start of it. By default, the last `deploy`.
    pub id: Option<String>,
    /// Roll back only these nodes. If it is empty, all nodes.
    pub only: Vec<String>,
    /// Follow the playbook's file as it is now, not the playbook in the journal.
    pub use_current: bool,
    /// Do not ask for confirmation.
    pub yes: bool,
    /// How long to wait for the lock.
    pub lock_wait: Duration,
}

/// Rolls back a release.
///
/// # Errors
///
/// If the rollback does not start. Nothing was changed.
pub async fn rollback<W: World, C: Caller>(
    session: &Session,
    connections: &Connections<W>,
    caller: &mut C,
    request: &Request,
) -> Result<Ending, Refusal> {
    let work = async |lock: &Arc<Lock<W>>, caller: &mut C| {
        let (id, wanted) = (request.id.as_deref(), |kind| kind == CommandKind::Deploy);
        let past = find(session, connections, caller, id, wanted).await?;
        let chosen = rolling_back(request, session, &past)?;
        Box::pin(go_back(&chosen, connections, caller, request, lock, &past)).await
    };
    locked(session, connections, caller, (CommandKind::Rollback, request.lock_wait), work).await
}

/// Makes the session that rolls back a release: its playbook, with the values from before the release.
fn rolling_back(
    request: &Request,
    session: &Session,
    past: &JournaledRelease,
) -> Result<Chosen, Refusal> {
    let Some(started) = &past.release.started else {
        return Err(Refusal::refused(format!("release {} did not start", past.id)));
    };
    if started.command.is_by_hand() {
        let hint = format!(
            "give the ID of the release to roll back: the folders in {} are named after the releases; without an ID, \
             `rollback` takes the last deploy",
            session.state.display()
        );
        let problem =
            format!("release {} is a `{}`, which cannot be rolled back", past.id, started.command);
        return Err(Refusal::new(Cause::Refused, problem).hint(hint));
    }
    if started.command == CommandKind::Restart {
        let problem = format!(
            "release {} is a restart: each node kept its version, so there is nothing to roll back",
            past.id
        );
        return Err(Refusal::new(Cause::Refused, problem).hint(
            "nothing was changed; `resume` finishes a restart; `rollback` without an ID rolls back the last deploy",
        ));
    }
    let names: Vec<_> = past.release.in_order().map(|(name, _)| name).collect();
    if let Some(unknown) = request.only.iter().find(|only| !names.contains(&only.as_str())) {
        let problem = format!("release {} has no node `{unknown}`", past.id);
        return Err(Refusal::new(Cause::Invalid, problem)
            .hint(format!("its nodes are {}", names.join(", "))));
    }
    let mut chosen = choose(session, past, "rollback", request.use_current)?;
    let rollback = &mut chosen.session;
    let playbook = &rollback.loaded.playbook;
    let toward = restore_points(&past.release, playbook, &request.only).map_err(|not| {
        let problem = match not {
            NotUndone::Unknown(nodes) => {
                format!("it is unknown what {} ran before release {}", nodes.join(", "), past.id)
            }
            NotUndone::Unfit(why) => {
                format!("cannot restore what nodes ran before release {}: {why}", past.id)
            }
        };
        Refusal::new(Cause::Refused, problem)
            .hint("nothing was changed; `deploy` the version that you want, or roll back the other nodes with --only")
    })?;
    rollback.inputs.release.clone_from(&session.inputs.release);
    // A later release finds the restored variables in the journal of this one.
    if let Some(most) = toward.iter().max_by_key(|target| target.nodes.len()) {
        rollback.inputs.variables.clone_from(&most.variables);
        rollback.inputs.artifact.clone_from(&most.artifact);
    }
    rollback.toward = toward;
    rollback.before = Vec::new();
    Ok(chosen)
}

async fn go_back<W: World, C: Caller>(
    chosen: &Chosen,
    connections: &Connections<W>,
    caller: &mut C,
    request: &Request,
    lock: &Arc<Lock<W>>,
    past: &JournaledRelease,
) -> Result<Ending, Refusal> {
    let session = &chosen.session;
    let nodes: Vec<_> =
        session.toward.iter().flat_map(|target| target.nodes.iter().cloned()).collect();
    if nodes.is_empty() {
        return Ok(Ending::Nothing(format!("release {} has changed nothing", past.id)));
    }
    let spec = session.spec()?;
    let fleet = look(session, connections, caller, &spec).await?;
    let selection = Selection { only: nodes, ..Selection::default() };
    let mut plan = Plan::new(&spec, &fleet, &selection);
    plan.refusals.extend(missing_releases(&spec, &fleet, &plan));
    if let Some(problem) = stops_too_many(&spec, &fleet, &plan) {
        // It is why the capacity does not suffice.
        plan.refusals.retain(|refusal| !plan.shortages.contains(refusal));
        plan.refusals.push(problem);
    }
    if !plan.refusals.is_empty() {
        return Err(Refusal::refused(plan.refusals.join("; ")));
    }
    held::tell(caller, session, &fleet, plan.held(), None);
    if plan.count(PlannedAction::Update) == 0 {
        if plan.held().next().is_some() {
            return Ok(Ending::Nothing(plan.idle()));
        }
        return Ok(Ending::Nothing(already_back(&spec, &plan, &past.id)));
    }
    if let Some(notice) = &chosen.notice {
        caller.notice(notice);
    }
    let from = format!("as before release {}", past.id);
    tell_variables(caller, &from, session.toward.iter().map(|target| &target.variables));
    if !request.yes {
        let nodes = count(plan.count(PlannedAction::Update), "node");
        let to = spec.version.clone().unwrap_or_default();
        let to = if to == RestorePoint::NO_VERSION { to } else { format!("version {to}") };
        let prompt =
            &format!("Roll back release {}: return {nodes} of {} to {to}?", past.id, spec.service);
        let plan = plan.render(&spec, &session.file.display().to_string());
        confirm(caller, Question { prompt, plan: Some(&plan) }).await?;
    }
    let way = history::way_back(session, connections, &spec, &fleet);
    let way = unless_stopped(caller, history::JOURNALS, way).await?;
    let started = Started {
        from: plan.from.clone(),
        to: spec.version.clone(),
        arguments: session.options(request.yes),
        nodes: plan.planned(),
        before: Recorded::new(way.targets),
        toward: Recorded::new(session.toward.clone()),
        ..session.started(caller.identity(), CommandKind::Rollback, fleet.pool(&spec))
    };
    let (yes, file_was_changed) = (request.yes, chosen.file_was_changed);
    Job { session, connections, lock, spec: &spec, yes, file_was_changed }
        .begin(caller, Operation::Deploy, started)
        .await
}

/// What the nodes of a release have in common that need no rollback.
fn already_back(spec: &Spec, plan: &Plan, id: &str) -> String {
    let names = |stays_out: bool| {
        let rows = plan.rows.iter().filter(|row| row.planned.will == PlannedAction::Skip);
        let names = rows.map(|row| row.planned.node.as_str());
        let is = |name: &&str| spec.node(name).is_some_and(NodeSpec::stays_out) == stays_out;
        few(names.filter(is).map(str::to_owned), NAMES_TOLD)
    };
    let told = |names: Vec<String>, one: &str, many: &str| {
        let verb = if names.len() == 1 { one } else { many };
        (!names.is_empty()).then(|| format!("{} {verb}", names.join(", ")))
    };
    let back = format!("the version from before release {id}");
    let returned = told(names(false), &format!("runs {back}"), &format!("run {back}"));
    let first = format!("as before its first install by release {id}");
    let undone = told(
        names(true),
        &format!("is out of rotation, {first}"),
        &format!("are out of rotation, {}", first.replace("its", "their")),
    );
    returned.into_iter().chain(undone).collect::<Vec<_>>().join("; ")
}
