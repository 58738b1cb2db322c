//! A release reports what prevents it before it changes anything, in one clear message per problem.

use rollgate_lab::{Fault, LabConfig, NodeConfig, Release};

use crate::harness::{Bench, journals, quick};

fn bench() -> Bench {
    Bench::new(3, vec![quick(2), quick(2)])
}

/// Asserts that a release of version 2 is refused with exit 3, states the reason, and changes nothing.
#[track_caller]
fn is_refused(bench: &Bench, file: &str, why: &str) {
    let load = bench.load();
    let release = || bench.run_on(file, &["deploy"], &["--var", "version=2", "--yes"]);
    bench.assert_refused(why, release);
    assert!(journals(&bench.playbook).is_empty());
    assert!(bench.versions().iter().all(|version| version.as_deref() == Some("1")));
    let totals = load.stop();
    assert_eq!(totals.failed, 0, "{totals}");
}

#[test]
fn unreachable_or_untrusted_node_is_refused() {
    let bench = bench();
    let file = bench.file().to_owned();
    bench.lab.spoil_host_key(1).expect("spoilt");
    is_refused(&bench, &file, "host key");
    bench.lab.forget_host_key(1).expect("forgotten");
    is_refused(&bench, &file, "is not known; check it and add it to known_hosts");
    bench.lab.restore_host_keys().expect("restored");
    bench.lab.nodes[1].kill_sshd().expect("killed");
    let keys = bench.keys();
    let ran = bench.deploy("2").exits(3).says("node-2: ").says("refused");
    assert!(ran.stderr().lines().count() <= 5, "one clear message:\n{}", ran.stderr());
    assert_eq!(bench.keys(), keys);
    // A playbook may allow failures: the unreachable node counts as one and the others are updated.
    let allowed = bench.lab.playbook_named("allowed.yaml", |playbook| {
        playbook["strategy"] = serde_json::json!({ "max_failures": 1 });
    });
    let allowed = allowed.expect("a playbook");
    let ran = bench.run_on(
        allowed.to_str().expect("UTF-8"),
        &["deploy"],
        &["--var", "version=2", "--yes"],
    );
    ran.exits(20).says("not usable, action required");
    let version = |index: usize| bench.versions()[index].clone();
    assert_eq!(
        [version(0), version(1), version(2)],
        [Some("2".into()), Some("1".into()), Some("2".into())]
    );
    bench.lab.nodes[1].start_sshd().expect("started");
    bench.deploy("2").exits(0);
}

#[test]
fn full_disk_wrong_checksum_and_missing_artifact_are_refused() {
    let mut config = LabConfig::new(3, vec![quick(2)]);
    config.nodes[2] = NodeConfig { disk_mib: Some(4), ..config.nodes[2].clone() };
    let bench = Bench::with(config, |_| {});
    let file = bench.file().to_owned();
    let wrong = bench.lab.playbook_named("wrong.yaml", |playbook| {
        playbook["artifact"]["sha256"] = "0".repeat(64).into();
    });
    let wrong = wrong.expect("a playbook");
    is_refused(&bench, wrong.to_str().expect("UTF-8"), "the playbook wants 00000000");
    let missing = bench.lab.playbook_named("missing.yaml", |playbook| {
        playbook["artifact"]["source"] = "dist/none-${{ version }}.tar.gz".into();
    });
    let missing = missing.expect("a playbook");
    is_refused(&bench, missing.to_str().expect("UTF-8"), "none-2.tar.gz cannot be read");
    let filled = bench.lab.nodes[2].exec("dd if=/dev/zero of=/srv/ballast bs=1k 2>&1; df /srv");
    assert!(filled.is_ok());
    is_refused(&bench, &file, "node-3: its disk is too full");
}

#[test]
fn disk_that_fills_during_stage_ends_the_release_before_any_node_leaves() {
    let mut config = LabConfig::new(3, vec![quick(2)]);
    config.nodes[2] = NodeConfig { disk_mib: Some(4), ..config.nodes[2].clone() };
    let bench = Bench::with(config, |_| {});
    // The disk reports enough space until it is full, as when another program fills it meanwhile.
    let script =
        "mkdir big && head -c 12000000 /dev/zero >big/ballast && tar -czf app-2.tar.gz big";
    let dist = bench.lab.directory().join("dist");
    let made = std::process::Command::new("sh").args(["-c", script]).current_dir(dist).status();
    assert!(made.expect("sh runs").success());
    let lie = r#"cp /bin/df /srv/real && cat >/srv/df <<'END' && chmod 755 /srv/df && mount -n --bind /srv/df /bin/df
#!/bin/sh
a=$(/srv/real -Pk /srv | { read -r _; read -r _ _ _ a _; echo "$a"; })
[ "$a" -lt 64 ] || a=99999999
printf 'Filesystem\nx 0 0 %s 0%% /\n' "$a"
END"#;
    assert!(bench.lab.nodes[2].exec(lie).expect("the node answers").status.success());
    let keys = bench.keys();
    let ran = bench.deploy("2").exits(3).says("node-3, stage: unpack: exit").says("No space left");
    ran.says("no node left rotation");
    assert_eq!(bench.keys(), keys);
    let releases = bench.releases(2);
    assert!(
        !releases.iter().any(|name| name.starts_with("app-2")),
        "nothing looks complete: {releases:?}"
    );
    assert!(bench.versions().iter().all(|version| version.as_deref() == Some("1")));
}

