//! SSH, users, rights, disks, reboots, and the end of all processes.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use rollgate_lab::{Lab, LabConfig, NodeConfig, until};

use crate::support::{LIMIT, ssh, stderr, stdout};

fn lab_of(nodes: Vec<NodeConfig>) -> Lab {
    Lab::start(LabConfig { nodes, ..LabConfig::new(0, Vec::new()) }).unwrap()
}

#[test]
fn both_users_and_the_jump_host_work() {
    let lab = lab_of(vec![NodeConfig::default(); 2]);
    assert_eq!(
        stdout(&ssh(&lab, "node-1", "whoami; hostname; pwd")),
        "root\nnode-1\n/srv/home/root"
    );
    assert_eq!(stdout(&ssh(&lab, "deploy@jumped-node-2", "whoami; hostname")), "deploy\nnode-2");
}

#[test]
fn a_sudo_right_can_be_missing() {
    let without = NodeConfig { sudo: false, ..NodeConfig::default() };
    let lab = lab_of(vec![NodeConfig::default(), without]);
    assert_eq!(stdout(&ssh(&lab, "deploy@node-1", "sudo -n whoami")), "root");
    let refused = ssh(&lab, "deploy@node-2", "sudo -n whoami");
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("sudo"), "{refused:?}");
}

#[test]
fn deploy_can_replace_the_service_without_sudo() {
    let lab = lab_of(vec![NodeConfig { sudo: false, ..NodeConfig::default() }]);
    let restart = ssh(&lab, "deploy@node-1", "/srv/app/ctl stop && /srv/app/ctl start");
    assert!(restart.status.success(), "{restart:?}");
    until("the service", LIMIT, || Ok(lab.nodes[0].version())).unwrap();
}

#[test]
fn a_disk_can_be_full() {
    let small = NodeConfig { disk_mib: Some(4), ..NodeConfig::default() };
    let lab = lab_of(vec![small]);
    let full = ssh(&lab, "node-1", "head -c 9000000 /dev/zero >/srv/app/big");
    assert!(stderr(&full).contains("No space left on device"), "{full:?}");
}

#[test]
fn host_keys_can_be_unknown_or_wrong() {
    let lab = lab_of(vec![NodeConfig::default()]);
    lab.forget_host_key(0).unwrap();
    let unknown = ssh(&lab, "node-1", "true");
    assert!(stderr(&unknown).contains("Host key verification failed"), "{unknown:?}");
    lab.spoil_host_key(0).unwrap();
    let wrong = ssh(&lab, "node-1", "true");
    assert!(stderr(&wrong).contains("IDENTIFICATION HAS CHANGED"), "{wrong:?}");
    lab.restore_host_keys().unwrap();
    assert!(ssh(&lab, "node-1", "true").status.success());
}

#[test]
fn a_reboot_ends_everything_and_starts_the_service() {
    let mut lab = lab_of(vec![NodeConfig::default()]);
    lab.nodes[0].exec("sleep 1000 </dev/null >/dev/null 2>&1 & echo kept >/srv/app/note").unwrap();
    assert!(lab.nodes[0].exec("pgrep -x -f 'sleep 1000'").unwrap().status.success());
    lab.nodes[0].reboot().unwrap();
    assert!(!lab.nodes[0].exec("pgrep -x -f 'sleep 1000'").unwrap().status.success());
    assert_eq!(stdout(&ssh(&lab, "node-1", "cat /srv/app/note")), "kept");
    assert_eq!(lab.nodes[0].version().as_deref(), Some("1"));
}

#[test]
fn sshd_can_die_and_hang_while_the_service_runs() {
    let lab = lab_of(vec![NodeConfig::default()]);
    lab.nodes[0].hang_sshd().unwrap();
    let mut hung = Command::new("ssh");
    hung.args(["-o", "BatchMode=yes", "-o", "ConnectTimeout=1", "-F"]).arg(lab.ssh_config());
    let hung = hung.args(["node-1", "true"]).output().unwrap();
    assert!(stderr(&hung).contains("timed out"), "{hung:?}");
    lab.nodes[0].thaw_sshd().unwrap();
    assert!(ssh(&lab, "node-1", "true").status.success());

    lab.nodes[0].kill_sshd().unwrap();
    let dead = ssh(&lab, "node-1", "true");
    assert!(stderr(&dead).contains("Connection refused"), "{dead:?}");
    assert_eq!(lab.nodes[0].version().as_deref(), Some("1"));
    lab.nodes[0].start_sshd().unwrap();
    assert!(ssh(&lab, "node-1", "true").status.success());
}

#[test]
fn a_dropped_lab_leaves_no_directory_and_no_listener() {
    let lab = lab_of(vec![NodeConfig::default()]);
    let (directory, address) = (lab.directory().to_owned(), lab.nodes[0].address());
    assert!(listens(address));
    drop(lab);
    assert!(!directory.exists());
    assert!(!listens(address));
}

#[test]
fn a_killed_lab_leaves_no_process() {
    let mut lab = Command::new(env!("CARGO_BIN_EXE_lab"))
        .args(["up", "--json", "--nodes", "1", "--gateways", "1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(lab.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let told: serde_json::Value = serde_json::from_str(&line).unwrap();
    let address = |url: &serde_json::Value| -> SocketAddr {
        url.as_str().unwrap().trim_start_matches("http://").parse().unwrap()
    };
    let service = address(&told["nodes"][0]["address"]);
    let parts = [
        address(&told["consul"][0]),
        address(&told["gateways"][0]["url"]),
        service,
        SocketAddr::new(service.ip(), 2222),
    ];
    assert!(parts.iter().all(|part| listens(*part)));
    lab.kill().unwrap();
    lab.wait().unwrap();
    until("every part to die", LIMIT, || {
        Ok((!parts.iter().any(|part| listens(*part))).then_some(()))
    })
    .unwrap();
    // No process is left to remove its directory; the next lab in its place would.
    std::fs::remove_dir_all(told["directory"].as_str().unwrap()).unwrap();
}

fn listens(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_millis(500)).is_ok()
}
