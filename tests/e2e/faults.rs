//! Some cells of the tables in `docs/faults.md`, which `scripts/faults` makes: a part fails during a step. Clients see
//! only the fault itself, the report is true, and `resume` reaches the same end.

use rollgate_lab::faults::{Cell, CellResult, Kind, Lasts, Mishap, Step, try_cell};

use crate::harness::rollgate;

#[track_caller]
fn is_survived(mishap: Mishap, step: Step) {
    tried(Cell { kind: Kind::Deploy, mishap, step });
}

/// Tries a cell; returns its result, which passes every check.
#[track_caller]
fn tried(cell: Cell) -> CellResult {
    let row = try_cell(&rollgate(), cell).expect("the lab works");
    assert!(row.is_good(), "{row}");
    println!("{row}");
    row
}

#[test]
fn node_that_reboots_during_drain_is_released_or_reported() {
    is_survived(Mishap::NodeRebooted, Step::Drain);
}

#[test]
fn node_that_reboots_during_health_is_released_or_reported() {
    is_survived(Mishap::NodeRebooted, Step::Health);
}

#[test]
fn sshd_that_dies_during_stop_is_reached_again() {
    is_survived(Mishap::SshdKilled(Lasts::Moment), Step::Stop);
}

#[test]
fn node_without_sshd_before_stop_keeps_serving() {
    let mishap = Mishap::SshdKilled(Lasts::Release);
    let cell = Cell { kind: Kind::Deploy, mishap, step: Step::Drain };
    let row = tried(cell);
    assert_eq!((row.code, row.then), (Some(20), Some(0)));
    assert!(row.nodes.iter().all(|node| node.serves("1")), "{row}");
}

#[test]
fn restart_reaches_again_an_sshd_that_dies_before_start() {
    let mishap = Mishap::SshdKilled(Lasts::Moment);
    let row = tried(Cell { kind: Kind::Restart, mishap, step: Step::Start });
    assert_eq!(row.code, Some(0), "{row}");
}

#[test]
fn sshd_that_hangs_during_start_is_reached_again() {
    is_survived(Mishap::SshdHung(Lasts::Moment), Step::Start);
}

#[test]
fn release_survives_a_network_cut_to_a_node() {
    is_survived(Mishap::NodeCut(Lasts::Moment), Step::Activate);
}

#[test]
fn release_survives_a_network_cut_to_consul() {
    is_survived(Mishap::ConsulCut(Lasts::Moment), Step::Disable);
}

#[test]
fn release_survives_a_network_cut_to_a_gateway() {
    is_survived(Mishap::GatewayCut(Lasts::Moment), Step::ConfirmIn);
}

#[test]
fn release_survives_a_consul_restart() {
    is_survived(Mishap::ConsulDown(Lasts::Moment), Step::Enable);
}

#[test]
fn gateway_restart_leads_to_another_confirmation_of_the_node_out() {
    is_survived(Mishap::GatewayDown(Lasts::Moment), Step::ConfirmOut);
}

#[test]
fn gateway_reload_during_drain_is_harmless() {
    is_survived(Mishap::GatewayReloaded, Step::Drain);
}

#[test]
fn full_disk_leaves_the_node_out_and_is_reported() {
    is_survived(Mishap::DiskFull, Step::Activate);
}
