//! HAProxy: its runtime API over both ways, its stats page, and slots that follow Consul's DNS.

use std::cell::RefCell;
use std::time::Duration;

use rollgate_lab::{HaproxyConfig, LabConfig, Reach, Servers, until};

use super::{Ailment, Hands, Impostor, RENEWAL, Requests, Shared, Theatre, mark, mark_all_up};

/// A live HAProxy and the scenario's changes to it.
struct Haproxy {
    lab: Shared,
    requests: Requests,
    impostor: RefCell<Option<Impostor>>,
}

impl Haproxy {
    /// Starts it again.
    fn new(lab: &Shared, config: HaproxyConfig) -> Self {
        let lab = lab.clone();
        {
            let lab = &mut *lab.borrow_mut();
            if config.servers == Servers::Template {
                mark_all_up(lab);
            }
            let haproxy = &mut lab.haproxies[0];
            haproxy.config = config;
            haproxy.restart().expect("it starts anew");
            let all = until("every server", RENEWAL, || {
                let states = lab.nodes.iter().map(|node| haproxy.admin_state(node.address()));
                Ok({ states }.all(|state| state.is_ok_and(|out| out == 0)).then_some(()))
            });
            all.expect("as it was");
        }
        Self { lab, requests: Requests::default(), impostor: RefCell::default() }
    }

    fn act<T>(&self, act: impl FnOnce(&mut rollgate_lab::Haproxy) -> T) -> T {
        act(&mut self.lab.borrow_mut().haproxies[0])
    }

    /// Whether it follows Consul's DNS.
    fn follows(&self) -> bool {
        self.act(|haproxy| haproxy.config.servers == Servers::Template)
    }
}

impl Hands for Haproxy {
    fn name(&self) -> &'static str {
        "haproxy, live"
    }

    fn mark(&self, node: usize, down: bool) {
        assert!(self.follows(), "it has an API of its own");
        mark(&self.lab.borrow(), node, down);
    }

    fn hold(&self, requests: u64) -> bool {
        if self.follows() {
            return false;
        }
        let url = self.act(|haproxy| haproxy.url(""));
        self.requests.hold(requests, &url, &self.lab.borrow().nodes);
        true
    }

    /// A slot that follows DNS loses the address of a node that leaves, and so the node of its requests.
    fn forgets_the_busy(&self) -> bool {
        self.follows()
    }

    fn restart(&self) -> bool {
        self.act(rollgate_lab::Haproxy::restart).expect("it starts again");
        !self.follows()
    }

    fn befall(&self, ailment: Ailment) -> bool {
        *self.impostor.borrow_mut() = None;
        let haproxy = &mut self.lab.borrow_mut().haproxies[0];
        match ailment {
            Ailment::Unknown => {
                "other".clone_into(&mut haproxy.config.backend);
                haproxy.restart().expect("it starts again");
            }
            Ailment::Unreachable => haproxy.stop(),
            Ailment::Silent => haproxy.freeze(true).expect("it stands still"),
            Ailment::Garbage(garbage) => {
                haproxy.stop();
                let impostor = Impostor::default().unix(haproxy.socket(), &garbage);
                let impostor = impostor.tcp(haproxy.runtime(), &garbage);
                *self.impostor.borrow_mut() = Some(impostor.http(haproxy.page(), &garbage));
            }
            // A live gateway sends complete answers, and answers every write.
            Ailment::Cut(_) | Ailment::Swallowing => return false,
        }
        true
    }

    /// All its threads share one list.
    fn stick(&self) -> bool {
        false
    }

    fn everybody_has(&self, node: usize, down: bool) -> bool {
        let node = self.lab.borrow().nodes[node].address();
        self.act(|haproxy| match haproxy.admin_state(node) {
            Ok(out) => (out != 0) == down,
            // A slot that follows DNS has lost its address.
            Err(_) => down && haproxy.says("show info").is_ok(),
        })
    }

    fn lag(&self) -> Duration {
        Duration::ZERO
    }

    /// It does not report how many writes had an effect.
    fn writes(&self) -> usize {
        0
    }
}

/// Runs the scenarios on one HAProxy.
fn play(config: &HaproxyConfig) {
    let agents = config.servers == Servers::Template;
    let haproxies = vec![config.clone()];
    let theatre = Theatre::new(LabConfig { agents, haproxies, ..LabConfig::new(3, Vec::new()) });
    let gateway = theatre.gateway();
    theatre.play(gateway, || Haproxy::new(&theatre.lab, config.clone()));
}

#[test]
fn haproxy_keeps_the_contract_by_its_socket_over_ssh() {
    play(&HaproxyConfig::new(Reach::Socket));
}

#[test]
fn haproxy_keeps_the_contract_over_tcp() {
    play(&HaproxyConfig::new(Reach::Tcp));
}

#[test]
fn haproxy_keeps_the_contract_by_its_stats_page() {
    play(&HaproxyConfig::new(Reach::Page));
}

#[test]
fn haproxy_that_follows_consuls_dns_keeps_the_contract() {
    play(&HaproxyConfig { servers: Servers::Template, ..HaproxyConfig::new(Reach::Tcp) });
}
