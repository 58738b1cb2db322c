//! Inspects all systems before anything is changed.

use std::sync::Arc;
use std::time::Duration;

use super::caller::{Wait, unless_stopped};
use super::{Caller, Connections, Refusal, Session, held, history};
use crate::spec::Spec;
use crate::survey::{Fleet, PATIENCE, survey};
use crate::world::World;

/// The name of the wait during the inspection.
const LOOK: Wait<'_> = Wait { what: "inspecting nodes, registry and gateways", at_most: PATIENCE };

/// Inspects all systems before anything is changed, unless the caller asks to stop.
pub(super) async fn look<W: World, C: Caller>(
    session: &Session,
    connections: &Connections<W>,
    caller: &C,
    spec: &Arc<Spec>,
) -> Result<Fleet, Refusal> {
    look_within(session, connections, caller, spec, PATIENCE).await
}

/// The same. A part without an answer within `patience` is unknown.
pub(super) async fn look_within<W: World, C: Caller>(
    session: &Session,
    connections: &Connections<W>,
    caller: &C,
    spec: &Arc<Spec>,
    patience: Duration,
) -> Result<Fleet, Refusal> {
    let wait = Wait { at_most: patience, ..LOOK };
    unless_stopped(caller, wait, inspect_within(session, connections, spec, patience)).await
}

/// Inspects all systems, without a report of the wait.
pub(super) async fn inspect<W: World>(
    session: &Session,
    connections: &Connections<W>,
    spec: &Arc<Spec>,
) -> Fleet {
    inspect_within(session, connections, spec, PATIENCE).await
}

async fn inspect_within<W: World>(
    session: &Session,
    connections: &Connections<W>,
    spec: &Arc<Spec>,
    patience: Duration,
) -> Fleet {
    let survey = survey(&connections.world, &connections.consul, spec, patience);
    let holds = held::holds(session, connections);
    let (mut fleet, held) = tokio::join!(survey, holds.read());
    history::consult(session, connections, spec, &mut fleet).await;
    held::add(&mut fleet, held, connections.world.now());
    fleet.hold_missing_keys();
    fleet
}
