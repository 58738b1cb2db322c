//! Returns to what ran before: a whole release, one node, and by itself after a bad version.

use rollgate_lab::{Fault, LabConfig};
use serde_json::Value;

use crate::harness::{Bench, quick, signal};

fn bench(edit: impl FnOnce(&mut Value)) -> Bench {
    Bench::with(LabConfig::new(3, vec![quick(2), quick(1)]), |playbook| {
        playbook["health"]["deadline"] = "3s".into();
        edit(playbook);
    })
}

#[track_caller]
fn assert_versions(bench: &Bench, versions: [&str; 3]) {
    let seen: Vec<_> = bench.versions().into_iter().map(Option::unwrap_or_default).collect();
    assert_eq!(seen, versions);
    assert!((0..3).all(|index| !bench.is_down(index)), "all are marked up");
}

#[test]
fn rollback_runs_the_checks_of_a_release_and_only_once() {
    let bench = bench(|_| {});
    let load = bench.load();
    bench.deploy("2").exits(0);
    bench.run(&["rollback"], &["--only", "node-2", "--yes"]).exits(0).says("DONE");
    assert_versions(&bench, ["2", "1", "2"]);
    // From another machine, which has only what Consul keeps.
    let elsewhere = bench.lab.directory().join("elsewhere");
    let elsewhere = elsewhere.to_str().expect("UTF-8");
    bench.run(&["rollback"], &["--yes", "--state-dir", elsewhere]).exits(0).says("DONE");
    assert_versions(&bench, ["1", "1", "1"]);
    bench.run(&["rollback"], &["--yes"]).exits(0).says("Nothing to do");
    bench.assert_unnoticed(load);
    bench.assert_nothing_left();
}

#[test]
fn failed_node_rolls_back_by_itself() {
    let bench = bench(|playbook| playbook["strategy"]["on_failure"] = "rollback_node".into());
    bench.lab.artifact("9", Fault::NeverReady).expect("an artifact");
    let load = bench.load();
    bench
        .deploy("9")
        .exits(21)
        .says("rolling back to version 1")
        .says("ROLLED BACK")
        .says("503 in ");
    assert_versions(&bench, ["1", "1", "1"]);
    bench.assert_unnoticed(load);
    let plan = bench.run(&["plan"], &["--var", "version=9"]).exits(0).stdout();
    assert!(plan.contains("Rollback   3 nodes can return to version 1"), "{plan}");
}

/// Failed releases stay on the nodes until a release is done, and must not displace the one that a rollback needs.
#[test]
fn rollback_finds_what_ran_before_many_failed_releases() {
    let bench = bench(|playbook| playbook["artifact"]["keep"] = 1.into());
    bench.deploy("2").exits(0);
    for version in ["7", "8", "9"] {
        bench.lab.artifact(version, Fault::NeverReady).expect("an artifact");
        bench.deploy(version).exits(20);
    }
    bench.lab.artifact("3", Fault::None).expect("an artifact");
    bench.deploy("3").exits(0).says("deleted app-");
    let left = bench.releases(0).into_iter().filter(|name| name.starts_with("app-"));
    assert_eq!(left.count(), 3, "1 (not rollgate's), 2 and 3: {:?}", bench.releases(0));
    bench.run(&["rollback"], &["--yes"]).exits(0).says("DONE");
    assert_versions(&bench, ["2", "2", "2"]);
}

/// Version 2 does not start on node-2.
fn bad_on_the_second(playbook: &mut Value) {
    let start = "[ ${{ node.name }} != node-2 ] || [ ${{ version }} != 2 ] && /srv/app/ctl start";
    playbook["start"] = start.into();
}

#[test]
fn on_failure_rollback_all_rolls_back_every_node() {
    let bench = bench(|playbook| {
        bad_on_the_second(playbook);
        playbook["strategy"]["on_failure"] = "rollback_all".into();
    });
    let load = bench.load();
    bench.deploy("2").exits(21).says("ROLLED BACK");
    assert_versions(&bench, ["1", "1", "1"]);
    bench.assert_unnoticed(load);
}

#[test]
fn on_failure_continue_updates_the_other_nodes() {
    let bench = bench(|playbook| {
        bad_on_the_second(playbook);
        playbook["strategy"]["on_failure"] = "continue".into();
    });
    let load = bench.load();
    let ran = bench.deploy("2").exits(20).says("FAILED");
    assert_eq!(bench.versions()[0].as_deref(), Some("2"));
    assert_eq!(bench.versions()[2].as_deref(), Some("2"));
    assert!(bench.is_down(1));
    bench.assert_unnoticed(load);
    let next = ran.next("return node-2 to version 1");
    let next: Vec<_> = next.iter().map(String::as_str).collect();
    bench.lab.run(&crate::harness::rollgate(), &next).expect("runs");
    assert_versions(&bench, ["2", "1", "2"]);
}

#[test]
fn killed_rollback_resumes() {
    let bench = bench(|playbook| {
        bad_on_the_second(playbook);
        playbook["strategy"]["on_failure"] = "rollback_all".into();
        playbook["health"]["min_healthy_time"] = "1s".into();
    });
    let load = bench.load();
    let (mut killed, events) = bench.start_until("2", "start");
    // node-1 is updated, node-2 fails and rolls back, then node-1: the third health check is that of node-1's rollback.
    let mut proofs = 0;
    let reached = events.map(|line| line.expect("a line")).any(|line| {
        let event: Value = serde_json::from_str(&line).expect("an event");
        proofs += usize::from(event["type"] == "step.started" && event["step"] == "health");
        proofs == 3
    });
    assert!(reached, "the way back of node-1 was never reached");
    signal(killed.id(), "-KILL");
    killed.wait().expect("ends");
    bench.run(&["resume"], &["--yes"]).exits(21);
    assert_versions(&bench, ["1", "1", "1"]);
    bench.assert_unnoticed(load);
}
