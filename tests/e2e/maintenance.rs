//! Releases of services that Consul's maintenance mode takes out, behind gateways that follow their health.

use std::time::Duration;

use rollgate_lab::{Check, GatewayConfig, LabConfig, NodeConfig, Source, get};
use serde_json::{Value, json};

use crate::harness::Bench;

/// Three nodes with an agent each, behind these gateways.
fn bench(gateways: Vec<GatewayConfig>, edit: impl FnOnce(&mut Value)) -> Bench {
    let config = LabConfig { agents: true, ..LabConfig::new(3, gateways) };
    Bench::with(config, edit)
}

/// Gateways that query for changes of the passing instances.
fn blocking() -> GatewayConfig {
    GatewayConfig::immediate(2).naming_workers().of(Source::Passing)
}

/// A shell command that calls the node's own agent; the instance's id is `app-<node>`.
fn at_the_agent(path: &str, body: &str) -> String {
    format!(
        "curl -fsS -X PUT -d '{body}' \"http://${{{{ node.host }}}}:8500/v1/agent/service/{path}\""
    )
}

/// The registration of a node's instance, passing at once.
fn registration() -> String {
    let registration = json!({
        "ID": "app-${{ node.name }}",
        "Name": "app",
        "Address": "${{ node.host }}",
        "Port": 9000,
        "Check": {
            "HTTP": "http://${{ node.address }}/ping",
            "Interval": "300ms",
            "Timeout": "1s",
            "Status": "passing",
        },
    });
    registration.to_string()
}

#[test]
fn no_request_fails_behind_gateways_that_follow_health_in_different_ways() {
    let gateways = vec![
        blocking(),
        GatewayConfig::poll(2, 5000).naming_workers().of(Source::Passing),
        GatewayConfig::poll(2, 1000).naming_workers().of(Source::Records),
    ];
    let bench = bench(gateways, |_| {});
    bench.release();
    for agent in &bench.lab.agents {
        assert_eq!(agent.maintenance().expect("an answer"), None);
    }
}

#[test]
fn no_request_fails_behind_a_dns_gateway_without_a_status_page() {
    let gateways = vec![GatewayConfig::poll(2, 1000).of(Source::Records)];
    let bench = bench(gateways, |playbook| {
        let server = playbook["consul"]["addresses"][0].as_str().expect("an address");
        let server = server.trim_start_matches("http://").replace(":8500", ":8600");
        playbook["gateways"] = json!([
            { "type": "consul-dns", "server": server, "record": "app.service.consul" },
        ]);
    });
    bench.release();
}

