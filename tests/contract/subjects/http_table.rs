//! A list of peers as JSON, from one place that all workers share and that is looked at every second.

use std::time::Duration;

use serde_json::{Value, json};

use crate::replay::{Answer, NODES, Question, Seen, Subject};

pub(crate) struct HttpTable;

impl Subject for HttpTable {
    fn name(&self) -> &'static str {
        "http-table"
    }

    fn gateway(&self) -> Value {
        json!({
            "type": "http-table", "url": "http://gw/peers", "list": "/app", "address": "/name",
            "routed": "/up", "in_flight": "/conns", "sync_interval": "1s",
        })
    }

    fn registry(&self) -> Value {
        json!({ "type": "consul-kv", "prefix": "upstreams/app/" })
    }

    fn lag(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn counts(&self) -> bool {
        true
    }

    fn forgets(&self) -> bool {
        false
    }

    fn answer(&self, question: &Question<'_>, seen: &Seen) -> Answer {
        assert_eq!(question.says(), "Get http://gw/peers");
        let peers = NODES.iter().zip(seen.down).enumerate().map(|(index, (node, down))| {
            let conns = if index == 0 { seen.in_flight } else { 0 };
            json!({ "name": node, "up": !down, "conns": conns })
        });
        let peers: Vec<Value> = peers.collect();
        let upstream = if seen.knows { "app" } else { "other" };
        Answer::ok(json!({ upstream: peers }).to_string())
    }
}
