//! Releases without Consul: operators share the state folder of one machine.

use rollgate_lab::{HaproxyConfig, LabConfig, Reach};

use crate::harness::{Bench, signal};

#[test]
fn release_without_consul_locks_resumes_and_rolls_back_from_its_state_folder() {
    let config = LabConfig {
        haproxies: vec![HaproxyConfig::new(Reach::Tcp)],
        ..LabConfig::new(3, Vec::new())
    };
    let mut bench = Bench::with(config, |playbook| {
        let keys = playbook.as_object_mut().expect("a map");
        keys.remove("consul");
        playbook["start"] = "sleep 2; /srv/app/ctl start".into();
    });
    // A request to Consul would get no answer.
    bench.lab.consul.stop(0);
    let version = ["--var", "version=2"];
    bench.run(&["doctor"], &version).exits(0);
    let load = bench.load();
    let (mut killed, events) = bench.start_until("2", "start");
    let held = bench.run(&["lock", "show"], &version).exits(0).stdout();
    assert!(held.starts_with("held by ") && held.contains("deploy"), "{held}");
    let other = bench.deploy("3").exits(4);
    other.says("the lock is held by").says("end the process that holds it");
    signal(killed.id(), "-KILL");
    killed.wait().expect("ends");
    drop(events);
    let status = bench.run(&["status"], &version).exits(0).stdout();
    assert!(status.contains("ago (rollgate ended in the middle)"), "{status}");
    bench.run(&["resume"], &["--yes"]).exits(0).says("DONE");
    assert!(bench.versions().iter().all(|version| version.as_deref() == Some("2")));
    bench.run(&["rollback"], &["--yes"]).exits(0).says("DONE");
    assert!(bench.versions().iter().all(|version| version.as_deref() == Some("1")));
    assert_eq!(bench.run(&["lock", "show"], &version).exits(0).stdout(), "free\n");
    // The holds are in the state folder, too.
    bench.run(&["node", "out"], &["node-1", "--var", "version=1"]).exits(0);
    bench.deploy("2").exits(0).says("node-1 is held out of rotation by ");
    let versions: Vec<_> = bench.versions().into_iter().flatten().collect();
    assert_eq!(versions, ["1", "2", "2"]);
    bench.run(&["node", "in"], &["node-1"]).exits(0);
    bench.deploy("2").exits(0).says("1 node in ");
    bench.assert_unnoticed(load);
    bench.assert_nothing_left();
}
