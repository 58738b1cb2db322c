//! Releases behind a real Traefik, through the file with its servers and by Consul's catalog.

use rollgate_lab::LabConfig;
use serde_json::Value;

use crate::harness::Bench;

/// Releases under load and returns the bench.
fn release(agents: bool) -> Bench {
    let config = LabConfig { traefiks: 1, agents, ..LabConfig::new(3, Vec::new()) };
    let bench = Bench::with(config, |_| {});
    bench.release();
    bench
}

#[test]
fn no_request_fails_behind_a_traefik_with_a_file_and_every_node_is_back() {
    let bench = release(false);
    let file = bench.lab.traefiks[0].says().expect("a file");
    let file: Value = serde_json::from_str(&file).expect("JSON");
    let servers = &file["http"]["services"]["app"]["loadBalancer"]["servers"];
    let weights = servers.as_array().expect("a list").iter().map(|server| &server["weight"]);
    assert!(weights.eq([1, 1, 1].iter()), "{servers}");
    let doctor = bench.run(&["doctor"], &["--var", "version=2"]).exits(0).stdout();
    assert!(doctor.contains("Traefik 3."), "{doctor}");
}

#[test]
fn no_request_fails_behind_a_traefik_that_follows_consuls_catalog() {
    release(true);
}
