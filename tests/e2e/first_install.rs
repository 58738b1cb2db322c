//! Nodes on which nothing was ever installed: there is no `current` link, and no service runs.

use rollgate_lab::{Fault, LabConfig, NodeConfig};
use serde_json::json;

use crate::harness::{Bench, Ran, quick, rollgate};

/// A lab in which these of `nodes` are empty. As with systemd, a stop fails when nothing runs.
fn bench(nodes: usize, empty: &[usize]) -> Bench {
    let mut config = LabConfig::new(nodes, vec![quick(2), quick(1)]);
    for node in empty {
        config.nodes[*node] = NodeConfig { empty: true, ..NodeConfig::default() };
    }
    Bench::with(config, |playbook| {
        playbook["stop"] = "/srv/app/ctl status && /srv/app/ctl stop".into();
        playbook["health"]["deadline"] = "3s".into();
        playbook["strategy"] = json!({ "min_available": 1, "on_failure": "rollback_node" });
    })
}

/// Two nodes serve. The third is empty and marked down, so that no gateway sends it requests.
fn with_a_new_node() -> Bench {
    let bench = bench(3, &[2]);
    bench.lab.mark(2, true).expect("Consul answers");
    bench
}

#[test]
fn service_that_was_never_installed_is_released_to_every_node() {
    let bench = bench(2, &[0, 1]);
    let doctor = bench.run(&["doctor"], &["--var", "version=2"]).exits(0).stdout();
    assert_eq!(
        doctor.matches("runs nothing yet (first install), marked up").count(),
        2,
        "{doctor}"
    );
    let plan = bench.run(&["plan"], &["--var", "version=2"]).exits(0).stdout();
    assert!(plan.contains("first install on node-1, node-2: nothing runs there"), "{plan}");
    let deployed = bench.deploy("2").exits(0).says("nothing was running (exit 3: stopped)");
    assert!(!deployed.stderr().contains("FAILED"), "{}", deployed.stderr());
    // They serve and can be updated.
    bench.run(&["status"], &[]).exits(0);
    let load = bench.load();
    bench.deploy("3").exits(0).says("DONE");
    let totals = bench.assert_unnoticed(load);
    assert_eq!(totals.by_node.len(), 2, "{totals:?}");
    bench.assert_nothing_left();
}

#[test]
fn empty_node_joins_nodes_that_serve_without_a_failed_request() {
    let bench = with_a_new_node();
    let doctor = bench.run(&["doctor"], &["--var", "version=2"]).exits(0).stdout();
    assert!(doctor.contains("runs nothing yet (first install), marked down"), "{doctor}");
    let plan = bench.run(&["plan"], &["--var", "version=2"]).exits(0).stdout();
    assert!(plan.contains("first install on node-3: nothing runs there"), "{plan}");
    bench.release();
    assert!((0..3).all(|index| !bench.is_down(index)));
    bench.run(&["rollback"], &["--only", "node-3", "--yes"]).exits(0).says("DONE");
    assert_eq!(bench.versions(), [Some("2".into()), Some("2".into()), None]);
    assert!(bench.is_down(2));
    bench.assert_nothing_left();
}

#[test]
fn failed_first_install_is_stopped_and_out_and_can_be_repeated() {
    let bench = with_a_new_node();
    bench.lab.artifact("9", Fault::NeverReady).expect("an artifact");
    let load = bench.load();
    let failed = bench
        .deploy("9")
        .exits(20)
        .says("leaving rotation: it was a first install, there is no version before")
        .says("stopped and out, was a first install");
    assert_eq!(bench.versions(), [Some("1".into()), Some("1".into()), None]);
    assert!(bench.is_down(2));
    let status = bench.lab.nodes[2].exec("/srv/app/ctl status").expect("the node answers");
    assert_eq!(String::from_utf8_lossy(&status.stdout).trim(), "stopped");
    // The version is mended, and the suggested command typed.
    bench.lab.artifact("9", Fault::None).expect("an artifact");
    let again = failed.next("after a fix, release 9 again");
    let again: Vec<_> = again.iter().map(String::as_str).collect();
    Ran(bench.lab.run(&rollgate(), &again).expect("rollgate runs")).exits(0).says("DONE");
    assert!(bench.versions().iter().all(|version| version.as_deref() == Some("9")));
    assert!((0..3).all(|index| !bench.is_down(index)));
    bench.assert_unnoticed(load);
    bench.assert_nothing_left();
}
