//! Events without secrets: every text of an event is searched for secrets before it is written anywhere.
//!
//! The search works on the serialized event, so it covers a new kind of event without a change here. Only the
//! values that a resume relies on stay unchanged: names of nodes, the playbook, its variables. Before a
//! release begins, the command line refuses a playbook or a variable that contains a secret.

use serde_json::Value;

use super::event::EventKind;
use crate::secret::{self, Redactor};

/// Keys whose text a release relies on.
const KEPT: [&str; 7] = ["node", "nodes", "will", "result", "done", "since", "made_at"];

/// Keys of the start event whose whole value a later command relies on.
const KEPT_AT_THE_START: [&str; 8] =
    ["playbook", "inputs", "before", "toward", "service", "command", "selection", "arguments"];

/// The same of the event of a resume.
const KEPT_AT_A_RESUME: [&str; 2] = ["playbook", "toward"];

impl EventKind {
    /// Returns the same fact without any secret of this process.
    ///
    /// # Panics
    ///
    /// Never: the replaced values are free text.
    #[must_use]
    pub fn without_secrets(self) -> Self {
        self.redacted(&secret::known())
    }

    fn redacted(self, redactor: &Redactor) -> Self {
        if redactor.is_empty() {
            return self;
        }
        let whole = serde_json::to_value(&self).expect("facts have only string keys");
        let kept: &[_] = match self {
            Self::ReleaseStarted(_) => &KEPT_AT_THE_START,
            Self::ReleaseResumed(_) => &KEPT_AT_A_RESUME,
            _ => &[],
        };
        let mut clean = whole.clone();
        if let Some(data) = clean.get_mut("data").and_then(Value::as_object_mut) {
            for (key, value) in data {
                if !kept.contains(&key.as_str()) {
                    hide(redactor, key, value);
                }
            }
        }
        if clean == whole {
            return self;
        }
        serde_json::from_value(clean).expect("free text may be any text")
    }
}

/// Hides secrets in every text below a key; keys are names and stay.
fn hide(redactor: &Redactor, key: &str, value: &mut Value) {
    match value {
        Value::String(text) if !KEPT.contains(&key) => *text = redactor.redact(text),
        Value::Array(items) => items.iter_mut().for_each(|item| hide(redactor, key, item)),
        Value::Object(map) => map.iter_mut().for_each(|(key, value)| hide(redactor, key, value)),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::secret::Secret;

    /// Every event of a release, with this text in each place for foreign text.
    fn facts(text: &str) -> Vec<EventKind> {
        let node =
            |name: &str| json!({ "node": name, "will": "update", "why": text, "runs": text });
        [
            json!({ "type": "release.started", "data": {
                "service": "app", "command": "deploy", "from": text, "to": text, "actor": text, "file": text,
                "playbook": { "service": "checkout" }, "nodes": [node("n")],
                "inputs": { "release": "r", "folder": "", "variables": {}, "artifact": null },
                "plan": { "sha256": text, "made_at": "2026-06-12T14:00:00Z", "made_by": text },
            }}),
            json!({ "type": "release.resumed", "data": {
                "actor": text, "nodes": [], "playbook": { "service": "checkout" },
            }}),
            json!({ "type": "step.progress", "data": { "message": text } }),
            json!({ "type": "step.finished", "data": { "elapsed_ms": 1, "message": text } }),
            json!({ "type": "registry.writing", "data": {
                "key": text, "down": true, "original": text, "modify_index": 1,
                "entries": [{ "key": text, "original": text, "modify_index": 1 }],
            }}),
            json!({ "type": "registry.written", "data": { "key": text, "down": true, "modify_index": 2 } }),
            json!({ "type": "node.marked", "data": { "listener": {
                "mark": 1, "bound": true, "owners": [{ "pid": 7, "started": 1, "command": text }],
            }}}),
            json!({ "type": "gateway.proven", "data": {
                "gateway": text, "routed": false, "reads": 1, "workers": 1, "method": text,
            }}),
            json!({ "type": "node.failed", "data": { "reason": text, "seen": [[text, text]], "log": [text] } }),
            json!({ "type": "node.rolling_back", "data": { "version": text } }),
            json!({ "type": "node.put_back", "data": { "proven": false, "problem": text } }),
            json!({ "type": "notice", "data": { "message": text } }),
            json!({ "type": "warning", "data": { "message": text } }),
            json!({ "type": "release.stopping", "data": { "reason": text } }),
            json!({ "type": "release.finished", "data": {
                "result": "failed", "exit_code": 20, "reason": text, "nodes": { "done": ["n"] },
                "next": [[text, text]], "elapsed_ms": 1,
            }}),
        ]
        .into_iter()
        .map(|fact| serde_json::from_value(fact).expect("a fact"))
        .collect()
    }

    #[test]
    fn no_event_of_any_kind_keeps_a_secret() {
        let redactor = Redactor::new([Secret::new("k33p-th1s")]);
        for (fact, expected) in facts("say k33p-th1s").into_iter().zip(facts("say ***")) {
            assert_eq!(fact.redacted(&redactor), expected);
        }
    }

    #[test]
    fn values_for_resume_stay_even_if_a_secret_is_the_same_word() {
        let words = ["node-1", "failed", "update", "deploy", "done", "type", "warning", "checkout"];
        let redactor = Redactor::new(words.map(Secret::new));
        let nodes = vec!["node-1".to_owned()];
        let taken = EventKind::BatchStarted { number: 1, nodes, back: false };
        for fact in facts("x").into_iter().chain([taken]) {
            assert_eq!(fact.clone().redacted(&redactor), fact);
        }
    }
}
