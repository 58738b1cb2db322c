//! A signal in every step of a release: the pool is safe within five seconds, and no process is left.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rollgate_lab::LabConfig;
use serde_json::Value;

use crate::harness::{Bench, lagging, quick, rollgate};

/// Steps that last long enough to be interrupted for sure.
fn slow(playbook: &mut Value) {
    playbook["stop"] = "sleep 0.7; /srv/app/ctl stop".into();
    playbook["start"] = "sleep 0.7; /srv/app/ctl start".into();
    playbook["health"]["min_healthy_time"] = "1s".into();
    playbook["drain"]["settle"] = "700ms".into();
}

/// The result of a run that got a signal when the first node reached `step`.
struct Interrupted {
    code: Option<i32>,
    took: Duration,
    events: Vec<Value>,
    stderr: String,
}

fn interrupt_at(bench: &Bench, version: &str, step: &str, signals: &[&str]) -> Interrupted {
    interrupt(bench.lab.command(&rollgate()), bench, version, step, signals)
}

fn interrupt(
    mut command: Command,
    bench: &Bench,
    version: &str,
    step: &str,
    signals: &[&str],
) -> Interrupted {
    let version = format!("version={version}");
    command.args(["deploy", bench.file(), "--var", &version, "--yes", "--output", "jsonl"]);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("rollgate starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut events = Vec::new();
    let mut sent = None;
    for line in &mut lines {
        let event: Value = serde_json::from_str(&line.expect("a line")).expect("an event");
        let reached = event["type"] == "step.started" && event["step"] == step;
        events.push(event);
        if reached && sent.is_none() {
            sent = Some(Instant::now());
            for signal in signals {
                let pid = child.id().to_string();
                let status = Command::new("kill").args([signal, pid.as_str()]).status();
                assert!(status.expect("kill runs").success());
            }
        }
    }
    let status = child.wait().expect("rollgate ends");
    let took = sent.expect("the step was reached").elapsed();
    let mut stderr = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut stderr).expect("text");
    Interrupted { code: status.code(), took, events, stderr }
}

#[test]
fn signal_before_stop_leaves_the_pool_safe_and_a_rerun_completes() {
    safe_after_a_signal(&["stage", "disable", "confirm_out", "drain"]);
}

#[test]
fn signal_while_the_service_is_replaced_leaves_the_pool_safe_and_a_rerun_completes() {
    safe_after_a_signal(&["stop", "activate", "start"]);
}

#[test]
fn signal_while_the_node_returns_leaves_the_pool_safe_and_a_rerun_completes() {
    safe_after_a_signal(&["health", "enable", "confirm_in"]);
}

#[track_caller]
fn safe_after_a_signal(steps: &[&str]) {
    let config = LabConfig::new(2, vec![lagging(), lagging()]);
    let bench = Bench::with(config, slow);
    let rerun = bench.lab.playbook_named("rerun.yaml", |_| {}).expect("a playbook");
    for (round, step) in steps.iter().enumerate() {
        let version = if round % 2 == 0 { "2" } else { "3" };
        let load = bench.load();
        let signal = if round % 2 == 0 { "-INT" } else { "-TERM" };
        let ended = interrupt_at(&bench, version, step, &[signal]);
        let told = format!("{step}: {}\n{:#?}", ended.stderr, ended.events.last());
        assert_eq!(ended.code, Some(10), "{told}");
        assert!(ended.took < Duration::from_secs(15), "{step} took {:?}\n{told}", ended.took);
        let last = ended.events.last().expect("events");
        assert_eq!(last["type"], "release.finished", "{told}");
        assert_eq!(last["data"]["result"], "stopped", "{told}");
        let out = (0..2).filter(|index| bench.is_down(*index)).count();
        match *step {
            "stage" | "disable" | "confirm_out" | "drain" | "enable" | "confirm_in" => {
                assert_eq!(out, 0, "{told}");
            }
            _ => assert_eq!(out, 1, "what was stopped is left out: {told}"),
        }
        bench.assert_nothing_left();
        let again = format!("version={version}");
        bench
            .run_on(rerun.to_str().expect("UTF-8"), &["deploy"], &["--var", &again, "--yes"])
            .exits(0);
        let versions = bench.versions();
        assert!(versions.iter().all(|seen| seen.as_deref() == Some(version)), "{versions:?}");
        let totals = load.stop();
        assert_eq!(totals.failed, 0, "{step}: {totals}\n{:?}", totals.failures);
    }
}

