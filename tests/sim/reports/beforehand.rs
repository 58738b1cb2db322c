//! What `doctor`, `plan` and `deploy` find before a release, although every system answers.

use crate::gateway::Lie;
use crate::operator::Task;
use crate::scene::{Change, Scene, typed};
use crate::schedule::PREFIX;
use crate::story::NEVER_ENDS;
use crate::world::State;

use super::plain;

/// What `doctor`, `plan` and `deploy` say of three nodes after a change.
fn found(heading: &str, what: &str, with: Change) -> String {
    Scene::new(heading, plain(|_| {}))
        .change(what, with)
        .act(typed("rollgate doctor app.yaml --var version=2"))
        .then(Task::Plan)
        .then(Task::Deploy)
        .end()
}

fn all(state: &mut State, with: impl Fn(&mut crate::node::Node)) {
    state.nodes.iter_mut().for_each(with);
}

pub(super) fn scenes() -> Vec<String> {
    vec![
        found("A node has no room for the artifact.", "the disk of node-2 is full", |state| {
            state.nodes[1].free = Some(1);
        }),
        found(
            "Fewer workers answer than the playbook says.",
            "one of the two workers of gw-1 does not answer",
            |state| state.gateways[0].workers[1].frozen_until = NEVER_ENDS,
        ),
        Scene::new(
            "A node's key is missing, and gateways do not route to the node.",
            plain(|_| {}),
        )
        .change("the key of node-2 is deleted", |state| {
            let node = format!("{PREFIX}{}", state.nodes[1].address);
            state.consul.store.keys.remove(&node);
        })
        .then(Task::Plan)
        .act(typed("rollgate doctor app.yaml --var version=2"))
        .then(Task::Deploy)
        .end(),
        found("A command of the playbook is not installed.", "node-2 has no `svc`", |state| {
            state.nodes[1].lacks = vec!["svc"];
        }),
        found("The health check has a wrong path.", "/ping does not exist", |state| {
            all(state, |node| node.ping = Some(404));
        }),
        found("The health check has a wrong header.", "no reply has X-App-Version", |state| {
            all(state, |node| node.names_no_version = true);
        }),
        found("A node in rotation is not healthy.", "node-2 answers 503", |state| {
            state.nodes[1].ping = Some(503);
        }),
        found("A gateway follows other keys.", "gw-1 shows the weights of other keys", |state| {
            state.gateways[0].weight = Some(5);
        }),
        found("A gateway lists other servers.", "gw-2 lists another pool", |state| {
            state.gateways[1].lie = Some((Lie::OtherUpstream, NEVER_ENDS));
        }),
    ]
}
