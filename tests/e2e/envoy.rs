//! Releases behind a real Envoy, through the file with its endpoints.

use rollgate_lab::LabConfig;
use serde_json::json;

use crate::harness::{Bench, assert_counted, events, print_costs};

#[test]
fn no_request_fails_behind_envoy() {
    let config = LabConfig { envoys: 1, ..LabConfig::new(3, Vec::new()) };
    let bench = Bench::with(config, |playbook| {
        // Its own count of requests ends the drain.
        playbook["drain"] = json!({ "in_flight": "gateways", "timeout": "30s" });
    });
    let load = bench.load();
    let arguments = ["--var", "version=2", "--yes", "--output", "jsonl"];
    let ran = bench.run(&["deploy"], &arguments).exits(0);
    bench.assert_unnoticed(load);
    let events = events(&ran.stdout());
    print_costs(&events);
    assert_counted(&events, 3);
    assert!(bench.versions().iter().all(|version| version.as_deref() == Some("2")));
    let file = bench.lab.envoys[0].says().expect("a file");
    assert!(!file.contains("DRAINING") && file.matches("\"HEALTHY\"").count() == 3, "{file}");
}
