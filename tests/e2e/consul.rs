//! Consul with three servers: losing the leader in the middle of a release.

use std::time::Duration;

use rollgate_lab::{GatewayConfig, LabConfig};

use crate::harness::{Bench, rollgate};

#[test]
fn a_release_goes_on_when_consul_elects_a_new_leader() {
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
