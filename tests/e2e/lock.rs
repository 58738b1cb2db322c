//! One release at a time: the lock's holder is reported, and a holder that was suspended too long writes nothing.

use rollgate_lab::LabConfig;
use serde_json::Value;

use crate::harness::{Bench, Ran, quick, signal};

/// A release of version 2 that stays in its first drain for some seconds.
fn lingering() -> Bench {
    Bench::with(LabConfig::new(3, vec![quick(2)]), |playbook| {
        playbook["drain"]["settle"] = "3s".into();
    })
}

#[test]
fn second_release_reports_the_lock_holder_and_can_wait() {
    let bench = lingering();
    let (first, lines) = bench.start_until("2", "drain");
    // A process with the same state folder reports it, and another machine reads it from Consul.
    let keys = bench.keys();
    let here = format!("process {} on this machine, which runs", first.id());
    bench.deploy("3").exits(4).says("the lock is held by ").says("`deploy`").says(&here);
    let elsewhere = bench.lab.directory().join("elsewhere");
    let elsewhere = elsewhere.to_str().expect("UTF-8");
    let version = ["--var", "version=3", "--yes", "--state-dir", elsewhere];
    bench.run(&["deploy"], &version).exits(4).says("the lock is held by ").says("lock break");
    assert_eq!(bench.keys(), keys, "who waits writes nothing");
    let shown = bench.run(&["lock", "show"], &[]).exits(0).stdout();
    assert!(shown.starts_with("held by ") && shown.contains("release "), "{shown}");
    let status = bench.run(&["status"], &[]).exits(0).stdout();
    assert!(status.contains("in progress") && status.contains("Lock held by "), "{status}");
    let waiting = [&version[..], &["--lock-wait", "1m"]].concat();
    bench.run(&["deploy"], &waiting).exits(0).says("waiting: the lock is held by ");
    drop(lines);
    Ran(first.wait_with_output().expect("ends")).exits(0);
    assert!(bench.versions().iter().all(|version| version.as_deref() == Some("3")));
    let shown = bench.run(&["lock", "show"], &[]).exits(0).stdout();
    assert!(shown.starts_with("free; last held by "), "{shown}");
}

#[test]
fn suspended_lock_holder_writes_nothing_and_reports_the_loss() {
    let bench = lingering();
    let (first, lines) = bench.start_until("2", "drain");
    signal(first.id(), "-STOP");
    bench.run(&["lock", "break"], &["--yes"]).exits(0).says("The lock is free; it was taken from ");
    // The next release takes over from the first, while the first is still suspended.
    let elsewhere = bench.lab.directory().join("elsewhere");
    let elsewhere = elsewhere.to_str().expect("UTF-8");
    let version = ["--var", "version=3", "--yes", "--state-dir", elsewhere];
    bench.run(&["deploy"], &version).exits(0);
    let keys = bench.keys();
    signal(first.id(), "-CONT");
    let events: Vec<Value> =
        lines.map(|line| serde_json::from_str(&line.expect("a line")).expect("an event")).collect();
    let ran = Ran(first.wait_with_output().expect("ends")).exits(4).says("LOCK LOST");
    let last = events.last().expect("events");
    assert_eq!(last["data"]["result"], "lock_lost", "{}", ran.stderr());
    assert_eq!(bench.keys(), keys, "nothing was written");
    assert!(bench.versions().iter().all(|version| version.as_deref() == Some("3")));
}

#[test]
fn lock_of_a_dead_holder_on_this_machine_is_acquired_at_once() {
    let bench = lingering();
    let (mut first, _lines) = bench.start_until("2", "drain");
    signal(first.id(), "-KILL");
    first.wait().expect("ends");
    bench.deploy("2").exits(0);
    assert!(bench.versions().iter().all(|version| version.as_deref() == Some("2")));
}

#[test]
fn early_end_of_the_session_delays_the_release_but_does_not_end_it() {
    let bench = lingering();
    let (first, lines) = bench.start_until("2", "drain");
    let held = bench.lab.consul.insist("GET", "v1/kv/rollgate/app/lock", "").expect("Consul");
    let held: Value = serde_json::from_str(&held.body).expect("JSON");
    // As when the server of the session is lost.
    let session = held[0]["Session"].as_str().expect("a session");
    bench.lab.consul.insist("PUT", &format!("v1/session/destroy/{session}"), "").expect("Consul");
    let lines: Vec<String> = lines.map(|line| line.expect("a line")).collect();
    assert!(lines.len() > 10, "it continues: {lines:#?}");
    Ran(first.wait_with_output().expect("ends")).exits(0);
    assert!(bench.versions().iter().all(|version| version.as_deref() == Some("2")));
}
