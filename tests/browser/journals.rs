//! Journals of releases, written event by event.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// A journal that is being written.
pub(crate) struct Journal {
    id: &'static str,
    at: Timestamp,
    seq: u64,
    pub(crate) text: String,
}

impl Journal {
    /// A release of these nodes that has started; every gateway routes to all of them.
    pub(crate) fn start(id: &'static str, version: &str, actor: &str, nodes: &[String]) -> Self {
        let at = "2026-11-30T14:02:11Z".parse().expect("a time");
        let mut journal = Self { id, at, seq: 0, text: String::new() };
        let planned: Vec<_> = nodes
            .iter()
            .map(|node| json!({ "node": node, "will": "update", "runs": "2.7.0" }))
            .collect();
        let playbook = json!({
            "service": "app",
            "registry": { "type": "gateway" },
            "gateways": [{ "type": "haproxy", "backend": "app", "socket": { "path": "/none.sock" } }],
            "nodes": nodes.iter().map(|node| json!({ "name": node, "ssh": "local", "address": "127.0.0.1:1" })).collect::<Vec<_>>(),
            "stop": "true", "start": "true",
            "health": { "tcp": "${{ node.address }}", "min_healthy_time": "5s" },
        });
        let started = json!({
            "service": "app", "command": "deploy", "from": "2.7.0", "to": version, "actor": actor,
            "file": "app.yaml", "playbook": playbook, "nodes": planned,
            "inputs": { "release": id, "folder": "", "variables": { "version": version }, "artifact": null },
            "pool": { "nodes": nodes.len(), "routed": nodes.len(), "min": nodes.len() * 3 / 5 },
        });
        journal.tell(0, "release.started", None, None, &started);
        journal
    }

    /// Writes an event some milliseconds after the last one.
    pub(crate) fn tell(
        &mut self,
        after: i64,
        kind: &str,
        node: Option<&str>,
        step: Option<&str>,
        data: &Value,
    ) {
        self.at += SignedDuration::from_millis(after);
        self.seq += 1;
        let mut line = json!({
            "v": 1, "seq": self.seq, "ts": format!("{:.3}", self.at), "type": kind, "release": self.id,
            "data": data,
        });
        if let Some(node) = node {
            line["node"] = node.into();
        }
        if let Some(step) = step {
            line["step"] = step.into();
        }
        writeln!(self.text, "{line}").expect("a text takes everything");
    }

    /// Time passes.
    pub(crate) fn pass(&mut self, seconds: i64) {
        self.at += SignedDuration::from_secs(seconds);
    }

    pub(crate) fn batch(&mut self, number: usize, nodes: &[&str]) {
        self.tell(5, "batch.started", None, None, &json!({ "number": number, "nodes": nodes }));
    }

    /// A step that is done, with its duration in milliseconds.
    pub(crate) fn step(&mut self, node: &str, step: &str, took: i64, found: &str) {
        self.begin(node, step);
        let data = match step {
            "drain" => {
                json!({ "elapsed_ms": took, "message": found, "drained": { "from": 9, "cut": 0 } })
            }
            _ => json!({ "elapsed_ms": took, "message": found }),
        };
        self.tell(took, "step.finished", Some(node), Some(step), &data);
    }

    pub(crate) fn begin(&mut self, node: &str, step: &str) {
        self.tell(3, "step.started", Some(node), Some(step), &json!({}));
    }

    /// The steps of a node up to its start; `left` nodes stay in rotation.
    pub(crate) fn take_out(&mut self, node: &str, left: usize) {
        self.begin(node, "disable");
        let routed = json!({ "routed": { "edge-1": left + 1, "edge-2": left + 1 } });
        self.tell(8, "capacity.seen", Some(node), Some("disable"), &routed);
        self.mark(node, "disable", true);
        self.confirm(node, "confirm_out", left, 1_900);
        self.step(node, "drain", 4_200, "9 -> 0 in flight, 0 cut");
        self.step(node, "stop", 2_600, "");
        self.step(node, "activate", 90, "current -> app-2.7.1-3b9e41c2");
        self.step(node, "start", 1_300, "");
    }

    pub(crate) fn bring_back(&mut self, node: &str, now: usize) {
        self.step(node, "health", 14_000, "healthy=3/3, pid 22817 owns :9000");
        self.begin(node, "enable");
        self.mark(node, "enable", false);
        self.confirm(node, "confirm_in", now, 2_300);
        self.tell(2, "node.done", Some(node), None, &json!({ "elapsed_ms": 27_000 }));
        self.step(node, "prune", 60, "deleted app-2.6.9");
    }

    fn mark(&mut self, node: &str, step: &str, down: bool) {
        let writing = json!({ "key": "k", "down": down, "original": "up", "modify_index": 1 });
        self.tell(4, "registry.writing", Some(node), Some(step), &writing);
        let written = json!({ "key": "k", "down": down, "modify_index": 2 });
        self.tell(20, "registry.written", Some(node), Some(step), &written);
        let found = format!("consul upstreams/app/{node} down={}", u8::from(down));
        let data = json!({ "elapsed_ms": 30, "message": found });
        self.tell(1, "step.finished", Some(node), Some(step), &data);
    }

    fn confirm(&mut self, node: &str, step: &str, pool: usize, took: i64) {
        self.begin(node, step);
        for gateway in ["edge-1", "edge-2"] {
            let data = json!({
                "gateway": gateway, "routed": step == "confirm_in", "reads": 25, "workers": 4,
                "method": "workers", "pool": pool,
            });
            self.tell(took / 2, "gateway.proven", Some(node), Some(step), &data);
        }
        let data = json!({ "elapsed_ms": took, "message": "confirmed by edge-1 (4 workers), edge-2 (4 workers)" });
        self.tell(1, "step.finished", Some(node), Some(step), &data);
    }

