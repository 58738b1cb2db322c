//! The load generator and the auditor, with and without a fault to detect.

use rollgate_lab::{Fault, GatewayConfig, Lab, LabConfig, Load, LoadConfig, When, get, until};

use crate::support::{LIMIT, ctl, wait_for_all_workers};

fn lab() -> Lab {
    let gateway = GatewayConfig {
        worker_header: true,
        keepalive_upstream: true,
        ..GatewayConfig::upsync(2, 200)
    };
    Lab::start(LabConfig::new(2, vec![gateway; 2])).unwrap()
}

fn load(lab: &Lab) -> Load {
    let targets = lab.gateways.iter().map(|gateway| gateway.url("")).collect();
    let load = Load::start(&LoadConfig { rate: 200, ..LoadConfig::new(targets) }).unwrap();
    wait_for_requests(&load, 100);
    load
}

/// Waits until this many more requests have been sent.
fn wait_for_requests(load: &Load, count: u64) {
    let goal = load.snapshot().sent + count;
    until("the load", LIMIT, || Ok((load.snapshot().sent >= goal).then_some(()))).unwrap();
}

#[test]
fn stop_of_a_routed_node_is_detected_by_client_and_auditor() {
    let lab = lab();
    let load = load(&lab);
    assert!(ctl(&lab, 0, "stop").status.success());
    wait_for_requests(&load, 50);
    let totals = load.stop();
    assert!(totals.failed > 0, "{totals}");
    assert_eq!(totals.sent, totals.ok + totals.failed, "{totals}");
    assert!(totals.failures[0].reason.contains("status 502"), "{totals}");
    let audit = lab.audit().unwrap();
    assert!(!audit.is_clean());
    // Two gateways of two workers each.
    assert_eq!(audit.routed_at_stop.len(), 4, "{audit}");
    assert!(audit.routed_at_stop.iter().all(|routed| routed.when == When::AtStop));
}

#[test]
fn drained_node_costs_no_request() {
    let lab = lab();
    let load = load(&lab);
    let address = lab.nodes[0].address().to_string();
    lab.mark(0, true).unwrap();
    for gateway in &lab.gateways {
        wait_for_all_workers(gateway, &address, true);
    }
    let metrics = lab.nodes[0].service_url("/metrics");
    until("no request in flight", LIMIT, || {
        Ok((get(&metrics)?.body == "in_flight 0\n").then_some(()))
    })
    .unwrap();
    assert!(ctl(&lab, 0, "stop").status.success());
    assert!(ctl(&lab, 0, "start").status.success());
    until("the service", LIMIT, || Ok(lab.nodes[0].version())).unwrap();
    lab.mark(0, false).unwrap();
    for gateway in &lab.gateways {
        wait_for_all_workers(gateway, &address, false);
    }
    wait_for_requests(&load, 50);
    let totals = load.stop();
    assert_eq!(totals.failed, 0, "{totals}");
    assert_eq!(totals.by_node.len(), 2, "{totals}");
    assert_eq!(totals.by_version.keys().collect::<Vec<_>>(), ["1"]);
    let audit = lab.audit().unwrap();
    assert!(audit.is_clean() && audit.stops.len() == 1, "{audit}");
}

#[test]
fn node_routed_again_while_stopped_is_audited() {
    let lab = lab();
    let address = lab.nodes[0].address().to_string();
    lab.mark(0, true).unwrap();
    for gateway in &lab.gateways {
        wait_for_all_workers(gateway, &address, true);
    }
    assert!(ctl(&lab, 0, "stop").status.success());
    assert!(lab.audit().unwrap().is_clean());
    lab.mark(0, false).unwrap();
    for gateway in &lab.gateways {
        wait_for_all_workers(gateway, &address, false);
    }
    let audit = lab.audit().unwrap();
    assert_eq!(audit.routed_at_stop.len(), 4, "{audit}");
    assert!(audit.routed_at_stop.iter().all(|routed| routed.when == When::WhileStopped));
}

#[test]
fn a_dead_gateway_fails_requests() {
    let mut lab = lab();
    let load = load(&lab);
    lab.gateways[0].stop().unwrap();
    wait_for_requests(&load, 50);
    assert!(load.snapshot().failed > 0);
    lab.gateways[0].start().unwrap();
    let before = load.snapshot().ok;
    wait_for_requests(&load, 50);
    let totals = load.stop();
    assert!(totals.ok > before, "{totals}");
}

#[test]
fn silent_gateway_is_counted_without_piling_up_requests() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = format!("http://{}", silent.local_addr().unwrap());
    let load = Load::start(&LoadConfig { slow_share: 0.0, ..LoadConfig::new(vec![target]) });
    let load = load.unwrap();
    wait_for_requests(&load, 150);
    until("the first failures", LIMIT, || Ok((load.snapshot().failed > 0).then_some(()))).unwrap();
    let totals = load.stop();
    assert_eq!((totals.ok, totals.failed), (0, totals.sent), "{totals}");
    // Half a second's requests wait; each that times out makes room for another.
    assert!(totals.sent <= 2 * 150, "{totals}");
}

#[test]
fn the_playbook_can_be_changed_before_it_is_written() {
    let lab = lab();
    lab.artifact("2", Fault::None).unwrap();
    let path = lab.playbook(|playbook| playbook["drain"]["timeout"] = "5s".into()).unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    let playbook: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(playbook["drain"]["timeout"], "5s");
    assert_eq!(playbook["nodes"][1]["name"], "node-2");
    assert_eq!(playbook["gateways"][0]["status_url"], lab.gateways[0].status_url());
}
