//! nginx-upsync-module: `upstream_show` of whichever worker answers.

use std::time::Duration;

use serde_json::{Value, json};

use crate::replay::{Answer, NODES, Question, Seen, Subject};

pub(crate) struct Upsync;

impl Subject for Upsync {
    fn name(&self) -> &'static str {
        "nginx-upsync"
    }

    fn gateway(&self) -> Value {
        json!({
            "type": "nginx-upsync", "upstream": "app", "status_url": "http://gw/list?app",
            "workers": 4, "sync_interval": "500ms",
        })
    }

    fn registry(&self) -> Value {
        json!({ "type": "consul-kv", "prefix": "upstreams/app/" })
    }

    fn workers(&self) -> u32 {
        4
    }

    fn lag(&self) -> Duration {
        Duration::from_millis(1499)
    }

    fn forgets(&self) -> bool {
        false
    }

    fn answer(&self, question: &Question<'_>, seen: &Seen) -> Answer {
        assert_eq!(question.says(), "Get http://gw/list?app");
        if !seen.knows {
            return Answer::ok(
                "The upstream you requested does not exist. Please double-check the name",
            );
        }
        let server = |(node, down): (&str, bool)| {
            let down = if down { " down" } else { "" };
            format!("        server {node} weight=1 max_fails=2 fail_timeout=10s{down};\n")
        };
        let servers: String = NODES.into_iter().zip(seen.down).map(server).collect();
        Answer::ok(format!("Upstream name: app; Backend server count: 3\n{servers}"))
            .header("x-worker", seen.worker.to_string())
    }
}
