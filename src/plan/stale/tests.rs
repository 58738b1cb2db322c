//! What a plan names as changed.

use super::*;
use crate::plan::example;
use crate::plan::seen::ServerState;
use crate::playbook::load_text;
use crate::release::PlannedAction;

fn seen() -> Seen {
    let PlanFile { nodes, gateways, .. } = example();
    Seen { nodes, gateways, unread: BTreeMap::new() }
}

/// The lines about one change of what the plan saw.
fn told(change: impl FnOnce(&mut Seen)) -> Vec<String> {
    let mut now = seen();
    change(&mut now);
    changes(&example(), &now).lines()
}

#[test]
fn nothing_is_told_of_an_unchanged_state() {
    assert!(told(|_| {}).is_empty());
}

#[test]
fn each_change_is_one_line_with_both_values() {
    let key = |value: &'static str, index: u64| {
        move |seen: &mut Seen| {
            let entry = &mut seen.nodes[0].entries[0];
            (entry.value, entry.modify_index) = (Some(value.into()), Some(index));
        }
    };
    let start = "a: key upstreams/app/10.0.1.1:80 was changed (index 48213 -> 48300): ";
    assert_eq!(told(key(r#"{"weight":1,"down":1}"#, 48_300)), [format!("{start}down 0 -> 1")]);
    let more = told(key(r#"{"down":0,"max_fails":2}"#, 48_300));
    assert_eq!(more, [format!("{start}max_fails none -> 2, weight 1 -> none")]);
    let same = told(key(r#"{"weight":1,"down":0}"#, 48_300));
    assert_eq!(same, [format!("{start}it has the same value again")]);
    assert_eq!(told(key("gone", 48_300)), [format!("{start}{{\"weight\":1,\"down\":0}} -> gone")]);
    for (change, line) in [
        (
            (|seen| seen.nodes[0].process.as_mut().expect("one").pid = 991) as fn(&mut Seen),
            "a: its process was restarted: pid 812 -> 991",
        ),
        (
            |seen| seen.nodes[0].process.as_mut().expect("one").started = 5_000,
            "a: its process was restarted: pid 812 -> 812, started later",
        ),
        (|seen| seen.nodes[0].listens = Some(false), "a: no process listens on its port any more"),
        (|seen| seen.nodes[0].version = Some("2".into()), "a: its version was changed: 1 -> 2"),
        (
            |seen| seen.nodes[0].current = Some("/srv/r/2".into()),
            "a: its `current` link was changed: none -> /srv/r/2",
        ),
        (
            |seen| seen.nodes[0].held = Some("bob since 14:00".into()),
            "a: it is held out of rotation now, by bob since 14:00",
        ),
        (
            |seen| seen.nodes[0].entries[0].mark = "?".into(),
            "a: its mark (upstreams/app/10.0.1.1:80) was changed: up -> ?",
        ),
        (
            |seen| seen.gateways[0].servers[0].state = ServerState::Out,
            "gateway edge: 10.0.1.1:80 was changed: routed -> out",
        ),
        (
            |seen| seen.gateways[0].servers[0].parameters.extend([("weight".into(), 5)]),
            "gateway edge: 10.0.1.1:80 was changed: weight none -> 5",
        ),
        (
            |seen| seen.gateways[0].others.extend(["10.9.9.9:80".into()]),
            "gateway edge: other servers were changed: none -> 10.9.9.9:80",
        ),
        (
            |seen| seen.gateways[0].listed = 3,
            "gateway edge: the number of its entries was changed: 1 -> 3",
        ),
        (|seen| seen.nodes.clear(), "a: the playbook has no such node"),
        (
            |seen| {
                seen.nodes[0].will = PlannedAction::Blocked;
                seen.nodes[0].why = "no answer".into();
            },
            "a: the planned action was changed: update -> blocked (no answer)",
        ),
    ] {
        assert_eq!(told(change), [line]);
    }
}

#[test]
fn state_that_is_unknown_now_is_no_change_but_is_told() {
    let mut now = seen();
    now.nodes[0].listens = None;
    (now.nodes[0].version, now.nodes[0].process) = (None, None);
    now.nodes[0].problem = Some("connection refused".into());
    now.unread.insert("edge".into(), "timed out".into());
    now.gateways.clear();
    let found = changes(&example(), &now);
    assert!(found.changed.is_empty(), "{found:?}");
    assert_eq!(
        found.lines(),
        [
            "a: it reports no version any more (was 1)",
            "a: its state is unknown: connection refused",
            "gateway edge cannot be read: timed out",
        ]
    );
}

#[test]
fn changed_key_of_the_playbook_is_told_with_both_values() {
    let text = "service: app
registry: { type: consul-kv, prefix: upstreams/app/ }
gateways: [{ name: edge, type: nginx-upsync, status_url: 'http://10.0.0.1/l?app', upstream: app }]
nodes: [{ name: a, ssh: a, address: '10.0.1.1:80' }, { name: b, ssh: b, address: '10.0.1.2:80' }]
restart: restart-it
health: { http: 'http://${{ node.address }}/ping' }
";
    let told = |text: &str| {
        let valid = || load_text("app.yaml", text).ok().map(|loaded| loaded.playbook);
        playbook_changes(&example(), text, valid)
    };
    assert!(told(text).is_empty());
    let file = "playbook app.yaml";
    let edited = told(&text.replace("restart-it", "restart --hard"));
    assert_eq!(
        edited,
        [format!("{file}: restart was changed: \"restart-it\" -> \"restart --hard\"")]
    );
    let edited = told(&format!("{text}consul: {{ datacenter: dc2 }}\n"));
    assert!(
        edited[0].starts_with(&format!("{file}: consul was changed: none -> {{")),
        "{edited:?}"
    );
    let comment = told(&format!("{text}# a comment\n"));
    assert!(comment[0].starts_with(&format!("{file} was changed: its comments")), "{comment:?}");
    assert_eq!(told("service: ["), [format!("{file} was changed, and is not valid now")]);
}
