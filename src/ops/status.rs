//! `status`: shows the current state of each node, the last release, the lock, and the next command.
//!
//! It changes nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::caller::unless_stopped;
use super::history::History;
use super::look::look;
use super::{Caller, Connections, Refusal, Session, history, locking};
use crate::lock::{Holder, LockStatus};
use crate::mark::Mark;
use crate::release::{CommandKind, Outcome, Release, Started};
use crate::spec::Spec;
use crate::suggestions;
use crate::survey::Fleet;
use crate::world::World;

/// How long Consul may take to read the lock.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// The content of `status`.
#[derive(Debug)]
pub struct Status {
    /// The state of all systems.
    pub fleet: Fleet,
    /// Past releases.
    pub history: History,
    /// The lock.
    pub lock: LockState,
}

/// The lock of the service.
#[derive(Debug, Clone)]
pub enum LockState {
    /// It is free.
    Free,
    /// A process holds it. The holder may be unknown.
    Held(Option<Holder>),
    /// It cannot be read. The text is the reason.
    Unknown(String),
}

/// Reads everything that `status` shows.
///
/// # Errors
///
/// If the caller asks to stop.
pub async fn status<W: World, C: Caller>(
    session: &Session,
    connections: &Connections<W>,
    caller: &C,
    spec: &Arc<Spec>,
) -> Result<Status, Refusal> {
    let fleet = look(session, connections, caller, spec).await?;
    let reachable = fleet.registry_problem.is_none();
    let history = History::read(session, connections, reachable);
    let history = unless_stopped(caller, history::JOURNALS, history).await?;
    let client = connections.shared_in_passing(LOCK_PATIENCE);
    let lock = locking::look(session, client.as_ref());
    let lock = match unless_stopped(caller, locking::LOOK, lock).await? {
        Ok(Some(LockStatus { session: Some(_), holder })) => LockState::Held(holder),
        Ok(_) => LockState::Free,
        Err(problem) => LockState::Unknown(problem),
    };
    Ok(Status { fleet, history, lock })
}

impl Status {
    /// Returns the last release, and its first record.
    #[must_use]
    pub fn last(&self) -> Option<(&Release, &Started)> {
        let release = self.history.releases.first()?;
        Some((release, release.started.as_ref()?))
    }

    /// Returns the last release and its first record if a process runs it, or may run it.
    #[must_use]
    pub fn running(&self) -> Option<(&Release, &Started)> {
        self.last().filter(|(release, started)| match &self.lock {
            _ if release.finished.is_some() => false,
            LockState::Free | LockState::Unknown(_) => false,
            LockState::Held(None) => true,
            LockState::Held(Some(holder)) => holder.release == started.inputs.release(),
        })
    }

    /// Returns the next commands and their purposes. They are made anew and not read from the journal. A journal may
    /// come from another machine, and an operator runs these commands.
    #[must_use]
    pub fn next(&self, session: &Session, spec: &Spec) -> Vec<(String, String)> {
        let (last, repeated) = (self.last(), session.repeated(false));
        // A release changes the nodes now: another command would only wait for its lock.
        if self.running().is_some() {
            return Vec::new();
        }
        let finished = last.and_then(|(release, _)| Some((release, release.finished.as_ref()?)));
        let mut next = finished.map_or_else(Vec::new, |(release, finished)| {
            suggestions::commands(release, finished.result, &repeated)
        });
        // This is the command that already runs.
        let status = repeated.command("status", []);
        next.retain(|(_, command)| *command != status);
        match last {
            // It was interrupted: the same commands continue it as after a signal.
            Some((release, started))
                if finished.is_none() && started.command == CommandKind::Deploy =>
            {
                next.extend(suggestions::commands(release, Outcome::Stopped, &repeated));
            }
            Some(_) if finished.is_none() => {
                next.push(("resume".into(), session.command("resume")));
            }
            _ => {}
        }
        // The last release may suggest the same command.
        let suggested: BTreeSet<_> = next.iter().map(|(_, command)| command.clone()).collect();
        for node in &spec.nodes {
            if self.fleet.nodes.get(&node.name).is_some_and(|facts| facts.mark == Mark::Down) {
                let command = repeated.command("node in", [node.name.as_str()]);
                if !suggested.contains(&command) {
                    next.push((suggestions::return_as_it_is(&node.name), command));
                }
            }
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Secrets;
    use crate::playbook::load_text;
    use crate::release::{Inputs, NodeState, Phase};
    use crate::survey::NodeFacts;

    const PLAYBOOK: &str = "service: app
registry: { type: consul-kv, prefix: upstreams/app/ }
gateways: [{ type: nginx-upsync, status_url: 'http://10.0.0.1/l?app', upstream: app }]
nodes: [{ name: a, ssh: a, address: '10.0.1.1:80' }, { name: b, ssh: b, address: '10.0.1.2:80' }]
restart: restart-it
health: { tcp: '${{ node.address }}' }";

    #[test]
    fn bringing_a_node_back_is_suggested_once() {
        let loaded = load_text("app.yaml", PLAYBOOK).unwrap_or_else(|invalid| panic!("{invalid}"));
        let session = Session {
            loaded,
            file: "app.yaml".into(),
            inputs: Inputs::default(),
            state: "state".into(),
            state_dir: None,
            before: Vec::new(),
            toward: Vec::new(),
            secrets: Secrets::default(),
        };
        let started = serde_json::json!({
            "service": "app", "command": "deploy", "actor": "me", "file": "app.yaml", "playbook": null,
            "nodes": [{ "node": "a", "will": "update" }],
            "inputs": { "release": "r1", "folder": "", "variables": {}, "artifact": null },
        });
        let failed = NodeState { phase: Phase::Failed, marked: Mark::Down, ..NodeState::default() };
        let finished = serde_json::json!({
            "result": Outcome::Failed, "exit_code": 20, "nodes": {}, "next": [], "elapsed_ms": 1,
        });
        let release = Release {
            started: Some(serde_json::from_value(started).expect("a start")),
            nodes: [("a".to_owned(), failed)].into(),
            finished: Some(serde_json::from_value(finished).expect("an end")),
            ..Release::default()
        };
        let down = || NodeFacts { mark: Mark::Down, ..NodeFacts::default() };
        let nodes = ["a", "b"].map(|name| (name.to_owned(), down())).into();
        let status = Status {
            fleet: Fleet { nodes, ..Fleet::default() },
            history: History { releases: vec![release], problems: Vec::new() },
            lock: LockState::Free,
        };
        let spec = session.spec().unwrap_or_else(|refusal| panic!("{}", refusal.reason));
        let next = status.next(&session, &spec);
        let commands: Vec<_> = next.iter().map(|(_, command)| command.as_str()).collect();
        let expected = ["resume app.yaml r1", "node in app.yaml a", "node in app.yaml b"];
        assert_eq!(commands, expected.map(|command| format!("rollgate {command}")));
    }
}
