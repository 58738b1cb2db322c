//! Nodes' keys that Consul has lost.

use crate::invariants::Rule;
use crate::operator::Task;
use crate::scene::{Scene, printed};
use crate::schedule::Schedule;

/// The gateways keep their lists when every key is gone.
#[test]
fn commands_show_how_lost_keys_are_restored_without_taking_a_serving_node_out() {
    // Its other kind of gateway would lose its list.
    let mut schedule = Schedule::plain();
    schedule.shape.gateways.truncate(1);
    let text = Scene::new("all keys are lost", schedule)
        .untyped()
        .then(Task::Deploy)
        .change("every key of the nodes is deleted", |state| {
            state.consul.store.keys.retain(|key, _| !key.starts_with("upstreams/"));
        })
        .then(Task::Status)
        .then(Task::Deploy)
        .end();
    let screens = printed(&text);
    for node in 1..=3 {
        let restore = format!(
            r#"node-{node}: restore its value from the journal: consul kv put -http-addr=http://consul-1:8500 upstreams/app/10.0.1.{node}:9000 '{{"weight":1,"max_fails":2,"down":0}}'"#
        );
        assert!(screens[1].contains(&restore), "{}", screens[1]);
    }
    assert!(screens[1].contains("KEY MISSING, action required"), "{}", screens[1]);
    let told = "Consul has no key below upstreams/app/, or the token may not read it; for the first node, restore its value";
    assert!(screens[2].contains(told), "{}", screens[2]);
}

#[test]
fn lost_key_of_a_node_that_does_not_serve_is_restored_marked_down() {
    let mut schedule = Schedule::plain();
    schedule.shape.gateways.truncate(1);
    let text = Scene::new("keys are lost", schedule)
        .untyped()
        .then(Task::Deploy)
        .change("the service of node-2 ends, and every key of the nodes is deleted", |state| {
            state.nodes[1].process = None;
            state.consul.store.keys.retain(|key, _| !key.starts_with("upstreams/"));
        })
        .then(Task::Status)
        .ignoring(&[Rule::RequestLost])
        .end();
    let screens = printed(&text);
    let value = |down| format!(r#"'{{"weight":1,"max_fails":2,"down":{down}}}'"#);
    let line = |node: &str| {
        let is_it = |line: &&str| line.starts_with(&format!("{node}: ")) && line.contains("kv put");
        screens[1].lines().find(is_it).unwrap_or_default()
    };
    assert!(line("node-1").ends_with(&value(0)), "{}", screens[1]);
    let why = "restore its value from the journal, marked down: the node does not pass its health check: ";
    let told = line("node-2");
    assert!(told.contains(why) && told.ends_with(&value(1)), "{}", screens[1]);
}

/// The keys are where another playbook has them.
#[test]
fn prefix_that_is_almost_the_one_in_consul_is_asked_about() {
    let mut schedule = Schedule::plain();
    schedule.shape.gateways.truncate(1);
    let text = Scene::new("another prefix", schedule)
        .untyped()
        .change("the keys of the nodes are below upstreams/apps/", |state| {
            let keys: Vec<_> = state.consul.store.keys.keys().cloned().collect();
            for key in keys.iter().filter(|key| key.starts_with("upstreams/app/")) {
                if let Some(pair) = state.consul.store.keys.remove(key) {
                    let other = key.replace("upstreams/app/", "upstreams/apps/");
                    state.consul.store.keys.insert(other, pair);
                }
            }
        })
        .then(Task::Status)
        .then(Task::Deploy)
        .end();
    for screen in printed(&text) {
        let told = "did you mean upstreams/apps/? If not, create it";
        assert!(screen.contains(told) && !screen.contains("journal"), "{screen}");
    }
}
