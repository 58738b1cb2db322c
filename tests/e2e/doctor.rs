//! `doctor` reports beforehand what the live systems would refuse, case by case.

use rollgate_lab::{GatewayConfig, HaproxyConfig, LabConfig, Reach, Source};
use serde_json::json;

use crate::harness::{Bench, Ran, events, quick};

fn doctor(bench: &Bench) -> Ran {
    bench.run(&["doctor"], &["--var", "version=2"])
}

/// Asserts that the doctor reports this problem and no other.
#[track_caller]
fn assert_refused(bench: &Bench, why: &str) {
    let keys = bench.keys();
    let page = assert_all_refused(bench, why);
    assert!(page.contains("Not ready: 1 problem. Nothing was changed."), "{page}");
    assert_eq!(bench.keys(), keys);
}

/// Asserts that the doctor reports problems for one reason only; returns its output.
#[track_caller]
fn assert_all_refused(bench: &Bench, why: &str) -> String {
    let page = doctor(bench).exits(3).stdout();
    let mut refused = page.lines().filter(|line| line.trim_start().starts_with("NO ")).peekable();
    assert!(
        refused.peek().is_some() && refused.all(|line| line.contains(why)),
        "no `{why}` in:\n{page}"
    );
    page
}

#[test]
fn doctor_reports_healthy_systems_as_ready() {
    let bench = Bench::new(3, vec![quick(2)]);
    let page = doctor(&bench).exits(0).stdout();
    for seen in [
        "runs 1, marked up",
        "2 of 2 workers seen, routes to 3 of 3 nodes\n",
        "led by ",
        "rollgate/app/",
        "free",
        "Ready to release. Nothing was changed.",
    ] {
        assert!(page.contains(seen), "`{seen}` is missing in:\n{page}");
    }
    let lines = bench.run(&["doctor"], &["--var", "version=2", "--output", "jsonl"]).exits(0);
    let lines = events(&lines.stdout());
    let gateway = lines.iter().find(|line| line["data"]["what"] == "gateway").expect("a gateway");
    assert!(gateway["type"] == "doctor.finding" && gateway["data"]["fit"] == true, "{gateway}");
    assert_eq!(lines.last().expect("an end")["data"]["result"], "done");
    // A node that the playbook lacks, or has under another name.
    let forgotten = bench.lab.playbook(|playbook| {
        playbook["nodes"].as_array_mut().expect("nodes").pop();
    });
    forgotten.expect("a playbook");
    let (page, other) = (doctor(&bench).exits(0).stdout(), bench.lab.nodes[2].address());
    assert!(page.contains(&format!("routes to 2 of 2 nodes, and to {other}\n")), "{page}");
}

