//! The page of `status` in the situations that an operator sees.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::Page;
use crate::gateway::Observation;
use crate::health::CheckResult;
use crate::mark::Mark;
use crate::node::{Listener, Process, Survey, Ticks};
use crate::ops::history::History;
use crate::ops::lock_state::LockState;
use crate::ops::status::Status;
use crate::playbook::load_text;
use crate::release::{Event, EventKind, Inputs, Release, Step};
use crate::spec::Spec;
use crate::survey::{Fleet, NodeFacts};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

/// A service of so many nodes behind two gateways.
fn spec(nodes: usize) -> Arc<Spec> {
    spec_with(nodes, "")
}

/// The same with further keys of the playbook.
fn spec_with(nodes: usize, keys: &str) -> Arc<Spec> {
    let nodes = (1..=nodes)
        .map(|node| format!("  - {{ name: app-{node}, ssh: a, address: '10.0.1.{node}:8080' }}"));
    let nodes = nodes.collect::<Vec<_>>().join("\n");
    let text = format!(
        "service: app
registry: {{ type: consul-kv, prefix: upstreams/app/ }}
gateways:
  - {{ type: nginx-upsync, name: edge-1, status_url: 'http://10.0.0.1/l?app', upstream: app }}
  - {{ type: nginx-upsync, name: edge-2, status_url: 'http://10.0.0.2/l?app', upstream: app }}
nodes:
{nodes}
restart: restart-it
health: {{ tcp: '${{{{ node.address }}}}', deadline: 110s, min_healthy_time: 10s }}
{keys}"
    );
    let loaded = load_text("app.yaml", &text).unwrap_or_else(|invalid| panic!("{invalid}"));
    Arc::new(Spec::new(&loaded.playbook, &Inputs::default()).expect("complete"))
}

/// Every node runs 1.4.2 for 11 days, is up and routed, and has as many requests as its number.
fn status(spec: &Spec) -> Status {
    let facts = |process_age: u64| {
        let mark = Ticks(100 * 86_400 * 100);
        let started = Ticks(mark.0 - process_age * 100);
        let owner = Process { pid: 7, started, command: "app".into() };
        let listener = Listener { mark, bound: true, owners: vec![owner] };
        let health = CheckResult { version: Some("1.4.2".into()), ..CheckResult::default() };
        let survey = Some(Survey { listener, ..Survey::default() });
        NodeFacts { mark: Mark::Up, health, survey, ..NodeFacts::default() }
    };
    let mut seen = Observation::default();
    let mut nodes = BTreeMap::new();
    let mut requests = BTreeMap::new();
    for (node, number) in spec.nodes.iter().zip(1..) {
        seen.routed.insert(node.address.clone(), true);
        seen.routed_somewhere.insert(node.address.clone(), true);
        nodes.insert(node.name.clone(), facts(11 * 86_400 - number));
        requests.insert(node.name.clone(), Ok(number));
    }
    let gateways = ["edge-1", "edge-2"].map(|name| (name.to_owned(), Ok(seen.clone())));
    Status {
        begun: at(150),
        fleet: Fleet { nodes, gateways: gateways.into(), ..Fleet::default() },
        history: History::default(),
        lock: LockState::Free,
        requests,
        knows_limits: true,
    }
}

#[test]
fn version_that_only_the_link_shows_is_called_so() {
    let own = spec(2);
    let status = status(&own);
    let note = "VERSION is what `current` points at: the playbook has no health.identity\n";
    let shown = |spec: &Spec| {
        let page = Page {
            status: &status,
            spec,
            next: &[],
            now: at(160),
            width: None,
            together: false,
            verbose: false,
            counts: false,
        };
        page.render().contains(note)
    };
    assert!(!shown(&own), "there is no link");
    let linked = spec_with(2, "artifact: { source: a.jar, releases: /srv/r, current: /srv/c }");
    assert!(shown(&linked));
    let linked = Spec::clone(&linked);
    assert!(!shown(&Spec { has_identity: true, ..linked.clone() }));
    assert!(!shown(&Spec { is_restart: true, ..linked }), "a restart changes no version");
}

