//! The contract of `tests/contract` on real gateways.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use rollgate::consul::SessionFence;
use rollgate_lab::{get, request};
use serde_json::{Value, json};

use super::dyups::{dyups, post_list};
use super::ngx_dynamic_upstream::{VARIANTS, dynamic};
use super::slardar::{drop_list, put_list, slardar};
use super::upsync::upsync_on_keys;
use super::{Play, Real, WORKERS};
use crate::contract::{Ailment, Hands, Impostor, Requests, Shared, Theatre, mark, mark_all_up};

/// More than enough to reach every worker and every node.
const USERS: usize = 60;

/// What distinguishes the kinds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Dyups,
    Dynamic { counts: bool },
    Slardar,
    Upsync,
}

/// A real gateway and the scenario's changes to it.
struct Hand {
    kind: Kind,
    lag: Duration,
    lab: Shared,
    real: Rc<RefCell<Real>>,
    requests: Requests,
    impostor: RefCell<Option<Impostor>>,
}

impl Hand {
    /// Starts it again, with every node in.
    fn new(kind: Kind, lag: Duration, lab: &Shared, real: &Rc<RefCell<Real>>) -> Self {
        let nodes: Vec<_> =
            lab.borrow().nodes.iter().map(|node| node.address().to_string()).collect();
        let mut gateway = real.borrow_mut();
        gateway.stop();
        match kind {
            Kind::Slardar => put_list(&lab.borrow()),
            Kind::Upsync => mark_all_up(&lab.borrow()),
            Kind::Dyups | Kind::Dynamic { .. } => {}
        }
        gateway.rename(["other", "app"]);
        gateway.start();
        match kind {
            Kind::Dyups => post_list(&gateway, &nodes),
            Kind::Dynamic { .. } | Kind::Slardar | Kind::Upsync => gateway.served(),
        }
        drop(gateway);
        let (lab, real) = (lab.clone(), real.clone());
        let (requests, impostor) = (Requests::default(), RefCell::default());
        Self { kind, lag, lab, real, requests, impostor }
    }
}

impl Hands for Hand {
    fn name(&self) -> &'static str {
        "a real one"
    }

    fn mark(&self, node: usize, down: bool) {
        mark(&self.lab.borrow(), node, down);
    }

    fn hold(&self, requests: u64) -> bool {
        if self.kind != (Kind::Dynamic { counts: true }) {
            return false;
        }
        self.requests.hold(requests, &self.real.borrow().users(), &self.lab.borrow().nodes);
        true
    }

    /// Of the kinds that lose their marks, dyups has no list at all then.
    fn restart(&self) -> bool {
        let mut real = self.real.borrow_mut();
        real.stop();
        real.start();
        if matches!(self.kind, Kind::Slardar | Kind::Upsync) {
            real.served();
        }
        matches!(self.kind, Kind::Dyups | Kind::Dynamic { .. })
    }

    fn has_lost_its_list(&self) -> bool {
        self.kind == Kind::Dyups
    }

    fn befall(&self, ailment: Ailment) -> bool {
        *self.impostor.borrow_mut() = None;
        let mut real = self.real.borrow_mut();
        match ailment {
            Ailment::Unknown => {
                real.stop();
                match self.kind {
                    // A gateway that has lost its list looks like one that never had it.
                    Kind::Dyups => return false,
                    Kind::Slardar => drop_list(&self.lab.borrow()),
                    Kind::Dynamic { .. } | Kind::Upsync => real.rename(["app", "other"]),
                }
                real.start();
            }
            Ailment::Unreachable => real.stop(),
            Ailment::Silent => real.freeze(),
            Ailment::Garbage(garbage) => {
                real.stop();
                let place = ([127, 0, 0, 1], real.ports.1);
                *self.impostor.borrow_mut() = Some(Impostor::default().http(place, &garbage));
            }
            // A real gateway sends complete answers, and answers every write.
            Ailment::Cut(_) | Ailment::Swallowing => return false,
        }
        true
    }

    /// Its workers cannot be told apart.
    fn stick(&self) -> bool {
        false
    }

    /// By the answers to users, over a connection each.
    fn everybody_has(&self, node: usize, down: bool) -> bool {
        let node = self.lab.borrow().nodes[node].address().to_string();
        let url = format!("{}/ping", self.real.borrow().users());
        let met = (0..USERS).filter(|_| {
            let reply = get(&url).expect("an answer");
            reply.header("X-Node") == Some(node.as_str())
        });
        (met.count() == 0) == down
    }

    fn lag(&self) -> Duration {
        self.lag
    }

    fn a_while(&self) -> Duration {
        Duration::from_millis(300)
    }

    /// A held lock, for Slardar's keys.
    fn guard(&self) -> SessionFence {
        let consul = &self.lab.borrow().consul.addresses()[0];
        let ask = |path: &str, body: &str| {
            let reply = request("PUT", &format!("{consul}/v1/{path}"), body).expect("an answer");
            assert_eq!(reply.status, 200, "{reply:?}");
            reply.body
        };
        let session: Value = serde_json::from_str(&ask("session/create", "{}")).expect("a session");
        let session = session["ID"].as_str().expect("an id").to_owned();
        // Each write has a lock of its own: a session ends without releasing the lock of another one.
        let key = format!("contract/{session}");
        assert_eq!(ask(&format!("kv/{key}?acquire={session}"), "").trim(), "true");
        SessionFence { key, session }
    }

    /// It does not report how many writes had an effect.
    fn writes(&self) -> usize {
        0
    }
}

fn play(kind: Kind, lag: Duration, play: Play) {
    let Play { bench, real } = play;
    let theatre = Theatre::of(bench.lab, &bench.playbook);
    let real = Rc::new(RefCell::new(real));
    theatre.play(theatre.gateway(), || Hand::new(kind, lag, &theatre.lab, &real));
}

#[test]
fn a_real_dyups_keeps_the_contract() {
    for (variable, keys) in [
        ("ROLLGATE_REAL_DYUPS", json!({ "workers": WORKERS })),
        ("ROLLGATE_REAL_DYUPS_HEAD", json!({ "mode": "head" })),
    ] {
        if let Some(real) = dyups(variable, &keys, |_| {}) {
            play(Kind::Dyups, Duration::ZERO, real);
        }
    }
}

#[test]
fn a_real_ngx_dynamic_upstream_keeps_the_contract() {
    for variant in VARIANTS {
        if let Some(real) = dynamic(variant) {
            play(Kind::Dynamic { counts: variant.1 == "zigzagak" }, Duration::ZERO, real);
        }
    }
}

#[test]
fn a_real_slardar_keeps_the_contract() {
    if let Some(real) = slardar(|_| {}) {
        play(Kind::Slardar, Duration::ZERO, real);
    }
}

#[test]
fn a_real_nginx_upsync_keeps_the_contract() {
    if let Some(real) = upsync_on_keys("json") {
        play(Kind::Upsync, Duration::ZERO, real);
    }
}
