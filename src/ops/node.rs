//! `node out` and `node in`: the two halves of a release, by hand, with the same confirmations.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::locking::locked;
use super::look::look;
use super::plan::{node_names, unfit_gateways};
use super::release::{Ending, Job};
use super::{Caller, Cause, Connections, Identity, Refusal, Session};
use crate::engine::Operation;
use crate::lock::Lock;
use crate::mark::Mark;
use crate::plan::shortage_without;
use crate::release::{CommandKind, Hold, Planned, PlannedAction, PlannedNodes, Started};
use crate::secret;
use crate::spec::Spec;
use crate::survey::Fleet;
use crate::world::World;

/// The direction of the change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Out of rotation.
    Out,
    /// Into rotation.
    In,
}

/// The request of the operator.
#[derive(Debug, Clone)]
pub struct Request {
    /// The direction of the change.
    pub direction: Direction,
    /// The nodes.
    pub nodes: Vec<String>,
    /// Why the nodes leave, in the operator's words.
    pub reason: Option<String>,
    /// How long to wait for the lock.
    pub lock_wait: Duration,
}

impl Direction {
    fn command(self) -> CommandKind {
        match self {
            Self::Out => CommandKind::NodeOut,
            Self::In => CommandKind::NodeIn,
        }
    }

    fn operation(self) -> Operation {
        match self {
            Self::Out => Operation::Out,
            Self::In => Operation::In,
        }
    }
}

/// Checks that the playbook has every named node.
///
/// # Errors
///
/// If the playbook does not have some of them. The error names them.
pub fn check_names(nodes: &[String], spec: &Spec) -> Result<(), Refusal> {
    let unknown: Vec<_> =
        nodes.iter().filter(|name| spec.node(name).is_none()).map(String::as_str).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let message = format!("no node is called {}", unknown.join(", "));
    Err(Refusal::new(Cause::Invalid, message).hint(node_names(spec)))
}

/// Removes nodes from rotation, or returns them to it.
///
/// # Errors
///
/// If the change does not start. Nothing was changed.
pub async fn switch<W: World, C: Caller>(
    session: &Session,
    connections: &Connections<W>,
    caller: &mut C,
    spec: &Arc<Spec>,
    request: &Request,
) -> Result<Ending, Refusal> {
    let work = async |lock: &Arc<Lock<W>>, caller: &mut C| {
        switch_locked(session, connections, caller, spec, request, lock).await
    };
    let held = (request.direction.command(), request.lock_wait);
    locked(session, connections, caller, held, work).await
}

async fn switch_locked<W: World, C: Caller>(
    session: &Session,
    connections: &Connections<W>,
    caller: &mut C,
    spec: &Arc<Spec>,
    request: &Request,
    lock: &Arc<Lock<W>>,
) -> Result<Ending, Refusal> {
    let (direction, names) = (request.direction, &request.nodes);
    let fleet = look(session, connections, caller, spec).await?;
    let mut problem = objection(direction, spec, &fleet, names);
    if problem.is_none() && direction == Direction::Out {
        problem = unfit_gateways(connections, caller, spec, &fleet).await?.into_iter().next();
    }
    if let Some(problem) = problem {
        return Err(Refusal::refused(problem));
    }
    let was_out = |name: &str| fleet.nodes.get(name).is_some_and(|facts| facts.mark == Mark::Down);
    let taken_out = |name: &str| fleet.nodes.get(name)?.taken_out.clone();
    let now = connections.world.now();
    let held = |name: &str| match direction {
        Direction::Out => Some(hold_of(&fleet, name, request, caller.identity(), now)),
        Direction::In => held_now(&fleet, name),
    };
    let started = Started {
        arguments: session.options(false),
        nodes: only(spec, names, was_out, taken_out, held),
        ..session.started(caller.identity(), direction.command(), fleet.pool(spec))
    };
    Job { session, connections, lock, spec, yes: false, file_was_changed: false }
        .begin(caller, direction.operation(), started)
        .await
}

fn held_now(fleet: &Fleet, name: &str) -> Option<Hold> {
    fleet.nodes.get(name)?.held.as_ref().map(|held| held.hold.clone())
}

/// The hold of a node that leaves by hand. A node that is held already keeps its hold, unless there is a new reason.
fn hold_of(
    fleet: &Fleet,
    name: &str,
    request: &Request,
    identity: &Identity,
    now: Timestamp,
) -> Hold {
    let known = held_now(fleet, name).filter(|_| request.reason.is_none());
    let reason = || secret::hide(request.reason.as_deref().unwrap_or_default());
    let new = || Hold { by: identity.actor.clone(), since: now, reason: reason() };
    known.unwrap_or_else(new)
}

/// Plans an update of the named nodes only.
fn only(
    spec: &Spec,
    names: &[String],
    was_out: impl Fn(&str) -> bool,
    taken_out: impl Fn(&str) -> Option<BTreeSet<String>>,
    held: impl Fn(&str) -> Option<Hold>,
) -> PlannedNodes {
    let names: BTreeSet<_> = names.iter().map(String::as_str).collect();
    let planned =
        spec.nodes.iter().filter(|node| names.contains(node.name.as_str())).map(|node| Planned {
            first_install: false,
            node: node.name.clone(),
            will: PlannedAction::Update,
            why: String::new(),
            runs: None,
            was_out: was_out(&node.name),
            taken_out: taken_out(&node.name).is_some(),
            strangers: taken_out(&node.name).unwrap_or_default(),
            held: held(&node.name),
        });
    planned.collect::<Vec<_>>().into()
}

/// Returns the first problem that prevents the change for these nodes. It checks what the change needs, not what a
/// release needs.
fn objection(direction: Direction, spec: &Spec, fleet: &Fleet, nodes: &[String]) -> Option<String> {
    if let Some(problem) = fleet.registry_told(spec) {
        return Some(problem);
    }
    let names: Vec<_> = nodes.iter().map(String::as_str).collect();
    if direction == Direction::Out
        && let Some(problem) = shortage_without(spec, fleet, &names, &[])
    {
        return Some(problem);
    }
    let unreadable = fleet.gateways.iter().find_map(|(name, seen)| {
        seen.as_ref().err().map(|problem| format!("gateway {name} cannot be read: {problem}"))
    });
    unreadable.or_else(|| {
        nodes.iter().find_map(|name| {
            let problem = fleet.nodes.get(name)?.registry_told()?;
            Some(format!("{name}: {problem}"))
        })
    })
}
