//! Gateways that follow different registries: the nodes' keys, and the API of the last gateway.

use rollgate::release::Outcome;

use crate::attempt::{Act, End};
use crate::faults::{Fault, When};
use crate::gateway::Lie;
use crate::operator::Task;
use crate::process::Start;
use crate::scene::{Scene, printed};
use crate::schedule::{After, Kill, Schedule};
use crate::story::{NEVER_ENDS, Ran, run, scratch};
use crate::{judged, resumed_after_kills};

/// Three nodes behind two gateways; the second one has an API of its own.
fn mixed() -> Schedule {
    let mut schedule = Schedule::plain();
    schedule.shape.mix();
    assert!(schedule.shape.is_mixed());
    schedule
}

/// When node-1 is marked in Consul, and not yet at the gateway.
fn between(step: &str) -> u64 {
    let whole = judged(&mixed());
    let begun = whole.moment(&format!("EVENT node-1 {step}: RegistryWriting"));
    let mark = if step == "disable" { "9000&down=" } else { "9000&up=" };
    assert!(whole.moment_after(begun, "v1/txn") < whole.moment_after(begun, mark));
    whole.moment_after(begun, mark) - 1
}

/// What the release wrote about node-1, by the type of the events.
fn told<'a>(ran: &'a Ran, kind: &str) -> Vec<&'a str> {
    let kind = format!(r#""type":"{kind}""#);
    ran.events.lines().filter(|line| line.contains(&kind) && line.contains("node-1")).collect()
}

#[test]
fn release_marks_each_node_in_both_registries_and_keeps_both_originals() {
    let ran = judged(&mixed());
    assert!(matches!(ran.end, End::Finished(Outcome::Done, 0)), "{:?}", ran.end);
    let writing = told(&ran, "registry.writing");
    assert_eq!(writing.len(), 2, "{writing:#?}");
    for original in [
        r#"{"key":"upstreams/app/10.0.1.1:9000","original":"{\"weight\":1,\"max_fails\":2,\"down\":0}""#,
        r#"{"key":"10.0.1.1:9000 at gw-2","original":"gw-2 up""#,
    ] {
        assert!(writing[0].contains(original), "{}", writing[0]);
    }
}

#[test]
fn crash_between_the_two_writes_is_finished_or_undone() {
    for step in ["disable", "enable"] {
        for task in [Task::Resume, Task::Rollback] {
            let kill = Some(Kill::At(between(step)));
            let ran = judged(&Schedule { kill, after: Some(After::soon(task, 1, 0)), ..mixed() });
            assert!(matches!(ran.end, End::Killed), "{:?}", ran.end);
            assert!(
                ran.ends
                    .iter()
                    .all(|(_, end)| end.is_done() || *end == End::Killed || *end == End::Nothing),
                "{step}: {:?}",
                ran.ends
            );
        }
    }
}

#[test]
fn commands_say_which_registry_differs_after_a_crash_between_the_two_writes() {
    let kill = Some(Kill::At(between("disable")));
    let text = Scene::new("a crash between the two writes", mixed())
        .act(Act { kill, ..Act::new(Task::Deploy, 0) })
        .then(Task::Status)
        .then(Task::Doctor)
        .then(Task::Plan)
        .then(Task::Resume)
        .then(Task::Status)
        .end();
    let screens = printed(&text);
    let differ =
        "its registries differ: upstreams/app/10.0.1.1:9000 down, 10.0.1.1:9000 at gw-2 up";
    assert!(screens[1].contains(differ), "{}", screens[1]);
    assert!(screens[1].contains(" mixed "), "{}", screens[1]);
    assert!(
        screens[2].contains("marked mixed (upstreams/app/10.0.1.1:9000 down, "),
        "{}",
        screens[2]
    );
    assert!(screens[3].contains(differ), "{}", screens[3]);
    assert!(screens[4].contains("DONE"), "{}", screens[4]);
    assert!(!screens[5].contains("differ"), "{}", screens[5]);
}