#[test]
fn signal_in_a_batch_returns_running_nodes_and_leaves_stopped_ones_out() {
    let config = LabConfig::new(4, vec![lagging(), lagging()]);
    let bench = Bench::with(config, |playbook| {
        slow(playbook);
        playbook["strategy"]["batches"] = 3.into();
        // The nodes of a batch are staggered: each reaches its stop half a second after the one before.
        playbook["steps"] = serde_json::json!([
            "confirm_out", "drain", { "run": "sleep ${{ node.vars.late }}" },
            "stop", "activate", "start", "health", "enable", "confirm_in",
        ]);
        for (index, node) in playbook["nodes"].as_array_mut().expect("nodes").iter_mut().enumerate()
        {
            node["vars"] = serde_json::json!({ "late": format!("0.{}", index * 3) });
        }
    });
    for (step, version) in [("drain", "2"), ("stop", "3"), ("health", "2")] {
        let load = bench.load();
        let ended = interrupt_at(&bench, version, step, &["-TERM"]);
        let told = format!("{step}: {}\n{:#?}", ended.stderr, ended.events.last());
        assert_eq!(ended.code, Some(10), "{told}");
        assert!(ended.took < Duration::from_secs(15), "{step} took {:?}\n{told}", ended.took);
        for index in 0..4 {
            let name = format!("node-{}", index + 1);
            let began = |step: &str| {
                ended.events.iter().any(|event| {
                    event["type"] == "step.started"
                        && event["node"] == *name
                        && event["step"] == step
                })
            };
            // A user's command may have changed the running version: only a health check can return it to rotation.
            let changed = began("run-1") || began("stop");
            assert_eq!(bench.is_down(index), changed && !began("enable"), "{name} at {told}");
        }
        bench.assert_nothing_left();
        bench.run(&["resume"], &["--yes"]).exits(0);
        let versions = bench.versions();
        assert!(versions.iter().all(|seen| seen.as_deref() == Some(version)), "{versions:?}");
        let totals = load.stop();
        assert_eq!(totals.failed, 0, "{step}: {totals}\n{:?}", totals.failures);
    }
}

#[test]
fn second_signal_exits_at_once_with_a_complete_journal() {
    let config = LabConfig::new(3, vec![quick(2)]);
    let bench = Bench::with(config, slow);
    let ended = interrupt_at(&bench, "2", "stop", &["-TERM", "-TERM"]);
    // Both may be delivered as one: then the release stopped safely.
    assert!(matches!(ended.code, Some(143 | 10)), "{:?}\n{}", ended.code, ended.stderr);
    let status = bench.run(&["status"], &[]).exits(0);
    assert!(status.stdout().contains("node-1"), "{}", status.stdout());
    bench.assert_nothing_left();
    bench.deploy("2").exits(0);
}

#[test]
fn release_under_nohup_goes_on_when_its_terminal_is_closed() {
    let bench = Bench::with(LabConfig::new(2, vec![quick(1)]), slow);
    let under_nohup = |version, signals: &[&str]| {
        let mut command = bench.lab.command(Path::new("nohup"));
        command.arg(rollgate());
        interrupt(command, &bench, version, "stop", signals)
    };
    let ended = under_nohup("2", &["-HUP"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let ended = under_nohup("3", &["-HUP", "-TERM"]);
    assert_eq!(ended.code, Some(10), "{}", ended.stderr);
    let stopping = ended.events.iter().find(|event| event["type"] == "release.stopping");
    assert_eq!(stopping.map(|event| &event["data"]["reason"]), Some(&"SIGTERM".into()));
}
