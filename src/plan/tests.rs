//! Plans over example fleets.

use super::*;
use crate::health::{CheckResult, Unreached};
use crate::mark::Mark;
use crate::node::Survey;
use crate::playbook::load_text;
use crate::registry::Look;
use crate::release::{Finished, Lines, Outcome};
use crate::release::{Hold, Inputs};
use crate::survey::HeldFacts;
use crate::survey::NodeFacts;
use serde_json::json;
use std::collections::BTreeSet;

/// A playbook of three nodes `a`, `b`, `c` behind two gateways.
fn spec(strategy: &str) -> Spec {
    let text = format!(
        "service: app
registry: {{ type: consul-kv, prefix: upstreams/app/ }}
gateways:
  - {{ name: gw-1, type: nginx-upsync, status_url: 'http://10.0.0.1/l?app', upstream: app }}
  - {{ name: gw-2, type: nginx-upsync, status_url: 'http://10.0.0.2/l?app', upstream: app }}
nodes:
  - {{ ssh: a, address: '10.0.1.1:80' }}
  - {{ ssh: b, address: '10.0.1.2:80', tags: [canary] }}
  - {{ ssh: c, address: '10.0.1.3:80' }}
stop: stop-it
start: start-it
health:
  http: 'http://${{{{ node.address }}}}/ping'
  identity: {{ header: x-version, equals: '2' }}
{strategy}"
    );
    let loaded = load_text("app.yaml", text).unwrap_or_else(|invalid| panic!("{invalid}"));
    Spec::new(&loaded.playbook, &Inputs::default()).expect("complete")
}

/// Every node is up, healthy, routed, and on version 1.
fn fleet(spec: &Spec) -> Fleet {
    let mut seen = Observation::default();
    let mut fleet = Fleet::default();
    for node in &spec.nodes {
        seen.routed.insert(node.address.clone(), true);
        seen.out.insert(node.address.clone(), false);
        let wrong_version = Some("200 from version 1, not 2".into());
        let health =
            CheckResult { version: Some("1".into()), wrong_version, ..CheckResult::default() };
        let facts = NodeFacts {
            survey: Some(Survey::default()),
            health,
            mark: Mark::Up,
            ..NodeFacts::default()
        };
        fleet.nodes.insert(node.name.clone(), facts);
    }
    fleet.gateways = ["gw-1", "gw-2"].map(|name| (name.to_owned(), Ok(seen.clone()))).into();
    fleet
}

/// Takes a node out at some of the gateways; `by_key` also sets its registry entry.
fn take_out(fleet: &mut Fleet, spec: &Spec, name: &str, gateways: &[usize], by_key: bool) {
    let address = &spec.node(name).expect("known").address;
    for index in gateways {
        let seen = fleet.gateways[*index].1.as_mut().expect("readable");
        seen.routed.insert(address.clone(), false);
        seen.out.insert(address.clone(), by_key);
    }
    if by_key {
        fleet.nodes.get_mut(name).expect("known").mark = Mark::Down;
    }
}

fn order(plan: &Plan) -> Vec<(&str, PlannedAction)> {
    plan.rows.iter().map(|row| (row.planned.node.as_str(), row.planned.will)).collect()
}

fn plan(spec: &Spec, fleet: &Fleet) -> Plan {
    Plan::new(spec, fleet, &Selection::default())
}

#[test]
fn nodes_that_are_out_go_first_and_cost_no_capacity() {
    let spec = spec("strategy: { min_available: 2 }");
    let mut fleet = fleet(&spec);
    take_out(&mut fleet, &spec, "c", &[0, 1], true);
    let plan = plan(&spec, &fleet);
    assert_eq!(
        order(&plan),
        [("c", PlannedAction::Update), ("a", PlannedAction::Update), ("b", PlannedAction::Update)]
    );
    assert!(plan.rows[0].planned.was_out);
    assert_eq!((plan.routed_now, plan.lowest), (2, 2));
    assert!(plan.refusals.is_empty(), "{:?}", plan.refusals);
}

