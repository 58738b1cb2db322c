//! `deploy`: starts a new release.

use std::sync::Arc;
use std::time::Duration;

use super::caller::{Wait, confirm, unless_stopped};
use super::locking::locked;
use super::plan::{Planned, planned};
use super::release::{Ending, Job};
use super::{Bound, Caller, Cause, Connections, Question, Refusal, Session, held, restart};
use crate::consul;
use crate::engine::Operation;
use crate::foreign::Recorded;
use crate::lock::Lock;
use crate::plan::{Plan, RollbackPlan, Selection};
use crate::registry::{Registry, Rights};
use crate::release::{CommandKind, PlannedAction, Started};
use crate::spec::{RegistrySpec, Spec, restored_nodes};
use crate::survey::{Fleet, NodeFacts};
use crate::text::{count, harmless};
use crate::world::World;

/// The name of the wait while Consul checks write access.
const RIGHTS: Wait<'_> =
    Wait { what: "checking write access to the registry", at_most: consul::PATIENCE };

/// The request of the operator.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The selected nodes.
    pub selection: Selection,
    /// Do not ask for confirmation.
    pub yes: bool,
    /// How long to wait for the lock.
    pub lock_wait: Duration,
    /// The plan file that is run exactly. It has been confirmed, and has its own selection.
    pub bound: Option<Bound>,
}

impl Request {
    fn selection(&self) -> &Selection {
        self.bound.as_ref().map_or(&self.selection, |bound| &bound.file.plan.selection)
    }
}

/// Runs a release. `spec` is the session's spec. Its artifact has been read.
///
/// # Errors
///
/// If the release does not start. Nothing was changed.
pub async fn deploy<W: World, C: Caller>(
    session: &Session,
    connections: &Connections<W>,
    caller: &mut C,
    spec: &Arc<Spec>,
    request: &Request,
) -> Result<Ending, Refusal> {
    if let Some(bound) = &request.bound {
        bound.check_inputs(session, connections.world.now())?;
    }
    let held = (command(session), request.lock_wait);
    let work = async |lock: &Arc<Lock<W>>, caller: &mut C| {
        release(session, connections, caller, spec, request, lock).await
    };
    locked(session, connections, caller, held, work).await
}

/// The command that the operator typed.
fn command(session: &Session) -> CommandKind {
    if session.restart { CommandKind::Restart } else { CommandKind::Deploy }
}

