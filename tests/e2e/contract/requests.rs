//! Requests that are in flight at the first node, through a gateway.

use std::cell::RefCell;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rollgate_lab::{Node, get, until};

/// The duration of one: longer than a scenario watches it.
const LONG: Duration = Duration::from_secs(2);

#[derive(Default)]
pub(crate) struct Requests(RefCell<Vec<JoinHandle<()>>>);

impl Requests {
    /// Sends one after the other until this many are at the first node, or returns when all are answered.
    pub(crate) fn hold(&self, requests: u64, gateway: &str, nodes: &[Node]) {
        let mut held = self.0.borrow_mut();
        if requests == 0 {
            held.drain(..).for_each(|request| request.join().expect("answered"));
            return;
        }
        while in_flight(&nodes[0]) < requests {
            let url = format!("{gateway}/work?ms={}", LONG.as_millis());
            held.push(thread::spawn(move || {
                assert_eq!(get(&url).expect("an answer").status, 200);
            }));
            let arrived = until("a request to arrive", Duration::from_secs(1), || {
                let all: u64 = nodes.iter().map(in_flight).sum();
                Ok((all == held.len() as u64).then_some(()))
            });
            arrived.expect("it is on its way");
        }
    }
}

/// The request count of a node by its own page.
fn in_flight(node: &Node) -> u64 {
    let told = get(&node.service_url("/metrics")).expect("an answer").body;
    let number = told.trim().strip_prefix("in_flight ").and_then(|number| number.parse().ok());
    number.expect("a number")
}
