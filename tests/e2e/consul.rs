//! Consul with three servers: losing the leader in the middle of a release.

use std::time::Duration;

use rollgate_lab::{GatewayConfig, LabConfig};

use crate::harness::{Bench, quick, rollgate};

#[test]
fn release_continues_when_consul_elects_a_new_leader() {
    let config =
        LabConfig { consul_servers: 3, ..LabConfig::new(3, vec![GatewayConfig::upsync(2, 200)]) };
    let mut bench =
        Bench::with(config, |playbook| playbook["health"]["min_healthy_time"] = "500ms".into());
    let load = bench.load();
    let mut command = bench.lab.command(&rollgate());
    command.args(["deploy", bench.file(), "--var", "version=2", "--yes"]);
    let log = bench.lab.directory().join("deploy.log");
    let file = std::fs::File::create(&log).expect("a log");
    let mut child = command.stderr(file).spawn().expect("rollgate starts");
    let under_way = rollgate_lab::until("the first node is out", Duration::from_secs(30), || {
        Ok(std::fs::read_to_string(&log)?.contains(" out ").then_some(()))
    });
    under_way.expect("under way");
    bench.lab.consul.kill_leader().expect("killed");
    let status = child.wait().expect("rollgate ends");
    let text = std::fs::read_to_string(&log).expect("a log");
    assert_eq!(status.code(), Some(0), "{text}");
    assert!(bench.versions().iter().all(|version| version.as_deref() == Some("2")));
    let totals = load.stop();
    assert_eq!(totals.failed, 0, "{totals}");
}

#[test]
fn journal_is_replicated_to_consul_and_old_releases_are_pruned() {
    let bench = Bench::new(2, vec![quick(1)]);
    let key = "rollgate/app/journal/";
    for turn in 0..25 {
        let old = format!("{key}20200101T0000{turn:02}Z-0000{turn:04}/z000001");
        bench.lab.consul.put(&old, "old").expect("Consul answers");
    }
    bench.deploy("2").exits(0);
    let keys = bench.lab.consul.keys(key).expect("Consul answers");
    assert_eq!(keys.len(), 20, "{keys:?}");
    assert!(keys.iter().any(|key| key.contains("20200101T000024Z")), "{keys:?}");
    assert!(!keys.iter().any(|key| key.contains("20200101T000004Z")), "{keys:?}");
    let own: Vec<_> = keys.iter().filter(|key| !key.contains("20200101T")).collect();
    assert!(matches!(own.as_slice(), [key] if key.ends_with("/z000001")), "{own:?}");
}
