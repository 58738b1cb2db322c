//! The contract of every kind of gateway, scenario by scenario: each driver over recorded replies.
//!
//! A new kind is a file in `subjects/`: its entry in a playbook, and the bytes with which a real gateway answers after
//! each write ([`replay::Subject`]). The scenarios depend on neither kinds nor worlds: `tests/e2e/contract/` runs them
//! on live gateways.

mod ipv6; // Every kind with IPv6 nodes.
mod replay; // A world of recorded replies.
mod scenarios; // The contract itself.
mod stage; // A gateway, its controls and its faults.
mod subjects; // The kinds.

use replay::stage_of;
use subjects::{ipv6_subjects, subjects};

/// Makes a test for each scenario that runs it on every kind.
macro_rules! contract {
    ($($scenario:ident),+ $(,)?) => {
        $(
            #[test]
            fn $scenario() {
                for subject in subjects().into_iter().chain(ipv6_subjects()) {
                    let runtime = tokio::runtime::Builder::new_current_thread();
                    let runtime = { runtime }.enable_time().start_paused(true).build();
                    let play = async { scenarios::$scenario(&stage_of(subject)).await };
                    runtime.expect("a runtime").block_on(play);
                }
            }
        )+
    };
}

scenarios::for_each_scenario!(contract);

#[test]
fn every_kind_has_a_subject() {
    for (kind, _) in rollgate::gateway::KINDS {
        let is_there = subjects().iter().any(|subject| subject.gateway()["type"] == **kind);
        assert!(is_there, "no subject of the contract is of the type {kind}");
    }
}