/// The result of a health check when the connection to the address fails too.
fn unreached(how: Unreached) -> CheckResult {
    let problem = Some("connection refused".into());
    CheckResult { problem, unreached: Some(how), ..CheckResult::default() }
}

#[test]
fn node_that_no_connection_reaches_goes_first_and_does_not_count() {
    let with = |settings: &str, dead: &[&str]| {
        let spec = spec(settings);
        let mut fleet = fleet(&spec);
        for name in dead {
            fleet.nodes.get_mut(*name).expect("known").health = unreached(Unreached::Refused);
        }
        plan(&spec, &fleet)
    };
    let one = with("strategy: { min_available: 1 }", &["c"]);
    assert_eq!(
        order(&one),
        [("c", PlannedAction::Update), ("a", PlannedAction::Update), ("b", PlannedAction::Update)]
    );
    assert_eq!((one.routed_now, one.lowest), (2, 2));
    assert!(one.refusals.is_empty(), "{:?}", one.refusals);

    let few = with("strategy: { order: listed, min_available: 2 }", &["c"]);
    let told =
        "without a, gateway gw-1 would route to 1 of 3 nodes only, fewer than 2 (c not listening)";
    assert_eq!(few.refusals[0], told);

    let all = with("strategy: { min_available: 1 }", &["a", "b", "c"]);
    assert!(all.refusals.is_empty(), "no user is served as it is: {:?}", all.refusals);
}

/// Gateways may reach a node that this machine does not reach; a dead machine is not reachable by ssh either.
#[test]
fn node_that_does_not_answer_counts_unless_its_machine_is_gone() {
    let spec = spec("strategy: { max_failures: 1 }");
    let mut fleet = fleet(&spec);
    let facts = fleet.nodes.get_mut("c").expect("known");
    facts.health = unreached(Unreached::Silent);
    assert_eq!(plan(&spec, &fleet).routed_now, 3);
    let facts = fleet.nodes.get_mut("c").expect("known");
    (facts.survey, facts.problem) = (None, Some("ssh: no answer".into()));
    assert_eq!(plan(&spec, &fleet).routed_now, 2);
}

#[test]
fn node_with_an_unreadable_entry_is_blocked_with_the_reason() {
    let spec = spec("");
    let mut fleet = fleet(&spec);
    let address = spec.node("b").expect("known").address.clone();
    let seen = fleet.gateways[1].1.as_mut().expect("readable");
    seen.routed.insert(address.clone(), false);
    seen.unread.insert(address, "an odd weight".into());
    let plan = plan(&spec, &fleet);
    assert_eq!(plan.refusals, ["b: its entry at gw-2 cannot be read: an odd weight"]);
}

#[test]
fn gateway_that_lists_other_servers_is_refused_with_their_names_and_the_nodes_address() {
    let spec = spec("strategy: { min_available: 0, max_failures: 0 }");
    let mut fleet = fleet(&spec);
    let other_names = (1..=8).map(|last| format!("10.9.9.{last}:1")).collect();
    fleet.gateways[1].1 =
        Ok(Observation { other_names, others: 40, listed: 40, ..Observation::default() });
    let told = "a: gw-2 lists 10.9.9.1:1, 10.9.9.2:1, 10.9.9.3:1 and 37 more, but not 10.0.1.1:80, which is marked \
                up: does gw-2 follow this registry?";
    assert_eq!(plan(&spec, &fleet).refusals[0], told);
    // A node that is marked down may be missing.
    take_out(&mut fleet, &spec, "a", &[0], true);
    assert!(plan(&spec, &fleet).refusals[0].starts_with("b: "));
}

