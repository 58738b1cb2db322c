//! Releases behind an nginx whose list of servers is rendered after each change in Consul, and reloaded.

use std::time::Duration;

use rollgate_lab::{LabConfig, Renderer, until};

use crate::harness::{Bench, costs};

/// Releases three nodes and measures how long the gateway takes.
pub(crate) fn release(by: Renderer) {
    let config = LabConfig { agents: true, rendered: vec![by], ..LabConfig::new(3, Vec::new()) };
    let bench = Bench::with(config, |_| {});
    // A reload closes the idle connections of clients; no release can prevent that.
    let load = bench.load_with(|config| {
        config.keepalive = false;
        config.rate = 100;
        // Workers with the previous list stay this long, and keep a node from being confirmed out.
        config.slow = Duration::from_secs(3);
    });
    let events = bench.release_under(load, bench.file());
    for (gateway, routed, seconds) in costs(&events) {
        let waited = routed || gateway == "consul" || seconds > 2.5;
        assert!(waited, "workers of the list before were still at work: out after {seconds} s");
    }
    let load = bench.load_with(|config| {
        (config.keepalive, config.rate, config.slow_share) = (false, 100, 0.0);
    });
    println!("the last answer of a node {:?} after the write", bench.last_answer(&load, 1));
    assert_eq!(load.stop().failed, 0);
}

#[test]
fn no_request_fails_behind_an_nginx_that_is_rendered_and_reloaded() {
    release(Renderer::StandIn);
}

/// nginx keeps its previous list when it cannot read its configuration, and reports it only in its log.
#[test]
fn doctor_refuses_a_list_that_nginx_cannot_load() {
    let rendered = vec![Renderer::StandIn];
    let config = LabConfig { agents: true, rendered, ..LabConfig::new(2, Vec::new()) };
    let bench = Bench::with(config, |_| {});
    bench.run(&["doctor"], &[]).exits(0);
    // Workers are as old as the lab; in whole seconds that must be older than the file.
    let spoil = "sleep 3; echo broken >>/run/node/tpl-1/nginx.conf";
    bench.lab.nodes[0].exec(spoil).expect("spoilt");
    bench.lab.agents[1].maintain(true, "rendered").expect("maintenance");
    let said = until("the doctor to see it", Duration::from_secs(10), || {
        let ran = bench.run(&["doctor"], &[]);
        Ok((ran.code() != Some(0) && ran.stdout().contains("not loaded")).then_some(ran))
    });
    let said = said.expect("it is seen").stdout();
    assert!(
        said.contains("nginx has not loaded the file: 4 workers started before it was written"),
        "{said}"
    );
}
