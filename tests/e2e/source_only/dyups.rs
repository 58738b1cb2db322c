//! `ngx_http_dyups_module`, classic and current.

use std::time::{Duration, Instant};

use rollgate_lab::{get, request, until};
use serde_json::{Value, json};

use super::{HOST, Play, Real, WORKERS, named, servers};
use crate::harness::Ran;

fn post(real: &Real, path: &str, body: &str) -> u16 {
    let reply = request("POST", &real.url(path), body).expect("an answer");
    reply.status
}

/// `dyups` of either kind, with its list posted.
pub(super) fn dyups(variable: &str, keys: &Value, edit: impl FnOnce(&mut Value)) -> Option<Play> {
    let real = Real::new(named(variable)?);
    let mut gateway = json!({
        "type": "dyups", "name": "gw", "upstream": HOST, "url": real.url(""),
        "server": "weight=5 max_fails=3", "others": ["server 127.0.0.1:9 backup;"],
        "extras": "keepalive 8;",
    });
    for (key, value) in keys.as_object().expect("keys") {
        gateway[key] = value.clone();
    }
    let mut play = Play::new(real, &gateway, edit);
    let is_head = gateway["mode"] == "head";
    let backend = if is_head { "$dyups_host" } else { "$host" };
    play.real.configure(
        play.bench.lab.directory(),
        "",
        &format!("proxy_pass http://{backend};"),
        "location / { dyups_interface; }",
    );
    play.real.start();
    post_list(&play.real, &play.nodes());
    Some(play)
}

/// Posts the list to the gateway, and waits for its workers.
pub(super) fn post_list(real: &Real, nodes: &[String]) {
    let list =
        servers(nodes, " weight=5 max_fails=3") + "server 127.0.0.1:9 backup;\nkeepalive 8;\n";
    assert_eq!(post(real, &format!("/upstream/{HOST}"), &list), 200);
    real.served();
}

#[test]
fn no_request_fails_behind_a_classic_dyups() {
    for keys in [json!({}), json!({ "workers": WORKERS })] {
        let Some(play) = dyups("ROLLGATE_REAL_DYUPS", &keys, |_| {}) else { return };
        play.release();
    }
}

#[test]
fn no_request_fails_behind_a_current_dyups() {
    let Some(play) = dyups("ROLLGATE_REAL_DYUPS_HEAD", &json!({ "mode": "head" }), |_| {}) else {
        return;
    };
    play.release();
}

/// A classic dyups loses every list with a restart: the watchdog of a node that is out posts it again.
#[test]
fn dyups_restarted_while_a_node_is_out_gets_its_list_back_within_two_seconds() {
    let slow = |playbook: &mut Value| playbook["start"] = "sleep 5; /srv/app/ctl start".into();
    let Some(mut play) = dyups("ROLLGATE_REAL_DYUPS", &json!({ "workers": WORKERS }), slow) else {
        return;
    };
    let (child, lines) = play.bench.start_until("2", "start");
    play.real.stop();
    let begun = Instant::now();
    play.real.start();
    let out = format!(
        "server {} weight=5 max_conns=0 max_fails=3 fail_timeout=10 backup=0 down=1",
        play.nodes()[0]
    );
    let back = until("the list", Duration::from_secs(3), || {
        let reply = get(&play.real.url("/detail"))?;
        Ok(reply.body.contains(&out).then_some(()))
    });
    println!("the list was back {:?} after the restart", begun.elapsed());
    assert!(back.is_ok(), "{back:?}");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let lines: Vec<_> = lines.map(|line| line.expect("a line")).collect();
    Ran(child.wait_with_output().expect("ends")).exits(0);
    assert!(lines.iter().any(|line| line.contains("it was marked down again")), "{lines:#?}");
    assert!(play.bench.versions().iter().all(|version| version.as_deref() == Some("2")));
}