#[test]
fn a_missing_sudo_right_is_refused() {
    let mut config = LabConfig::new(3, vec![quick(2)]);
    config.nodes[1] = NodeConfig { sudo: false, ..config.nodes[1].clone() };
    let bench = Bench::with(config, |playbook| {
        playbook["ssh"]["sudo"] = true.into();
        for node in 0..3 {
            let name = format!("deploy@node-{}", node + 1);
            playbook["nodes"][node]["ssh"] = name.into();
        }
    });
    let file = bench.file().to_owned();
    is_refused(&bench, &file, "node-2: `sudo -n` is not permitted");
    // With the right, the same user can release.
    bench.run(&["deploy"], &["--var", "version=2", "--yes", "--skip", "node-2"]).exits(0);
    assert_eq!(bench.versions()[0].as_deref(), Some("2"));
}

#[test]
fn dead_or_wrong_gateway_is_refused() {
    let mut bench = bench();
    let file = bench.file().to_owned();
    let unknown = bench.lab.playbook_named("unknown.yaml", |playbook| {
        let url = playbook["gateways"][0]["status_url"]
            .as_str()
            .expect("a URL")
            .replace("?app", "?other");
        playbook["gateways"][0]["status_url"] = url.into();
        playbook["gateways"][0]["upstream"] = "other".into();
    });
    let unknown = unknown.expect("a playbook");
    is_refused(&bench, unknown.to_str().expect("UTF-8"), "the gateway has no upstream `other`");
    bench.lab.gateways[1].stop().expect("stopped");
    let keys = bench.keys();
    bench
        .run_on(&file, &["deploy"], &["--var", "version=2", "--yes"])
        .exits(3)
        .says("gateway gw-2 cannot be read");
    assert_eq!(bench.keys(), keys);
}

#[test]
fn dead_consul_missing_key_and_unwritable_value_are_refused() {
    let mut bench = bench();
    let file = bench.file().to_owned();
    let key = bench.lab.registry_key(1).expect("a key");
    let value = bench.lab.consul.get(&key).expect("Consul").expect("a value");
    bench.lab.consul.put(&key, "weight=1").expect("put");
    is_refused(&bench, &file, "its value is not a JSON object");
    let large = format!(r#"{{"down":0,"note":"{}"}}"#, "x".repeat(1020));
    bench.lab.consul.put(&key, &large).expect("put");
    is_refused(&bench, &file, "nginx-upsync accepts at most 1024");
    bench.lab.consul.put(&key, &value).expect("put");
    let double = key.replace("upstreams/app/", "upstreams/app/blue/");
    bench.lab.consul.put(&double, &value).expect("put");
    is_refused(&bench, &file, "second entry for the same address");
    bench.lab.consul.delete(&double).expect("deleted");
    bench.lab.consul.stop(0);
    let ran = bench.deploy("2").exits(3).says("Consul cannot be reached");
    assert!(ran.stderr().contains("nothing was changed"));
}

#[test]
fn insufficient_capacity_is_refused_naming_gateway_and_node() {
    let checked = quick(2).with_check(200, 2, 2);
    let mut config = LabConfig::new(2, vec![quick(2), checked]);
    config.nodes[1] = NodeConfig {
        release: Some(Release::new("1").with_fault(Fault::NeverReady)),
        ..config.nodes[1].clone()
    };
    let bench = Bench::with(config, |_| {});
    let seen = rollgate_lab::until(
        "the check holds node-2 down",
        std::time::Duration::from_secs(10),
        || {
            let reply = rollgate_lab::get(&bench.lab.gateways[1].check_url())?;
            Ok(reply.body.contains(r#""status": "down""#).then_some(()))
        },
    );
    seen.expect("held down");
    let keys = bench.keys();
    let ran = bench.deploy("2").exits(3);
    let ran =
        ran.says("without node-1, gateway gw-2 would route to 0 of 2 nodes only, fewer than 1");
    ran.says("(node-2 not routed there)");
    assert_eq!(bench.keys(), keys);
    assert_eq!(bench.versions()[0].as_deref(), Some("1"));
}

#[test]
fn node_out_of_rotation_goes_first_and_updated_node_is_skipped() {
    let bench = bench();
    bench.run(&["deploy"], &["--var", "version=2", "--yes", "--only", "node-1"]).exits(0);
    bench.lab.mark(2, true).expect("marked");
    let before = bench.keys();
    let ran = bench.run(&["plan"], &["--var", "version=2", "--detailed-exitcode"]).exits(6);
    let plan = ran.stdout();
    let line =
        |start: &str| plan.lines().find(|line| line.starts_with(start)).unwrap_or("").to_owned();
    assert!(line(" 1      node-3").contains("already out of rotation"), "{plan}");
    assert!(line(" 2      node-2").contains("update"), "{plan}");
    assert!(line(" -      node-1").contains("nothing"), "{plan}");
    assert_eq!(bench.keys(), before, "planning only reads");
    let load = bench.load();
    bench.deploy("2").exits(0);
    bench.assert_unnoticed(load);
    assert_eq!(bench.keys()[0], before[0], "nothing is written to a node that is done");
    assert!(!bench.is_down(2));
}
