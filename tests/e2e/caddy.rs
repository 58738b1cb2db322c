//! Releases behind a real Caddy, through its admin API.

use std::time::Duration;

use rollgate_lab::{LabConfig, Totals, until};
use serde_json::{Value, json};

use crate::harness::{Bench, Ran, assert_counted, events, print_costs};

fn bench(caddies: u8, edit: impl FnOnce(&mut Value)) -> Bench {
    let config = LabConfig { caddies, ..LabConfig::new(3, Vec::new()) };
    Bench::with(config, |playbook| {
        // The gateways' own request counts end the drain.
        playbook["drain"] = json!({ "in_flight": "gateways", "timeout": "30s" });
        edit(playbook);
    })
}

/// Asserts that no request failed, except those that Caddy cut: every change makes it close connections on which no answer has
/// begun, new ones included; no release can prevent that.
#[track_caller]
pub(crate) fn assert_cut_at_caddies_only(totals: &Totals, bench: &Bench) {
    for failure in &totals.failures {
        let is_caddys =
            bench.lab.caddies.iter().any(|caddy| failure.url.starts_with(&caddy.url("")));
        assert!(is_caddys && failure.reason.starts_with("client error ("), "{totals}");
    }
}

/// Every answered request was answered well, and no node was stopped with requests in flight.
#[test]
fn three_nodes_are_released_behind_two_caddies() {
    let bench = bench(2, |_| {});
    let load = bench.load();
    let arguments = ["--var", "version=2", "--yes", "--output", "jsonl"];
    let ran = bench.run(&["deploy"], &arguments).exits(0);
    let totals = load.stop();
    println!("{totals}");
    assert_cut_at_caddies_only(&totals, &bench);
    let audit = bench.lab.audit().expect("an audit");
    assert!(audit.is_clean(), "{audit}");
    let events = events(&ran.stdout());
    print_costs(&events);
    assert_counted(&events, 3);
    assert!(bench.versions().iter().all(|version| version.as_deref() == Some("2")));
    for caddy in &bench.lab.caddies {
        for node in &bench.lab.nodes {
            assert!(caddy.lists(node.address()).expect("an answer"), "{}", node.name());
        }
    }
}

/// Returns the nodes as Caddy lists them, with another first entry.
fn listed(bench: &Bench, first: &str) -> Vec<String> {
    let others = bench.lab.nodes.iter().skip(1).map(|node| node.address().to_string());
    std::iter::once(first.to_owned()).chain(others).collect()
}

#[test]
fn node_listed_by_caddy_under_another_name_is_not_out() {
    let bench = bench(1, |_| {});
    let caddy = &bench.lab.caddies[0];
    let node = bench.lab.nodes[0].address();
    for (first, why) in [
        (format!("tcp/{node}"), "would return to rotation as"),
        ("app-1.invalid:9000".to_owned(), "lists app-1.invalid:9000, which is not a node"),
        ("{env.APP_1}:9000".to_owned(), "lists {env.APP_1}:9000, which is not a node"),
    ] {
        caddy.write(&listed(&bench, &first)).expect("a list");
        bench.deploy("2").exits(3).says(why);
        let doctor = bench.run(&["doctor"], &[]).exits(3);
        assert!(doctor.stdout().contains(why), "{}", doctor.stdout());
        bench.run(&["node", "out"], &["node-1", "--var", "version=1"]).exits(3).says(why);
        bench.run(&["node", "in"], &["node-1", "--var", "version=1"]).exits(3).says(why);
        assert!(bench.versions().iter().all(|version| version.as_deref() == Some("1")), "{first}");
    }
}

