//! Releases behind an nginx that queries Consul's DNS for its servers and has no status page.

use std::time::Duration;

use rollgate_lab::{Check, LabConfig, NodeConfig};
use serde_json::{Value, json};

use crate::harness::{Bench, assert_counted};

fn bench(edit: impl FnOnce(&mut Value)) -> Bench {
    let config = LabConfig { agents: true, resolvers: 1, ..LabConfig::new(3, Vec::new()) };
    Bench::with(config, edit)
}

#[test]
fn no_request_fails_behind_an_nginx_that_resolves() {
    let bench = bench(|_| {});
    // Slow requests alone would keep a node up until it is out; without them only its confirmation does.
    let load = bench.load_with(|config| config.slow_share = 0.0);
    bench.release_under(load, bench.file());
    let load = bench.load_with(|config| (config.rate, config.slow_share) = (100, 0.0));
    println!("the last answer of a node {:?} after the write", bench.last_answer(&load, 1));
    assert_eq!(load.stop().failed, 0);
}

/// The protocol is private to the service and its clients: Consul and rollgate connect, and count the sockets.
#[test]
fn no_tcp_connection_fails_behind_an_nginx_that_resolves() {
    let mut config = LabConfig { agents: true, resolvers: 1, ..LabConfig::new(0, Vec::new()) };
    config.nodes = vec![NodeConfig { check: Check::Tcp, ..NodeConfig::default() }; 2];
    let bench = Bench::with(config, |playbook| {
        playbook["health"] =
            json!({ "tcp": "${{ node.address }}", "interval": "100ms", "deadline": "15s" });
        playbook["drain"] =
            json!({ "in_flight": { "sockets": { "idle": "16s" } }, "timeout": "45s" });
    });
    let load = bench.load_with(|config| {
        config.targets = vec![bench.lab.resolvers[0].stream_url()];
        // nginx keeps a connection at its node.
        config.keepalive = false;
        config.rate = 100;
        // Longer than the confirmation takes on a busy machine, and shorter than `idle`.
        config.slow = Duration::from_secs(15);
    });
    assert_counted(&bench.release_under(load, bench.file()), 2);
}
