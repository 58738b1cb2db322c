//! How many workers of a gateway were distinguished, and how that affects a confirmation.

use std::time::Duration;

use super::attempt::ALONE;
use crate::gateway::driver::GatewayInfo;
use crate::gateway::proof::{ASSUMED_WORKERS, Rule};
use crate::text;

/// Which workers of a gateway many connections reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Each one, with the same share.
    Even,
    /// Each one; some may get few.
    Uneven,
    /// Some may get none.
    Some,
}

/// Reports how many workers were distinguished by their names. The playbook's number of workers is `told`.
pub(super) fn tell_workers(info: &mut GatewayInfo, seen: usize, told: Option<u32>, reach: Reach) {
    let count = |number: usize| text::count(number, "worker");
    match (seen, told) {
        (0, Some(1)) => {}
        (0, _) if reach == Reach::Some => info.blockers.push(format!(
            "{ALONE}; to name the workers, set `add_header X-Worker $pid always;` at that location and \
             `workers: N` in the playbook"
        )),
        (0, _) => {
            let number = told.map_or("workers".into(), |told| count(told as usize));
            let too = told.map_or(" and `workers: N` in the playbook", |_| "");
            let connections = Rule { workers: told, lag: Duration::ZERO, apply_delay: Duration::ZERO };
            let connections = connections.reads(reach == Reach::Even);
            info.is += &format!(", {number} without names");
            info.advice = Some(format!(
                "a change is confirmed by {connections} connections in a row, which can miss a worker; to confirm each worker by its name, set `add_header X-Worker $pid always;` at that location{too}"
            ));
        }
        (seen, None) if seen > ASSUMED_WORKERS as usize => info.blockers.push(format!(
            "{} seen, but the playbook has no `workers`, so {ASSUMED_WORKERS} are assumed: set `workers`",
            count(seen)
        )),
        (seen, None) => info.is += &format!(", {} seen", count(seen)),
        (seen, Some(told)) if seen > told as usize => info.blockers.push(format!(
            "{} seen, but the playbook says `workers: {told}`: set `workers` to the real number",
            count(seen)
        )),
        (seen, Some(told)) if seen < told as usize && reach == Reach::Some => info.blockers.push(format!(
            "{} of {told} have answered: {ALONE}; allow keep-alive connections at that location",
            count(seen)
        )),
        (seen, Some(told)) if seen < told as usize => info.blockers.push(format!(
            "{} seen, but the playbook says `workers: {told}`: no confirmation can complete; set \
             `workers: {seen}`, or find out why the others do not answer",
            count(seen)
        )),
        (seen, Some(told)) => info.is += &format!(", {seen} of {} seen", count(told as usize)),
    }
}
