//! Releases behind gateways of several kinds at once, each confirmed in its own way.

use std::collections::BTreeSet;

use rollgate_lab::{GatewayConfig, HaproxyConfig, LabConfig, Reach, Servers, Source};
use serde_json::json;

use crate::harness::Bench;

/// Releases version 2 through all gateways under load: every gateway has to confirm every node.
#[track_caller]
fn release(bench: &Bench, gateways: usize) {
    let events = bench.release();
    let proven = events.iter().filter(|event| event["type"] == "gateway.proven");
    let proven: BTreeSet<_> = proven
        .map(|event| {
            let data = &event["data"];
            format!("{} {} {}", event["node"], data["gateway"], data["routed"])
        })
        .collect();
    assert_eq!(proven.len(), gateways * bench.lab.nodes.len() * 2, "{proven:#?}");
}

/// Each gateway gets its own write that marks a node down.
#[test]
fn no_request_fails_behind_mixed_gateways_that_are_each_written_to() {
    let haproxies = vec![HaproxyConfig::new(Reach::Socket), HaproxyConfig::new(Reach::Page)];
    let config = LabConfig { haproxies, envoys: 1, traefiks: 1, ..LabConfig::new(3, Vec::new()) };
    release(&Bench::with(config, |_| {}), 4);
}

/// Maintenance mode marks a node down for all of them; Consul's own list is one more gateway.
#[test]
fn no_request_fails_behind_mixed_gateways_that_follow_health() {
    let gateways = vec![
        GatewayConfig::immediate(2).naming_workers().of(Source::Passing),
        GatewayConfig::poll(2, 1000).of(Source::Records),
    ];
    let template = HaproxyConfig { servers: Servers::Template, ..HaproxyConfig::new(Reach::Tcp) };
    let config = LabConfig {
        agents: true,
        haproxies: vec![template],
        caddies: 1,
        traefiks: 1,
        resolvers: 1,
        ..LabConfig::new(3, gateways)
    };
    let bench = Bench::with(config, |playbook| {
        let server = playbook["consul"]["addresses"][0].as_str().expect("an address");
        let server = server.trim_start_matches("http://").replace(":8500", ":8600");
        playbook["gateways"][1] = json!({
            "type": "consul-dns", "server": server, "record": "app.service.consul",
        });
    });
    release(&bench, 7);
}
