//! Bad versions: the release stops, the node stays out, and all other nodes serve.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use rollgate_lab::{Fault, LabConfig, Release, until};
use serde_json::Value;

use crate::harness::{Bench, Ran, quick};

fn bench(edit: impl FnOnce(&mut Value)) -> Bench {
    let config = LabConfig::new(3, vec![quick(2), quick(2)]);
    Bench::with(config, |playbook| {
        playbook["health"]["deadline"] = "3s".into();
        playbook["hooks"] =
            serde_json::json!({ "on_failure": { "run": "tail -n 20 /srv/app/log", "on": "node" } });
        edit(playbook);
    })
}

/// Releases a bad version 9 under load: exit 20, node-1 out, the others untouched, no client impact.
#[track_caller]
fn fails(bench: &Bench, fault: Fault) -> Ran {
    bench.lab.artifact("9", fault).expect("an artifact");
    let load = bench.load();
    let ran = bench.deploy("9").exits(20).says("FAILED  release");
    let totals = load.stop();
    assert_eq!(totals.failed, 0, "{totals}\n{:?}", totals.failures);
    assert!(bench.is_down(0) && !bench.is_down(1) && !bench.is_down(2));
    assert_eq!(bench.versions()[1..], [Some("1".into()), Some("1".into())]);
    let ran = ran.says("node-1").says("OUT OF ROTATION, action required");
    ran.says("2 of 3 nodes serve (min_available 1): version 1 on 2 nodes.")
}

