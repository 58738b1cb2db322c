//! The lag of workers, and the gateway's own check.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rollgate_lab::{GatewayConfig, Include, Lab, LabConfig, get, until};

use crate::support::{
    LIMIT, ctl, is_routed, line_of_one_worker, wait_for_all_workers, wait_until_routed,
};

fn lab_with(nodes: usize, gateway: &GatewayConfig) -> (Lab, Vec<String>) {
    let gateway = GatewayConfig { worker_header: true, ..gateway.clone() };
    let lab = Lab::start(LabConfig::new(nodes, vec![gateway])).unwrap();
    let addresses = lab.nodes.iter().map(|node| node.address().to_string()).collect();
    (lab, addresses)
}

#[test]
fn workers_lag_and_disagree_right_after_another_write() {
    let (lab, addresses) = lab_with(2, &GatewayConfig::upsync(4, 500));
    let gateway = &lab.gateways[0];
    // The first write wakes all workers, the second finds them asleep.
    lab.mark(0, true).unwrap();
    wait_for_all_workers(gateway, &addresses[0], true);
    lab.mark(0, false).unwrap();
    lab.mark(1, true).unwrap();
    let begun = Instant::now();
    let mut first_down = BTreeMap::new();
    let mut shown = BTreeMap::new();
    let mut disagreed = false;
    until("all workers to show the second write", LIMIT, || {
        let (worker, line) = line_of_one_worker(gateway, &addresses[1]);
        let down = line.ends_with("down;");
        shown.insert(worker.clone(), down);
        if down {
            first_down.entry(worker).or_insert_with(|| begun.elapsed());
        }
        disagreed |= shown.values().any(|down| *down) && shown.values().any(|down| !*down);
        Ok((first_down.len() == 4).then_some(()))
    })
    .unwrap();
    let last = first_down.values().max().copied().unwrap();
    assert!(disagreed, "all workers changed at once: {first_down:?}");
    assert!(last > Duration::from_millis(300), "no lag: {first_down:?}");
    assert!(last < Duration::from_secs(10), "more than upsync's lag: {first_down:?}");
}

#[test]
fn workers_without_lag_follow_at_once() {
    let (lab, addresses) = lab_with(2, &GatewayConfig::immediate(4));
    let followed = [true, false, true].map(|down| {
        let begun = Instant::now();
        lab.mark(0, down).unwrap();
        wait_for_all_workers(&lab.gateways[0], &addresses[0], down);
        begun.elapsed()
    });
    // On a busy machine one or the other takes longer; with lag, each does.
    assert!(followed.iter().any(|time| *time < Duration::from_millis(900)), "{followed:?}");
}

#[test]
fn a_polling_gateway_follows_within_its_interval() {
    let (lab, addresses) = lab_with(2, &GatewayConfig::poll(4, 1000));
    let gateway = &lab.gateways[0];
    lab.mark(0, true).unwrap();
    wait_for_all_workers(gateway, &addresses[0], true);
    // The worker has just polled, so it will not poll again for a while.
    lab.mark(0, false).unwrap();
    assert!(!is_routed(gateway, &addresses[0]));
    let begun = Instant::now();
    wait_for_all_workers(gateway, &addresses[0], false);
    assert!(begun.elapsed() > Duration::from_millis(200), "{:?}", begun.elapsed());
    assert!(is_routed(gateway, &addresses[0]));
}

#[test]
fn gateway_check_keeps_out_a_node_that_is_marked_up() {
    let (lab, addresses) = lab_with(2, &GatewayConfig::immediate(2).with_check(500, 2, 1));
    let gateway = &lab.gateways[0];
    assert!(ctl(&lab, 0, "stop").status.success());
    wait_until_routed(gateway, &addresses[0], false);
    let (_, line) = line_of_one_worker(gateway, &addresses[0]);
    assert!(!line.is_empty() && !line.ends_with("down;"), "{line}");
    assert_eq!(status(&get(&gateway.check_url()).unwrap().body, &addresses[0]), "down");

    assert!(ctl(&lab, 0, "start").status.success());
    until("the service", LIMIT, || Ok(lab.nodes[0].version())).unwrap();
    assert!(!is_routed(gateway, &addresses[0]), "one success was enough");
    let begun = Instant::now();
    wait_until_routed(gateway, &addresses[0], true);
    assert!(begun.elapsed() > Duration::from_millis(300), "{:?}", begun.elapsed());
    assert_eq!(status(&get(&gateway.check_url()).unwrap().body, &addresses[0]), "up");
}