    pub(crate) fn fail(&mut self, node: &str, step: &str, failure: &Value) {
        self.tell(90_000, "node.failed", Some(node), Some(step), failure);
    }

    pub(crate) fn end(&mut self, result: &str, code: u8, reason: Option<&str>) {
        if reason.is_some() {
            let stopping = json!({ "reason": "1 node failed (max_failures 0)" });
            self.tell(3, "release.stopping", None, None, &stopping);
        }
        let mut data = json!({
            "result": result, "exit_code": code, "nodes": {}, "next": [], "elapsed_ms": 1,
        });
        if let Some(reason) = reason {
            data["reason"] = reason.into();
        }
        self.tell(40, "release.finished", None, None, &data);
    }
}

/// What was seen of a node that did not become healthy.
pub(crate) fn unhealthy() -> Value {
    json!({
        "reason": "not healthy within 90s",
        "seen": [
            ["check", "GET http://10.0.1.12:8080/ping: 503 in 45 of 45 tries; needed 3 in a row, best 0"],
            ["last body", "{\"status\":\"DOWN\",\"db\":\"connect timeout 10.0.9.5:5432\"}"],
            ["process", "pid 22817, started 90s ago by this release, owns :8080"],
        ],
        "log": [
            "14:06:01 INFO  Starting OrderApi v2.7.1 on app-2 with PID 22817",
            "14:06:02 ERROR HikariPool-1 - Connection is not available, request timed out after 30000ms",
        ],
    })
}

fn names(count: usize) -> Vec<String> {
    let width = count.to_string().len();
    (1..=count).map(|number| format!("app-{number:0width$}")).collect()
}

/// Three nodes: one is done, one failed its health check, one was not updated.
pub(crate) fn failed() -> String {
    let nodes = names(3);
    let mut journal = Journal::start("7f3a19c2", "2.7.1", "gitlab:8812", &nodes);
    journal.batch(1, &["app-1"]);
    journal.take_out("app-1", 2);
    journal.bring_back("app-1", 3);
    journal.batch(2, &["app-2"]);
    journal.take_out("app-2", 2);
    journal.begin("app-2", "health");
    journal.tell(
        9_000,
        "warning",
        None,
        None,
        &json!({ "message": "edge-2 does not answer: connection refused" }),
    );
    journal.fail("app-2", "health", &unhealthy());
    journal.end("failed", 20, Some("app-2, health: not healthy within 90s"));
    journal.text
}

/// The same, resumed an hour later, and done.
pub(crate) fn resumed() -> String {
    let mut journal = Journal::start("7f3a19c2", "2.7.1", "gitlab:8812", &names(3));
    journal.batch(1, &["app-1"]);
    journal.take_out("app-1", 2);
    journal.begin("app-1", "health");
    journal.fail("app-1", "health", &unhealthy());
    journal.end("failed", 20, Some("app-1, health: not healthy within 90s"));
    journal.pass(3_600);
    let found = json!({ "node": "app-1", "down": true, "done": [] });
    journal.tell(
        0,
        "release.resumed",
        None,
        None,
        &json!({ "actor": "ana@laptop", "nodes": [found] }),
    );
    for (number, node) in [(2, "app-1"), (3, "app-2"), (4, "app-3")] {
        journal.batch(number, &[node]);
        journal.take_out(node, 2);
        journal.bring_back(node, 3);
    }
    journal.end("done", 0, None);
    journal.text
}

/// Three hundred nodes in batches of ten; one of them failed.
pub(crate) fn large() -> String {
    let nodes = names(300);
    let mut journal = Journal::start("c0ffee01", "2.7.1", "gitlab:8812", &nodes);
    for (number, batch) in nodes.chunks(10).enumerate() {
        let batch: Vec<_> = batch.iter().map(String::as_str).collect();
        journal.batch(number + 1, &batch);
        for (turn, node) in batch.iter().enumerate() {
            journal.take_out(node, 299 - turn);
            if *node == "app-137" {
                journal.begin(node, "health");
                journal.fail(node, "health", &unhealthy());
            } else {
                journal.bring_back(node, 300);
            }
        }
    }
    journal.end("failed", 20, Some("app-137, health: not healthy within 90s"));
    journal.text
}

/// Markup, quotes, marks of direction and control characters.
pub(crate) const EVIL: &str = "x</title></pre></code><script>document.title='broken'</script><img src=x onerror=document.title='broken'>\
    <svg onload=document.title='broken'>\"'`&amp;&lt;{{ 7*7 }}{% raw %}\u{202e}cod.exe\u{2066}\u{200b}\u{0}\u{1b}[31m\u{7}\u{9b}1m\r\n]]>--><style>*{display:none}</style>";

/// A failed release with hostile text wherever another program provides text.
pub(crate) fn hostile() -> String {
    let node = format!("app-{EVIL}");
    let mut journal = Journal::start("badc0de1", EVIL, EVIL, std::slice::from_ref(&node));
    journal.batch(1, &[&node]);
    journal.step(&node, "disable", 40, EVIL);
    journal.begin(&node, "confirm_out");
    journal.tell(1, "warning", None, None, &json!({ "message": EVIL }));
    journal.tell(1, "warning", Some(&node), None, &json!({ "message": EVIL }));
    let failure = json!({ "reason": EVIL, "seen": [[EVIL, EVIL]], "log": [EVIL, EVIL] });
    journal.fail(&node, "confirm_out", &failure);
    journal.end("failed", 20, Some(EVIL));
    journal.text
}