/// A node that is not listed may be listed under another name, unless rollgate took it out.
#[test]
fn a_node_that_is_absent_among_other_entries_is_blocked_unless_it_was_taken_out() {
    let spec = spec("");
    let mut fleet = fleet(&spec);
    take_out(&mut fleet, &spec, "c", &[0, 1], true);
    let absent = Some("gw-1 does not list c".into());
    let look = Look {
        mark: Mark::Down,
        absent,
        strangers: ["tcp/x:80".to_owned()].into(),
        ..Look::default()
    };
    let facts = fleet.nodes.get_mut("c").expect("known");
    (facts.mark, facts.registry_problem) = (Mark::Unknown, look.absent.clone());
    let known = look.strangers.clone();
    facts.absent = Some(look);
    let mut others = fleet.clone();
    others.take_for_out(|node| (node != "c").then(|| known.clone()));
    others.take_for_out(|_| Some(BTreeSet::new()));
    assert_eq!(plan(&spec, &others).refusals, ["c: gw-1 does not list c"]);
    fleet.take_for_out(|node| (node == "c").then(|| known.clone()));
    assert!(!fleet.lacks_any());
    let plan = plan(&spec, &fleet);
    assert_eq!(plan.refusals, Vec::<String>::new());
    let c = &plan.rows[0].planned;
    assert_eq!((c.node.as_str(), c.was_out, c.taken_out), ("c", true, true));
}

#[test]
fn a_node_on_the_new_version_is_skipped_only_when_it_also_serves() {
    let spec = spec("");
    let mut fleet = fleet(&spec);
    for name in ["a", "b"] {
        let health = CheckResult { version: Some("2".into()), ..CheckResult::default() };
        fleet.nodes.get_mut(name).expect("known").health = health;
    }
    take_out(&mut fleet, &spec, "b", &[0, 1], true);
    assert_eq!(
        order(&plan(&spec, &fleet)),
        [("b", PlannedAction::Update), ("a", PlannedAction::Skip), ("c", PlannedAction::Update)]
    );
}

#[test]
fn capacity_is_judged_at_the_gateway_that_has_the_fewest() {
    let spec = spec("strategy: { min_available: 2 }");
    let mut fleet = fleet(&spec);
    // gw-2's own check holds it out; its registry entry is up, and gw-1 routes to it.
    take_out(&mut fleet, &spec, "b", &[1], false);
    let plan = plan(&spec, &fleet);
    assert_eq!(plan.refusals.len(), 1);
    assert_eq!(
        plan.refusals[0],
        "without a, gateway gw-2 would route to 1 of 3 nodes only, fewer than 2 (b not routed there)"
    );
    assert_eq!((plan.routed_now, plan.lowest), (2, 1));
}

#[test]
fn batches_are_weighed_as_a_whole() {
    let plan_of = |strategy: &str| {
        let spec = spec(strategy);
        let plan = plan(&spec, &fleet(&spec));
        (plan.lowest, plan.refusals.len())
    };
    assert_eq!(plan_of("strategy: { batches: 2 }"), (1, 0));
    assert_eq!(
        plan_of("strategy: { batches: 2, min_available: 2 }"),
        (1, 2),
        "both gateways say no"
    );
    assert_eq!(plan_of("strategy: { batches: [1, '100%'] }"), (1, 0));
    assert_eq!(plan_of("strategy: { batches: '100%' }"), (0, 2), "never the last one");
}

#[test]
fn unknown_state_is_refused() {
    let spec = spec("");
    let mut blind = fleet(&spec);
    blind.gateways[1].1 = Err("connection refused".into());
    let refusals = plan(&spec, &blind).refusals;
    assert_eq!(refusals, ["gateway gw-2 cannot be read: connection refused"]);

    let mut lost = fleet(&spec);
    lost.nodes.get_mut("b").expect("known").problem = Some("no route".into());
    assert_eq!(plan(&spec, &lost).refusals, ["b: no route"]);

    let mut deaf = fleet(&spec);
    deaf.nodes.get_mut("b").expect("known").mark = Mark::Down;
    let refusals = plan(&spec, &deaf).refusals;
    assert!(refusals[0].starts_with("b: gw-1 still routes to it although it is marked down"));

    let mut other = fleet(&spec);
    take_out(&mut other, &spec, "c", &[0], true);
    other.nodes.get_mut("c").expect("known").mark = Mark::Up;
    let refusals = plan(&spec, &other).refusals;
    assert!(refusals[0].starts_with("c: gw-1 does not route to it although it is marked up"));

    let seen = other.gateways[0].1.as_mut().expect("readable");
    let c = spec.nodes[2].address.clone();
    seen.withheld.insert(c, "server s3 has weight 0".into());
    let refusals = plan(&spec, &other).refusals;
    let why = "c: gw-1 does not route to it although it is marked up: server s3 has weight 0";
    assert_eq!(refusals[0], why);
}

