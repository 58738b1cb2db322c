//! Plans that bind: `plan --out` and `deploy --plan`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use rollgate_lab::LabConfig;
use serde_json::Value;

use crate::harness::{Bench, Ran, events, journals, lagging, quick};

/// The path of the plan file.
fn plan_file(bench: &Bench) -> PathBuf {
    bench.playbook.with_file_name("plan.json")
}

/// Makes a plan of a version.
#[track_caller]
fn plan(bench: &Bench, version: &str, rest: &[&str]) -> Ran {
    let (path, version) = (plan_file(bench), format!("version={version}"));
    let options = ["--var", &version, "--out", path.to_str().expect("UTF-8")];
    bench.run(&["plan"], &[&options[..], rest].concat()).exits(0)
}

/// Runs the plan. There is no terminal, and nothing confirms it.
fn deploy(bench: &Bench, rest: &[&str]) -> Ran {
    let path = plan_file(bench);
    let arguments = ["deploy", "--plan", path.to_str().expect("UTF-8")];
    bench.run_with(&[], &[&arguments[..], rest].concat())
}

/// Asserts that the plan does not run, and why. Returns the command that makes it again.
#[track_caller]
fn is_stale(bench: &Bench, why: &str) -> Vec<String> {
    let ran = bench.assert_unchanged(5, why, || deploy(bench, &[]));
    println!("{}", ran.stderr());
    let text = ran.stderr();
    let hint = text.lines().last().expect("a hint");
    let command = hint.strip_prefix("hint: `rollgate ").expect("a command");
    let command = command.strip_suffix("` makes a new plan").expect("its label");
    command.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn plan_runs_exactly_once_and_only_if_nothing_was_changed() {
    let bench = Bench::new(3, vec![lagging()]);
    let made = plan(&bench, "2", &["--skip", "node-3"]);
    let path = plan_file(&bench);
    let last = made.stdout().lines().last().expect("a line").to_owned();
    assert_eq!(
        last,
        format!(
            "Nothing was changed. To run exactly this plan: rollgate deploy --plan {}",
            path.display()
        )
    );
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    let load = bench.load();
    let ran = deploy(&bench, &["--output", "jsonl"]).exits(0).says("no change since then");
    bench.assert_unnoticed(load);
    let versions = bench.versions();
    assert_eq!(versions.iter().flatten().collect::<Vec<_>>(), ["2", "2", "1"]);
    let started = &events(&ran.stdout())[0]["data"]["plan"];
    let sum = std::process::Command::new("sha256sum").arg(&path).output().expect("sha256sum");
    let sum = String::from_utf8_lossy(&sum.stdout);
    assert!(sum.starts_with(started["sha256"].as_str().expect("a digest")), "{started}");
    assert!(started["made_by"].is_string() && started["made_at"].is_string(), "{started}");
    assert_eq!(journals(&bench.playbook).len(), 1);

    // The release that has run has changed the nodes.
    is_stale(&bench, "node-1: its version was changed: 1 -> 2");

    plan(&bench, "3", &[]);
    let key = bench.lab.registry_key(1).expect("a key");
    let before = bench.keys()[1].clone().expect("a value");
    let mut value: Value = serde_json::from_str(&before).expect("JSON");
    value["max_fails"] = 9.into();
    bench.lab.consul.put(&key, &value.to_string()).expect("written");
    let again = is_stale(&bench, &format!("node-2: key {key} was changed (index "));
    // The value is the same again, but other changes can have been made in the meantime.
    bench.lab.consul.put(&key, &before).expect("written");
    is_stale(&bench, "it has the same value again");
    let again: Vec<_> = again.iter().map(String::as_str).collect();
    bench.run_with(&[], &again).exits(0);

    let restart = ["--restart", "--only", "node-3", "--yes"];
    bench.run(&["deploy"], &restart).exits(0);
    is_stale(&bench, "node-3: its process was restarted: pid ");

    plan(&bench, "3", &[]);
    let text = fs::read_to_string(&bench.playbook).expect("a playbook");
    let mut edited: Value = serde_json::from_str(&text).expect("JSON");
    edited["strategy"]["max_failures"] = 2.into();
    fs::write(&bench.playbook, edited.to_string()).expect("written");
    is_stale(&bench, "strategy.max_failures was changed: ");
    fs::write(&bench.playbook, "service: [").expect("written");
    is_stale(&bench, "was changed, and is not valid now");
    fs::write(&bench.playbook, text).expect("written");

    let artifact = bench.playbook.with_file_name("dist").join("app-3.tar.gz");
    let bytes = fs::read(&artifact).expect("an artifact");
    let other = artifact.with_file_name("app-2.tar.gz");
    fs::copy(&other, &artifact).expect("replaced");
    is_stale(&bench, "app-3.tar.gz was changed: sha256 ");
    fs::write(&artifact, bytes).expect("written");

    deploy(&bench, &[]).exits(0);
    assert!(bench.versions().iter().all(|version| version.as_deref() == Some("3")));
    plan(&bench, "3", &[]);
    deploy(&bench, &[]).exits(0).says("Nothing to do: 3 nodes up to date");
}

const SECRETS: [(&str, &str); 3] = [
    ("CONSUL_HTTP_TOKEN", "c0nsul-7e57-4a4a"),
    ("PROBE_PASSWORD", "pr0be-9-9"),
    ("PROBE_TOKEN", "b3arer-5ecr"),
];

#[test]
fn plan_file_holds_no_secret_in_any_form_and_survives_a_changed_one() {
    let bench = Bench::with(LabConfig::new(2, vec![quick(2)]), |playbook| {
        playbook["secrets"] = serde_json::json!({
            "probe": { "env": "PROBE_PASSWORD" }, "bearer": { "env": "PROBE_TOKEN" },
        });
        playbook["health"]["http"]["basic_auth"] =
            serde_json::json!({ "user": "probe", "password": "${{ secrets.probe }}" });
        playbook["health"]["http"]["headers"] =
            serde_json::json!({ "X-Token": "${{ secrets.bearer }}" });
    });
    let path = plan_file(&bench);
    let out = path.to_str().expect("UTF-8");
    let arguments = ["plan", bench.file(), "--var", "version=2", "--out", out];
    bench.run_with(&SECRETS, &arguments).exits(0);
    let text = fs::read_to_string(&path).expect("a plan");
    let digest = |secret: &str, with: &str| {
        let command = format!("printf %s \"$0\" | {with} | cut -d' ' -f1");
        let sum = std::process::Command::new("sh").args(["-c", &command, secret]).output();
        String::from_utf8(sum.expect("runs").stdout).expect("UTF-8").trim().to_owned()
    };
    for (name, secret) in SECRETS {
        let forms = ["sha256sum", "sha1sum", "md5sum", "base64"].map(|with| digest(secret, with));
        for form in forms.iter().map(String::as_str).chain([secret, &secret[2..]]) {
            assert!(form.len() > 5 && !text.contains(form), "{name}: {form}");
        }
    }
    assert!(text.contains("${{ secrets.probe }}"), "{text}");
    // A secret is read again: its value is no part of the plan.
    let changed = SECRETS.map(|(name, _)| (name, "an0ther-value"));
    bench.run_with(&changed, &["deploy", "--plan", out]).exits(0);
}