/// A release of all nodes to 1.5.0: app-1 is done, app-2 waits for its health check since 4 s.
fn under_way(spec: &Spec) -> Status {
    let mut status = status(spec);
    let planned = spec
        .nodes
        .iter()
        .map(|node| serde_json::json!({ "node": node.name, "will": "update", "runs": "1.4.2" }));
    let started = serde_json::json!({ "type": "release.started", "data": {
        "service": "app", "command": "deploy", "actor": "ci-runner-3", "file": "app.yaml",
        "from": "1.4.2", "to": "1.5.0", "playbook": null, "nodes": planned.collect::<Vec<_>>(),
        "inputs": { "release": "7f3a19c2", "folder": "", "variables": {}, "artifact": null },
    }});
    let mut release = Release::default();
    let mut tell = |second, node: Option<&str>, step, fact| {
        let (seq, node) = (release.seq + 1, node.map(str::to_owned));
        let event = Event { seq, at: at(second), release: "7f3a19c2".into(), node, step, fact };
        release.apply(&event).expect("it may follow");
    };
    tell(0, None, None, serde_json::from_value(started).expect("a fact"));
    let batch = |number, node: &str| EventKind::BatchStarted {
        number,
        nodes: vec![node.into()],
        back: false,
    };
    tell(1, None, None, batch(1, "app-1"));
    tell(61, None, None, batch(2, "app-2"));
    tell(147, Some("app-2"), Some(Step::Health), EventKind::StepStarted {});
    let done = release.nodes.get_mut("app-1").expect("a node");
    (done.phase, done.marked) = (crate::release::Phase::Done, Mark::Up);
    done.done = vec![Step::Enable, Step::ConfirmIn];
    status.history.releases = vec![release];
    status.lock = LockState::Held(None, crate::lock::Process::Unknown);
    let facts = |status: &mut Status, name: &str, change: &dyn Fn(&mut NodeFacts)| {
        change(status.fleet.nodes.get_mut(name).expect("a node"));
    };
    let young = |age: u64| {
        move |facts: &mut NodeFacts| {
            let listener = &mut facts.survey.as_mut().expect("a survey").listener;
            listener.owners[0].started = Ticks(listener.mark.0 - age * 100);
        }
    };
    facts(&mut status, "app-1", &young(130));
    facts(&mut status, "app-1", &|facts| facts.health.version = Some("1.5.0".into()));
    facts(&mut status, "app-2", &young(4));
    facts(&mut status, "app-2", &|facts| {
        facts.health = CheckResult { problem: Some("503".into()), ..CheckResult::default() };
        facts.mark = Mark::Down;
        let survey = facts.survey.as_mut().expect("a survey");
        survey.current = Some("/srv/app/releases/app-1.5.0-78b3a2de".into());
    });
    status.requests.insert("app-4".into(), Ok(0));
    let address = &spec.node("app-2").expect("a node").address;
    for (_, seen) in &mut status.fleet.gateways {
        let seen = seen.as_mut().expect("read");
        seen.routed.insert(address.clone(), false);
        seen.routed_somewhere.insert(address.clone(), false);
        seen.out.insert(address.clone(), true);
    }
    status
}

fn shown(status: &Status, spec: &Spec, width: Option<usize>, verbose: bool) -> String {
    Page { status, spec, next: &[], now: at(151), width, together: false, verbose, counts: true }
        .render()
}

