//! APISIX 3: the admin API shows what is in etcd, the control API what one of four workers has.

use std::time::Duration;

use rollgate::world::Method;
use serde_json::{Map, Value, json};

use crate::replay::{Answer, NODES, Question, Seen, Subject};

pub(crate) struct Apisix;

const ADMIN: &str = "http://gw:9180/apisix/admin/upstreams/app";

/// An upstream with these nodes, as both APIs show it.
fn shown(nodes: &Value) -> String {
    let value = json!({
        "id": "app", "type": "roundrobin", "scheme": "http", "pass_host": "pass", "hash_on": "vars", "nodes": nodes,
        "create_time": 1_634_539_759, "update_time": 1_634_543_819,
    });
    let (created, modified) = (938, 1225);
    json!({
        "value": value, "key": "/apisix/upstreams/app", "createdIndex": created, "modifiedIndex": modified,
    })
    .to_string()
}

fn weights(down: [bool; 3]) -> impl Iterator<Item = (&'static str, u32)> {
    NODES.into_iter().zip(down).map(|(node, down)| (node, u32::from(!down)))
}

impl Subject for Apisix {
    fn name(&self) -> &'static str {
        "apisix"
    }

    fn gateway(&self) -> Value {
        json!({
            "type": "apisix", "admin_url": "http://gw:9180", "admin_key": "${{ secrets.key }}",
            "control_url": "http://gw:9090", "upstream": "app", "workers": 4,
        })
    }

    fn workers(&self) -> u32 {
        4
    }

    fn lag(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// The list is in etcd.
    fn forgets(&self) -> bool {
        false
    }

    fn answer(&self, question: &Question<'_>, seen: &Seen) -> Answer {
        let Question::Http(request) = question else { panic!("{question:?}") };
        match (request.method, request.url.as_str()) {
            (Method::Get, "http://gw:9090/v1/upstream/app") if seen.knows => {
                let node = |(node, weight): (&str, u32)| {
                    let (host, port) = node.split_once(':').expect("an address");
                    let port: u16 = port.parse().expect("a port");
                    json!({ "host": host, "port": port, "weight": weight, "priority": 0 })
                };
                let nodes: Vec<_> = weights(seen.down).map(node).collect();
                Answer::ok(shown(&nodes.into())).header("x-worker", seen.worker.to_string())
            }
            (Method::Get, ADMIN) if seen.knows => {
                let nodes =
                    weights(seen.told).map(|(node, weight)| (node.to_owned(), weight.into()));
                Answer::ok(shown(&nodes.collect::<Map<_, _>>().into()))
            }
            (Method::Patch, ADMIN) => {
                let body = request.body.as_deref().unwrap_or_default();
                let body: Value = serde_json::from_slice(body).expect("JSON");
                let change = body["nodes"].as_object().expect("an object");
                let mut down = seen.told;
                for (node, down) in NODES.iter().zip(&mut down) {
                    if let Some(weight) = change.get(*node) {
                        *down = *weight == 0;
                    }
                }
                Answer { effect: Some(down), ..Answer::ok("{}") }
            }
            (Method::Get, _) => Answer::status(404, r#"{"message":"Key not found"}"#),
            other => panic!("{other:?}"),
        }
    }
}