#[test]
fn gateway_with_other_parameters_than_the_key_is_refused() {
    let spec = spec("");
    let mut other = fleet(&spec);
    other.nodes.get_mut("b").expect("known").parameters = [("weight".to_owned(), 5)].into();
    assert!(plan(&spec, &other).refusals.is_empty(), "a gateway that shows none");
    let address = spec.node("b").expect("known").address.clone();
    let seen = other.gateways[1].1.as_mut().expect("readable");
    seen.parameters.insert(address.clone(), [("weight".to_owned(), 1)].into());
    let refusals = plan(&spec, &other).refusals;
    assert_eq!(
        refusals,
        [
            "b: gw-2 shows weight=1 for it, but its key has weight 5: does gw-2 follow this registry?"
        ]
    );
}

/// Sets the result of a node's check, at gateways that show where they route.
fn checked(spec: &Spec, fleet: &mut Fleet, name: &str, health: CheckResult) {
    for (_, seen) in &mut fleet.gateways {
        let seen = seen.as_mut().expect("readable");
        seen.routed_somewhere = seen.routed.clone();
    }
    assert!(spec.node(name).is_some());
    fleet.nodes.get_mut(name).expect("known").health = health;
}

#[test]
fn health_check_that_passes_nowhere_is_refused_unless_it_is_allowed() {
    let spec = spec("");
    let problem = |text: &str| CheckResult { problem: Some(text.into()), ..CheckResult::default() };
    let silent = CheckResult {
        wrong_version: Some("200 without a version".into()),
        ..CheckResult::default()
    };
    for health in [problem("404"), silent] {
        let why = health.problem.clone().or(health.wrong_version.clone()).expect("one");
        let mut fleet = fleet(&spec);
        checked(&spec, &mut fleet, "a", health.clone());
        let one = plan(&spec, &fleet);
        assert!(one.refusals.is_empty(), "{:?}", one.refusals);
        let told = format!(
            "a: it is in rotation, but fails its health check (GET http://10.0.1.1:80/ping): {why}"
        );
        assert_eq!(one.warnings, [told]);
        for name in ["b", "c"] {
            checked(&spec, &mut fleet, name, health.clone());
        }
        let refused = plan(&spec, &fleet);
        let [refusal] = refused.refusals.as_slice() else { panic!("{:?}", refused.refusals) };
        assert!(refusal.contains(&format!(
            "passes on none of the nodes that serve now (GET http://10.0.1.1:80/ping): {why}; "
        )));
        assert_eq!(refused.warnings, [""; 0]);
        let selection = Selection { allow_unhealthy: true, ..Selection::default() };
        let allowed = Plan::new(&spec, &fleet, &selection);
        assert!(allowed.refusals.is_empty() && allowed.warnings == [refusal.as_str()]);
        assert_eq!(selection.arguments(), ["--allow-unhealthy"]);
        let restart = Spec { is_restart: true, ..spec.clone() };
        let refused = plan(&restart, &fleet).refusals;
        assert!(refused[0].ends_with("if nodes pass it after the restart"), "{refused:?}");
        // A check that was not made, and a node without requests, show nothing.
        checked(&spec, &mut fleet, "c", CheckResult { is_unasked: true, ..problem("no answer") });
        assert!(plan(&spec, &fleet).refusals.is_empty());
        checked(
            &spec,
            &mut fleet,
            "c",
            CheckResult { version: Some("1".into()), ..CheckResult::default() },
        );
        take_out(&mut fleet, &spec, "c", &[0, 1], true);
        checked(&spec, &mut fleet, "b", health.clone());
        assert_eq!(plan(&spec, &fleet).refusals.len(), 1, "the others fail");
    }
}

