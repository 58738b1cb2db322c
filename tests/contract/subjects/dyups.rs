//! `ngx_http_dyups_module`, before and after 2020-04. What is asked of the classic one is answered by a worker that has
//! looked for news first: that others follow later is not to be seen, and so is a matter of the driver's own tests.

use rollgate::world::{Method, Request};
use serde_json::{Value, json};

use crate::replay::{Answer, NODES, Question, Seen, Subject};

/// Until 2020-03.
pub(crate) struct Classic;

/// Since 2020-04.
pub(crate) struct Head;

fn gateway() -> Value {
    json!({
        "type": "dyups", "upstream": "app", "url": "http://gw:8081", "server": "weight=5 max_fails=3",
        "others": ["server 10.9.9.9:80 backup;"], "extras": "keepalive 8;",
    })
}

/// The whole list as it is posted.
fn posted(down: [bool; 3]) -> String {
    let server = |(node, down): (&str, bool)| {
        let down = if down { " down" } else { "" };
        format!("server {node} weight=5 max_fails=3{down};\n")
    };
    let servers: String = NODES.into_iter().zip(down).map(server).collect();
    format!("{servers}server 10.9.9.9:80 backup;\nkeepalive 8;\n")
}

/// Takes a list that is posted.
fn take(request: &Request) -> Answer {
    assert_eq!(request.url, "http://gw:8081/upstream/app");
    let body = request.body.as_deref().unwrap_or_default();
    if body.is_empty() {
        return Answer::status(204, "");
    }
    let body = String::from_utf8_lossy(body);
    let down =
        NODES.map(|node| body.contains(&format!("server {node} weight=5 max_fails=3 down;")));
    if body != posted(down) {
        return Answer::status(500, "add server failed");
    }
    Answer { effect: Some(down), ..Answer::ok("success") }
}

impl Subject for Classic {
    fn name(&self) -> &'static str {
        "dyups (classic)"
    }

    fn gateway(&self) -> Value {
        gateway()
    }

    fn loses(&self) -> bool {
        true
    }

    fn answer(&self, question: &Question<'_>, seen: &Seen) -> Answer {
        let Question::Http(request) = question else { panic!("{question:?}") };
        if request.method == Method::Post {
            return take(request);
        }
        assert_eq!(request.url, "http://gw:8081/detail");
        if !seen.knows {
            return Answer::status(204, "");
        }
        let server = |(node, down): (&str, bool)| {
            let down = u8::from(down);
            format!(
                "server {node} weight=5 max_conns=0 max_fails=3 fail_timeout=10 backup=0 down={down}\n"
            )
        };
        let servers: String = NODES.into_iter().zip(seen.told).map(server).collect();
        let other =
            "server 10.9.9.9:80 weight=1 max_conns=0 max_fails=1 fail_timeout=10 backup=1 down=0\n";
        let host1 = "server 127.0.0.1:19003 weight=1 max_conns=0 max_fails=1 fail_timeout=10 backup=0 down=0\n";
        Answer::ok(format!("host1\n{host1}\napp\n{servers}{other}\n"))
            .header("x-worker", seen.worker.to_string())
    }
}

impl Subject for Head {
    fn name(&self) -> &'static str {
        "dyups (head)"
    }

    fn gateway(&self) -> Value {
        let mut gateway = gateway();
        gateway["mode"] = "head".into();
        gateway
    }

    fn loses(&self) -> bool {
        true
    }

    fn answer(&self, question: &Question<'_>, seen: &Seen) -> Answer {
        let Question::Http(request) = question else { panic!("{question:?}") };
        if request.method == Method::Post {
            return take(request);
        }
        assert_eq!(request.url, "http://gw:8081/list");
        if !seen.knows {
            return Answer::status(204, "");
        }
        Answer::ok(format!("upstream app {{\n{}\n}}\n", posted(seen.told)))
    }
}
