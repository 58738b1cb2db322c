//! What a release costs the gateways: reads a second at each of them, for few nodes and for many.

use crate::attempt::End;
use crate::gateway::Kind;
use crate::schedule::Schedule;
use crate::story::{SETTLES, run, scratch};
use crate::{judge, show};

/// The most reads per second where replies name their worker, and where each confirmation needs a row of 64
/// connections.
const BOUND: u64 = 150;
const ROWS_BOUND: u64 = 750;

/// The most where the gateway's own list is the registry: its marks are read 40 times a second at most.
const OWN_BOUND: u64 = 100;

/// A plain release of `nodes` nodes in these batches.
fn fleet(nodes: usize, batches: &str) -> Schedule {
    let mut schedule = Schedule::plain();
    let shape = &mut schedule.shape;
    (shape.nodes, shape.batches) = (nodes, format!("'{batches}'"));
    // The requests of clients are not counted.
    shape.pause = 1_000;
    schedule
}

/// Runs it, prints the figures, and returns the most reads per second at any gateway.
fn most_reads(schedule: &Schedule, named: &str) -> u64 {
    let scratch = scratch();
    let ran = run(schedule, scratch.path(), false);
    judge(schedule, &ran, scratch.path());
    assert!(matches!(ran.end, End::Finished(_, 0)), "{:?}", ran.end);
    let seconds = (ran.took - SETTLES) / 1000;
    for (number, reads) in ran.reads.iter().enumerate() {
        let (all, most) = (reads.iter().sum::<u64>(), reads.iter().max().unwrap_or(&0));
        let gateway = number + 1;
        show(&format!(
            "{named}: gw-{gateway}: {all} reads in {seconds} s, at most {most} a second"
        ));
    }
    ran.reads.iter().flatten().copied().max().unwrap_or(0)
}

/// The watch over each node that is out, and each write, also read the marks there.
#[test]
fn reads_of_a_gateway_that_is_the_registry_do_not_grow_with_the_nodes_that_are_out() {
    for (nodes, batches) in [(3, "1"), (20, "50%"), (80, "50%")] {
        let mut schedule = fleet(nodes, batches);
        schedule.shape.gateways.truncate(1);
        schedule.shape.gateways[0].kind = Kind::OwnApi;
        let named = format!("{nodes} nodes, {batches} at a time, own API");
        let most = most_reads(&schedule, &named);
        assert!(0 < most && most <= OWN_BOUND, "{named}: {most} reads in a second");
    }
}

/// Each confirmation, each capacity check and each watchdog of a node that is out needs reads that begin after its
/// request; they share these reads.
#[test]
fn reads_at_each_gateway_do_not_grow_with_the_nodes_that_are_out() {
    for (nodes, batches) in [(3, "1"), (40, "25%")] {
        let schedule = fleet(nodes, batches);
        let names = format!("{nodes} nodes, {batches} at a time");
        let mut nameless = schedule.clone();
        for gateway in &mut nameless.shape.gateways {
            (gateway.workers, gateway.named, gateway.server) = (4, false, Some("nginx/1.18.0"));
        }
        let mut counting = schedule.clone();
        counting.shape.gateways.remove(0);
        counting.shape.drain = "gateways";
        let ways = [
            (schedule, "", BOUND),
            (nameless, ", nameless", ROWS_BOUND),
            (counting, ", counted by gateways", BOUND),
        ];
        for (schedule, way, bound) in ways {
            let most = most_reads(&schedule, &format!("{names}{way}"));
            assert!(0 < most && most <= bound, "{names}{way}: {most} reads in a second");
        }
    }
}
