//! Nodes that operators hold out of rotation.

use std::time::Duration;

use jiff::Timestamp;

use super::{Caller, Connections, Session};
use crate::holds::{Held, Holds};
use crate::survey::{Fleet, HeldFacts};
use crate::world::World;

/// How long Consul may take to read the holds.
const PATIENCE: Duration = Duration::from_secs(5);

/// The holds of the session's service.
pub(super) fn holds<W: World>(session: &Session, connections: &Connections<W>) -> Holds<W> {
    Holds::new(connections.shared(), session.service(), &session.state, PATIENCE)
}

/// Adds the holds to an inspection. If they cannot be read, it is unknown which nodes must stay out: then the
/// registry cannot be used.
pub(super) fn add(fleet: &mut Fleet, held: Result<Held, String>, now: Timestamp) {
    match held {
        Ok(held) => {
            for (name, hold) in held {
                if let Some(facts) = fleet.nodes.get_mut(&name) {
                    facts.held = Some(HeldFacts { told: hold.describe(now), hold });
                }
            }
        }
        // Both usually have the same cause.
        Err(problem) => drop(fleet.registry_problem.get_or_insert(problem)),
    }
}

/// Tells which nodes are left out because they are held, and how to end that.
pub(super) fn tell<'a>(
    caller: &impl Caller,
    session: &Session,
    fleet: &Fleet,
    names: impl IntoIterator<Item = &'a str>,
    how: Option<&str>,
) {
    let mut lines = Vec::new();
    let mut left_out = Vec::new();
    for name in names {
        if let Some(held) = fleet.nodes.get(name).and_then(|facts| facts.held.as_ref()) {
            lines.push(format!("{name} is held out of rotation {}", held.told));
            left_out.push(name);
        }
    }
    if lines.is_empty() {
        return;
    }
    let how = how.map_or(String::new(), |how| format!(" To update held nodes as well: {how}."));
    let command = session.repeated(false).command("node in", left_out);
    lines.push(format!("Held nodes are left out.{how} To end the hold: {command}"));
    caller.notice(&lines.join("\n"));
}
