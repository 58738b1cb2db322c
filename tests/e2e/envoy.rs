//! Releases behind a real Envoy, through the file with its endpoints.

use rollgate_lab::LabConfig;
use serde_json::json;

use crate::harness::Bench;

#[test]
fn no_request_fails_behind_envoy() {
    let config = LabConfig { envoys: 1, ..LabConfig::new(3, Vec::new()) };
    let bench = Bench::with(config, |playbook| {
        // Its own request count ends the drain.
        playbook["drain"] = json!({ "in_flight": "gateways", "timeout": "30s" });
    });
    bench.release_counted();
    let file = bench.lab.envoys[0].says().expect("a file");
    assert!(!file.contains("DRAINING") && file.matches("\"HEALTHY\"").count() == 3, "{file}");
}
