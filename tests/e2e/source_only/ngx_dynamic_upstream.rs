//! `ngx_dynamic_upstream`, `ZigzagAK`'s and cubicdaiya's.

use serde_json::json;

use super::{Play, Real, named};

#[test]
fn no_request_fails_behind_ngx_dynamic_upstream() {
    for (variable, variant, upstream) in [
        ("ROLLGATE_REAL_ZIGZAGAK", "zigzagak", "app"),
        ("ROLLGATE_REAL_CUBICDAIYA", "cubicdaiya", "zone_for_app"),
    ] {
        let Some(binary) = named(variable) else { continue };
        let real = Real::new(binary);
        let gateway = json!({
            "type": "ngx-dynamic-upstream", "name": "gw", "upstream": upstream, "variant": variant,
            "url": real.url("/dynamic"),
        });
        let mut play = Play::new(real, &gateway, |playbook| {
            // What the gateway counts ends the drain.
            if variant == "zigzagak" {
                playbook["drain"]["in_flight"] = "gateways".into();
            }
        });
        let upstream =
            format!("  upstream app {{ zone zone_for_app 128k;\n{}}}\n", play.servers(""));
        let api = "location /dynamic { dynamic_upstream; }";
        let folder = play.bench.lab.directory().to_owned();
        play.real.configure(&folder, &upstream, "proxy_pass http://app;", api);
        play.real.start();
        play.served();
        play.release();
    }
}
