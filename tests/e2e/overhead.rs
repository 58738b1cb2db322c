//! The duration that rollgate itself adds per node. Printed, never asserted: machines differ.

use rollgate_lab::{GatewayConfig, LabConfig};

use crate::harness::{Bench, events};

#[test]
fn the_overhead_of_a_node_is_printed() {
    let mut gateway = GatewayConfig::immediate(4);
    gateway.worker_header = true;
    let config = LabConfig::new(3, vec![gateway.clone(), gateway]);
    let bench = Bench::with(config, |playbook| {
        playbook["health"]["interval"] = "20ms".into();
        playbook["health"]["rise"] = 1.into();
    });
    let arguments = ["--var", "version=2", "--yes", "--output", "jsonl"];
    let ran = bench.run(&["deploy"], &arguments).exits(0);
    let audit = bench.lab.audit().expect("an audit");
    let mut done = 0;
    for event in events(&ran.stdout()).iter().filter(|event| event["type"] == "node.done") {
        let node = event["node"].as_str().expect("a name");
        let total = event["data"]["elapsed_ms"].as_u64().expect("a number");
        let stop = audit.stops.iter().find(|stop| stop.node == node).expect("it was stopped");
        let service = stop.next_started.expect("it was started") - stop.t;
        println!(
            "{node}: {total} ms in all, {service} ms from stop to start, overhead {} ms",
            total - service
        );
        done += 1;
    }
    assert_eq!(done, 3);
}
