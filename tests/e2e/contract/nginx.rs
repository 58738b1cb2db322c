//! nginx with Lua in the four ways in which it follows Consul.

use std::cell::RefCell;
use std::time::Duration;

use rollgate_lab::{GatewayConfig, LabConfig, Source, get, until};

use super::stage::LITTLE;
use super::{
    Ailment, Hands, Impostor, RENEWAL, Requests, Shared, Theatre, every_worker_has, mark,
    mark_all_up, place, wait_for_workers,
};

/// The list that a gateway shows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shows {
    /// nginx-upsync's list, by its name.
    List,
    /// A table of the registry's keys, with their requests.
    Keys,
    /// A table of instances: a node that is out is not in it.
    Instances,
}

/// A live nginx and the scenario's changes to it.
struct Nginx {
    lab: Shared,
    shows: Shows,
    lag: Duration,
    /// The lag that its driver assumes.
    assumed: Duration,
    requests: Requests,
    impostor: RefCell<Option<Impostor>>,
}

impl Nginx {
    /// Starts it again.
    fn new(lab: &Shared, shows: Shows, (lag, assumed): (Duration, Duration)) -> Self {
        let lab = lab.clone();
        {
            let lab = &mut *lab.borrow_mut();
            mark_all_up(lab);
            lab.gateways[0].rename_upstream("app").expect("as it was");
            lab.gateways[0].restart().expect("it starts anew");
            wait_for_workers(lab);
        }
        Self {
            lab,
            shows,
            lag,
            assumed,
            requests: Requests::default(),
            impostor: RefCell::default(),
        }
    }
}

/// Returns whether no worker shows a node, not even a new one with the list of the previous worker: this many
/// connections reach each of them.
fn is_unused(url: &str) -> anyhow::Result<bool> {
    for _ in 0..40 {
        if get(url)?.body.trim() != r#"{"peers":[]}"# {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Hands for Nginx {
    fn name(&self) -> &'static str {
        "nginx, live"
    }

    fn mark(&self, node: usize, down: bool) {
        mark(&self.lab.borrow(), node, down);
    }

    /// A table of instances loses a node that leaves, and so the node of its requests.
    fn hold(&self, requests: u64) -> bool {
        if self.shows != Shows::Keys {
            return false;
        }
        let lab = self.lab.borrow();
        self.requests.hold(requests, &lab.gateways[0].url(""), &lab.nodes);
        true
    }

    /// Its list is in Consul, and in a file of its own until Consul has answered.
    fn restart(&self) -> bool {
        self.lab.borrow_mut().gateways[0].restart().expect("it starts again");
        false
    }

    fn befall(&self, ailment: Ailment) -> bool {
        *self.impostor.borrow_mut() = None;
        let lab = &mut *self.lab.borrow_mut();
        let gateway = &mut lab.gateways[0];
        match ailment {
            // The prefix of another upstream has no keys, and an answer without keys changes nothing.
            Ailment::Unknown if self.shows == Shows::Keys => return false,
            Ailment::Unknown => {
                gateway.rename_upstream("other").expect("another");
                gateway.restart().expect("it starts again");
                if self.shows == Shows::Instances {
                    let url = gateway.peers_url();
                    let gone = until("every list to be empty", RENEWAL, || {
                        Ok(is_unused(&url)?.then_some(()))
                    });
                    gone.expect("no connection is left");
                }
            }
            Ailment::Unreachable => gateway.stop().expect("a note"),
            Ailment::Silent => gateway.freeze(true).expect("it stands still"),
            Ailment::Garbage(garbage) => {
                gateway.stop().expect("a note");
                let impostor = Impostor::default().http(place(&gateway.url("")), &garbage);
                *self.impostor.borrow_mut() = Some(impostor);
            }
            // A live gateway sends complete answers, and accepts no writes.
            Ailment::Cut(_) | Ailment::Swallowing => return false,
        }
        true
    }

    fn tells_the_unknown(&self) -> bool {
        self.shows == Shows::List
    }

    /// It also holds its connections: when it continues, it sends them to the old nodes.
    fn stick(&self) -> bool {
        self.lab.borrow().gateways[0].freeze_worker().expect("it stands still");
        true
    }

    fn everybody_has(&self, node: usize, down: bool) -> bool {
        let lab = self.lab.borrow();
        every_worker_has(&lab.gateways[0], lab.nodes[node].address(), down)
    }

    fn lag(&self) -> Duration {
        self.lag
    }

    /// The recorded replies cover how garbage is judged over time.
    fn a_while(&self) -> Duration {
        if self.impostor.borrow().is_some() { LITTLE } else { self.assumed + LITTLE }
    }

    fn writes(&self) -> usize {
        0
    }
}

/// Runs the scenarios on one gateway with this minimal and maximal lag.
fn play(config: GatewayConfig, shows: Shows, lag: (u64, u64)) {
    let agents = config.source != Source::Keys;
    let theatre = Theatre::new(LabConfig { agents, ..LabConfig::new(3, vec![config]) });
    let mut gateway = theatre.gateway().clone();
    if shows == Shows::Keys {
        gateway = serde_json::json!({
            "type": "http-table", "url": theatre.lab.borrow().gateways[0].peers_url(), "workers": 2,
            "list": "/peers", "address": "/address", "routed": "/routed", "in_flight": "/in_flight",
            "sync_interval": "1200ms",
        });
    }
    let lag = (Duration::from_millis(lag.0), Duration::from_millis(lag.1));
    theatre.play(&gateway, || Nginx::new(&theatre.lab, shows, lag));
}

/// Four workers, each of which queries for changes of the keys and sleeps up to 1.2 s after every answer.
#[test]
fn nginx_that_follows_keys_keeps_the_contract_by_its_list() {
    play(GatewayConfig::upsync(4, 200).naming_workers(), Shows::List, (0, 2200));
}

#[test]
fn nginx_that_follows_keys_keeps_the_contract_by_a_table_with_requests() {
    play(GatewayConfig::upsync(2, 200).naming_workers(), Shows::Keys, (0, 1700));
}

#[test]
fn nginx_that_asks_for_changes_of_the_passing_instances_keeps_the_contract() {
    let config = GatewayConfig::immediate(2).naming_workers().of(Source::Passing);
    play(config, Shows::Instances, (0, 500));
}

#[test]
fn nginx_that_polls_the_passing_instances_keeps_the_contract() {
    play(GatewayConfig::poll(2, 1000).of(Source::Passing), Shows::Instances, (1000, 1500));
}

#[test]
fn nginx_that_polls_consuls_dns_keeps_the_contract() {
    play(GatewayConfig::poll(2, 1000).of(Source::Records), Shows::Instances, (1000, 1500));
}