#[test]
fn node_removed_by_rollgate_is_out_whatever_else_caddy_lists() {
    let bench = bench(1, |_| {});
    let caddy = &bench.lab.caddies[0];
    let nodes = bench.lab.nodes.iter().map(|node| node.address().to_string());
    let spare = std::iter::once("spare.invalid:9000".to_owned());
    let with_spare: Vec<_> = nodes.chain(spare).collect();
    caddy.write(&with_spare).expect("a list");
    bench.run(&["node", "out"], &["node-1", "--var", "version=1"]).exits(0);
    let status = bench.run(&["status"], &[]).exits(0);
    assert!(!status.stdout().contains("does not list"), "{}", status.stdout());
    // An entry that was added by hand later, under a name that may be the node's.
    let name = std::iter::once("node-1.invalid:9000".to_owned());
    let by_hand: Vec<_> = with_spare[1..].iter().cloned().chain(name).collect();
    caddy.write(&by_hand).expect("a list");
    let held = ["--var", "version=2", "--yes", "--include-held"];
    bench.run(&["deploy"], &held).exits(3).says("does not list");
    caddy.write(&with_spare[1..]).expect("a list");
    bench.run(&["deploy"], &held).exits(0);
    assert!(bench.versions().iter().all(|version| version.as_deref() == Some("2")));
    // A change by hand that no journal has.
    caddy.write(&with_spare[1..]).expect("a list");
    bench.deploy("3").exits(3).says("does not list");
    caddy.write(&with_spare).expect("a list");
    bench.deploy("3").exits(0);
}

#[test]
fn no_request_fails_behind_a_caddy_that_follows_consuls_dns() {
    let config = LabConfig { caddies: 1, agents: true, ..LabConfig::new(3, Vec::new()) };
    let bench = Bench::with(config, |_| {});
    bench.release();
}

/// As `docs/gateways.md` describes it: Caddy's own check tests whether a file exists, and no configuration is reloaded.
#[test]
fn no_request_fails_behind_a_caddy_with_file_health_checks() {
    let bench = bench(1, |_| {});
    let (caddy, folder) = (&bench.lab.caddies[0], bench.lab.directory().join("in"));
    std::fs::create_dir(&folder).expect("a folder");
    for node in &bench.lab.nodes {
        std::fs::write(folder.join(node.address().to_string()), "").expect("a file");
    }
    caddy.look_at_files_in(&folder).expect("it takes the check");
    let folder = folder.display();
    let playbook = bench.lab.playbook_named("files.yaml", |playbook| {
        playbook["drain"] = json!({ "in_flight": "gateways", "timeout": "30s" });
        playbook["gateways"] = json!([{
            "type": "command",
            "name": caddy.name(),
            "list": format!("ls {folder}"),
            "pattern": r"(?m)^(?<address>\d+\.\d+\.\d+\.\d+:\d+)$",
            "out": format!("rm -f {folder}/\"$1\""),
            "in": format!("touch {folder}/\"$1\""),
            "in_flight": format!(
                r#"curl -fsS {}/reverse_proxy/upstreams | tr '}}' '\n' | sed -n "s/.*\"$1\",\"num_requests\":\([0-9]*\).*/\1/p""#,
                caddy.admin_url()
            ),
            "sync_interval": "1s",
        }]);
    });
    let playbook = playbook.expect("a playbook");
    // Some are in flight for longer than the confirmation takes, also on a slow machine.
    let load = bench.load_with(|load| load.slow = Duration::from_secs(6));
    let file = playbook.to_str().expect("UTF-8");
    assert_counted(&bench.release_under(load, file), 3);
}

#[test]
fn caddy_restart_that_lists_a_stopped_node_is_corrected_and_reported_within_two_seconds() {
    let mut bench = bench(1, |playbook| {
        playbook["start"] = "sleep 3; /srv/app/ctl start".into();
    });
    let (child, lines) = bench.start_until("2", "start");
    let node = bench.lab.nodes[0].address();
    let caddy = &mut bench.lab.caddies[0];
    caddy.restart().expect("it starts again");
    let begun = std::time::Instant::now();
    let out = until("the node to be out again", Duration::from_secs(2), || {
        Ok((!caddy.lists(node)?).then_some(()))
    });
    println!("out again {:.3} s after the restart", begun.elapsed().as_secs_f64());
    assert!(out.is_ok(), "{out:?}");
    let events = lines.map(|line| serde_json::from_str(&line.expect("a line")).expect("an event"));
    let events: Vec<Value> = events.collect();
    Ran(child.wait_with_output().expect("ends")).exits(0);
    let set_right = |event: &&Value| {
        let message = event["data"]["message"].as_str().unwrap_or_default();
        event["type"] == "warning" && message.contains("was up again; it was marked down again")
    };
    assert_eq!(events.iter().filter(set_right).count(), 1, "{events:#?}");
}
