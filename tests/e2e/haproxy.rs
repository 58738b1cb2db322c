//! Releases behind a real HAProxy, over each way to reach it.

use std::time::Duration;

use rollgate_lab::{HaproxyConfig, LabConfig, Reach, Servers, until};
use serde_json::{Value, json};

use crate::harness::{Bench, Ran};

fn bench(haproxies: Vec<HaproxyConfig>, edit: impl FnOnce(&mut Value)) -> Bench {
    let config = LabConfig { haproxies, ..LabConfig::new(3, Vec::new()) };
    Bench::with(config, |playbook| {
        // The gateways' own request counts end the drain.
        playbook["drain"] = json!({ "in_flight": "gateways", "timeout": "30s" });
        edit(playbook);
    })
}

/// Releases version 2 under load; prints the duration of each confirmation.
#[track_caller]
fn release(bench: &Bench) {
    bench.release_counted();
    for (haproxy, node) in bench
        .lab
        .haproxies
        .iter()
        .flat_map(|haproxy| bench.lab.nodes.iter().map(move |node| (haproxy, node)))
    {
        assert_eq!(haproxy.admin_state(node.address()).expect("an answer"), 0);
    }
}

#[test]
fn no_request_fails_behind_haproxy_by_its_socket_over_ssh() {
    release(&bench(vec![HaproxyConfig::new(Reach::Socket)], |_| {}));
}

#[test]
fn no_request_fails_behind_haproxy_by_its_api_over_tcp() {
    release(&bench(vec![HaproxyConfig::new(Reach::Tcp)], |_| {}));
}

/// Its checks notice each node's stop and return, and must agree before the next node leaves.
#[test]
fn no_request_fails_behind_haproxy_with_server_checks_by_its_stats_page() {
    let checked = HaproxyConfig { servers: Servers::Checked, ..HaproxyConfig::new(Reach::Page) };
    release(&bench(vec![checked], |_| {}));
}

#[test]
fn no_request_fails_behind_several_haproxies_each_reached_in_its_own_way() {
    let ways = [Reach::Socket, Reach::Tcp, Reach::Page];
    release(&bench(ways.map(HaproxyConfig::new).to_vec(), |_| {}));
}

/// Starts a release, reloads the last HAProxy when node-1 has reached `step`, while the others hang, and returns the
/// later events.
fn reload_at(bench: &Bench, step: &str, remember: bool) -> Vec<Value> {
    let (child, lines) = bench.start_until("2", step);
    let (haproxy, others) = bench.lab.haproxies.split_last().expect("there is one");
    let node = bench.lab.nodes[0].address();
    for other in others {
        other.freeze(true).expect("it hangs");
    }
    haproxy.reload(remember).expect("a new process");
    let begun = std::time::Instant::now();
    let out = until("the node to be out again", Duration::from_secs(2), || {
        Ok((haproxy.admin_state(node)? != 0).then_some(()))
    });
    assert!(out.is_ok(), "{out:?}");
    println!("out again {:.3} s after the reload", begun.elapsed().as_secs_f64());
    for other in others {
        other.freeze(false).expect("it continues");
    }
    let events = lines.map(|line| serde_json::from_str(&line.expect("a line")).expect("an event"));
    let events: Vec<Value> = events.collect();
    Ran(child.wait_with_output().expect("ends")).exits(0);
    assert!(bench.versions().iter().all(|version| version.as_deref() == Some("2")));
    events
}

/// Counts the warnings that a node was up again.
fn set_right(events: &[Value]) -> usize {
    let told = |event: &&Value| {
        let message = event["data"]["message"].as_str().unwrap_or_default();
        event["type"] == "warning" && message.contains("was up again; it was marked down again")
    };
    events.iter().filter(told).count()
}

/// A stopped node that a reload forgets is out again within 2 s, and that is reported.
#[track_caller]
fn corrects_a_reload(reach: Reach) {
    let bench = bench(vec![HaproxyConfig::new(reach)], |playbook| {
        playbook["start"] = "sleep 3; /srv/app/ctl start".into();
    });
    let events = reload_at(&bench, "start", false);
    assert_eq!(set_right(&events), 1, "{events:#?}");
}

#[test]
fn reload_that_forgets_a_stopped_node_is_corrected_over_the_socket() {
    corrects_a_reload(Reach::Socket);
}

#[test]
fn reload_that_forgets_a_stopped_node_is_corrected_at_the_stats_page() {
    corrects_a_reload(Reach::Page);
}

#[test]
fn reload_that_forgets_a_node_is_corrected_within_two_seconds_while_another_gateway_hangs() {
    let bench = bench([Reach::Tcp, Reach::Page].map(HaproxyConfig::new).to_vec(), |playbook| {
        playbook["start"] = "sleep 4; /srv/app/ctl start".into();
    });
    let events = reload_at(&bench, "start", false);
    assert_eq!(set_right(&events), 1, "{events:#?}");
}

