//! Inspects all systems before anything is changed.

use std::sync::Arc;

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
    unless_stopped(caller, LOOK, inspect(session, connections, spec)).await
}

/// The same without a report of the wait.
pub(super) async fn inspect<W: World>(
    session: &Session,
    connections: &Connections<W>,
    spec: &Arc<Spec>,
) -> Fleet {
    let survey = survey(&connections.world, &connections.consul, spec, PATIENCE);
    let holds = held::holds(session, connections);
    let (mut fleet, held) = tokio::join!(survey, holds.read());
    history::consult(session, connections, &mut fleet).await;
    held::add(&mut fleet, held, connections.world.now());
    fleet
}