#[test]
fn release_under_way_is_shown_with_step_limit_and_time_left() {
    let spec = spec(4);
    let status = under_way(&spec);
    insta::assert_snapshot!(shown(&status, &spec, Some(120), false), @r"
    app: 3 of 4 nodes serve (min_available 1); 2 versions serve: 1.4.2 on 2 nodes, 1.5.0 on 1 node.
    Last release 7f3a19c2: deploy 1.4.2 -> 1.5.0 by ci-runner-3: in progress for 2m31s, 1 of 4 nodes done, about 1m30s left
    Lock held by an unknown process

     NODE   VERSION         PROCESS         KEY   GATEWAYS    IN FLIGHT  STATE
     app-1  1.5.0           healthy 2m10s   up    routed 2/2  1          done
     app-2  1.4.2 -> 1.5.0  starting 4s     down  out 2/2     2          health, 4s of 120s
     app-3  1.4.2           healthy 10d23h  up    routed 2/2  3          waiting
     app-4  1.4.2           healthy 10d23h  up    routed 2/2  0          waiting

    app-2: 503
    ");
    insta::assert_snapshot!(shown(&status, &spec, Some(80), false), @r"
    app: 3 of 4 nodes serve (min_available 1); 2 versions serve: 1.4.2 on 2 nodes, 1.5.0 on 1 node.
    Last release 7f3a19c2: deploy 1.4.2 -> 1.5.0 by ci-runner-3: in progress for 2m31s, 1 of 4 nodes done, about 1m30s left
    Lock held by an unknown process

     NODE   VERSION         PROCESS         KEY   GATEWAYS    STATE
     app-1  1.5.0           healthy 2m10s   up    routed 2/2  done
     app-2  1.4.2 -> 1.5.0  starting 4s     down  out 2/2     health, 4s of 120s
     app-3  1.4.2           healthy 10d23h  up    routed 2/2  waiting
     app-4  1.4.2           healthy 10d23h  up    routed 2/2  waiting

    In flight  6 at 4 nodes: app-3 3, app-2 2, app-1 1

    app-2: 503
    ");
    let page = shown(&status, &spec, Some(90), false);
    assert!(!page.contains("IN FLIGHT"), "another step would move the columns:\n{page}");
    let mut changed = under_way(&spec);
    changed.begun = at(146);
    let page = shown(&changed, &spec, None, false);
    assert!(!page.contains("503"), "the step began after the inspection:\n{page}");
    changed.knows_limits = false;
    let page = shown(&changed, &spec, None, false);
    assert!(page.contains("health, 4s\n"), "the playbook's file was changed since:\n{page}");
}

#[test]
fn forty_nodes_have_a_row_each_only_where_they_need_attention() {
    let spec = spec(40);
    let mut status = under_way(&spec);
    status.fleet.nodes.get_mut("app-9").expect("a node").health.problem = Some("502".into());
    insta::assert_snapshot!(shown(&status, &spec, Some(80), false), @r"
    app: 38 of 40 nodes serve (min_available 1); 2 versions serve: 1.4.2 on 37 nodes, 1.5.0 on 1 node. Routed but not healthy: app-9.
    Last release 7f3a19c2: deploy 1.4.2 -> 1.5.0 by ci-runner-3: in progress for 2m31s, 1 of 40 nodes done, about 37m30s left
    Lock held by an unknown process

     NODE      VERSION         PROCESS           KEY   GATEWAYS    STATE
     app-2     1.4.2 -> 1.5.0  starting 4s       down  out 2/2     health, 4s of
                                                                   120s
     app-9     1.4.2           unhealthy 10d23h  up    routed 2/2  waiting
     app-1     1.5.0           healthy 2m10s     up    routed 2/2  done
     37 nodes  1.4.2           healthy 10d23h    up    routed 2/2  waiting
     (nodes that need no attention are together; `-v` shows each)

    In flight  816 at 40 nodes: app-40 40, app-39 39, app-38 38, app-37 37, and 35 more

    app-2: 503

    app-9: 502
    ");
    let all = shown(&status, &spec, None, true);
    assert!(all.contains(" app-40  10.0.1.40:8080  1.4.2 "), "{all}");
    assert_eq!(all.matches(" app-").count(), 40 + 1, "{all}");
}

#[test]
fn few_nodes_share_a_row_where_the_terminal_is_too_small_for_all() {
    let spec = spec(4);
    let status = under_way(&spec);
    let (status, spec, now) = (&status, &*spec, at(151));
    let page = Page {
        status,
        spec,
        next: &[],
        now,
        width: None,
        together: true,
        verbose: false,
        counts: true,
    };
    let told = page.render();
    assert!(told.contains("\n 2 nodes  1.4.2 ") && !told.contains(" app-3 "), "{told}");
    assert!(Page { verbose: true, ..page }.render().contains(" app-3 "));
}

#[test]
fn start_of_a_process_that_cannot_be_read_is_unknown() {
    let spec = spec(2);
    let mut status = status(&spec);
    let facts = status.fleet.nodes.get_mut("app-1").expect("a node");
    facts.survey.as_mut().expect("a survey").listener.owners.clear();
    status.requests.remove("app-2");
    status.requests.insert("app-1".into(), Err("http://10.0.1.1/metrics: answered 500".into()));
    let page = shown(&status, &spec, None, false);
    assert!(page.contains("  healthy ?  ") && !page.contains("IN FLIGHT"), "{page}");
    let why = "app-1: requests in flight are not counted: http://10.0.1.1/metrics: answered 500";
    assert!(page.contains(why), "{page}");
}

#[test]
fn gateways_and_workers_that_differ_are_named() {
    let spec = spec(2);
    let mut status = status(&spec);
    let address = spec.nodes[1].address.clone();
    let seen = status.fleet.gateways[1].1.as_mut().expect("read");
    seen.routed.insert(address.clone(), false);
    seen.routing.insert(address, ["101".into()].into());
    let page = shown(&status, &spec, None, false);
    let told = "Gateways differ  app-2: routed at edge-1; routed by some workers (101) at edge-2\n";
    assert!(page.contains(told), "{page}");
}