#[test]
fn failures_that_are_allowed_leave_the_others_to_go_on() {
    let spec = spec("strategy: { max_failures: 1 }");
    let mut fleet = fleet(&spec);
    fleet.nodes.get_mut("b").expect("known").problem = Some("no route".into());
    let plan = plan(&spec, &fleet);
    assert_eq!(order(&plan)[1], ("b", PlannedAction::Blocked));
    assert!(plan.refusals.is_empty());
    assert!(plan.render(&spec, "app.yaml").contains("stops after the 2nd failed node"));
}

#[test]
fn the_operator_chooses_by_name_by_tag_and_by_number() {
    let spec = spec("");
    let fleet = fleet(&spec);
    let wills = |selection: &Selection| -> Vec<PlannedAction> {
        Plan::new(&spec, &fleet, selection).rows.iter().map(|row| row.planned.will).collect()
    };
    let only = Selection { only: vec!["canary".into()], ..Selection::default() };
    assert_eq!(
        wills(&only),
        [PlannedAction::LeftOut, PlannedAction::Update, PlannedAction::LeftOut]
    );
    let skip = Selection { skip: vec!["a".into()], limit: Some(1), ..Selection::default() };
    assert_eq!(
        wills(&skip),
        [PlannedAction::LeftOut, PlannedAction::Update, PlannedAction::LeftOut]
    );
    let unknown = Selection { only: vec!["x".into(), "a".into()], ..Selection::default() };
    assert_eq!(unknown.unknown(&spec), ["x"]);
}

#[test]
fn programs_hear_of_every_node_gateway_and_write() {
    let spec = spec("");
    let mut fleet = fleet(&spec);
    take_out(&mut fleet, &spec, "c", &[0, 1], true);
    let selection = Selection { skip: vec!["b".into()], ..Selection::default() };
    let plan = Plan::new(&spec, &fleet, &selection);
    let mut lines = Lines::new(jiff::Timestamp::UNIX_EPOCH);
    plan.tell(&spec, "app.yaml", &mut lines);
    let text = lines.finish(Finished::unstarted(Outcome::Done, 0, None));
    let form = r#"{"v":1,"seq":"#;
    let data = text.lines().filter_map(|line| line.strip_prefix(form)?.split_once("\"type\":"));
    let data: Vec<_> = data.map(|(_, data)| data.replace(r#","release":"""#, "")).collect();
    insta::assert_snapshot!(data.join("\n"), @r#"
    "plan.started","data":{"service":"app","file":"app.yaml","from":"1","to":"2","restart":false,"artifact":null,"batches":["1"],"number_of_batches":2,"min_healthy_time_ms":10000,"max_failures":0,"pool":{"nodes":3,"routed":2,"min":1},"lowest":2}}
    "plan.gateway","data":{"gateway":"gw-1","type":"nginx-upsync","workers":null,"sync_interval_ms":5000,"lag_ms":7000,"reads":216,"confirmed_when":null,"problem":null}}
    "plan.gateway","data":{"gateway":"gw-2","type":"nginx-upsync","workers":null,"sync_interval_ms":5000,"lag_ms":7000,"reads":216,"confirmed_when":null,"problem":null}}
    "plan.node","node":"c","data":{"will":"update","turn":1,"why":"first: already out of rotation, and returned by the release","from":"1","to":"2","address":"10.0.1.3:80","down":true,"was_out":true,"first_install":false,"held":null,"routed":0,"gateways":2}}
    "plan.node","node":"a","data":{"will":"update","turn":2,"why":"","from":"1","to":"2","address":"10.0.1.1:80","down":false,"was_out":false,"first_install":false,"held":null,"routed":2,"gateways":2}}
    "plan.node","node":"b","data":{"will":"left_out","turn":null,"why":"not selected","from":"1","to":null,"address":"10.0.1.2:80","down":false,"was_out":false,"first_install":false,"held":null,"routed":2,"gateways":2}}
    "plan.write","node":"c","step":"stop","data":{"command":"stop-it","sudo":false}}
    "plan.write","node":"c","step":"start","data":{"command":"start-it","sudo":false}}
    "plan.write","node":"c","step":"enable","data":{"key":"upstreams/app/10.0.1.3:80","down":false}}
    "plan.write","node":"a","step":"disable","data":{"key":"upstreams/app/10.0.1.1:80","down":true}}
    "plan.write","node":"a","step":"stop","data":{"command":"stop-it","sudo":false}}
    "plan.write","node":"a","step":"start","data":{"command":"start-it","sudo":false}}
    "plan.write","node":"a","step":"enable","data":{"key":"upstreams/app/10.0.1.1:80","down":false}}
    "release.finished","data":{"result":"done","exit_code":0,"nodes":{},"next":[],"elapsed_ms":0}}
    "#);
}

