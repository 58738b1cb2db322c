//! `ngx_dynamic_upstream`, `ZigzagAK`'s and cubicdaiya's: a list in shared memory.

use serde_json::{Value, json};

use crate::replay::{Answer, NODES, Question, Seen, Subject};

pub(crate) struct Zigzagak;

pub(crate) struct Cubicdaiya;

/// What is asked, after the location and the upstream: nothing, or a server and where it is to go.
fn asked(question: &Question<'_>) -> Option<(usize, bool)> {
    let says = question.says();
    let query = says.strip_prefix("Get http://gw/dynamic?upstream=app&").expect("the location");
    if query == "verbose=" {
        return None;
    }
    let server = query.strip_prefix("server=").expect("never without a server");
    let (server, what) = server.split_once('&').expect("what to do");
    let node = NODES.iter().position(|node| *node == server).expect("a colon that is not encoded");
    match what {
        "down=" => Some((node, true)),
        "up=" => Some((node, false)),
        other => panic!("never ask for {other}"),
    }
}

fn answer(
    question: &Question<'_>,
    seen: &Seen,
    server: impl Fn(usize, &str, &str) -> String,
) -> Answer {
    let mut down = seen.told;
    let turned = asked(question);
    if let Some((node, to)) = turned {
        down[node] = to;
    }
    let server = |(index, (node, down)): (usize, (&str, bool))| {
        server(index, node, if down { " down" } else { "" })
    };
    let list: String = NODES.into_iter().zip(down).enumerate().map(server).collect();
    Answer { effect: turned.map(|_| down), ..Answer::ok(list) }
}

impl Subject for Zigzagak {
    fn name(&self) -> &'static str {
        "ngx-dynamic-upstream (ZigzagAK)"
    }

    fn gateway(&self) -> Value {
        json!({ "type": "ngx-dynamic-upstream", "upstream": "app", "url": "http://gw/dynamic" })
    }

    fn counts(&self) -> bool {
        true
    }

    fn answer(&self, question: &Question<'_>, seen: &Seen) -> Answer {
        if !seen.knows {
            return Answer::status(404, "upstream is not found");
        }
        answer(question, seen, |index, node, down| {
            let conns = if index == 0 { seen.in_flight } else { 0 };
            format!(
                "server {node} addr={node} weight=1 max_fails=1 fail_timeout=10 max_conns=0 conns={conns}{down};\n"
            )
        })
    }
}

impl Subject for Cubicdaiya {
    fn name(&self) -> &'static str {
        "ngx-dynamic-upstream (cubicdaiya)"
    }

    fn gateway(&self) -> Value {
        json!({
            "type": "ngx-dynamic-upstream", "upstream": "app", "url": "http://gw/dynamic",
            "variant": "cubicdaiya",
        })
    }

    fn answer(&self, question: &Question<'_>, seen: &Seen) -> Answer {
        if !seen.knows {
            return Answer::status(
                404,
                "<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n<center><h1>404 Not Found</h1>\
                 </center>\r\n<hr><center>nginx/1.22.1</center>\r\n</body>\r\n</html>\r\n",
            );
        }
        answer(question, seen, |_, node, down| {
            format!("server {node} weight=1 max_fails=1 fail_timeout=10{down};\n")
        })
    }
}
