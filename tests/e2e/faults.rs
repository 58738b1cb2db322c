//! Some cells of the table in `docs/faults.md`, which `scripts/faults` makes: a part fails in the middle of a step, no
//! user notices more than the fault itself does to them, what is told is what is, and `resume` reaches the same end.

use rollgate_lab::faults::{Cell, Lasts, Mishap, Step, try_cell};

use crate::harness::rollgate;

#[track_caller]
fn is_survived(mishap: Mishap, step: Step) {
    let row = try_cell(&rollgate(), Cell { mishap, step }).expect("the lab works");
    assert!(row.is_good(), "{row}");
    println!("{row}");
}

#[test]
fn a_node_that_reboots_while_it_is_drained_is_released_or_reported() {
    is_survived(Mishap::NodeRebooted, Step::Drain);
}

#[test]
fn a_node_that_reboots_while_its_health_is_proven_is_released_or_reported() {
    is_survived(Mishap::NodeRebooted, Step::Health);
}

#[test]
fn an_sshd_that_dies_during_the_stop_is_reached_again() {
    is_survived(Mishap::SshdKilled(Lasts::Moment), Step::Stop);
}

#[test]
fn a_node_whose_sshd_is_gone_before_the_stop_goes_on_serving() {
    let cell = Cell { mishap: Mishap::SshdKilled(Lasts::Release), step: Step::Drain };
    let row = try_cell(&rollgate(), cell).expect("the lab works");
    assert!(row.is_good(), "{row}");
    assert_eq!((row.code, row.then), (Some(20), Some(0)));
    assert!(row.nodes.iter().all(|node| node.serves("1")), "{row}");
}

#[test]
fn an_sshd_that_hangs_during_the_start_is_reached_again() {
    is_survived(Mishap::SshdHung(Lasts::Moment), Step::Start);
}

#[test]
fn a_cut_between_rollgate_and_a_node_is_outlasted() {
    is_survived(Mishap::NodeCut(Lasts::Moment), Step::Activate);
}

#[test]
fn a_cut_between_rollgate_and_consul_is_outlasted() {
    is_survived(Mishap::ConsulCut(Lasts::Moment), Step::Disable);
}

#[test]
fn a_cut_between_rollgate_and_a_gateway_is_outlasted() {
    is_survived(Mishap::GatewayCut(Lasts::Moment), Step::ConfirmIn);
}

#[test]
fn a_consul_that_restarts_is_outlasted() {
    is_survived(Mishap::ConsulDown(Lasts::Moment), Step::Enable);
}

#[test]
fn a_gateway_that_restarts_proves_the_node_out_again() {
    is_survived(Mishap::GatewayDown(Lasts::Moment), Step::ConfirmOut);
}

#[test]
fn a_gateway_that_is_reloaded_during_the_drain_is_no_trouble() {
    is_survived(Mishap::GatewayReloaded, Step::Drain);
}

#[test]
fn a_full_disk_leaves_the_node_out_and_is_reported() {
    is_survived(Mishap::DiskFull, Step::Activate);
}
