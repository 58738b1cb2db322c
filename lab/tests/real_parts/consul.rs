//! Elections.

use rollgate_lab::{Lab, LabConfig};

#[test]
fn three_servers_survive_the_loss_of_their_leader() {
    let config = LabConfig { consul_servers: 3, ..LabConfig::new(1, Vec::new()) };
    let mut lab = Lab::start(config).unwrap();
    lab.consul.put("kept", "before").unwrap();
    let killed = lab.consul.kill_leader().unwrap();
    lab.consul.wait_for_leader().unwrap();
    assert_ne!(lab.consul.leader().unwrap(), Some(killed));
    assert_eq!(lab.consul.get("kept").unwrap().as_deref(), Some("before"));
    lab.consul.put("kept", "after").unwrap();

    // With the server that came back, any two are a majority again.
    lab.consul.start(killed).unwrap();
    lab.consul.wait_for_leader().unwrap();
    lab.consul.stop((killed + 1) % 3);
    lab.consul.wait_for_leader().unwrap();
    assert_eq!(lab.consul.get("kept").unwrap().as_deref(), Some("after"));
    lab.consul.delete("kept").unwrap();
    assert_eq!(lab.consul.get("kept").unwrap(), None);
}
