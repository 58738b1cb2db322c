//! Successful releases under load, behind gateways that lag and disagree.

use std::time::Duration;

use rollgate_lab::GatewayConfig;

use crate::harness::{Bench, journals, quick};

/// How many releases in a row; a variable can raise it.
fn rounds(default: usize) -> usize {
    std::env::var("ROLLGATE_E2E_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(default)
}

#[track_caller]
fn release_in_a_row(bench: &Bench, rounds: usize) {
    let load = bench.load();
    for round in 0..rounds {
        let version = if round % 2 == 0 { "2" } else { "1" };
        bench.deploy(version).exits(0).says("DONE");
        assert!(bench.versions().iter().all(|seen| seen.as_deref() == Some(version)));
    }
    bench.assert_unnoticed(load);
}

#[test]
fn no_request_fails_behind_gateways_whose_workers_lag() {
    let bench = Bench::new(3, vec![GatewayConfig::upsync(4, 500), GatewayConfig::upsync(4, 500)]);
    release_in_a_row(&bench, rounds(1));
    bench.assert_nothing_left();
}

#[test]
fn node_is_not_stopped_while_any_worker_routes_to_it() {
    // Without slow requests the drain ends at once and cannot hide a worker that lags.
    let bench = Bench::new(3, vec![GatewayConfig::upsync(4, 1000), GatewayConfig::upsync(4, 1000)]);
    let load = bench.load_with(|load| load.slow_share = 0.0);
    bench.deploy("2").exits(0);
    bench.assert_unnoticed(load);
}

#[test]
fn no_request_fails_behind_gateways_that_poll_every_five_seconds() {
    let bench = Bench::new(3, vec![GatewayConfig::poll(4, 5000), GatewayConfig::poll(4, 5000)]);
    release_in_a_row(&bench, rounds(1));
}

#[test]
fn no_request_fails_with_keepalive_to_nodes_and_named_workers() {
    let mut gateway = GatewayConfig::upsync(4, 500);
    gateway.keepalive_upstream = true;
    gateway.worker_header = true;
    let bench = Bench::new(3, vec![gateway.clone(), gateway]);
    release_in_a_row(&bench, rounds(1));
    let journal = &journals(&bench.playbook)[0];
    let text = std::fs::read_to_string(journal).expect("a journal");
    assert!(text.contains(r#""method":"workers""#), "confirmed by the workers' names");
}

#[test]
fn second_of_two_nodes_waits_for_the_gateway_check_of_the_first() {
    // They follow at once, so that only their check keeps the first node out.
    let checked = || quick(4).with_check(1000, 2, 2);
    let bench = Bench::new(2, vec![checked(), checked()]);
    // Away long enough that the check notices, and needs its two successes afterwards.
    for version in ["1", "2"] {
        let slow = rollgate_lab::Release {
            start_delay: std::time::Duration::from_secs(4),
            ..rollgate_lab::Release::new(version)
        };
        bench.lab.artifact_of(&slow).expect("an artifact");
    }
    release_in_a_row(&bench, rounds(1));
}

#[test]
fn requests_in_flight_are_counted_by_the_sockets_of_a_node() {
    let mut gateway = GatewayConfig::upsync(2, 100);
    gateway.keepalive_upstream = true;
    let config = rollgate_lab::LabConfig::new(2, vec![gateway]);
    let bench = Bench::with(config, |playbook| {
        playbook["drain"] = serde_json::json!({ "in_flight": { "sockets": { "idle": "300ms" } } });
        // The new process is identified by its listener, not by a header.
        let health = playbook["health"].as_object_mut().expect("a map");
        health.remove("identity");
    });
    release_in_a_row(&bench, rounds(1));
}

#[test]
fn nodes_of_a_batch_leave_together() {
    let config = rollgate_lab::LabConfig::new(4, vec![GatewayConfig::upsync(2, 100)]);
    let bench = Bench::with(config, |playbook| {
        playbook["strategy"] = serde_json::json!({ "batches": [1, "50%"], "min_available": 2 });
    });
    let load = bench.load();
    bench.deploy("2").exits(0).says("batch       2: node-2, node-3");
    bench.assert_unnoticed(load);
}

#[test]
fn rerun_finds_nothing_to_do_and_keeps_the_previous_release() {
    let config = rollgate_lab::LabConfig::new(2, vec![quick(1)]);
    let bench = Bench::with(config, |playbook| playbook["artifact"]["keep"] = 1.into());
    bench.deploy("2").exits(0);
    let journals_before = journals(&bench.playbook).len();
    let keys = bench.keys();
    bench.deploy("2").exits(0).says("Nothing to do: 2 nodes up to date.");
    assert_eq!(bench.keys(), keys);
    assert_eq!(journals(&bench.playbook).len(), journals_before);
    bench.deploy("3").exits(0);
    let kept = |node, start: &str| bench.releases(node).iter().any(|name| name.starts_with(start));
    for node in 0..2 {
        assert!(kept(node, "app-3-") && kept(node, "app-2-"), "what ran before is a way back");
        assert!(kept(node, "app-1-"), "a folder that rollgate did not make stays");
    }
}

#[test]
fn gateway_request_count_ends_the_drain() {
    let polling = || GatewayConfig { worker_header: true, ..GatewayConfig::poll(2, 300) };
    let config = rollgate_lab::LabConfig::new(2, vec![polling(), polling()]);
    let bench = Bench::with(config, |playbook| {
        for gateway in 0..2 {
            playbook["gateways"][gateway]["in_flight"] = "/in_flight".into();
        }
        playbook["drain"] = serde_json::json!({ "in_flight": "gateways" });
    });
    release_in_a_row(&bench, rounds(1));
    // Two gateways send a tenth of 300 requests a second for 800 ms each: some were in flight.
    let journal = std::fs::read_to_string(&journals(&bench.playbook)[0]).expect("a journal");
    let counts = journal.split(r#""drained":{"from":"#).skip(1);
    let counts: Vec<u32> = counts.filter_map(|rest| rest.split(',').next()?.parse().ok()).collect();
    assert!(counts.len() == 2 && counts.iter().any(|count| *count > 0), "{counts:?}");
}

#[test]
fn node_returns_only_after_every_kind_of_check_passes() {
    let bench = Bench::with(rollgate_lab::LabConfig::new(2, vec![quick(2)]), |playbook| {
        playbook["health"]["tcp"] = "${{ node.address }}".into();
        playbook["health"]["run"] = "/srv/app/ctl status".into();
        playbook["health"]["consul"] = serde_json::json!({ "service": "app" });
    });
    let consul = bench.lab.consul.addresses().remove(0);
    for node in &bench.lab.nodes {
        let (name, address) = (node.name(), node.address());
        let registration = serde_json::json!({
            "ID": name, "Name": "app", "Address": address.ip().to_string(), "Port": address.port(),
            "Check": { "HTTP": node.service_url("/ping"), "Interval": "300ms" },
        });
        let url = format!("{consul}/v1/agent/service/register");
        let reply = rollgate_lab::request("PUT", &url, &registration.to_string());
        assert_eq!(reply.expect("Consul answers").status, 200);
    }
    let passing = format!("{consul}/v1/health/service/app?passing");
    let both_pass = || {
        let reply = rollgate_lab::request("GET", &passing, "")?;
        Ok((reply.body.matches("\"Service\":{").count() == 2).then_some(()))
    };
    rollgate_lab::until("both instances to pass", Duration::from_secs(60), both_pass)
        .expect("pass");
    release_in_a_row(&bench, rounds(1));
    // An instance that is not registered in Consul can never pass.
    let url = format!("{consul}/v1/agent/service/deregister/node-2");
    assert_eq!(rollgate_lab::request("PUT", &url, "").expect("Consul answers").status, 200);
    let strict = bench.lab.playbook_named("strict.yaml", |playbook| {
        playbook["health"]["consul"] = serde_json::json!({ "service": "app" });
        playbook["health"]["deadline"] = "2s".into();
    });
    let strict = strict.expect("a playbook");
    let arguments = ["--var", "version=3", "--yes"];
    let ran = bench.run_on(strict.to_str().expect("UTF-8"), &["deploy"], &arguments).exits(20);
    ran.says("app at 127.77.").says("is not passing");
    let versions = bench.versions();
    assert_eq!(versions[0].as_deref(), Some("3"), "Consul knows node-1");
}

#[test]
fn rolling_restart_keeps_the_version_of_each_node_without_a_failed_request() {
    let bench = Bench::new(3, vec![quick(2), quick(1)]);
    bench.run(&["deploy"], &["--var", "version=2", "--only", "node-2", "--yes"]).exits(0);
    let releases: Vec<_> = (0..3).map(|node| bench.releases(node)).collect();
    let load = bench.load();
    let plan = bench.run(&["plan"], &["--restart"]).exits(0).stdout();
    assert!(plan.contains("Plan: 3 to restart"), "{plan}");
    bench.run(&["deploy"], &["--restart", "--yes"]).exits(0).says("versions 1, 2 kept, 3 nodes");
    bench.assert_unnoticed(load);
    let versions: Vec<_> = bench.versions().into_iter().flatten().collect();
    assert_eq!(versions, ["1", "2", "1"]);
    assert_eq!((0..3).map(|node| bench.releases(node)).collect::<Vec<_>>(), releases);
    let status = bench.run(&["status"], &[]).exits(0).stdout();
    assert!(status.contains("deploy --restart, versions 1, 2 kept"), "{status}");
    // The last deploy is that of version 2.
    bench.run(&["rollback"], &["--yes"]).exits(0).says("node-2");
    bench.run(&["node", "out"], &["node-1"]).exits(0);
    bench.assert_nothing_left();
}