#[test]
fn plan_shows_the_confirmation_method_of_each_gateway() {
    let mut spec = spec("");
    let crate::gateway::Gateway::NginxUpsync(second) = &mut spec.gateways[1].settings else {
        panic!("another kind")
    };
    let told = |spec: &Spec| {
        let text = plan(spec, &fleet(spec)).render(spec, "app.yaml");
        let rest = text.lines().skip_while(|line| !line.starts_with("Gateways"));
        let (first, rest) = (rest.clone().take(1), rest.skip(1));
        let lines = first.chain(rest.take_while(|line| line.starts_with(' ')));
        lines.collect::<Vec<_>>().join("\n")
    };
    second.workers = Some(4);
    second.sync_interval =
        Some(crate::playbook::DurationSetting(std::time::Duration::from_millis(500)));
    assert_eq!(
        told(&spec),
        "Gateways   gw-1 (nginx-upsync, follows a change within 7s): confirmed by up to 216 connections in a row\n           \
         gw-2 (nginx-upsync, follows a change within 2.5s): confirmed by each of 4 workers, or, if replies name no worker, \
         by up to 64 connections in a row"
    );
    spec.gateways[0].settings = spec.gateways[1].settings.clone();
    assert!(
        told(&spec)
            .starts_with("Gateways   gw-1, gw-2 (nginx-upsync, follows a change within 2.5s): ")
    );
    for (settings, words) in [
        (
            json!({ "type": "consul-dns", "server": "10.0.0.5:8600", "record": "app.service.consul", "ttl": "3s" }),
            "gw-1 (consul-dns, follows a change within 5s): confirmed when app.service.consul at 10.0.0.5:8600 has \
             not had the node (out) or has had it (in) for 5s; to which nodes the gateway routes is not visible",
        ),
        (
            json!({ "type": "consul-passing", "service": "app", "sync_interval": "5s" }),
            "gw-1 (consul-passing, follows a change within 5s): confirmed when Consul's list of passing instances has \
             not had the node (out) or has had it (in) for 5s; to which nodes the gateway routes is not visible",
        ),
        (
            json!({ "type": "consul-passing", "service": "app" }),
            "gw-1 (consul-passing): confirmed by one read",
        ),
        (
            json!({ "type": "consul-template", "ssh": "ops@gw", "file": "/etc/app.conf", "pid_file": "/run/nginx.pid" }),
            "gw-1 (consul-template, follows a change within 2s): confirmed when /etc/app.conf at ops@gw has not had the \
             node (out) or has had it (in) for 2s, every nginx worker has loaded it, and for out, no worker with the \
             previous list is left",
        ),
    ] {
        spec.gateways[0].settings = serde_json::from_value(settings).expect("settings");
        assert!(told(&spec).contains(words), "{}", told(&spec));
    }
}