/// The gateway does not answer when its turn comes: the release waits, and never tells that nothing was changed.
#[test]
fn gateway_that_is_away_after_the_write_to_consul_is_waited_for() {
    let writing = judged(&mixed()).events_until("EVENT node-1 disable: RegistryWriting");
    for (lasts, is_done) in [(5_000, true), (NEVER_ENDS, false)] {
        let away = Fault::Lies { gateway: 1, lie: Lie::Refuses, lasts };
        let faults = vec![(When::Event(writing), away)];
        let after = Some(After::soon(Task::Resume, 0, 0));
        let ran = judged(&Schedule { faults, after, ..mixed() });
        assert_eq!(matches!(ran.end, End::Finished(Outcome::Done, 0)), is_done, "{:?}", ran.end);
        assert_eq!(told(&ran, "registry.refused"), Vec::<&str>::new());
    }
}

/// The key in Consul is already down then.
#[test]
fn node_that_the_gateway_refuses_to_mark_down_returns_to_rotation_in_both() {
    let refuses = Fault::Lies { gateway: 1, lie: Lie::RefusesChanges, lasts: NEVER_ENDS };
    let ran = judged(&Schedule { faults: vec![(When::At(0), refuses)], ..mixed() });
    assert!(matches!(ran.end, End::Finished(Outcome::Failed, 20)), "{:?}", ran.end);
    assert_eq!(told(&ran, "registry.refused"), Vec::<&str>::new());
    let original = r#"{\"weight\":1,\"max_fails\":2,\"down\":1}"#;
    assert!(told(&ran, "registry.writing")[1].contains(original), "{}", ran.events);
    assert_eq!(told(&ran, "node.put_back").len(), 1, "{}", ran.events);
}

/// The gateway refuses every change between the write of node-1's mark in Consul and that of node-2's: each node is then
/// the last one at another gateway, and the other one cannot leave. An operator returns both, as `status` suggests.
#[test]
fn nodes_that_are_each_the_last_one_at_a_gateway_are_returned_first() {
    let mut schedule = mixed();
    (schedule.shape.min_available, schedule.shape.out) = (1, vec![1, 2]);
    (schedule.shape.held, schedule.bad) =
        (vec![2], vec![(1, Start::ServesThenCrashes(67, 19_238))]);
    let whole = run(&schedule, scratch().path(), true);
    let enables = whole.events_until("EVENT node-1 enable: StepStarted");
    let refuses = Fault::Lies { gateway: 1, lie: Lie::RefusesChanges, lasts: NEVER_ENDS };
    schedule.faults = vec![(When::Event(enables), refuses)];
    schedule.after = Some(After::soon(Task::Resume, 0, 0));
    let ran = judged(&schedule);
    let returned = |(task, _): &&(Task, End)| matches!(task, Task::NodeIn(_));
    assert!(ran.ends.iter().any(|end| returned(&end)), "{:?}", ran.ends);
}

#[test]
fn killed_restart_behind_two_registries_is_resumed() {
    let mut schedule = mixed();
    schedule.shape.restarts = true;
    resumed_after_kills(schedule, (5..50).step_by(11));
}

#[test]
fn first_install_is_marked_up_in_both_registries_and_its_rollback_down() {
    let mut schedule = mixed();
    (schedule.shape.empty, schedule.shape.out) = (vec![2], vec![2]);
    schedule.shape.min_available = 1;
    let rollback = Act { line: Some("rollgate rollback app.yaml"), ..Act::new(Task::Rollback, 0) };
    Scene::new("a new node", schedule)
        .then(Task::Deploy)
        .check(|state| assert_eq!(state.marked_up(2).len(), 2))
        .act(rollback)
        .check(|state| assert!(state.marked_up(2).is_empty() && state.nodes[2].process.is_none()))
        .end();
}

#[test]
fn status_shows_how_a_lost_key_of_one_registry_is_restored() {
    let text = Scene::new("a lost key", mixed())
        .then(Task::Deploy)
        .change("the key of node-1 is deleted", |state| {
            state.consul.store.keys.remove("upstreams/app/10.0.1.1:9000");
        })
        .then(Task::Status)
        .end();
    let restore = r#"restore its value from the journal: consul kv put -http-addr=http://consul-1:8500 upstreams/app/10.0.1.1:9000 '{"weight":1,"max_fails":2,"down":0}'"#;
    assert!(text.contains(restore), "{text}");
}
