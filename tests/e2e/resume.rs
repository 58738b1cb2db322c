//! A release that was killed in any step resumes, from here or from another machine, and reaches the same end.

use rollgate_lab::LabConfig;
use serde_json::Value;

use crate::harness::{Bench, quick, signal};

/// Steps that last long enough to be hit.
fn slow(playbook: &mut Value) {
    playbook["stop"] = "/srv/app/ctl stop; sleep 0.4".into();
    playbook["start"] = "sleep 0.3; /srv/app/ctl start; sleep 0.3".into();
    playbook["health"]["min_healthy_time"] = "500ms".into();
    playbook["drain"]["settle"] = "500ms".into();
}

#[test]
fn release_killed_before_stop_resumes() {
    goes_on_after_a_kill(&["stage", "disable", "confirm_out", "drain"]);
}

#[test]
fn release_killed_while_the_service_is_replaced_resumes() {
    goes_on_after_a_kill(&["stop", "activate", "start"]);
}

#[test]
fn release_killed_while_the_node_returns_resumes() {
    goes_on_after_a_kill(&["health", "enable", "confirm_in"]);
}

/// Kills a release in each step; every other time it resumes on another machine, which has only what Consul keeps.
#[track_caller]
fn goes_on_after_a_kill(steps: &[&str]) {
    let bench = Bench::with(LabConfig::new(2, vec![quick(2), quick(1)]), slow);
    for (round, step) in steps.iter().enumerate() {
        let version = if round % 2 == 0 { "2" } else { "3" };
        let load = bench.load();
        let (mut killed, events) = bench.start_until(version, step);
        signal(killed.id(), "-KILL");
        killed.wait().expect("ends");
        drop(events);
        let elsewhere = bench.lab.directory().join(format!("machine-{round}"));
        let elsewhere = elsewhere.to_str().expect("UTF-8");
        if round % 2 == 0 {
            bench.run(&["resume"], &["--yes"]).exits(0).says("DONE");
        } else {
            bench.run(&["lock", "break"], &["--yes"]).exits(0);
            let status = bench.run(&["status"], &["--state-dir", elsewhere]).exits(0).stdout();
            assert!(status.contains("ago (rollgate ended in the middle)"), "{status}");
            assert!(status.contains("Next  resume: rollgate resume "), "{status}");
            bench.run(&["resume"], &["--yes", "--state-dir", elsewhere]).exits(0).says("DONE");
        }
        let versions = bench.versions();
        assert!(
            versions.iter().all(|seen| seen.as_deref() == Some(version)),
            "{step}: {versions:?}"
        );
        assert!((0..2).all(|index| !bench.is_down(index)), "{step}");
        bench.assert_nothing_left();
        bench.assert_unnoticed(load);
        bench.run(&["resume"], &["--yes"]).exits(0).says("Nothing to do");
    }
}

/// Kills a release with these options once its second node is drained.
fn kill_at_the_second_node(bench: &Bench, options: &[&str]) {
    let (mut killed, mut events) = bench.start_with_until(options, "drain");
    let second = |event: &str| event.contains(r#""node":"node-2","step":"drain""#);
    assert!(events.any(|event| second(&event.expect("a line"))), "node-2 is never drained");
    signal(killed.id(), "-KILL");
    killed.wait().expect("ends");
}

/// Kills a release of version 2 once its second node is drained; returns its id.
fn killed_at_the_second_node(bench: &Bench) -> String {
    kill_at_the_second_node(bench, &["--var", "version=2"]);
    let journals = bench.lab.directory().join(".rollgate/app");
    let folders = std::fs::read_dir(journals).expect("a state folder").flatten();
    let mut folders = folders.filter(|entry| entry.path().join("journal.jsonl").exists());
    let id = folders.next().expect("a journal").file_name();
    assert!(folders.next().is_none(), "one release only");
    id.into_string().expect("UTF-8")
}

/// A resume must not undo what another operator has released since.
#[test]
fn superseded_release_is_not_resumed() {
    let bench = Bench::with(LabConfig::new(3, vec![quick(1)]), slow);
    let id = killed_at_the_second_node(&bench);
    bench.run(&["lock", "break"], &["--yes"]).exits(0);
    let elsewhere = bench.lab.directory().join("elsewhere");
    let elsewhere =
        ["--var", "version=3", "--yes", "--state-dir", elsewhere.to_str().expect("UTF-8")];
    bench.run(&["deploy"], &elsewhere).exits(0);
    let refused = bench.run(&["resume"], &[&id, "--yes"]).exits(3);
    refused.says("is superseded: ").says("(deploy to 3) started later and changed node-");
    assert!(bench.versions().iter().all(|version| version.as_deref() == Some("3")));
    // Without an id the command means the last release, and that is done.
    bench.run(&["resume"], &["--yes"]).exits(0).says("Nothing to do");
    bench.assert_nothing_left();
}

#[test]
fn killed_restart_resumes_and_restarts_each_node_once() {
    let bench = Bench::with(LabConfig::new(3, vec![quick(2), quick(1)]), slow);
    bench.run(&["deploy"], &["--var", "version=2", "--only", "node-2", "--yes"]).exits(0);
    let pids = || -> Vec<_> {
        let pid = |node: &rollgate_lab::Node| node.exec("cat /srv/app/pid").expect("runs").stdout;
        bench.lab.nodes.iter().map(pid).collect()
    };
    let load = bench.load();
    let before = pids();
    kill_at_the_second_node(&bench, &["--restart"]);
    let killed = pids();
    assert_ne!(killed[0], before[0], "node-1 is restarted");
    assert_eq!(killed[1..], before[1..]);
    bench.run(&["resume"], &["--yes"]).exits(0).says("DONE");
    let resumed = pids();
    assert_eq!(resumed[0], killed[0], "node-1 is not restarted again");
    assert!((1..3).all(|node| resumed[node] != before[node]), "the others are restarted");
    let versions: Vec<_> = bench.versions().into_iter().flatten().collect();
    assert_eq!(versions, ["1", "2", "1"]);
    assert!((0..3).all(|index| !bench.is_down(index)));
    bench.assert_unnoticed(load);
    bench.run(&["resume"], &["--yes"]).exits(0).says("Nothing to do");
    bench.assert_nothing_left();
}

#[test]
fn resume_repeats_a_done_node_that_was_changed_by_hand() {
    let bench = Bench::with(LabConfig::new(3, vec![quick(1)]), slow);
    killed_at_the_second_node(&bench);
    bench.run(&["lock", "break"], &["--yes"]).exits(0);
    let by_hand = "cd /srv/app && ln -sfn releases/app-1-* current && ./ctl stop && ./ctl start";
    bench.lab.nodes[0].exec(by_hand).expect("runs");
    let refused = bench.run(&["resume"], &["--yes"]).exits(3);
    refused
        .says("node-1 was done and runs version 1 now: another program changed it; deploy again");
    // A node whose service ended is updated again.
    let by_hand = "cd /srv/app && ln -sfn releases/app-2-* current && ./ctl stop";
    bench.lab.nodes[0].exec(by_hand).expect("runs");
    bench.run(&["resume"], &["--yes"]).exits(0).says("DONE");
    assert!(bench.versions().iter().all(|version| version.as_deref() == Some("2")));
    bench.assert_nothing_left();
}