#[test]
fn held_node_is_left_out_whatever_its_state_and_does_not_count_as_serving() {
    let spec = spec("strategy: { min_available: 2 }");
    let mut fleet = fleet(&spec);
    let hold = Hold { by: "me".into(), since: jiff::Timestamp::UNIX_EPOCH, reason: String::new() };
    let known = Some(HeldFacts { hold: hold.clone(), told: "by me for 2h00m".into() });
    let facts = fleet.nodes.get_mut("c").expect("known");
    // Its machine is being repaired.
    (facts.held, facts.problem) = (known, Some("no route".into()));
    take_out(&mut fleet, &spec, "c", &[0, 1], true);
    let plan = Plan::new(&spec, &fleet, &Selection::default());
    let row = plan.rows.iter().find(|row| row.planned.node == "c").expect("its row");
    assert_eq!(
        (row.planned.will, &*row.planned.why),
        (PlannedAction::LeftOut, "held by me for 2h00m")
    );
    assert_eq!(row.planned.held, Some(hold));
    assert_eq!(plan.held().collect::<Vec<_>>(), ["c"]);
    let short = "without a, gateway gw-1 would route to 1 of 3 nodes only, fewer than 2 (c held)";
    assert_eq!(plan.refusals[0], short);
    // A gateway that still routes to it changes nothing.
    let facts = fleet.nodes.get_mut("c").expect("known");
    (facts.mark, facts.problem) = (Mark::Up, None);
    for (_, seen) in &mut fleet.gateways {
        let seen = seen.as_mut().expect("readable");
        seen.routed.insert("10.0.1.3:80".into(), true);
        seen.out.insert("10.0.1.3:80".into(), false);
    }
    let plan = Plan::new(&spec, &fleet, &Selection::default());
    assert_eq!(plan.refusals[0], short);
    let told = "marked up although it is held by me for 2h00m";
    assert!(plan.rows.iter().any(|row| row.planned.why == told), "{:?}", plan.rows);
    let included = Selection { include_held: true, ..Selection::default() };
    assert_eq!(included.arguments(), ["--include-held"]);
    let plan = Plan::new(&spec, &fleet, &included);
    assert_eq!((plan.count(PlannedAction::Update), plan.held().count()), (3, 0));
    assert!(plan.refusals.is_empty(), "{:?}", plan.refusals);
}

#[test]
fn plan_warns_of_nodes_that_are_left_out_and_make_the_release_fail() {
    let spec = spec("");
    let warnings = |fleet: &Fleet| {
        let selection = Selection { only: vec!["a".into()], ..Selection::default() };
        Plan::new(&spec, fleet, &selection).warnings
    };
    let mut fleet = fleet(&spec);
    assert_eq!(warnings(&fleet), [""; 0]);
    let refused =
        CheckResult { problem: Some("connection refused".into()), ..CheckResult::default() };
    checked(&spec, &mut fleet, "b", refused);
    let told = "b is in rotation but fails its health check (connection refused), and this release does not update it: \
                the release cannot end as done";
    assert_eq!(warnings(&fleet), [told]);
    take_out(&mut fleet, &spec, "b", &[0, 1], true);
    assert_eq!(warnings(&fleet), [""; 0]);
    take_out(&mut fleet, &spec, "c", &[0], true);
    let told = "c, which is left out: gw-2 still routes to it although it is marked down: does gw-2 follow this registry?";
    assert_eq!(warnings(&fleet), [told]);
}

#[test]
fn capacity_of_nodes_on_which_nothing_listens_is_told_without_a_broken_rule() {
    let spec = spec("strategy: { min_available: 2 }");
    let mut fleet = fleet(&spec);
    let mut told = |dead: usize| {
        for node in &spec.nodes[..dead] {
            let facts = fleet.nodes.get_mut(&node.name).expect("a node");
            facts.health = CheckResult {
                problem: Some("connection refused".into()),
                unreached: Some(Unreached::Refused),
                ..CheckResult::default()
            };
        }
        let text = Plan::new(&spec, &fleet, &Selection::default()).render(&spec, "app.yaml");
        let line = text.lines().find_map(|line| line.strip_prefix("Capacity   "));
        line.unwrap_or_default().to_owned()
    };
    let all = "3 of 3 routed now; at least 2 must stay (min_available 2); lowest in this plan 2";
    assert_eq!(told(0), all);
    let few = "1 of 3 routed and reachable now, fewer than the 2 that must stay (min_available 2); lowest in this plan 1";
    assert_eq!(told(2), few);
    assert_eq!(told(3), "no node serves now; min_available 2 counts once nodes serve");
}
