//! `ngx_dynamic_upstream`, `ZigzagAK`'s and cubicdaiya's.

use serde_json::json;

use super::{Play, Real, named, servers};

/// The variable of a binary, its variant, and the upstream's name in its API.
pub(super) const VARIANTS: [(&str, &str, &str); 2] = [
    ("ROLLGATE_REAL_ZIGZAGAK", "zigzagak", "app"),
    ("ROLLGATE_REAL_CUBICDAIYA", "cubicdaiya", "zone_for_app"),
];

pub(super) fn dynamic((variable, variant, upstream): (&str, &str, &str)) -> Option<Play> {
    let real = Real::new(named(variable)?);
    let gateway = json!({
        "type": "ngx-dynamic-upstream", "name": "gw", "upstream": upstream, "variant": variant,
        "url": real.url("/dynamic"),
    });
    let mut play = Play::new(real, &gateway, |playbook| {
        // The gateway's request count ends the drain.
        if variant == "zigzagak" {
            playbook["drain"]["in_flight"] = "gateways".into();
        }
    });
    let list = servers(&play.nodes(), "");
    let upstream = format!("  upstream app {{ zone zone_for_app 128k;\n{list}}}\n");
    let api = "location /dynamic { dynamic_upstream; }";
    let folder = play.bench.lab.directory().to_owned();
    play.real.configure(&folder, &upstream, "proxy_pass http://app;", api);
    play.real.start();
    play.real.served();
    Some(play)
}

#[test]
fn no_request_fails_behind_ngx_dynamic_upstream() {
    for play in VARIANTS.into_iter().filter_map(dynamic) {
        play.release();
    }
}
