//! Caddy 2.11, by its admin API.

use rollgate::world::Method;
use serde_json::{Value, json};

use crate::replay::{Answer, NODES, Question, Seen, Subject};

const ETAG: &str = "\"/config/apps/http/servers/web/routes/0/handle/0 ";

pub(crate) struct Caddy;

impl Subject for Caddy {
    fn name(&self) -> &'static str {
        "caddy"
    }

    fn gateway(&self) -> Value {
        json!({ "type": "caddy", "admin_url": "http://gw:2019", "handler": "app" })
    }

    fn counts(&self) -> bool {
        true
    }

    fn answer(&self, question: &Question<'_>, seen: &Seen) -> Answer {
        let Question::Http(request) = question else { panic!("{question:?}") };
        let url = request.url.as_str();
        // What becomes part of an Etag changes with the list.
        let etag = format!("{ETAG}f7aad6acf1b7{:04x}\"", bits(seen.down));
        match (request.method, url) {
            (Method::Get, "http://gw:2019/reverse_proxy/upstreams") => {
                let counts = NODES.iter().zip(seen.down).enumerate().filter_map(
                    |(index, (address, down))| {
                        let num_requests = if index == 0 { seen.in_flight } else { 0 };
                        (!down || num_requests > 0).then(
                            || json!({ "address": address, "num_requests": num_requests, "fails": 0 }),
                        )
                    },
                );
                Answer::ok(format!("{}\n", Value::from(counts.collect::<Vec<_>>())))
            }
            // A frame of a goroutine names its file.
            (Method::Get, "http://gw:2019/debug/pprof/goroutine?debug=1") => Answer::ok(
                "#\t0x1\tgithub.com/caddyserver/caddy/v2.Run+0x1\tgithub.com/caddyserver/caddy/v2@v2.11.7/caddy.go:1\n",
            ),
            _ if !seen.knows => Answer::status(404, "{\"error\":\"unknown object ID 'app'\"}\n"),
            (Method::Get, "http://gw:2019/id/app") => {
                let left = NODES.iter().zip(seen.down).filter(|(_, down)| !down);
                let left: Vec<_> = left.map(|(address, _)| json!({ "dial": address })).collect();
                let handler =
                    json!({ "@id": "app", "handler": "reverse_proxy", "upstreams": left });
                Answer::ok(format!("{handler}\n")).header("etag", etag)
            }
            (Method::Patch, "http://gw:2019/id/app/upstreams") => {
                let matches = request
                    .headers
                    .iter()
                    .any(|(name, value)| *name == "if-match" && value.expose() == etag);
                if !matches {
                    let stale = "If-Match header did not match current config hash";
                    return Answer::status(412, format!("{{\"error\":\"{stale}\"}}\n"));
                }
                let list: Value =
                    serde_json::from_slice(request.body.as_ref().expect("a body")).expect("JSON");
                let list = list.as_array().expect("a list");
                let down = NODES.map(|node| !list.iter().any(|entry| entry["dial"] == node));
                Answer { effect: Some(down), ..Answer::ok("") }
            }
            _ => panic!("{}", question.says()),
        }
    }
}

fn bits(down: [bool; 3]) -> u32 {
    down.into_iter().fold(0, |bits, down| bits * 2 + u32::from(down))
}