#[test]
fn doctor_reports_each_blocker_with_its_reason() {
    let bench = Bench::new(2, vec![quick(2), quick(2)]);
    let edited = |edit: &dyn Fn(&mut serde_json::Value)| {
        bench.lab.playbook(|playbook| edit(playbook)).expect("a playbook");
    };
    edited(&|playbook| playbook["gateways"][1]["workers"] = 1.into());
    // One query of one worker confirms one worker.
    edited(&|playbook| {
        for gateway in 0..2 {
            playbook["gateways"][gateway]["workers"] = 2.into();
        }
        playbook["gateways"][1]["upstream"] = "nope".into();
        let url = playbook["gateways"][1]["status_url"].as_str().expect("a URL");
        let url = url.replace("?app", "?nope");
        playbook["gateways"][1]["status_url"] = url.into();
    });
    assert_refused(&bench, "the gateway has no upstream `nope`");
    edited(&|_| {});
    let key = bench.lab.registry_key(1).expect("a key");
    let double = key.replace("upstreams/app/", "upstreams/app/blue/");
    bench.lab.consul.put(&double, r#"{"down":0}"#).expect("Consul answers");
    assert_refused(
        &bench,
        "is a second entry for the same address and would keep it routed; delete this key",
    );
    bench.lab.consul.delete(&double).expect("Consul answers");
    edited(&|playbook| {
        playbook["nodes"][1]["ssh"] = "nobody.invalid".into();
    });
    assert_refused(&bench, "Could not resolve hostname");
    edited(&|playbook| {
        playbook["gateways"][1] = json!({
            "type": "http-table", "name": "gw-2", "url": "http://127.0.0.1:9/peers",
        });
    });
    assert_refused(&bench, "connection refused");
}

/// What only the new version's playbook has wrong, and no system.
#[test]
fn wrong_commands_checks_and_artifacts_are_found_before_a_release() {
    let bench = Bench::new(2, vec![quick(2)]);
    let refused = |edit: &dyn Fn(&mut serde_json::Value), why: &str, problems: &str| {
        bench.lab.playbook(|playbook| edit(playbook)).expect("a playbook");
        let keys = bench.keys();
        let page = assert_all_refused(&bench, why);
        assert!(page.contains(&format!("Not ready: {problems}. Nothing was changed.")), "{page}");
        bench.run(&["deploy"], &["--var", "version=2", "--yes"]).exits(3).says(why);
        assert_eq!(bench.keys(), keys);
    };
    refused(
        &|playbook| playbook["stop"] = "no-such-program stop".into(),
        "`no-such-program`, the command of stop, is not found: install it",
        "1 problem",
    );
    refused(
        &|playbook| playbook["health"]["identity"]["header"] = "X-Wrong".into(),
        "the health check passes on none of the nodes that serve now",
        "1 problem",
    );
    refused(
        &|playbook| playbook["artifact"]["source"] = "dist/none-${{ version }}.tar.gz".into(),
        "none-2.tar.gz cannot be read",
        "1 problem",
    );
    let edited = bench.lab.playbook(|playbook| {
        playbook["health"]["http"] = "http://${{ node.address }}/nowhere".into();
        playbook["health"].as_object_mut().expect("keys").remove("identity");
    });
    edited.expect("a playbook");
    let arguments = ["--var", "version=2", "--allow-unhealthy"];
    let plan = bench.run(&["plan"], &arguments).exits(0).stdout();
    assert!(plan.contains("Warning: the health check passes on none of"), "{plan}");
    assert!(bench.versions().iter().all(|version| version.as_deref() == Some("1")));
}

#[test]
fn doctor_refuses_a_gateway_with_more_workers_than_the_playbook_says() {
    let bench = Bench::new(2, vec![quick(4)]);
    for workers in [1, 2] {
        let edited = bench.lab.playbook(|playbook| {
            playbook["gateways"][0]["workers"] = workers.into();
        });
        edited.expect("a playbook");
        let why = format!("4 workers seen, but the playbook says `workers: {workers}`");
        assert_refused(&bench, &why);
        bench.run(&["deploy"], &["--var", "version=2", "--yes"]).exits(3).says(&why);
    }
    assert!(bench.versions().iter().all(|version| version.as_deref() == Some("1")));
}

#[test]
fn doctor_refuses_a_gateway_that_does_not_follow_the_registry() {
    // It follows the keys, and the playbook writes maintenance mode.
    let config = LabConfig {
        agents: true,
        ..LabConfig::new(3, vec![quick(2), GatewayConfig::immediate(2).naming_workers()])
    };
    let bench = Bench::with(config, |playbook| {
        for gateway in playbook["gateways"].as_array_mut().expect("gateways") {
            let url = gateway["status_url"].as_str().expect("a URL");
            let url = url.replace("/upstream_list?app", "/peers");
            *gateway = json!({
                "type": "http-table", "name": gateway["name"], "url": url, "list": "/peers",
                "address": "/address", "routed": "/routed", "workers": 2, "sync_interval": "0s",
            });
        }
    });
    bench.lab.agents[0].maintain(true, "rollgate:%20release%20x").expect("maintenance");
    let page = assert_all_refused(&bench, "still routes to it although it is marked down");
    assert!(page.contains("only a change shows whether the token may put app"), "{page}");
    assert_eq!(bench.lab.gateways[0].config().source, Source::Keys);
}

/// One gateway of each kind with an API of its own.
#[test]
fn doctor_names_kind_and_blocker_of_each_gateway_with_an_api() {
    let haproxies = vec![HaproxyConfig::new(Reach::Tcp)];
    let config = LabConfig { haproxies, caddies: 1, envoys: 1, ..LabConfig::new(2, Vec::new()) };
    let bench = Bench::with(config, |_| {});
    let page = doctor(&bench).exits(0).stdout();
    for kind in ["HAProxy 2.", "Caddy", "Envoy 1."] {
        let told = page.lines().find(|line| line.contains(kind)).unwrap_or_default();
        assert!(told.contains("routes to 2 of 2 nodes"), "{kind} is missing in:\n{page}");
    }
    let refused = |kind: &str, key: &str, value: serde_json::Value, why: &str| {
        let edited = bench.lab.playbook(|playbook| {
            let gateways = playbook["gateways"].as_array_mut().expect("gateways");
            let gateway = gateways.iter_mut().find(|gateway| gateway["type"] == kind);
            gateway.expect("one of the kind")[key] = value;
        });
        edited.expect("a playbook");
        // Its nodes cannot be marked either.
        assert_all_refused(&bench, why);
    };
    refused("haproxy", "backend", json!("nope"), "nope");
    refused("caddy", "handler", json!("nope"), "nope");
    refused("envoy", "cluster", json!("nope"), "cluster `nope`");
    refused("envoy", "file", json!("/etc/nope.json"), "nope.json");
}

#[test]
fn envoy_with_another_panic_threshold_than_the_playbook_is_refused() {
    let config = LabConfig { envoys: 1, ..LabConfig::new(2, Vec::new()) };
    let mut bench = Bench::with(config, |_| {});
    bench.lab.envoys[0].panic_threshold = 50;
    bench.lab.envoys[0].restart().expect("it starts again");
    let why = "`healthy_panic_threshold` 50, but the playbook says `panic_threshold: 0`";
    assert_refused(&bench, why);
    // A release without the doctor is refused as well.
    let file = bench.lab.envoys[0].says().expect("a file");
    let plan = bench.run(&["plan"], &["--var", "version=2"]).exits(3).stdout();
    assert!(plan.contains(why), "{plan}");
    bench.run(&["deploy"], &["--var", "version=2", "--yes"]).exits(3).says(why);
    bench.run(&["node", "out"], &["node-1", "--var", "version=1", "--yes"]).exits(3).says(why);
    assert_eq!(bench.lab.envoys[0].says().expect("a file"), file);
    assert!(bench.versions().iter().all(|version| version.as_deref() == Some("1")));
}

/// A socket that permits reads may refuse changes.
#[test]
fn haproxy_socket_without_admin_level_is_refused() {
    let haproxies = vec![HaproxyConfig { level: "operator", ..HaproxyConfig::new(Reach::Socket) }];
    let bench = Bench::with(LabConfig { haproxies, ..LabConfig::new(2, Vec::new()) }, |_| {});
    assert_all_refused(
        &bench,
        "the socket has the level `operator`, and only `admin` may change a server",
    );
}
