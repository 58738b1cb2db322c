//! A playbook by situation, released as it is: systemd is the first process of every node.

use rollgate::playbook::load_text;
use rollgate_lab::{HaproxyConfig, LabConfig, NodeConfig, Reach};
use serde_json::json;

use crate::harness::Bench;

const SYSTEMD: &str = include_str!("../../playbooks/systemd.yaml");

/// The unit in the comment of the playbook.
fn unit() -> String {
    let lines = SYSTEMD.lines().filter_map(|line| line.strip_prefix("#     "));
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

/// The gateways and the nodes are those of the lab. Everything else is as the playbook says.
#[test]
fn playbook_for_systemd_releases_with_systemd_on_every_node() {
    assert!(unit().contains("ExecStart="), "{}", unit());
    let node = NodeConfig { unit: Some(unit()), ..NodeConfig::default() };
    let haproxies = vec![HaproxyConfig::new(Reach::Socket)];
    let config = LabConfig { nodes: vec![node; 2], haproxies, ..LabConfig::new(2, Vec::new()) };
    let bench = Bench::with(config, |lab| {
        let loaded =
            load_text("systemd.yaml", SYSTEMD).unwrap_or_else(|invalid| panic!("{invalid}"));
        let mut own = serde_json::to_value(&loaded.playbook).expect("JSON");
        for key in ["gateways", "nodes"] {
            own[key] = lab[key].clone();
        }
        own["ssh"] = json!({ "config": lab["ssh"]["config"], "sudo": true });
        *lab = own;
    });
    bench.release_counted();
    for node in &bench.lab.nodes {
        let shown = node.exec(
            "systemctl show app --property=ActiveState,Result,MainPID; ss -tlnpH 'sport = :9000'",
        );
        let shown = String::from_utf8_lossy(&shown.expect("the node answers").stdout).into_owned();
        let pid = shown.lines().find_map(|line| line.strip_prefix("MainPID=")).expect("a process");
        assert!(
            shown.contains("ActiveState=active") && shown.contains("Result=success"),
            "{shown}"
        );
        assert!(shown.contains(&format!("pid={pid},")), "systemd runs what listens: {shown}");
    }
    bench.assert_nothing_left();
}