#[test]
fn no_request_fails_with_any_kind_of_consul_check() {
    let checks = [Check::Http, Check::Tcp, Check::Ttl, Check::Script];
    let mut config =
        LabConfig { agents: true, ..LabConfig::new(checks.len(), vec![blocking(), blocking()]) };
    config.nodes =
        checks.map(|check| NodeConfig { check, ..NodeConfig::default() }).into_iter().collect();
    let bench =
        Bench::with(config, |playbook| playbook["health"]["consul"] = json!({ "service": "app" }));
    for (agent, kind) in bench.lab.agents.iter().zip(["http", "tcp", "ttl", "script"]) {
        let checks = get(&format!("{}/v1/agent/checks", agent.url())).expect("an answer").body;
        assert!(checks.contains(&format!(r#""Type":"{kind}""#)), "{checks}");
    }
    bench.release();
    for agent in &bench.lab.agents {
        assert_eq!(agent.maintenance().expect("an answer"), None);
    }
    // The configuration of the last agent says when it removes its instance.
    let patient = bench.lab.playbook(|playbook| playbook["health"]["deadline"] = "2h".into());
    patient.expect("a playbook");
    let page = bench.run(&["doctor"], &["--var", "version=2"]).exits(3).stdout();
    let refused = |line: &&str| line.contains("after 1h00m in critical state");
    let line = page.lines().find(refused).unwrap_or_else(|| panic!("{page}"));
    assert!(line.contains("node-4") && page.contains("Not ready: 1 problem"), "{page}");
}

#[test]
fn service_that_registers_again_on_restart_stays_out_until_healthy() {
    let ways = [
        ("register", at_the_agent("register", &registration()), None),
        (
            "replace",
            at_the_agent("register?replace-existing-checks=true", &registration()),
            Some("was up again"),
        ),
        (
            "deregister",
            format!(
                "{}; {}",
                at_the_agent("deregister/app-${{ node.name }}", ""),
                at_the_agent("register", &registration())
            ),
            Some("was up again"),
        ),
    ];
    let bench = bench(vec![blocking(), blocking()], |_| {});
    for (version, (way, command, told)) in ["2", "3", "1"].into_iter().zip(ways) {
        let playbook = bench.lab.playbook_named(&format!("{way}.yaml"), |playbook| {
            // A command that ends its maintenance must first be able to serve, as gateways may send requests at that
            // moment. Without maintenance it may be registered as passing long before.
            let listens = "until curl -fs -o /dev/null http://${{ node.address }}/ping; do sleep 0.02; done; ";
            let wait = told.map_or("", |_| listens);
            playbook["start"] = format!("/srv/app/ctl start; {wait}{command}").into();
        });
        let playbook = playbook.expect("a playbook");
        let load = bench.load();
        let version = format!("version={version}");
        let file = playbook.to_str().expect("UTF-8");
        let ran = bench.run_on(file, &["deploy"], &["--var", &version, "--yes"]).exits(0);
        bench.assert_unnoticed(load);
        if let Some(told) = told {
            ran.says(told);
        }
    }
}

#[test]
fn agent_maintenance_survives_every_registration() {
    let command = format!(
        "{}; {}",
        at_the_agent("deregister/app-${{ node.name }}", ""),
        at_the_agent("register", &registration())
    );
    let slow = rollgate_lab::Release {
        start_delay: Duration::from_secs(2),
        ..rollgate_lab::Release::new("2")
    };
    // A poll would catch the moment in which it is up.
    let gateways =
        vec![GatewayConfig::poll(2, 300).naming_workers().of(Source::Passing), blocking()];
    let bench = bench(gateways, |playbook| {
        playbook["registry"]["maintenance"] = "node".into();
        // Registered as passing, long before it can serve.
        playbook["start"] = format!("{command}; /srv/app/ctl start").into();
    });
    bench.lab.artifact_of(&slow).expect("an artifact");
    let load = bench.load();
    let ran = bench.deploy("2").exits(0);
    bench.assert_unnoticed(load);
    assert!(!ran.stderr().contains("was up again"), "{}", ran.stderr());
}

#[test]
fn foreign_maintenance_mode_is_kept() {
    let bench = bench(vec![blocking()], |_| {});
    let agent = &bench.lab.agents[1];
    agent.maintain(true, "disk-check-by-ann").expect("maintenance");
    let version = ["--var", "version=2", "--yes"];
    let ran = bench.run(&["deploy"], &version).exits(3);
    ran.says("maintenance for another reason (disk-check-by-ann): rollgate does not change it");
    assert_eq!(agent.maintenance().expect("an answer").as_deref(), Some("disk-check-by-ann"));
    assert!(bench.versions().iter().all(|version| version.as_deref() == Some("1")));
    agent.maintain(false, "").expect("no maintenance");
    bench.run(&["node", "out"], &["node-2", "--var", "version=2", "--yes"]).exits(0);
    let reason = agent.maintenance().expect("an answer").expect("it is out");
    assert!(reason.starts_with("rollgate: release "), "{reason}");
    bench.run(&["node", "in"], &["node-2", "--var", "version=1", "--yes"]).exits(0);
    assert_eq!(agent.maintenance().expect("an answer"), None);
}

#[test]
fn agent_without_an_instance_of_the_service_is_refused() {
    let bench = bench(vec![blocking()], |playbook| {
        let addresses = playbook["consul"]["addresses"].clone();
        playbook["registry"]["agent"] = addresses[0].clone();
    });
    let ran = bench.run(&["deploy"], &["--var", "version=2", "--yes"]).exits(3);
    ran.says("does not own app-node-1");
    assert!(bench.versions().iter().all(|version| version.as_deref() == Some("1")));
}

/// Consul's default agent address: here a name that only the node resolves.
#[test]
fn agent_reachable_only_from_its_node_is_queried_from_there() {
    let bench = bench(vec![blocking()], |playbook| {
        playbook["registry"]["agent"] = "http://itself:8500".into();
    });
    let version = ["--var", "version=2", "--yes"];
    bench.run(&["deploy"], &version).exits(3).says("http://itself:8500");
    let file = bench.lab.playbook(|playbook| {
        playbook["registry"]["agent"] = "http://itself:8500".into();
        playbook["registry"]["agent_on"] = "node".into();
    });
    let file = file.expect("a playbook");
    bench.release_under(bench.load(), file.to_str().expect("UTF-8"));
    for agent in &bench.lab.agents {
        assert_eq!(agent.maintenance().expect("an answer"), None);
    }
}
