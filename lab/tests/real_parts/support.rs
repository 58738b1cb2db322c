//! Helpers of several test files.

use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::time::Duration;

use rollgate_lab::{Gateway, Lab, get, until};

/// Longer than any wait here takes.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Runs a command on a node over SSH.
pub(crate) fn ssh(lab: &Lab, destination: &str, command: &str) -> Output {
    Command::new("ssh")
        .args(["-o", "BatchMode=yes", "-F"])
        .arg(lab.ssh_config())
        .args([destination, command])
        .output()
        .unwrap()
}

/// Runs the control script on a node, without SSH.
pub(crate) fn ctl(lab: &Lab, node: usize, arguments: &str) -> Output {
    lab.nodes[node].exec(&format!("/srv/app/ctl {arguments}")).unwrap()
}

/// Returns what a program wrote to stdout.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Returns what a program wrote to stderr.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

/// Queries a gateway once and returns the answering worker and the address's line of upsync's list.
pub(crate) fn line_of_one_worker(gateway: &Gateway, address: &str) -> (String, String) {
    let reply = get(&gateway.status_url()).unwrap();
    let line = reply.body.lines().find(|line| line.contains(address)).unwrap_or_default();
    (reply.header("X-Worker").unwrap_or_default().to_owned(), line.trim().to_owned())
}

/// Returns once every worker has shown the address as down, or as up.
pub(crate) fn wait_for_all_workers(gateway: &Gateway, address: &str, down: bool) {
    let mut shown = BTreeMap::new();
    let agreed = until("all workers to agree", LIMIT, || {
        let (worker, line) = line_of_one_worker(gateway, address);
        shown.insert(worker, line.ends_with("down;"));
        let agreed = shown.values().all(|shown| *shown == down);
        Ok((agreed && shown.len() == gateway.config().workers as usize).then_some(()))
    });
    assert!(agreed.is_ok(), "down = {down} expected of {address}, shown: {shown:?}");
}

/// Returns whether the answering worker routes to the address.
pub(crate) fn is_routed(gateway: &Gateway, address: &str) -> bool {
    let reply = get(&gateway.peers_url()).unwrap();
    let table: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
    let peers = table["peers"].as_array().unwrap();
    peers.iter().any(|peer| peer["address"] == address && peer["routed"] == true)
}

/// Waits until the answering worker routes to the address, or does not.
pub(crate) fn wait_until_routed(gateway: &Gateway, address: &str, routed: bool) {
    until(&format!("routed = {routed} for {address}"), LIMIT, || {
        Ok((is_routed(gateway, address) == routed).then_some(()))
    })
    .unwrap();
}
