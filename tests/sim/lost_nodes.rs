//! Nodes that serve no longer although no release failed at them, and problems that many nodes have.

use crate::invariants::Rule;
use crate::operator::Task;
use crate::reports::plain;
use crate::scene::{Scene, printed, typed};

/// Ends the service of node-3 without a command.
fn with_dead_node(scene: Scene) -> Scene {
    scene.change("the service of node-3 ends", |state| state.nodes[2].process = None)
}

const ONLY: &str = "rollgate deploy app.yaml --only node-1 --var version=2";

const RESTART: &str = "rollgate deploy app.yaml --restart --only node-3";

#[test]
fn restart_of_a_dead_node_that_the_release_leaves_out_is_suggested_first() {
    let roomy = plain(|schedule| schedule.shape.min_available = 1);
    let scene = with_dead_node(Scene::new("dead", roomy).untyped()).act(typed(ONLY));
    let text = scene.then(Task::Status).act(typed(RESTART));
    let text = text.ignoring(&[Rule::RequestLost]).end();
    let printed = printed(&text);
    let told =
        "Next    after a fix, restart node-3  rollgate deploy app.yaml --restart --only node-3\n";
    assert!(printed[0].contains("FAILED") && printed[0].contains(told), "{}", printed[0]);
    let why = "Why  final verification failed: node-3: connection refused";
    assert!(printed[1].contains(why), "{}", printed[1]);
    let first = printed[1].lines().find(|line| line.starts_with("Next"));
    let told = format!("Next  after a fix, restart node-3: {RESTART}");
    assert_eq!(first, Some(told.as_str()), "{text}");
    assert!(printed[2].contains("DONE"), "{text}");
}

const AGAIN: &str = "rollgate deploy app.yaml --only node-3 --var version=2";

#[test]
fn release_to_a_node_that_is_out_and_serves_no_longer_is_suggested() {
    let roomy = plain(|schedule| schedule.shape.min_available = 1);
    let scene = with_dead_node(Scene::new("lost", roomy).untyped().then(Task::Deploy));
    let out = |state: &mut crate::world::State| {
        let key = "upstreams/app/10.0.1.3:9000";
        let value = &state.consul.store.keys[key].value;
        let down = String::from_utf8_lossy(value).replace(r#""down":0"#, r#""down":1"#);
        state.consul.store.set(key, down.as_bytes(), 0);
    };
    let text = scene.change("node-3 is marked down", out).then(Task::Status);
    let by_hand = [Rule::RequestLost, Rule::WrittenWithoutLock];
    let text = text.act(typed(AGAIN)).ignoring(&by_hand).end();
    let printed = printed(&text);
    let told = format!("Next  after a fix, release 2 to node-3 again: {AGAIN}\n");
    assert!(printed[1].contains(&told), "{}", printed[1]);
    assert!(printed[2].contains("DONE"), "{text}");
}

#[test]
fn problem_of_many_nodes_is_one_line_with_their_names() {
    let unreachable = |state: &mut crate::world::State| {
        state.consul.store.keys.remove("upstreams/app/10.0.1.1:9000");
        for node in &mut state.nodes {
            node.unreachable_until = u64::MAX;
        }
    };
    let scene = Scene::new("unreachable", plain(|_| {})).untyped().change("ssh ends", unreachable);
    let text = scene.then(Task::Doctor).then(Task::Plan).then(Task::Deploy).end();
    let printed = printed(&text);
    let lines = |screen: &str, start: &str| {
        let lines = screen.lines().filter(|line| line.trim_start().starts_with(start));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let found = lines(printed[0], "NO  node");
    assert!(found.len() == 1 && found[0].contains("node-1, node-2, node-3 "), "{text}");
    assert_eq!(lines(printed[1], "Refused: node-1, node-2, node-3: ssh: ").len(), 1, "{text}");
    assert_eq!(lines(printed[2], "node-1, node-2, node-3: ssh: ").len(), 1, "{text}");
    // Another problem than the missing key is told.
    assert!(printed[2].contains("` shows every node\n"), "{text}");
}
