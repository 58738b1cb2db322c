//! The contract of `tests/contract`, played on live gateways.

#[path = "../contract/scenarios.rs"]
mod scenarios;
#[path = "../contract/stage.rs"]
mod stage;

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rollgate::world::{Live, LiveSettings};
use rollgate_lab::{HaproxyConfig, Lab, LabConfig, Reach, get, until};
use serde_json::{Value, json};

use stage::{Ailment, Hands, Stage, spec_of};

/// How long a request in flight is there: longer than a scenario looks at it.
const LONG: Duration = Duration::from_secs(2);

/// A live HAProxy and what a scenario has done to it.
struct Haproxy {
    lab: Rc<RefCell<Lab>>,
    nodes: Vec<SocketAddr>,
    requests: RefCell<Vec<JoinHandle<()>>>,
    impostor: RefCell<Option<Impostor>>,
}

/// Somebody else who answers in HAProxy's place.
struct Impostor {
    end: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Impostor {
    /// Answers `garbage` wherever HAProxy did.
    fn new(haproxy: &rollgate_lab::Haproxy, garbage: &[u8]) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let _ = std::fs::remove_file(haproxy.socket());
        let unix = UnixListener::bind(haproxy.socket()).expect("bind");
        unix.set_nonblocking(true).expect("a setting");
        let mut threads =
            vec![answer(&end, garbage, move || unix.accept().map(|(stream, _)| stream))];
        for place in [haproxy.runtime(), haproxy.page()] {
            let tcp = TcpListener::bind(place).expect("bind");
            tcp.set_nonblocking(true).expect("a setting");
            threads.push(answer(&end, garbage, move || tcp.accept().map(|(stream, _)| stream)));
        }
        Self { end, threads }
    }
}

fn answer<S: Read + Write>(
    end: &Arc<AtomicBool>,
    garbage: &[u8],
    accept: impl Fn() -> std::io::Result<S> + Send + 'static,
) -> JoinHandle<()> {
    let (end, garbage) = (end.clone(), garbage.to_vec());
    thread::spawn(move || {
        while !end.load(Ordering::Relaxed) {
            match accept() {
                Ok(mut stream) => {
                    // Whoever was there may have gone.
                    let _ = stream.read(&mut [0; 4096]);
                    let _ = stream.write_all(&garbage);
                }
                Err(_) => thread::sleep(Duration::from_millis(2)),
            }
        }
    })
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("no panic");
        }
    }
}

impl Haproxy {
    fn act<T>(&self, act: impl FnOnce(&mut rollgate_lab::Haproxy) -> T) -> T {
        act(&mut self.lab.borrow_mut().haproxies[0])
    }
}

impl Hands for Haproxy {
    fn name(&self) -> &'static str {
        "haproxy, live"
    }

    fn mark(&self, _: usize, _: bool) {
        panic!("it has an API of its own");
    }

    /// Past the balance, by as many rounds as there are nodes.
    fn hold(&self, requests: u64) -> bool {
        let mut held = self.requests.borrow_mut();
        if requests == 0 {
            held.drain(..).for_each(|request| request.join().expect("answered"));
            return true;
        }
        let url = self.act(|haproxy| haproxy.url(&format!("/work?ms={}", LONG.as_millis())));
        for _ in 0..requests * self.nodes.len() as u64 {
            let url = url.clone();
            held.push(thread::spawn(move || {
                assert_eq!(get(&url).expect("an answer").status, 200);
            }));
        }
        let busy = until("requests in flight", Duration::from_secs(1), || {
            let stat = self.act(|haproxy| haproxy.says("show stat app 4 -1"))?;
            let row = stat.lines().find(|line| line.starts_with("app,s1,")).unwrap_or_default();
            Ok((row.split(',').nth(4) == Some(&requests.to_string())).then_some(()))
        });
        busy.expect("they are spread evenly");
        true
    }

    fn restart(&self) -> bool {
        self.act(rollgate_lab::Haproxy::restart).expect("it starts again");
        true
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
                *self.impostor.borrow_mut() = Some(Impostor::new(haproxy, &garbage));
            }
            // A live one says all that it has to say, and answers what it has done.
            Ailment::Cut(_) | Ailment::Swallowing => return false,
        }
        true
    }

    fn stick(&self) -> bool {
        false
    }

    fn everybody_has(&self, node: usize, down: bool) -> bool {
        let state = self.act(|haproxy| haproxy.admin_state(self.nodes[node]));
        (state.expect("an answer") != 0) == down
    }

    fn lag(&self) -> Duration {
        Duration::ZERO
    }

    /// What it does not do it does not tell.
    fn writes(&self) -> usize {
        0
    }
}

