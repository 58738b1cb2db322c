//! A gateway of commands: JSON as its list, one command each to take a node out and back, one that counts.

use rollgate::node::NodeScript;
use serde_json::{Value, json};

use crate::replay::{Answer, NODES, Question, Seen, Subject};

pub(crate) struct Command;

impl Subject for Command {
    fn name(&self) -> &'static str {
        "command"
    }

    fn gateway(&self) -> Value {
        json!({
            "type": "command", "name": "lb", "ssh": "ops@10.0.0.12",
            "list": "lbctl list app", "address": "/name", "routed": "/state",
            "out": "lbctl drain app \"$1\"", "in": "lbctl enable app \"$1\"",
            "in_flight": "lbctl count app \"$1\"",
        })
    }

    fn counts(&self) -> bool {
        true
    }

    fn answer(&self, question: &Question<'_>, seen: &Seen) -> Answer {
        let Question::Run(NodeScript::User { command }) = question else {
            panic!("{}", question.says())
        };
        if !seen.knows {
            let stderr = "reading /etc/lb\nlbctl: no such pool: app\n".to_owned();
            return Answer { exit: 3, stderr, ..Answer::ok("") };
        }
        if command == "lbctl list app" {
            let peer = |(node, down): (&&str, bool)| json!({ "name": node, "state": if down { "drained" } else { "up" } });
            let peers: Vec<Value> = NODES.iter().zip(seen.down).map(peer).collect();
            return Answer::ok(Value::from(peers).to_string());
        }
        let (set, command) = command.split_once("; ").expect("an argument");
        let address = set.strip_prefix("set -- ").expect("an argument");
        let index = NODES.iter().position(|node| *node == address).expect("a node");
        let mut down = seen.down;
        match command {
            "lbctl count app \"$1\"" => return Answer::ok(format!("{}\n", seen.in_flight)),
            "lbctl drain app \"$1\"" => down[index] = true,
            "lbctl enable app \"$1\"" => down[index] = false,
            other => panic!("{other}"),
        }
        Answer { effect: Some(down), ..Answer::ok("") }
    }
}
