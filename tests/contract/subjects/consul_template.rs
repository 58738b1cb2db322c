//! A list of servers that consul-template renders for nginx, which loads it some time later.

use std::time::Duration;

use rollgate::node::NodeScript;
use serde_json::{Value, json};

use crate::replay::{Answer, NODES, Question, Seen, Subject};

pub(crate) struct ConsulTemplate;

impl Subject for ConsulTemplate {
    fn name(&self) -> &'static str {
        "consul-template"
    }

    fn gateway(&self) -> Value {
        json!({
            "type": "consul-template", "ssh": "ops@10.0.0.12", "file": "/etc/nginx/conf.d/app.conf",
            "pid_file": "/run/nginx.pid",
        })
    }

    fn registry(&self) -> Value {
        json!({ "type": "consul-service", "service": "app" })
    }

    fn lag(&self) -> Duration {
        Duration::from_secs(2)
    }

    fn forgets(&self) -> bool {
        false
    }

    fn answer(&self, question: &Question<'_>, seen: &Seen) -> Answer {
        assert!(matches!(question, Question::Run(NodeScript::Rendered { .. })), "{question:?}");
        if !seen.knows {
            let stderr = "cat: /etc/nginx/conf.d/app.conf: No such file or directory\n".to_owned();
            return Answer { exit: 1, stderr, ..Answer::ok("") };
        }
        // What is rendered is not loaded yet, and no worker has been told to leave.
        let left = NODES.into_iter().zip(seen.told).filter(|(_, down)| !down);
        let servers: Vec<_> = left.map(|(node, _)| format!("    server {node};")).collect();
        Answer::ok(format!("upstream app {{\n{}\n}}\n\nleaving=0 older=0\n", servers.join("\n")))
    }
}
