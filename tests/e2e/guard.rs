//! A node that is out stays out, even when another writer edits its key.

use std::time::Duration;

use rollgate_lab::{LabConfig, until};
use serde_json::Value;

use crate::harness::{Bench, Ran, quick};

/// Sets node-1's key to up when its release reaches `step`, waits until it is down again, and lets the release end.
/// Returns the later events.
fn set_back(bench: &Bench, step: &str) -> (Vec<Value>, Ran) {
    let (child, lines) = bench.start_until("2", step);
    bench.lab.mark(0, false).expect("marked");
    let down = until("the key is down again", Duration::from_secs(2), || {
        Ok(bench.is_down(0).then_some(()))
    });
    assert!(down.is_ok(), "{down:?}");
    let events = lines.map(|line| serde_json::from_str(&line.expect("a line")).expect("an event"));
    let events: Vec<Value> = events.collect();
    let ran = Ran(child.wait_with_output().expect("ends")).exits(0);
    let told = events.iter().any(|event| {
        let message = event["data"]["message"].as_str().unwrap_or_default();
        event["type"] == "warning" && message.contains("it was marked down again")
    });
    assert!(told, "it was not reported:\n{events:#?}");
    (events, ran)
}

#[test]
fn node_marked_up_during_drain_is_confirmed_out_again_before_stop() {
    let bench = Bench::with(LabConfig::new(3, vec![quick(2), quick(2)]), |playbook| {
        playbook["drain"]["settle"] = "3s".into();
    });
    let load = bench.load();
    let (events, _) = set_back(&bench, "drain");
    let again = events.iter().take_while(|event| event["step"] != "stop");
    let again =
        again.filter(|event| event["type"] == "step.started" && event["step"] == "confirm_out");
    assert_eq!(again.count(), 1, "{events:#?}");
    bench.assert_unnoticed(load);
}

#[test]
fn node_marked_up_while_stopped_is_marked_down_within_two_seconds() {
    let bench = Bench::with(LabConfig::new(3, vec![quick(2)]), |playbook| {
        playbook["start"] = "sleep 3; /srv/app/ctl start".into();
    });
    set_back(&bench, "start");
    assert!(bench.versions().iter().all(|version| version.as_deref() == Some("2")));
}