/// Returns the status of an address in the check module's JSON.
fn status(json: &str, address: &str) -> String {
    let table: serde_json::Value = serde_json::from_str(json).unwrap();
    let servers = table["servers"]["server"].as_array().unwrap();
    let server = servers.iter().find(|server| server["name"] == address).unwrap();
    server["status"].as_str().unwrap().to_owned()
}

#[test]
fn reload_with_a_static_list_routes_to_a_drained_node() {
    for (include, forgets) in [(Include::Static, true), (Include::Dump, false)] {
        let gateway = GatewayConfig { include, ..GatewayConfig::upsync(2, 3000) };
        let (lab, addresses) = lab_with(2, &gateway);
        let gateway = &lab.gateways[0];
        lab.mark(0, true).unwrap();
        wait_for_all_workers(gateway, &addresses[0], true);
        gateway.reload().unwrap();
        if forgets {
            wait_until_routed(gateway, &addresses[0], true);
            wait_until_routed(gateway, &addresses[0], false);
        }
        wait_for_all_workers(gateway, &addresses[0], true);
    }
}

#[test]
fn list_has_the_format_of_nginx_upsync() {
    let (lab, addresses) = lab_with(2, &GatewayConfig::immediate(1));
    let gateway = &lab.gateways[0];
    let key = lab.registry_key(1).unwrap();
    lab.consul.put(&key, r#"{"Weight":3,"down":"1","fail_timeout":"30s"}"#).unwrap();
    wait_for_all_workers(gateway, &addresses[1], true);
    let expected = format!(
        "Upstream name: app; Backend server count: 2\n        \
         server {} weight=1 max_fails=2 fail_timeout=10s;\n        \
         server {} weight=3 max_fails=2 fail_timeout=10s down;\n",
        addresses[0], addresses[1]
    );
    assert_eq!(get(&gateway.url("/upstream_list?APP")).unwrap().body, expected);
    assert_eq!(get(&gateway.url("/upstream_list")).unwrap().body, expected);
    let unknown = get(&gateway.url("/upstream_list?nope")).unwrap();
    assert_eq!(
        (unknown.status, &unknown.body[..]),
        (200, "The upstream you requested does not exist. Please double-check the name")
    );
    // A value that is not JSON is up with defaults, and a key that is not an address is skipped.
    lab.consul.put(&key, "nonsense").unwrap();
    lab.consul.put("upstreams/app/example.org:80", "{}").unwrap();
    wait_for_all_workers(gateway, &addresses[1], false);
    assert!(get(&gateway.status_url()).unwrap().body.contains("count: 2"));
}

#[test]
fn gateway_keeps_its_list_while_consul_is_down() {
    let (mut lab, addresses) = lab_with(2, &GatewayConfig::immediate(2));
    lab.mark(0, true).unwrap();
    wait_for_all_workers(&lab.gateways[0], &addresses[0], true);
    lab.consul.stop(0);
    wait_for_all_workers(&lab.gateways[0], &addresses[0], true);
    assert!(is_routed(&lab.gateways[0], &addresses[1]));
    lab.consul.start(0).unwrap();
    lab.consul.wait_for_leader().unwrap();
    lab.mark(0, false).unwrap();
    wait_for_all_workers(&lab.gateways[0], &addresses[0], false);
}

#[test]
fn with_every_node_down_a_gateway_answers_502() {
    let (lab, addresses) = lab_with(1, &GatewayConfig::immediate(1));
    assert_eq!(get(&lab.gateways[0].url("/ping")).unwrap().status, 200);
    lab.mark(0, true).unwrap();
    wait_for_all_workers(&lab.gateways[0], &addresses[0], true);
    assert_eq!(get(&lab.gateways[0].url("/ping")).unwrap().status, 502);
}

#[test]
fn dead_worker_is_replaced_and_audited_as_gone() {
    let gateway = GatewayConfig { include: Include::Static, ..GatewayConfig::upsync(2, 2000) };
    let (lab, addresses) = lab_with(2, &gateway);
    lab.mark(0, true).unwrap();
    wait_for_all_workers(&lab.gateways[0], &addresses[0], true);
    lab.gateways[0].kill_worker().unwrap();
    // The new worker starts from the configuration, and follows the registry only later.
    wait_until_routed(&lab.gateways[0], &addresses[0], true);
    wait_for_all_workers(&lab.gateways[0], &addresses[0], true);
    assert!(ctl(&lab, 0, "stop").status.success());
    assert!(lab.audit().unwrap().is_clean());
}
