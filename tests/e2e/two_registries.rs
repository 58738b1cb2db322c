//! One service behind a gateway that follows Consul's keys and an HAProxy with a runtime API, in one playbook.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rollgate_lab::{HaproxyConfig, LabConfig, Reach, until};
use serde_json::{Value, json};

use crate::harness::{Bench, lagging, signal};

fn bench() -> Bench {
    let haproxies = vec![HaproxyConfig::new(Reach::Tcp)];
    let config = LabConfig { haproxies, ..LabConfig::new(3, vec![lagging()]) };
    Bench::with(config, in_both)
}

/// Gives HAProxy a registry of its own.
fn in_both(playbook: &mut Value) {
    playbook["registry"] = json!({ "type": "consul-kv", "prefix": "upstreams/app/" });
    haproxy(playbook)["registry"] = json!({ "type": "gateway" });
}

fn haproxy(playbook: &mut Value) -> &mut Value {
    let mut gateways = playbook["gateways"].as_array_mut().expect("gateways").iter_mut();
    gateways.find(|gateway| gateway["type"] == "haproxy").expect("an HAProxy")
}

/// A relay to HAProxy's runtime API that passes no change while it holds them.
struct Relay {
    place: SocketAddr,
    holds: Arc<AtomicBool>,
    /// A change has arrived and was not passed.
    has_held: Arc<AtomicBool>,
}

impl Relay {
    fn to(haproxy: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let place = listener.local_addr().expect("bound");
        let (holds, has_held) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
        let relay = Self { place, holds: holds.clone(), has_held: has_held.clone() };
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (holds, has_held) = (holds.clone(), has_held.clone());
                thread::spawn(move || pass(client, haproxy, &holds, &has_held));
            }
        });
        relay
    }
}

/// Passes a conversation, unless it is a change that is held: its client waits until it gives up.
fn pass(mut client: TcpStream, to: SocketAddr, holds: &AtomicBool, has_held: &AtomicBool) {
    let mut commands = vec![0; 64 * 1024];
    let Ok(length) = client.read(&mut commands) else { return };
    commands.truncate(length);
    if String::from_utf8_lossy(&commands).contains("set server") && holds.load(Ordering::SeqCst) {
        has_held.store(true, Ordering::SeqCst);
        let _ = client.read(&mut [0]);
        return;
    }
    let Ok(mut server) = TcpStream::connect(to) else { return };
    let _ = server.write_all(&commands);
    let (Ok(mut more), Ok(mut back)) = (client.try_clone(), server.try_clone()) else { return };
    thread::spawn(move || {
        let _ = std::io::copy(&mut more, &mut back);
        let _ = back.shutdown(Shutdown::Write);
    });
    let _ = std::io::copy(&mut server, &mut client);
    let _ = client.shutdown(Shutdown::Both);
}

#[test]
fn no_request_fails_behind_a_gateway_that_follows_consul_and_an_haproxy_with_an_api() {
    let bench = bench();
    bench.release();
    for (index, node) in bench.lab.nodes.iter().enumerate() {
        assert_eq!(bench.lab.haproxies[0].admin_state(node.address()).expect("an answer"), 0);
        assert!(!bench.is_down(index));
    }
}

#[test]
fn release_killed_between_the_writes_to_consul_and_haproxy_resumes() {
    let bench = bench();
    let relay = Relay::to(bench.lab.haproxies[0].runtime());
    let through = bench.lab.playbook(|playbook| {
        in_both(playbook);
        haproxy(playbook)["tcp"] = relay.place.to_string().into();
    });
    through.expect("a playbook");
    let load = bench.load();
    let (mut killed, events) = bench.start_until("2", "disable");
    let held = || Ok(relay.has_held.load(Ordering::SeqCst).then_some(()));
    until("the write to HAProxy", Duration::from_secs(30), held).expect("it is sent");
    signal(killed.id(), "-KILL");
    killed.wait().expect("ends");
    drop(events);
    assert!(bench.is_down(0), "Consul marks node-1 down");
    let node = bench.lab.nodes[0].address();
    assert_eq!(bench.lab.haproxies[0].admin_state(node).expect("an answer"), 0, "HAProxy does not");
    relay.holds.store(false, Ordering::SeqCst);
    bench.run(&["lock", "break"], &["--yes"]).exits(0);
    let status = bench.run(&["status"], &["--var", "version=2"]).exits(0).stdout();
    let differ = format!("its registries differ: upstreams/app/{node} down, {node} at ha-1 up");
    assert!(status.contains(&differ), "{status}");
    bench.run(&["resume"], &["--yes"]).exits(0).says("DONE");
    assert!(bench.versions().iter().all(|version| version.as_deref() == Some("2")));
    assert!((0..3).all(|index| !bench.is_down(index)));
    bench.assert_unnoticed(load);
    bench.run(&["resume"], &["--yes"]).exits(0).says("Nothing to do");
}
