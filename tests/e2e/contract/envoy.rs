//! Envoy, by the file with its endpoints. A fault of the gateway also affects the way to that file.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use rollgate_lab::LabConfig;

use super::{Ailment, Hands, Impostor, Requests, Shared, Theatre, place};

/// A live Envoy and the scenario's changes to it.
struct Envoy {
    lab: Shared,
    requests: Requests,
    impostor: RefCell<Option<Impostor>>,
    /// The host of the file cannot be reached.
    cut_off: Cell<bool>,
}

impl Envoy {
    /// Starts it again.
    fn new(lab: &Shared) -> Self {
        let (requests, impostor) = (Requests::default(), RefCell::default());
        let hands = Self { lab: lab.clone(), requests, impostor, cut_off: Cell::default() };
        hands.act(|envoy| {
            "app".clone_into(&mut envoy.cluster);
            renew(envoy);
        });
        hands
    }

    fn act<T>(&self, act: impl FnOnce(&mut rollgate_lab::Envoy) -> T) -> T {
        act(&mut self.lab.borrow_mut().envoys[0])
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        if self.cut_off.get() {
            let node = &self.lab.borrow().nodes[0];
            node.kill_sshd().expect("it is dead");
            node.start_sshd().expect("it starts again");
        }
    }
}

/// Starts it with the initial file.
fn renew(envoy: &mut rollgate_lab::Envoy) {
    envoy.renew().expect("a file");
    envoy.restart().expect("it starts");
}

impl Hands for Envoy {
    fn name(&self) -> &'static str {
        "envoy, live"
    }

    fn mark(&self, _: usize, _: bool) {
        panic!("it has an API of its own");
    }

    fn hold(&self, requests: u64) -> bool {
        let url = self.act(|envoy| envoy.url(""));
        self.requests.hold(requests, &url, &self.lab.borrow().nodes);
        true
    }

    /// The file is kept.
    fn restart(&self) -> bool {
        self.act(rollgate_lab::Envoy::restart).expect("it starts again");
        false
    }

    fn befall(&self, ailment: Ailment) -> bool {
        *self.impostor.borrow_mut() = None;
        let lab = &mut *self.lab.borrow_mut();
        let (envoy, host) = (&mut lab.envoys[0], &lab.nodes[0]);
        match ailment {
            Ailment::Unknown => {
                "other".clone_into(&mut envoy.cluster);
                renew(envoy);
            }
            Ailment::Unreachable => {
                envoy.stop();
                host.kill_sshd().expect("it is dead");
                self.cut_off.set(true);
            }
            Ailment::Silent => {
                envoy.freeze(true).expect("it stands still");
                host.hang_sshd().expect("it stands still");
                self.cut_off.set(true);
            }
            Ailment::Garbage(garbage) => {
                envoy.stop();
                envoy.write(&garbage).expect("a file");
                let impostor = Impostor::default().http(place(&envoy.admin_url()), &garbage);
                *self.impostor.borrow_mut() = Some(impostor);
            }
            // A live gateway sends complete answers, and answers every write.
            Ailment::Cut(_) | Ailment::Swallowing => return false,
        }
        true
    }

    /// The main thread updates all workers, and only it is queried.
    fn stick(&self) -> bool {
        false
    }

    fn everybody_has(&self, node: usize, down: bool) -> bool {
        let node = self.lab.borrow().nodes[node].address();
        self.act(|envoy| envoy.drains(node).expect("an answer")) == down
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
fn envoy_keeps_the_contract() {
    let theatre = Theatre::new(LabConfig { envoys: 1, ..LabConfig::new(3, Vec::new()) });
    let gateway = theatre.gateway();
    theatre.play(gateway, || Envoy::new(&theatre.lab));
}
