//! Traefik, by the file with its servers. A fault of the gateway also affects the way to that file.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use rollgate_lab::{LabConfig, get};

use super::{Ailment, Hands, Impostor, Shared, Theatre, place};

/// This many requests in a row reach every server of its list.
const ROUND: usize = 12;

/// A live Traefik and the scenario's changes to it.
struct Traefik {
    lab: Shared,
    impostor: RefCell<Option<Impostor>>,
    /// The host of the file cannot be reached.
    cut_off: Cell<bool>,
}

impl Traefik {
    /// Starts it again.
    fn new(lab: &Shared) -> Self {
        let (impostor, cut_off) = (RefCell::default(), Cell::default());
        let hands = Self { lab: lab.clone(), impostor, cut_off };
        hands.act(|traefik| {
            "app".clone_into(&mut traefik.service);
            renew(traefik);
        });
        hands
    }

    fn act<T>(&self, act: impl FnOnce(&mut rollgate_lab::Traefik) -> T) -> T {
        act(&mut self.lab.borrow_mut().traefiks[0])
    }
}

impl Drop for Traefik {
    fn drop(&mut self) {
        if self.cut_off.get() {
            let node = &self.lab.borrow().nodes[0];
            node.kill_sshd().expect("it is dead");
            node.start_sshd().expect("it starts again");
        }
    }
}

/// Starts it with the initial file.
fn renew(traefik: &mut rollgate_lab::Traefik) {
    traefik.renew().expect("a file");
    traefik.restart().expect("it starts");
}

impl Hands for Traefik {
    fn name(&self) -> &'static str {
        "traefik, live"
    }

    fn mark(&self, _: usize, _: bool) {
        panic!("it has an API of its own");
    }

    /// It does not count requests.
    fn hold(&self, _: u64) -> bool {
        false
    }

    /// The file is kept.
    fn restart(&self) -> bool {
        self.act(rollgate_lab::Traefik::restart).expect("it starts again");
        false
    }

    fn befall(&self, ailment: Ailment) -> bool {
        *self.impostor.borrow_mut() = None;
        let lab = &mut *self.lab.borrow_mut();
        let (traefik, host) = (&mut lab.traefiks[0], &lab.nodes[0]);
        match ailment {
            Ailment::Unknown => {
                "other".clone_into(&mut traefik.service);
                renew(traefik);
            }
            Ailment::Unreachable => {
                traefik.stop();
                host.kill_sshd().expect("it is dead");
                self.cut_off.set(true);
            }
            Ailment::Silent => {
                traefik.freeze(true).expect("it stands still");
                host.hang_sshd().expect("it stands still");
                self.cut_off.set(true);
            }
            Ailment::Garbage(garbage) => {
                traefik.stop();
                traefik.write(&garbage).expect("a file");
                let impostor = Impostor::default().http(place(&traefik.api_url()), &garbage);
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

    /// Its requests go to the servers in turn.
    fn everybody_has(&self, node: usize, down: bool) -> bool {
        let node = self.lab.borrow().nodes[node].address().to_string();
        let url = self.act(|traefik| traefik.url("/ping"));
        let mut answers = (0..ROUND).map(|_| get(&url).expect("an answer"));
        answers.any(|answer| answer.header("X-Node") == Some(&node)) != down
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
fn traefik_keeps_the_contract() {
    let theatre = Theatre::new(LabConfig { traefiks: 1, ..LabConfig::new(3, Vec::new()) });
    let gateway = theatre.gateway();
    theatre.play(gateway, || Traefik::new(&theatre.lab));
}