#[test]
fn node_is_confirmed_out_again_before_stop_after_a_reload_during_drain() {
    let bench = bench(vec![HaproxyConfig::new(Reach::Tcp)], |playbook| {
        playbook["drain"]["settle"] = "3s".into();
    });
    let events = reload_at(&bench, "drain", false);
    assert_eq!(set_right(&events), 1, "{events:#?}");
    let again = events.iter().take_while(|event| event["step"] != "stop");
    let again =
        again.filter(|event| event["type"] == "step.started" && event["step"] == "confirm_out");
    assert_eq!(again.count(), 1, "{events:#?}");
    let drained = events.iter().filter(|event| event["type"] == "step.finished");
    let drained = drained.filter(|event| event["step"] == "drain");
    let told: Vec<_> = drained.filter_map(|event| event["data"]["message"].as_str()).collect();
    let is_limited = |told: &&str| told.ends_with("the requests of the process before");
    assert!(told.len() >= 3 && told.iter().all(is_limited), "{events:#?}");
    let audit = bench.lab.audit().expect("an audit");
    assert!(audit.is_clean(), "{audit}");
}

#[test]
fn reload_that_keeps_server_states_changes_nothing() {
    let bench = bench(vec![HaproxyConfig::new(Reach::Tcp)], |playbook| {
        playbook["start"] = "sleep 3; /srv/app/ctl start".into();
    });
    let events = reload_at(&bench, "start", true);
    assert_eq!(set_right(&events), 0, "{events:#?}");
}

/// Consul takes the nodes out; HAProxy follows its DNS and shows its current servers.
#[test]
fn no_request_fails_behind_an_haproxy_that_follows_consuls_dns() {
    let template =
        HaproxyConfig { servers: Servers::Template, ..HaproxyConfig::new(Reach::Socket) };
    let config =
        LabConfig { agents: true, haproxies: vec![template], ..LabConfig::new(3, Vec::new()) };
    let bench = Bench::with(config, |_| {});
    bench.release();
}

/// The same HAProxy, which rollgate reaches by four commands only.
#[test]
fn no_request_fails_behind_a_command_gateway_over_ssh() {
    const SAY: &str = "say() { echo \"$1\" | socat -t 5 - UNIX-CONNECT:/run/node/ha-1.sock; }; \
                       servers() { say 'show servers state app'; }";
    let turn = |state: &str| {
        format!(
            "{SAY}; name=$(servers | awk -v node=\"$1\" '$5 \":\" $19 == node {{ print $4 }}'); \
             said=$(say \"set server app/$name state {state}\"); [ -z \"$said\" ] || {{ echo \"$said\" >&2; exit 1; }}"
        )
    };
    let gateway = json!({
        "type": "command", "name": "lb", "ssh": "node-1",
        "list": format!("{SAY}; servers | awk '$2 == \"app\" {{ print $5 \":\" $19, $7 }}'"),
        "pattern": r"(?m)^(?<address>\S+:\d+) (?:0|(?<down>\d+))$",
        "out": turn("drain"),
        "in": turn("ready"),
        "in_flight": format!(
            "{SAY}; say 'show servers conn app' | awk -v node=\"$1\" '$3 \":\" $4 == node {{ print $7 }}'"
        ),
    });
    release(&bench(vec![HaproxyConfig::new(Reach::Socket)], |playbook| {
        playbook["gateways"][0] = gateway;
    }));
}

/// HAProxy restarts together with the service, and is not back when the node is to return.
#[test]
fn release_waits_for_an_unreachable_haproxy_before_enable_and_reports_it() {
    for reach in [Reach::Tcp, Reach::Socket, Reach::Page] {
        let mut bench = bench(vec![HaproxyConfig::new(reach)], |playbook| {
            // No other node leaves meanwhile.
            playbook["nodes"].as_array_mut().expect("nodes").truncate(2);
        });
        let (child, mut lines) = bench.start_until("2", "start");
        bench.lab.haproxies[0].stop();
        let mut events = Vec::new();
        loop {
            let line = lines.next().expect("it continues").expect("a line");
            events.push(serde_json::from_str::<Value>(&line).expect("an event"));
            let last = events.last().expect("one");
            if last["type"] == "warning" && last["step"] == "enable" {
                break;
            }
        }
        bench.lab.haproxies[0].restart().expect("it starts again");
        for line in lines {
            let line = line.expect("a line");
            events.push(serde_json::from_str(&line).expect("an event"));
        }
        Ran(child.wait_with_output().expect("ends")).exits(0);
        let told = |event: &&Value| {
            let message = event["data"]["message"].as_str().unwrap_or_default();
            event["type"] == "warning" && message.contains("`enable` is retried for up to")
        };
        assert_eq!(events.iter().filter(told).count(), 1, "{reach:?}: {events:#?}");
    }
}