async fn release<W: World, C: Caller>(
    session: &Session,
    connections: &Connections<W>,
    caller: &mut C,
    spec: &Arc<Spec>,
    request: &Request,
    lock: &Arc<Lock<W>>,
) -> Result<Ending, Refusal> {
    let selection = request.selection();
    let planned = planned(session, connections, caller, spec, selection).await?;
    if let Some(bound) = &request.bound {
        let (now, is_refused) = (connections.world.now(), !planned.plan.refusals.is_empty());
        bound.check(&planned.seen(), is_refused, now)?;
        if !is_refused {
            caller.notice(&format!("{}: no change since then", bound.described(now)));
        }
    }
    let Planned { plan, fleet, way, spec, kept } = planned;
    let spec = &with_way_back(session, &spec, &way)?;
    // Without its rights, a token may see nothing of what the plan needs.
    let may_release = plan.count(PlannedAction::Update) > 0 && fleet.registry_problem.is_none();
    if may_release {
        unless_stopped(caller, RIGHTS, may_write(connections, spec, &plan)).await??;
    }
    if !plan.refusals.is_empty() {
        let reason = plan.refusals.join("; ");
        let refusals: Vec<_> =
            plan.refusals.iter().map(|refusal| format!("  {}\n", harmless(refusal))).collect();
        let text = format!("error: refused, nothing was changed:\n{}", refusals.concat());
        let refusal = Refusal::told(Cause::Refused, reason, text);
        return Err(if lacks_keys(&plan, &fleet) {
            refusal.hint_at("shows how each key is created", session.command("status"))
        } else {
            refusal.hint_at("shows every node", session.command_for("plan", selection))
        });
    }
    held::tell(caller, session, &fleet, plan.held(), Some("--include-held"));
    if plan.count(PlannedAction::Update) == 0 {
        return Ok(Ending::Nothing(plan.idle()));
    }
    if request.yes || request.bound.is_some() {
        // Without a question, the plan is not shown.
        for warning in &plan.warnings {
            caller.notice(&format!("warning: {}", harmless(warning)));
        }
    } else {
        let version = spec.version.as_deref().unwrap_or("");
        let nodes = count(plan.count(PlannedAction::Update), "node");
        let prompt = &if session.restart {
            format!("Restart {nodes} of {}, each with the version that it runs?", spec.service)
        } else {
            format!("Release {} {version} to {nodes}?", spec.service)
        };
        let plan = plan.render(spec, &session.file.display().to_string());
        confirm(caller, Question { prompt, plan: Some(&plan) }).await?;
    }
    let inputs =
        if session.restart { restart::inputs(session, &kept) } else { session.inputs.clone() };
    let started = Started {
        from: plan.from.clone(),
        to: spec.version.clone(),
        arguments: session.options(request.yes),
        selection: selection.arguments(),
        nodes: plan.planned(),
        before: Recorded::new(way.targets),
        inputs: Recorded::new(inputs),
        toward: Recorded::new(kept),
        ..session.started(caller.identity(), command(session), fleet.pool(spec))
    };
    let started = match &request.bound {
        Some(bound) => bound.recorded(started),
        None => started,
    };
    Job { session, connections, lock, spec, yes: request.yes, file_was_changed: false }
        .begin(caller, Operation::Deploy, started)
        .await
}

/// Returns whether Consul lacks keys without which the release is refused.
fn lacks_keys(plan: &Plan, fleet: &Fleet) -> bool {
    if fleet.registry_problem.is_some() {
        return fleet.lacks_keys();
    }
    let blocked = plan.rows.iter().filter(|row| row.planned.will == PlannedAction::Blocked);
    let lacks_key = |facts: &NodeFacts| facts.missing_key.is_some() && facts.problem.is_none();
    let mut facts = blocked.filter_map(|row| fleet.nodes.get(&row.planned.node));
    facts.any(lacks_key)
}

/// Returns the spec of the same release, with the restore points for its nodes.
fn with_way_back(
    session: &Session,
    spec: &Arc<Spec>,
    way: &RollbackPlan,
) -> Result<Arc<Spec>, Refusal> {
    let back = restored_nodes(&session.loaded.playbook, &session.inputs, &way.targets)
        .map_err(|error| Refusal::new(Cause::Invalid, error.to_string()))?;
    Ok(Arc::new(Spec { back, ..(**spec).clone() }))
}

/// Refuses a token without write access, before a later step needs it.
async fn may_write<W: World>(
    connections: &Connections<W>,
    spec: &Spec,
    plan: &Plan,
) -> Result<(), Refusal> {
    let registry = Registry::new(&connections.world, &connections.consul, spec);
    let updates = plan.rows.iter().filter(|row| row.planned.will == PlannedAction::Update);
    let addresses = updates.map(|row| row.address.as_str()).collect();
    let rights = registry.may_write(&addresses).await;
    for (registry, rights) in spec.registries.iter().zip(rights) {
        let error = match rights {
            Ok(Rights::Keys(_) | Rights::Untested(_)) => continue,
            Ok(Rights::Unread(why)) => {
                return Err(Refusal::new(Cause::Refused, why).hint("nothing was changed"));
            }
            Err(error) => error,
        };
        let refusal = Refusal::new(Cause::Refused, error.to_string());
        let refusal = match registry {
            RegistrySpec::ConsulKv { prefix } if error.lacks_permission() => refusal.hint(format!(
                "the token needs the rule key_prefix \"{prefix}\" {{ policy = \"write\" }}"
            )),
            _ => refusal,
        };
        return Err(refusal.hint("nothing was changed"));
    }
    Ok(())
}
