//! Slardar, with its keys in Consul.

use std::time::{Duration, Instant};

use rollgate_lab::{Lab, get};
use serde_json::{Value, json};

use super::{HOST, Play, Real, WORKERS, named};
use crate::harness::{Ran, signal};

/// Writes the initial list of Slardar to Consul.
pub(super) fn put_list(lab: &Lab) {
    let servers = lab.nodes.iter().map(|node| {
        let address = node.address();
        json!({ "host": address.ip(), "port": address.port(), "weight": 1, "max_fails": 6, "fail_timeout": 30 })
    });
    let servers: Vec<_> = servers.collect();
    let list = json!({ "enable": true, "servers": servers }).to_string();
    lab.consul.put(&key(), &list).expect("Consul takes it");
}

/// Deletes it.
pub(super) fn drop_list(lab: &Lab) {
    lab.consul.delete(&key()).expect("Consul forgets it");
}

fn key() -> String {
    format!("config/slardar/upstreams/{HOST}")
}

/// Slardar in `folder`, with its list in Consul.
pub(super) fn slardar(edit: impl FnOnce(&mut Value)) -> Option<Play> {
    let folder = named("ROLLGATE_REAL_SLARDAR")?;
    let mut real = Real::new("/usr/sbin/nginx".into());
    real.modules = "load_module /usr/lib/nginx/modules/ndk_http_module.so;\n\
                    load_module /usr/lib/nginx/modules/ngx_http_lua_module.so;\n";
    let gateway = json!({
        "type": "slardar", "name": "gw", "upstream": HOST, "url": real.url(""), "workers": WORKERS,
        "server": { "weight": 1, "max_fails": 6, "fail_timeout": 30 },
    });
    let mut play = Play::new(real, &gateway, edit);
    let own = play.bench.lab.directory().to_owned();
    put_list(&play.bench.lab);
    let consul = play.bench.lab.consul.addresses()[0].replace("http://", "");
    let (host, port) = consul.split_once(':').expect("an address");
    let config = format!(
        "return {{ global = {{ checkup_timer_interval = 1, checkup_timer_overtime = 60, default_heartbeat_enable = true, \
         checkup_shd_sync_enable = true, shd_config_timer_interval = 1, no_store = false }}, store = {{ type = \
         \"consul\", timeout = 5, enable = false, config_key_prefix = \"config/slardar/\", config_cache_enable = true, \
         cluster = {{ {{ servers = {{ {{ host = \"{host}\", port = {port} }} }} }} }} }}, load_init = {{ module_name = \
         \"resty.store.load\" }} }}\n"
    );
    std::fs::write(own.join("config.lua"), config).expect("written");
    let (own, slardar) = (own.display(), folder.display());
    let dicts: String = ["state", "locks", "mutex", "cache", "config", "load"]
        .map(|dict| format!("  lua_shared_dict {dict} 5m;\n"))
        .concat();
    let http = format!(
        "  default_type text/plain;\n{dicts}  lua_package_path \"{own}/?.lua;{slardar}/app/lib/?.lua;\
         {slardar}/app/src/?.lua;{slardar}/lua/?.lua;;\";\n  lua_package_cpath \"{slardar}/so/?.so;;\";\n\
         \x20 init_by_lua_file {slardar}/app/src/init.lua;\n\
         \x20 init_worker_by_lua_file {slardar}/app/src/init_worker.lua;\n\
         \x20 upstream backend {{ server 0.0.0.1; balancer_by_lua_file {slardar}/app/src/balance.lua; keepalive 20; }}\n"
    );
    let api = format!("location / {{ content_by_lua_file {slardar}/app/src/status.lua; }}");
    let users = "proxy_set_header Host $host; proxy_pass http://backend;";
    let folder = play.bench.lab.directory().to_owned();
    play.real.configure(&folder, &http, users, &api);
    play.real.start();
    play.real.served();
    Some(play)
}

#[test]
fn no_request_fails_behind_slardar() {
    if let Some(play) = slardar(|_| {}) {
        play.release();
    }
}

/// A reload loses a change by its API; the list in Consul stays.
#[test]
fn slardar_reloaded_while_a_node_is_out_keeps_it_out() {
    let slow = |playbook: &mut Value| playbook["start"] = "sleep 4; /srv/app/ctl start".into();
    let Some(play) = slardar(slow) else { return };
    let (child, lines) = play.bench.start_until("2", "start");
    let master = play.real.child.as_ref().expect("it runs").id();
    signal(master, "-HUP");
    let out = play.nodes()[0].clone();
    let until_back = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until_back {
        let status = get(&play.real.url("/status")).expect("an answer").body;
        assert!(!status.contains(&out), "{status}");
    }
    drop(lines.map(|line| line.expect("a line")).collect::<Vec<_>>());
    Ran(child.wait_with_output().expect("ends")).exits(0);
}
