//! A worker that follows its list no more, at a gateway that gives nearly all connections to another one.

use crate::attempt::End;
use crate::faults::{Fault, When};
use crate::judge;
use crate::schedule::Schedule;
use crate::story::{run, scratch};

const FOREVER: u64 = 24 * 3_600_000;

/// Its workers have no names: it shows only over connections that are held together.
#[test]
fn a_nameless_worker_that_stays_behind_lets_no_node_be_stopped() {
    for seed in 1..=5 {
        let mut schedule = Schedule { seed, ..Schedule::plain() };
        let gateways = &mut schedule.shape.gateways;
        gateways.truncate(1);
        let gateway = &mut gateways[0];
        (gateway.workers, gateway.named, gateway.counted) = (4, false, true);
        gateway.server = Some("nginx/1.18.0");
        // Before the first node is marked down.
        let stuck = Fault::Stuck { gateway: 0, worker: 3, lasts: FOREVER };
        schedule.faults = vec![(When::Event(2), stuck)];
        let scratch = scratch();
        let ran = run(&schedule, scratch.path(), true);
        judge(&schedule, &ran, scratch.path());
        assert!(matches!(ran.end, End::Finished(_, 20)), "{seed}: {:?}", ran.end);
        assert!(!ran.events.contains(r#""step":"stop""#), "{seed}: {}", ran.events);
    }
}
