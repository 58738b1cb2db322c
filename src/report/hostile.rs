//! A release with hostile text wherever other programs provide text, for the tests of every output format.

use serde_json::{Value, json};

use crate::release::Event;
use crate::text;

/// Sequences that clear, colour, hide and reverse the screen, and a forged line.
const EVIL: &str =
    "x\x1b[2J\x1b[31m\x1b[8m\r\u{9b}31m\u{7}\u{202e}\u{2028}\nDONE  forged\n::error::forged\n";

/// Events of a release in a valid order.
pub(super) fn release() -> Vec<Event> {
    let evil = || Value::from(EVIL);
    let nodes: Vec<_> = [("n", "update"), ("s", "skip"), ("l", "left_out"), ("b", "blocked"), ("w", "update")]
        .iter()
        .map(|(name, will)| json!({ "node": format!("{name}{EVIL}"), "will": will, "why": EVIL, "runs": EVIL }))
        .collect();
    let taken = format!("n{EVIL}");
    let inputs =
        json!({ "release": EVIL, "folder": "", "variables": { "v": EVIL }, "artifact": null });
    let started = json!({
        "service": EVIL, "command": "deploy", "from": EVIL, "to": EVIL, "actor": EVIL, "file": EVIL,
        "playbook": null, "nodes": nodes, "inputs": inputs, "pool": { "nodes": 5, "routed": 5, "min": 1 },
    });
    let failure =
        json!({ "reason": EVIL, "seen": [[EVIL, EVIL]], "log": [EVIL], "put_back": false });
    let finished = json!({
        "result": "failed", "exit_code": 20, "reason": EVIL, "nodes": { EVIL: [EVIL] },
        "next": [[EVIL, EVIL]], "elapsed_ms": 1,
    });
    let on_node = true;
    [
        ("release.started", !on_node, None, started),
        ("batch.started", !on_node, None, json!({ "number": 1, "nodes": [taken] })),
        ("step.started", on_node, Some("disable"), json!({})),
        ("step.progress", on_node, Some("disable"), json!({ "message": EVIL })),
        ("capacity.seen", on_node, Some("disable"), json!({ "routed": { EVIL: 5 } })),
        ("registry.writing", on_node, Some("disable"), json!({ "key": EVIL, "down": true, "original": EVIL, "modify_index": 1 })),
        ("registry.written", on_node, Some("disable"), json!({ "key": EVIL, "down": true, "modify_index": 2 })),
        ("step.finished", on_node, Some("disable"), json!({ "elapsed_ms": 1, "message": EVIL })),
        ("step.started", on_node, Some("confirm_out"), json!({})),
        ("gateway.proven", on_node, Some("confirm_out"), json!({ "gateway": EVIL, "routed": false, "reads": 1, "workers": 1, "method": EVIL, "pool": 4 })),
        ("warning", !on_node, None, json!({ "message": evil() })),
        ("release.stopping", !on_node, None, json!({ "reason": evil() })),
        ("node.failed", on_node, Some("confirm_out"), failure),
        ("release.finished", !on_node, None, finished),
    ]
    .into_iter()
    .zip(1..)
    .map(|((kind, on_node, step, data), seq)| {
        let line = json!({
            "v": 1, "seq": seq, "ts": "2026-01-01T00:00:00Z", "type": kind, "release": "r",
            "node": on_node.then_some(&taken), "step": step, "data": data,
        });
        Event::from_line(&line.to_string()).expect("an event")
    })
    .collect()
}

/// Asserts that a text consists only of lines, and that none of them is forged.
#[track_caller]
pub(super) fn assert_tame(shown: &str) {
    let harmful = |shown: char| shown != '\n' && text::is_harmful(shown);
    assert!(!shown.contains(harmful), "{shown:?}");
    let forged =
        |line: &str| ["DONE  f", "::error::f"].iter().any(|start| line.trim().starts_with(start));
    assert!(!shown.lines().any(forged), "{shown}");
}
