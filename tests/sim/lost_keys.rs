//! Nodes' keys that Consul has lost.

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
