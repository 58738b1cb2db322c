//! Hostile servers: their text reaches the terminal as plain text, on its own line.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::support::{Case, SMALL, serve};

/// Text that would clear, colour, rename and reverse the screen, and show another result.
const EVIL: &str =
    "x\x1b[2J\x1b]0;t\x07\r\u{9b}31m\u{202e}\u{2028}\u{feff}\nDONE  forged\n::error::forged\n";

/// Starts a Consul, a gateway and a service in one; returns its address.
fn start() -> String {
    serve(|own, path, query| {
        let (status, body) = reply(path, query, own);
        (status, Arc::new(body.into_bytes()))
    })
}

fn reply(path: &str, query: &str, own: &str) -> (u16, String) {
    let entries = |entries: &[(&str, &str)]| {
        let pair = |(key, value): &(&str, &str)| json!({ "Key": key, "Value": BASE64_STANDARD.encode(value), "ModifyIndex": 1, "Session": "s" });
        json!(entries.iter().map(pair).collect::<Vec<_>>()).to_string()
    };
    let journal = "rollgate/app/journal/20260101T000000Z-0000aaaa/p000001";
    match (path, query) {
        ("/v1/session/create", _) => (200, json!({ "ID": EVIL }).to_string()),
        (path, _) if path.starts_with("/v1/session/destroy/") => (200, "true".to_owned()),
        (_, query) if query.starts_with("acquire=") || query.starts_with("release=") => {
            (200, "true".to_owned())
        }
        ("/v1/kv/rollgate/app/lock", _) => (200, entries(&[("rollgate/app/lock", &holder())])),
        ("/v1/kv/rollgate/app/holds", _) => {
            let hold = json!({ "by": EVIL, "since": "2026-01-01T00:00:00Z", "reason": EVIL });
            let holds = json!({ "app-2": hold, EVIL: hold }).to_string();
            (200, entries(&[("rollgate/app/holds", &holds)]))
        }
        (path, query)
            if path.starts_with("/v1/kv/rollgate/app/journal/") && query.contains("keys") =>
        {
            (200, json!([journal, EVIL]).to_string())
        }
        (path, _) if path.starts_with("/v1/kv/rollgate/app/journal/2026") => {
            (200, entries(&[(journal, &journal_of(own))]))
        }
        ("/v1/kv/upstreams/app/", _) => {
            let double = format!("upstreams/app/{EVIL}/{own}");
            (200, entries(&[(&format!("upstreams/app/{own}"), "{}"), (&double, EVIL)]))
        }
        ("/ping", _) => (200, json!({ "version": EVIL }).to_string()),
        ("/show", _) => (200, format!("Upstream name: app; Backend server count: 1\n{EVIL}")),
        ("/table", _) => (200, json!([{ "name": EVIL }]).to_string()),
        _ => (500, EVIL.to_owned()),
    }
}

fn holder() -> String {
    json!({
        "release": EVIL, "command": EVIL, "by": EVIL, "host": EVIL, "doing": EVIL,
        "since": "2026-01-01T00:00:00Z", "seen": "2026-01-01T00:00:00Z",
    })
    .to_string()
}

/// A failed release with foreign text in every field that can have some.
fn journal_of(own: &str) -> String {
    let playbook = playbook(own);
    let playbook =
        rollgate::playbook::load_text("app.yaml", playbook).expect("a playbook").playbook;
    let line = |seq: u32, kind: &str, node: Option<&str>, data: serde_json::Value| {
        let line = json!({
            "v": 1, "seq": seq, "ts": "2026-01-01T00:00:00Z", "type": kind, "release": "0000aaaa",
            "node": node, "step": node.map(|_| "stage"), "data": data,
        });
        format!("{line}\n")
    };
    let nodes = [EVIL, "app-1"]
        .map(|node| json!({ "node": node, "will": "update", "why": EVIL, "runs": EVIL }));
    let inputs = json!({ "release": "0000aaaa", "folder": "/x", "variables": { "version": "2" }, "artifact": null });
    [
        line(1, "release.started", None, json!({
            "service": EVIL, "command": "deploy", "from": EVIL, "to": EVIL, "actor": EVIL, "file": EVIL,
            "playbook": playbook, "nodes": nodes, "inputs": inputs,
        })),
        line(2, "node.failed", Some("app-1"), json!({ "reason": EVIL, "seen": [[EVIL, EVIL]], "log": [EVIL] })),
        line(3, "release.finished", None, json!({
            "result": "failed", "exit_code": 20, "reason": EVIL, "nodes": {}, "next": [[EVIL, EVIL]], "elapsed_ms": 1,
        })),
    ]
    .concat()
}

fn playbook(own: &str) -> String {
    SMALL
        .replace("http://127.0.0.1:1/upstream_list?app", &format!("http://{own}/show?app"))
        .replace("127.0.0.1:9000", own)
        .replace("{ header: x-version,", "{ pointer: /version,")
        .replace("http://127.0.0.1:1'", &format!("http://{own}'"))
        .replace(
            "nodes:",
            &format!("  - {{ type: http-table, name: table, url: 'http://{own}/table', address: /name, routed: /a }}\nnodes:"),
        )
}

#[test]
fn foreign_text_cannot_leave_its_line_or_control_the_terminal() {
    let address = start();
    let playbook = playbook(&address);
    for (command, code, says) in [
        (&["status"][..], 0, "Last release 0000aaaa: deploy x [2J"),
        (&["status"], 0, "Held  app-2 by x [2J"),
        (&["plan", "--var", "version=2"], 3, "Refused: "),
        (&["lock", "show"], 0, "held by x"),
        (&["lock", "break", "--yes"], 0, "The lock is free; it was taken from x"),
        (&["deploy", "--yes", "--var", "version=2"], 3, "is a second entry for the same address"),
        (&["resume", "--yes"], 3, "gateway table cannot be read"),
        (&["rollback", "--yes"], 0, "Nothing to do: "),
        (&["node", "out", "app-1", "--yes", "--var", "version=2"], 3, "error: "),
    ] {
        for form in ["plain", "jsonl"] {
            let case = Case::new(&[("app.yaml", playbook.as_bytes())]);
            // The file is the first positional argument.
            let words =
                command.iter().take_while(|word| !word.starts_with('-') && **word != "app-1");
            let at = words.count();
            let (before, after) = command.split_at(at);
            let arguments = [before, &["app.yaml"], after, &["--output", form]].concat();
            let (stdout, stderr) = case.exits(code, &arguments);
            let all = format!("{stdout}{stderr}");
            assert!(form == "jsonl" || all.contains(says), "{command:?}: {all}");
            let harmful = |shown: char| shown != '\n' && rollgate::text::is_harmful(shown);
            assert!(!all.contains(harmful), "{command:?}: {all:?}");
            let forged = |line: &str| {
                ["DONE", "::error", "forged"]
                    .iter()
                    .any(|start| line.trim_start().starts_with(start))
            };
            assert!(!all.lines().any(forged), "{command:?}: {all}");
            for line in stdout.lines().filter(|_| form == "jsonl" && command[0] != "lock") {
                serde_json::from_str::<serde_json::Value>(line).expect("a line of JSON");
            }
        }
    }
}
