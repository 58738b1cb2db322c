//! Slardar with its keys in Consul: `/upstreams` shows what it was told, `/status` what one of four workers has.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rollgate::world::{Channel, Method};
use serde_json::{Value, json};

use crate::replay::{Answer, NODES, Question, Seen, Subject};

pub(crate) struct Slardar;

fn server(node: &str) -> Value {
    let (host, port) = node.split_once(':').expect("an address");
    json!({ "host": host, "port": port.parse::<u16>().expect("a port"), "weight": 1, "max_fails": 6, "fail_timeout": 30 })
}

fn listed(down: [bool; 3]) -> Vec<&'static str> {
    NODES.into_iter().zip(down).filter(|(_, down)| !down).map(|(node, _)| node).collect()
}

impl Subject for Slardar {
    fn name(&self) -> &'static str {
        "slardar"
    }

    fn gateway(&self) -> Value {
        json!({
            "type": "slardar", "upstream": "node-dev.example", "url": "http://gw:1995", "workers": 4,
            "server": { "weight": 1, "max_fails": 6, "fail_timeout": 30 },
        })
    }

    fn workers(&self) -> u32 {
        4
    }

    fn lag(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// A reload reads what Consul keeps, which is what it was told.
    fn forgets(&self) -> bool {
        false
    }

    fn answer(&self, question: &Question<'_>, seen: &Seen) -> Answer {
        let Question::Http(request) = question else { panic!("{question:?}") };
        let servers: Vec<_> = listed(seen.told).into_iter().map(server).collect();
        if request.channel == Channel::Consul {
            return match request.method {
                Method::Get => {
                    let value = json!({ "enable": true, "servers": servers }).to_string();
                    let key = "config/slardar/upstreams/node-dev.example";
                    assert!(
                        request.url.contains(&format!("/v1/kv/{key}?consistent")),
                        "{}",
                        request.url
                    );
                    Answer::ok(
                        json!([{ "Key": key, "Value": BASE64_STANDARD.encode(value), "ModifyIndex": 7 }]).to_string(),
                    )
                }
                _ => Answer::ok(
                    json!({ "Results": [{ "KV": { "Key": "k", "ModifyIndex": 8 } }] }).to_string(),
                ),
            };
        }
        let upstream = if seen.knows { "node-dev.example" } else { "other" };
        match (request.method, request.url.strip_prefix("http://gw:1995").expect("its API")) {
            (Method::Get, "/status") => {
                let status = |node: &str| json!({ "weight": 1, "status": "ok", "server": format!("{upstream}:{node}") });
                let servers: Vec<_> = listed(seen.down).into_iter().map(status).collect();
                let cluster = format!("cls:{upstream}");
                Answer::ok(json!({ "shd_config_version": 0, cluster: [servers] }).to_string())
                    .header("x-worker", seen.worker.to_string())
            }
            (Method::Get, "/upstreams") => {
                let own =
                    json!({ "enable": true, "cluster": [{ "servers": servers }], "keepalive": 20 });
                Answer::ok(json!({ upstream: own }).to_string())
            }
            (Method::Post, "/upstream/node-dev.example") => {
                let body = request.body.as_deref().unwrap_or_default();
                let body: Value = serde_json::from_slice(body).expect("JSON");
                let posted = body["servers"].as_array().expect("a list");
                assert!(!posted.is_empty(), "400 servers invalid");
                let down = NODES.map(|node| !posted.contains(&server(node)));
                Answer { effect: Some(down), ..Answer::ok(r#"{"status":200}"#) }
            }
            other => panic!("{other:?}"),
        }
    }
}
