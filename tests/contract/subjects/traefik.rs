//! Traefik 3.7 with its servers in a file.

use rollgate::node::NodeScript;
use serde_json::{Value, json};

use crate::replay::{Answer, NODES, Question, Seen, Subject};

const SERVICE: &str = include_str!("../../fixtures/gateway/traefik/service.json");

pub(crate) struct Traefik;

impl Subject for Traefik {
    fn name(&self) -> &'static str {
        "traefik"
    }

    fn gateway(&self) -> Value {
        json!({
            "type": "traefik", "api_url": "http://gw:8080", "service": "app", "ssh": "gw",
            "file": "/etc/traefik/dynamic/app.yml",
        })
    }

    fn forgets(&self) -> bool {
        false
    }

    fn answer(&self, question: &Question<'_>, seen: &Seen) -> Answer {
        match question {
            Question::Run(NodeScript::File { .. }) => {
                let service = if seen.knows { "app" } else { "other" };
                let balancer = json!({ "servers": servers(seen.down) });
                let services = json!({ service: { "loadBalancer": balancer } });
                Answer::ok(json!({ "http": { "services": services } }).to_string())
            }
            Question::Write(content) => {
                let file: Value = serde_json::from_str(content).expect("JSON");
                let list = &file["http"]["services"]["app"]["loadBalancer"]["servers"];
                let down = |index: usize| list[index]["weight"].as_i64().is_some_and(|it| it <= 0);
                Answer { effect: Some([0, 1, 2].map(down)), ..Answer::ok("") }
            }
            question => {
                assert_eq!(question.says(), "Get http://gw:8080/api/http/services/app@file");
                if !seen.knows {
                    return Answer::status(404, "{\"message\":\"service not found: app@file\"}\n");
                }
                let mut service: Value = serde_json::from_str(SERVICE).expect("JSON");
                service["loadBalancer"]["servers"] = servers(seen.down);
                for node in NODES {
                    service["serverStatus"][format!("http://{node}")] = "UP".into();
                }
                Answer::ok(format!("{service}\n"))
            }
        }
    }
}

fn servers(down: [bool; 3]) -> Value {
    let servers = NODES.iter().zip(down).map(|(node, down)| {
        json!({ "url": format!("http://{node}"), "weight": if down { -1 } else { 1 } })
    });
    servers.collect()
}
