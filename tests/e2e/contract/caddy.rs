//! Caddy, by its admin API.

use std::cell::RefCell;
use std::time::Duration;

use rollgate_lab::LabConfig;

use super::{Ailment, Hands, Impostor, Requests, Shared, Theatre, place};

/// A live Caddy and the scenario's changes to it.
struct Caddy {
    lab: Shared,
    requests: Requests,
    impostor: RefCell<Option<Impostor>>,
}

impl Caddy {
    /// Starts it again.
    fn new(lab: &Shared) -> Self {
        let hands =
            Self { lab: lab.clone(), requests: Requests::default(), impostor: RefCell::default() };
        hands.act(|caddy| {
            "app".clone_into(&mut caddy.handler);
            caddy.restart().expect("it starts anew");
        });
        hands
    }

    fn act<T>(&self, act: impl FnOnce(&mut rollgate_lab::Caddy) -> T) -> T {
        act(&mut self.lab.borrow_mut().caddies[0])
    }
}

impl Hands for Caddy {
    fn name(&self) -> &'static str {
        "caddy, live"
    }

    fn mark(&self, _: usize, _: bool) {
        panic!("it has an API of its own");
    }

    fn hold(&self, requests: u64) -> bool {
        let url = self.act(|caddy| caddy.url(""));
        self.requests.hold(requests, &url, &self.lab.borrow().nodes);
        true
    }

    fn restart(&self) -> bool {
        self.act(rollgate_lab::Caddy::restart).expect("it starts again");
        true
    }

    fn befall(&self, ailment: Ailment) -> bool {
        *self.impostor.borrow_mut() = None;
        let caddy = &mut self.lab.borrow_mut().caddies[0];
        match ailment {
            Ailment::Unknown => {
                "other".clone_into(&mut caddy.handler);
                caddy.restart().expect("it starts again");
            }
            Ailment::Unreachable => caddy.stop(),
            Ailment::Silent => caddy.freeze(true).expect("it stands still"),
            Ailment::Garbage(garbage) => {
                caddy.stop();
                let impostor = Impostor::default().http(place(&caddy.admin_url()), &garbage);
                *self.impostor.borrow_mut() = Some(impostor);
            }
            // A live gateway sends complete answers, and answers every write.
            Ailment::Cut(_) | Ailment::Swallowing => return false,
        }
        true
    }

    /// It is one process.
    fn stick(&self) -> bool {
        false
    }

    fn everybody_has(&self, node: usize, down: bool) -> bool {
        let node = self.lab.borrow().nodes[node].address();
        self.act(|caddy| caddy.lists(node).expect("an answer")) != down
    }

    fn lag(&self) -> Duration {
        Duration::ZERO
    }

    /// It does not report how many writes had an effect.
    fn writes(&self) -> usize {
        0
    }
}

#[test]
fn caddy_keeps_the_contract() {
    let theatre = Theatre::new(LabConfig { caddies: 1, ..LabConfig::new(3, Vec::new()) });
    let gateway = theatre.gateway();
    theatre.play(gateway, || Caddy::new(&theatre.lab));
}