/// The gateway's entry in the lab's own playbook.
fn entry(lab: &Lab) -> Value {
    let playbook = lab.playbook(|_| {}).expect("a playbook");
    let playbook = std::fs::read_to_string(playbook).expect("a file");
    let playbook: Value = serde_json::from_str(&playbook).expect("JSON");
    playbook["gateways"][0].clone()
}

/// Plays every scenario on one HAProxy, started anew for each.
macro_rules! play {
    ($reach:expr, $($scenario:ident),+ $(,)?) => {{
        let haproxies = vec![HaproxyConfig::new($reach)];
        let lab = Lab::start(LabConfig { haproxies, ..LabConfig::new(3, Vec::new()) });
        let lab = lab.expect("the lab starts");
        let entry = entry(&lab);
        let ssh_config = Some(lab.ssh_config());
        let nodes: Vec<_> = lab.nodes.iter().map(rollgate_lab::Node::address).collect();
        let names: Vec<_> = nodes.iter().map(ToString::to_string).collect();
        let lab = Rc::new(RefCell::new(lab));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let settings = LiveSettings { ssh_config, ..LiveSettings::default() };
        let world = Arc::new(Live::new(settings).expect("a world"));
        $({
            let begun = std::time::Instant::now();
            let hands = Haproxy {
                lab: lab.clone(),
                nodes: nodes.clone(),
                requests: RefCell::default(),
                impostor: RefCell::default(),
            };
            hands.act(|haproxy| {
                haproxy.config = HaproxyConfig::new($reach);
                haproxy.restart().expect("it starts anew");
            });
            let spec = spec_of(&entry, &json!({ "type": "gateway" }), &names);
            let stage = {
                let _inside = runtime.enter();
                Stage::new(&world, spec, Box::new(hands))
            };
            runtime.block_on(scenarios::$scenario(&stage));
            println!("{:5.1} s  {}", begun.elapsed().as_secs_f64(), stringify!($scenario));
        })+
        runtime.block_on(async { drop(world) });
    }};
}

macro_rules! contract {
    ($reach:expr) => {
        play!(
            $reach,
            a_node_that_is_told_to_leave_is_proven_out_and_the_others_stay,
            a_node_that_is_told_to_come_back_is_proven_in,
            requests_in_flight_are_counted_until_the_last,
            a_worker_that_does_not_follow_forbids_the_proof,
            nothing_is_proven_before_the_last_worker_has_followed,
            a_restart_in_mid_drain_is_seen_and_set_right,
            the_last_node_is_told_from_one_of_many,
            an_upstream_that_the_gateway_does_not_know_is_an_error_and_nothing_is_written,
            a_gateway_that_cannot_be_reached_proves_nothing,
            garbage_proves_nothing,
            an_answer_that_was_cut_short_shows_nothing_else,
            a_slow_answer_proves_nothing_and_leaves_a_write_unknown,
        )
    };
}

#[test]
fn haproxy_keeps_the_contract_by_its_socket_over_ssh() {
    contract!(Reach::Socket);
}

#[test]
fn haproxy_keeps_the_contract_over_tcp() {
    contract!(Reach::Tcp);
}

#[test]
fn haproxy_keeps_the_contract_by_its_stats_page() {
    contract!(Reach::Page);
}
