//! `plan`: shows what a release would do. It changes nothing.

use std::sync::Arc;

use super::caller::{Wait, unless_stopped};
use super::history::JOURNALS;
use super::look::look;
use super::{Caller, Cause, Connections, Refusal, Session, history, restart};
use crate::plan::{Plan, RollbackPlan, Seen, Selection};
use crate::release::RestorePoint;
use crate::spec::Spec;
use crate::survey::{Fleet, PATIENCE, meet, unfit};
use crate::world::World;

/// The name of the wait during the first queries to gateways.
const GATEWAYS: Wait<'_> = Wait { what: "probing the gateways", at_most: PATIENCE };

/// A plan, and its inputs.
pub(super) struct Planned {
    pub(super) plan: Plan,
    pub(super) fleet: Fleet,
    pub(super) way: RollbackPlan,
    pub(super) spec: Arc<Spec>,
    /// What the restarted nodes run.
    pub(super) kept: Vec<RestorePoint>,
}

/// A plan, the spec of its release, and what was seen.
pub struct Preview {
    /// The plan.
    pub plan: Plan,
    /// The spec of the release.
    pub spec: Arc<Spec>,
    /// What a plan file is bound to.
    pub seen: Seen,
}

impl Planned {
    /// What was seen.
    pub(super) fn seen(&self) -> Seen {
        Seen::of(&self.spec, &self.fleet, &self.plan)
    }

    /// Plans a restart: each node keeps what it runs.
    async fn restart<W: World, C: Caller>(
        session: &Session,
        connections: &Connections<W>,
        caller: &C,
        (spec, mut fleet): (&Arc<Spec>, Fleet),
        selection: &Selection,
    ) -> Result<Self, Refusal> {
        let past = unless_stopped(caller, JOURNALS, history::past(session, connections)).await?;
        let (spec, kept) = restart::keep(session, spec, &mut fleet, &past)?;
        let plan = Plan::new(&spec, &fleet, selection);
        let kept = restart::restarted(kept, &plan);
        Ok(Self { plan, fleet, way: RollbackPlan::default(), spec, kept })
    }
}

/// Plans a release from the state of all systems.
///
/// # Errors
///
/// If the caller asks to stop.
pub async fn plan<W: World, C: Caller>(
    session: &Session,
    connections: &Connections<W>,
    caller: &C,
    spec: &Arc<Spec>,
    selection: &Selection,
) -> Result<Preview, Refusal> {
    let planned = planned(session, connections, caller, spec, selection).await?;
    let seen = planned.seen();
    Ok(Preview { plan: planned.plan, spec: planned.spec, seen })
}

pub(super) async fn planned<W: World, C: Caller>(
    session: &Session,
    connections: &Connections<W>,
    caller: &C,
    spec: &Arc<Spec>,
    selection: &Selection,
) -> Result<Planned, Refusal> {
    let fleet = look(session, connections, caller, spec).await?;
    let mut planned = if session.restart {
        Planned::restart(session, connections, caller, (spec, fleet), selection).await?
    } else {
        let mut plan = Plan::new(spec, &fleet, selection);
        let way = history::way_back(session, connections, spec, &fleet);
        let way = unless_stopped(caller, JOURNALS, way).await?;
        plan.tell_way_back(spec, &way);
        Planned { plan, fleet, way, spec: spec.clone(), kept: Vec::new() }
    };
    if planned.plan.would_release() {
        let unfit = unfit_gateways(connections, caller, &planned.spec, &planned.fleet).await?;
        planned.plan.refusals.extend(unfit);
    }
    Ok(planned)
}

/// Returns the problems that make gateways unusable for a release.
pub(super) async fn unfit_gateways<W: World, C: Caller>(
    connections: &Connections<W>,
    caller: &C,
    spec: &Spec,
    fleet: &Fleet,
) -> Result<Vec<String>, Refusal> {
    let meeting = meet(&connections.world, &connections.consul, spec);
    let infos = unless_stopped(caller, GATEWAYS, meeting).await?;
    Ok(unfit(spec, fleet, &infos))
}

/// Checks that every name of a selection exists and that at least one node remains.
///
/// # Errors
///
/// If a name does not exist, or no node remains. The error names it.
pub fn check_selection(selection: &Selection, spec: &Spec) -> Result<(), Refusal> {
    let unknown = selection.unknown(spec);
    let message = if !unknown.is_empty() {
        format!("no node or tag is called {}", unknown.join(", "))
    } else if selection.limit == Some(0) {
        return Err(Refusal::new(Cause::Invalid, "`--limit 0` selects no node")
            .hint("leave it out to take all nodes"));
    } else if selection.is_empty(spec) {
        let unlimited = Selection { limit: None, ..selection.clone() };
        let named: Vec<_> =
            unlimited.arguments().chunks(2).map(|option| option.join(" ")).collect();
        format!("`{}` selects no node", named.join(" "))
    } else {
        return Ok(());
    };
    Err(Refusal::new(Cause::Invalid, message).hint(node_names(spec)))
}

/// Lists the nodes, as a hint.
pub(super) fn node_names(spec: &Spec) -> String {
    let names: Vec<_> = spec.nodes.iter().map(|node| node.name.as_str()).collect();
    format!("the nodes are {}", names.join(", "))
}
