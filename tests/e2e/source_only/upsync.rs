//! nginx-upsync-module, with keys and with health.

use rollgate_lab::LabConfig;
use serde_json::{Value, json};

use super::{Play, Real, WORKERS, named, servers};

/// nginx-upsync that follows `place` in Consul, and checks its servers every second.
pub(super) fn upsync(
    config: LabConfig,
    (kind, place): (&str, &str),
    form: &str,
    edit: impl FnOnce(&mut Value),
) -> Option<Play> {
    let real = Real::new(named("ROLLGATE_REAL_UPSYNC")?);
    let gateway = json!({
        "type": "nginx-upsync", "name": "gw", "upstream": "app", "workers": WORKERS,
        "status_url": real.url("/upstream_list?app"), "sync_interval": "500ms",
        "check_url": real.url(&format!("/upstream_status?format={form}")), "upsync_type": kind,
    });
    let mut play = Play::with(config, real, &gateway, edit);
    let folder = play.bench.lab.directory().to_owned();
    let consul = play.bench.lab.consul.addresses()[0].replace("http://", "");
    let upstream = format!(
        "  upstream app {{\n    upsync {consul}/{place} upsync_timeout=6m upsync_interval=500ms upsync_type={kind} \
         strong_dependency=off;\n    upsync_dump_path {0};\n    include {0};\n\
         \x20   check interval=1000 rise=2 fall=2 timeout=1000 default_down=false type=http;\n\
         \x20   check_http_send \"GET /ping HTTP/1.0\\r\\n\\r\\n\";\n  }}\n",
        folder.join("dump.conf").display()
    );
    std::fs::write(folder.join("dump.conf"), servers(&play.nodes(), "")).expect("written");
    let api = "location = /upstream_list { upstream_show; } location = /upstream_status { check_status; }";
    play.real.configure(&folder, &upstream, "proxy_pass http://app;", api);
    play.real.start();
    play.real.served();
    Some(play)
}

/// With keys.
pub(super) fn upsync_on_keys(form: &str) -> Option<Play> {
    let place = ("consul", "v1/kv/upstreams/app/");
    upsync(LabConfig::new(3, Vec::new()), place, form, |playbook| {
        playbook["registry"] = json!({ "type": "consul-kv", "prefix": "upstreams/app/" });
    })
}

#[test]
fn no_request_fails_behind_nginx_upsync_with_its_check_module() {
    for play in ["json", "csv", "html"].into_iter().filter_map(upsync_on_keys) {
        play.release();
    }
}

#[test]
fn no_request_fails_behind_nginx_upsync_that_follows_health() {
    let config = LabConfig { agents: true, ..LabConfig::new(3, Vec::new()) };
    let place = ("consul_health", "v1/health/service/app");
    if let Some(play) = upsync(config, place, "json", |_| {}) {
        play.release();
    }
}
