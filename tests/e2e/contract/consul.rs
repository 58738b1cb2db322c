//! Consul in place of gateways that follow it and show nothing themselves. Their faults are Consul's faults.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Duration;

use rollgate_lab::{Agent, GatewayConfig, Lab, LabConfig, Resolver, Source, until};
use serde_json::json;

use super::stage::LITTLE;
use super::{Ailment, Hands, Impostor, RENEWAL, Shared, Theatre, every_worker_has, mark, place};

/// Where Consul answers DNS.
const DNS_PORT: u16 = 8600;

/// A live Consul before a live gateway, and the scenario's changes to them.
struct Consul {
    lab: Shared,
    lag: Duration,
    impostor: RefCell<Option<Impostor>>,
}

impl Consul {
    /// Starts it again, if it was stopped, with every instance in.
    fn new(lab: &Shared, lag: Duration) -> Self {
        let lab = lab.clone();
        {
            let lab = &mut *lab.borrow_mut();
            if lab.consul.is_running(0) {
                lab.consul.freeze(0, false).expect("it goes on");
            } else {
                lab.consul.start(0).expect("it starts again");
            }
            lab.consul.wait_for_leader().expect("it leads itself");
            for agent in &lab.agents {
                // An instance that was deregistered is not in maintenance.
                if agent.maintenance().expect("an answer").is_some() {
                    agent.maintain(false, "").expect("it is marked");
                }
                agent.register().expect("it passes");
            }
            // It queries again ten seconds after an answer without records.
            let mut resolvers = lab.resolvers.iter_mut();
            resolvers.try_for_each(Resolver::restart).expect("it starts again");
            let all = until("every node to be routed to", RENEWAL, || {
                let mut nodes = lab.nodes.iter();
                Ok(nodes.all(|node| has(lab, node.address(), false)).then_some(()))
            });
            all.expect("as it was");
        }
        Self { lab, lag, impostor: RefCell::default() }
    }
}

/// Returns whether the gateway has this mark of a node.
fn has(lab: &Lab, node: SocketAddr, down: bool) -> bool {
    match lab.gateways.first() {
        Some(gateway) => every_worker_has(gateway, node, down),
        None => lab.resolvers[0].routes_to(node).expect("an answer") != down,
    }
}

impl Hands for Consul {
    fn name(&self) -> &'static str {
        "Consul, live"
    }

    fn mark(&self, node: usize, down: bool) {
        mark(&self.lab.borrow(), node, down);
    }

    /// It does not count requests.
    fn hold(&self, _: u64) -> bool {
        false
    }

    fn restart(&self) -> bool {
        let lab = &mut *self.lab.borrow_mut();
        lab.consul.stop(0);
        lab.consul.start(0).expect("it starts again");
        lab.consul.wait_for_leader().expect("it leads itself");
        match lab.gateways.first_mut() {
            Some(gateway) => gateway.restart(),
            None => lab.resolvers[0].restart(),
        }
        .expect("it starts again");
        false
    }

    fn befall(&self, ailment: Ailment) -> bool {
        *self.impostor.borrow_mut() = None;
        let lab = &mut *self.lab.borrow_mut();
        match ailment {
            Ailment::Unknown => {
                let gone = lab.agents.iter().try_for_each(Agent::deregister);
                gone.expect("no connection is left");
            }
            Ailment::Unreachable => lab.consul.stop(0),
            Ailment::Silent => lab.consul.freeze(0, true).expect("it stands still"),
            Ailment::Garbage(garbage) => {
                lab.consul.stop(0);
                let http = place(&lab.consul.addresses()[0]);
                let impostor = Impostor::default().http(http, &garbage);
                // With its length in front, like an answer.
                let length = u16::try_from(garbage.len()).expect("short").to_be_bytes();
                let impostor =
                    impostor.tcp((http.ip(), DNS_PORT), &[&length, &garbage[..]].concat());
                *self.impostor.borrow_mut() = Some(impostor);
            }
            // A live gateway sends complete answers, and rollgate does not write to it.
            Ailment::Cut(_) | Ailment::Swallowing => return false,
        }
        true
    }

    fn tells_the_unknown(&self) -> bool {
        false
    }

    /// Its followers cannot be seen.
    fn stick(&self) -> bool {
        false
    }

    fn everybody_has(&self, node: usize, down: bool) -> bool {
        let lab = self.lab.borrow();
        has(&lab, lab.nodes[node].address(), down)
    }

    fn lag(&self) -> Duration {
        self.lag
    }

    /// The recorded replies cover how garbage is judged over time.
    fn a_while(&self) -> Duration {
        if self.impostor.borrow().is_some() { LITTLE } else { self.lag + LITTLE }
    }

    fn writes(&self) -> usize {
        0
    }
}

/// Runs the scenarios on Consul's DNS.
fn play_on_dns(config: LabConfig) {
    let theatre = Theatre::new(LabConfig { agents: true, ..config });
    let server = (theatre.lab.borrow().consul.ips()[0], DNS_PORT);
    let server = SocketAddr::from(server).to_string();
    let gateway = json!({ "type": "consul-dns", "server": server, "record": "app.service.consul" });
    theatre.play(&gateway, || Consul::new(&theatre.lab, Duration::from_secs(2)));
}

#[test]
fn consuls_dns_keeps_the_contract_for_a_gateway_that_polls_it() {
    let config = GatewayConfig::poll(2, 1000).of(Source::Records);
    play_on_dns(LabConfig::new(3, vec![config]));
}

#[test]
fn consuls_dns_keeps_the_contract_for_an_nginx_that_resolves() {
    play_on_dns(LabConfig { resolvers: 1, ..LabConfig::new(3, Vec::new()) });
}

#[test]
fn consuls_list_keeps_the_contract_for_a_gateway_that_asks_for_its_changes() {
    let config = GatewayConfig::immediate(2).of(Source::Passing);
    let theatre = Theatre::new(LabConfig { agents: true, ..LabConfig::new(3, vec![config]) });
    let gateway = json!({ "type": "consul-passing", "service": "app", "sync_interval": "500ms" });
    theatre.play(&gateway, || Consul::new(&theatre.lab, Duration::from_millis(500)));
}
