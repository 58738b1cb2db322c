//! What every kind of gateway owes to a release, scenario by scenario: each driver over recorded replies.
//!
//! A new kind is a file in `subjects/`: its entry in a playbook, and the bytes with which a real one answers, by what
//! it was told ([`replay::Subject`]). The scenarios know neither kinds nor worlds: `tests/e2e/contract.rs` plays them
//! on live gateways.

mod replay; // A world of recorded replies.
mod scenarios; // The contract itself.
mod stage; // A gateway, what it can be told and what can befall it.
mod subjects; // The kinds.

use replay::stage_of;
use subjects::subjects;

/// A test for each scenario: every kind keeps to it.
macro_rules! contract {
    ($($scenario:ident),+ $(,)?) => {
        $(
            #[test]
            fn $scenario() {
                for subject in subjects() {
                    let runtime = tokio::runtime::Builder::new_current_thread();
                    let runtime = { runtime }.enable_time().start_paused(true).build();
                    let play = async { scenarios::$scenario(&stage_of(subject)).await };
                    runtime.expect("a runtime").block_on(play);
                }
            }
        )+
    };
}

contract!(
    a_node_that_is_told_to_leave_is_proven_out_and_the_others_stay,
    a_node_that_is_told_to_come_back_is_proven_in,
    requests_in_flight_are_counted_until_the_last,
    a_worker_that_does_not_follow_forbids_the_proof,
    nothing_is_proven_before_the_last_worker_has_followed,
    a_restart_in_mid_drain_is_seen_and_set_right,
    the_last_node_is_told_from_one_of_many,
    an_upstream_that_the_gateway_does_not_know_is_an_error_and_nothing_is_written,
    a_gateway_that_cannot_be_reached_proves_nothing,
    garbage_proves_nothing,
    an_answer_that_was_cut_short_shows_nothing_else,
    a_slow_answer_proves_nothing_and_leaves_a_write_unknown,
);
