//! Releases behind a real Envoy, through the file with its endpoints.

use rollgate_lab::LabConfig;
use serde_json::json;

use crate::harness::{Bench, costs, events};

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
    for (gateway, routed, seconds) in costs(&events) {
        println!("{gateway}: {} after {seconds:.3} s", if routed { "in" } else { "out" });
    }
    let drained = events.iter().filter_map(|event| event["data"]["drained"]["from"].as_u64());
    let drained: Vec<u64> = drained.collect();
    println!("in flight when they were told to leave: {drained:?}");
    assert!(drained.len() == 3 && drained.iter().any(|count| *count > 0), "{drained:?}");
    assert!(bench.versions().iter().all(|version| version.as_deref() == Some("2")));
    let file = bench.lab.envoys[0].says().expect("a file");
    assert!(!file.contains("DRAINING") && file.matches("\"HEALTHY\"").count() == 3, "{file}");
}
