//! A release that was killed in any step is taken up again, from here or from another machine, to the same end.

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
fn a_killed_release_goes_on_before_the_service_is_stopped() {
    goes_on_after_a_kill(&["stage", "disable", "confirm_out", "drain"]);
}

#[test]
fn a_killed_release_goes_on_while_the_service_is_replaced() {
    goes_on_after_a_kill(&["stop", "activate", "start"]);
}

#[test]
fn a_killed_release_goes_on_while_the_node_comes_back() {
    goes_on_after_a_kill(&["health", "enable", "confirm_in"]);
}

/// Kills a release in each step; every other time another machine goes on, one that has only Consul.
#[track_caller]
fn goes_on_after_a_kill(steps: &[&str]) {
    let bench = Bench::with(LabConfig::new(3, vec![quick(2), quick(1)]), slow);
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
            assert!(status.contains("it was cut off"), "{status}");
            assert!(status.contains("Next  go on with it: rollgate resume "), "{status}");
            bench.run(&["resume"], &["--yes", "--state-dir", elsewhere]).exits(0).says("DONE");
        }
        let versions = bench.versions();
        assert!(
            versions.iter().all(|seen| seen.as_deref() == Some(version)),
            "{step}: {versions:?}"
        );
        assert!((0..3).all(|index| !bench.is_down(index)), "{step}");
        bench.assert_nothing_left();
        bench.assert_unnoticed(load);
        bench.run(&["resume"], &["--yes"]).exits(0).says("Nothing to do");
    }
}