#[test]
fn version_that_is_never_ready_leaves_its_node_out_and_reports_the_last_check() {
    let bench = bench(|_| {});
    let ran = fails(&bench, Fault::NeverReady)
        .says("node-1, health: not healthy within")
        .says("503 in ")
        .says(r#"last body   {"status":"DOWN","db":"connect timeout 10.0.9.5:5432"}"#)
        .says("log         ")
        .says("ERROR");
    let next = ran.next("return node-1 to version 1");
    let next: Vec<_> = next.iter().map(String::as_str).collect();
    let ran = Ran(bench.lab.run(&crate::harness::rollgate(), &next).expect("runs")).exits(0);
    assert!(ran.stderr().contains("DONE"));
    assert!(bench.versions().iter().all(|version| version.as_deref() == Some("1")));
    assert!(!bench.is_down(0));
    bench.assert_nothing_left();
}

#[test]
fn crashing_version_is_reported_with_its_log() {
    let bench = bench(|_| {});
    fails(&bench, Fault::CrashOnStart).says("not listening").says("log         ");
}

#[test]
fn version_that_crashes_after_ready_fails_its_health_check() {
    let bench = bench(|playbook| {
        playbook["health"]["min_healthy_time"] = "1s".into();
    });
    fails(&bench, Fault::ReadyThenCrash(Duration::from_millis(500)));
}

/// The version serves well until its node is done, and dies while the next one is drained.
#[test]
fn version_that_crashes_after_its_node_is_done_costs_only_that_node() {
    let bench = bench(|playbook| playbook["drain"]["settle"] = "9s".into());
    bench.lab.artifact("9", Fault::ReadyThenCrash(Duration::from_secs(7))).expect("an artifact");
    let load = bench.load();
    let ran = bench.deploy("9").exits(20).says("FAILED  release");
    let totals = load.stop();
    let one = bench.lab.nodes[0].address().to_string();
    assert!(totals.failed_by.keys().all(|who| *who == one), "{:?}", totals.failed_by);
    assert_eq!(bench.versions()[1..], [Some("1".into()), Some("1".into())]);
    assert!(bench.is_down(0) && !bench.is_down(1) && !bench.is_down(2));
    let ran =
        ran.says("node-1, health: no longer healthy: ").says("OUT OF ROTATION, action required");
    let ran = ran.says("2 of 3 nodes serve (min_available 1): version 1 on 2 nodes.");
    // The suggested command returns the node to version 1.
    let next = ran.next("return node-1 to version 1");
    let next: Vec<_> = next.iter().map(String::as_str).collect();
    Ran(bench.lab.run(&crate::harness::rollgate(), &next).expect("runs")).exits(0);
    assert!(bench.versions().iter().all(|version| version.as_deref() == Some("1")));
    bench.assert_nothing_left();
}

#[test]
fn old_process_on_the_port_is_not_accepted_as_the_new_one() {
    let config = LabConfig {
        service: Release::new("1").with_fault(Fault::KeepsPort),
        ..LabConfig::new(3, vec![quick(2)])
    };
    let bench = Bench::with(config, |playbook| {
        playbook["health"]["deadline"] = "3s".into();
        playbook["health"].as_object_mut().expect("a map").remove("identity");
    });
    let ran = bench.deploy("2").exits(20);
    ran.says("before this release, still owns :9000").says("OUT OF ROTATION");
}

#[test]
fn service_that_does_not_stop_is_reported_and_stays_out() {
    let config = LabConfig {
        service: Release::new("1").with_fault(Fault::IgnoreTerm),
        ..LabConfig::new(3, vec![quick(2)])
    };
    let bench = Bench::with(config, |playbook| playbook["stop"] = "/srv/app/ctl stop 1".into());
    let ran = bench.deploy("2").exits(20).says("node-1, stop: exit 1: ctl: pid");
    ran.says("OUT OF ROTATION");
    assert!(bench.is_down(0) && !bench.is_down(1));
}

#[test]
fn hanging_command_is_killed_with_its_child_processes() {
    let bench = bench(|playbook| {
        playbook["stop"] = serde_json::json!({
            "run": "trap '' TERM; sleep 4242 & sleep 4243", "timeout": "1s"
        });
    });
    bench.deploy("2").exits(20).says("stop: not finished within 1s; the command was ended");
    let gone = until("the command is gone", Duration::from_secs(8), || {
        let output = bench.lab.nodes[0].exec("ps -eo args")?;
        Ok((!String::from_utf8_lossy(&output.stdout).contains("sleep 424")).then_some(()))
    });
    assert!(gone.is_ok(), "{gone:?}");
}

#[test]
fn drain_timeout_returns_the_node_or_cuts_requests_as_configured() {
    let bench = bench(|playbook| {
        // A count that never falls.
        playbook["drain"] = serde_json::json!({
            "in_flight": { "http": {
                "url": "http://${{ node.address }}/status", "pattern": r#""pid": ?(\d+)"# } },
            "timeout": "500ms",
        });
    });
    let load = bench.load();
    bench
        .deploy("2")
        .exits(20)
        .says("not drained within 500ms")
        .says("failed, back in rotation unchanged");
    assert!(!bench.is_down(0), "only marked down: put back");
    assert!(bench.versions().iter().all(|version| version.as_deref() == Some("1")));
    let proceed = bench.lab.playbook_named("proceed.yaml", |playbook| {
        playbook["drain"] = serde_json::json!({
            "in_flight": { "http": {
                "url": "http://${{ node.address }}/status", "pattern": r#""pid": ?(\d+)"# } },
            "timeout": "500ms",
            "on_timeout": "proceed",
        });
    });
    let proceed = proceed.expect("a playbook");
    let proceed = proceed.to_str().expect("UTF-8");
    let arguments = ["--var", "version=2", "--yes"];
    let ran = bench.run_on(proceed, &["deploy"], &arguments).exits(0);
    assert!(ran.stderr().contains(" cut ("), "the number is told:\n{}", ran.stderr());
    let totals = load.stop();
    assert_eq!(totals.failed, 0, "the count was a lie, the service ends gracefully: {totals}");
}

#[test]
fn status_shows_a_failure_until_the_node_is_back() {
    let bench = bench(|_| {});
    fails(&bench, Fault::NeverReady);
    for word in ["out", "in"] {
        bench.run(&["node", word], &["node-2"]).exits(0);
    }
    let line = || {
        let status = bench.run(&["status"], &[]).exits(0).stdout();
        let line = status.lines().find(|line| line.trim_start().starts_with("node-1 "));
        line.unwrap_or_else(|| panic!("no node-1 in:\n{status}")).to_owned()
    };
    let told = line();
    assert!(
        told.contains("out 2/2") && told.contains("OUT OF ROTATION, action required (deploy "),
        "{told}"
    );
    // Another writer sets its key to up.
    bench.lab.mark(0, false).expect("marked");
    let told = line();
    assert!(
        told.contains("routed 2/2") && told.contains("failed, in rotation now (deploy "),
        "{told}"
    );
}

#[test]
fn unwritable_journal_stops_the_release_at_a_safe_point() {
    let bench = bench(|playbook| {
        playbook["drain"]["settle"] = "2s".into();
    });
    // The state folder has a disk of its own, small enough that one file fills it.
    let state = bench.lab.directory().join("state");
    let disk = SmallDisk::mount(&state);
    let mut command = bench.lab.command(&crate::harness::rollgate());
    let folder = state.to_str().expect("UTF-8");
    command.args(["deploy", bench.file(), "--var", "version=2", "--yes", "--output", "jsonl"]);
    let mut child = command
        .args(["--state-dir", folder])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("rollgate starts");
    let mut events = Vec::new();
    for line in BufReader::new(child.stdout.take().expect("piped")).lines() {
        let event: Value = serde_json::from_str(&line.expect("a line")).expect("an event");
        if event["type"] == "step.started" && event["step"] == "drain" {
            disk.fill();
        }
        events.push(event);
    }
    let ran = Ran(child.wait_with_output().expect("rollgate ends"));
    let ran = ran.exits(20).says("No space left on device").says("back in rotation unchanged");
    ran.says("--state-dir").says("(incomplete: its last events are missing)");
    let last = events.last().expect("events");
    assert_eq!(last["type"], "release.finished");
    assert_eq!(last["data"]["result"], "failed", "{last}");
    assert!((0..3).all(|index| !bench.is_down(index)), "only marked down: put back");
    assert!(bench.versions().iter().all(|version| version.as_deref() == Some("1")));
    drop(disk);
    bench.deploy("2").exits(0);
}

#[test]
fn release_without_progress_stops_by_itself() {
    let bench = bench(|playbook| {
        playbook["strategy"]["progress_deadline"] = "3s".into();
        playbook["stop"] = serde_json::json!({ "run": "sleep 4244", "timeout": "600s" });
    });
    let begun = std::time::Instant::now();
    let ran = bench.deploy("2").exits(20).says("no step finished for 3s");
    assert!(begun.elapsed() < Duration::from_secs(300), "not at its timeout: {}", ran.stderr());
    assert!(bench.is_down(0), "what may have been stopped stays out");
    assert!(bench.versions().iter().all(|version| version.as_deref() == Some("1")));
    bench.assert_nothing_left();
}

/// A file system in memory with room for a journal, and a way to fill it.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(folder: &std::path::Path) -> Self {
        std::fs::create_dir_all(folder).expect("a folder");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(folder)
            .status();
        assert!(mount.expect("mount runs").success());
        Self(folder.to_owned())
    }

    fn fill(&self) {
        let full = std::fs::write(self.0.join("ballast"), vec![0; 2 << 20]);
        assert!(full.is_err(), "the disk is larger than it was made");
        // The last page of the journal still has room.
        let releases = std::fs::read_dir(self.0.join("app")).expect("a state folder");
        let journals = releases.flatten().map(|release| release.path().join("journal.jsonl"));
        let journal = journals.into_iter().find(|path| path.exists()).expect("a journal");
        let mut journal = std::fs::OpenOptions::new().append(true).open(journal).expect("opens");
        while journal.write_all(b"\n").is_ok() {}
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}
