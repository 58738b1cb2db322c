//! The sections of a CI log: one while nodes are prepared, then one for each batch. What needs attention is never
//! within a section that the CI system shows closed.

use std::collections::BTreeSet;

use super::ci::Ci;
use crate::release::{Event, EventKind, Release, Step};
use crate::text::few;

/// The largest number of nodes in the title of a section.
const NAMES: usize = 5;

/// The sections of one log.
#[derive(Debug, Default)]
pub(super) struct Sections {
    ci: Ci,
    open: Option<Section>,
}

#[derive(Debug)]
struct Section {
    name: String,
    /// Its nodes that have not ended.
    nodes: BTreeSet<String>,
}

impl Sections {
    pub(super) fn new(ci: Ci) -> Self {
        Self { ci, open: None }
    }

    /// The lines before that of an event. `is_loud`: it needs attention.
    pub(super) fn before(&mut self, event: &Event, release: &Release, is_loud: bool) -> String {
        match &event.fact {
            EventKind::BatchStarted { number, nodes, back } => {
                let title = match (nodes.as_slice(), *back) {
                    (_, true) => format!("rolling back: {}", few(nodes.clone(), NAMES).join(", ")),
                    ([node], false) => {
                        let (turn, all) = release.turn(node);
                        format!("{node} {turn}/{all}")
                    }
                    _ => format!("batch {number}: {}", few(nodes.clone(), NAMES).join(", ")),
                };
                self.close(event) + &self.begin(event, &title, nodes.iter().cloned().collect())
            }
            EventKind::StepStarted {} if event.step == Some(Step::Stage) && self.open.is_none() => {
                self.begin(event, "prepare nodes", BTreeSet::new())
            }
            EventKind::NodeDone { .. }
            | EventKind::NodeRolledBack { .. }
            | EventKind::NodeInterrupted {} => {
                if self.is_last(event) {
                    self.close(event)
                } else {
                    String::new()
                }
            }
            EventKind::ReleaseFinished(_) => self.close(event),
            _ if is_loud => self.close(event),
            _ => String::new(),
        }
    }

    /// Whether the section's other nodes have ended.
    fn is_last(&mut self, event: &Event) -> bool {
        let Some((section, node)) = self.open.as_mut().zip(event.node.as_ref()) else {
            return false;
        };
        section.nodes.remove(node) && section.nodes.is_empty()
    }

    fn begin(&mut self, event: &Event, title: &str, nodes: BTreeSet<String>) -> String {
        let name = format!("rollgate_{}", event.seq);
        let Some(line) = self.ci.open(&name, title, event.at) else { return String::new() };
        self.open = Some(Section { name, nodes });
        line
    }

    fn close(&mut self, event: &Event) -> String {
        let section = self.open.take();
        section.and_then(|section| self.ci.close(&section.name, event.at)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::engine::Sink as _;
    use crate::report::Plain;
    use serde_json::{Value, json};

    /// The log of a release of two batches in a CI system.
    fn log(ci: Ci, second: &[(&str, Option<&str>, Value)]) -> String {
        let told = Arc::new(Mutex::new(String::new()));
        let heard = told.clone();
        let print = move |line: &str| *heard.lock().expect("lock") += line;
        let mut plain =
            Plain::to(Box::new(print), false, false, ci).in_zone(jiff::tz::TimeZone::UTC);
        let nodes = ["a", "b", "c"].map(|node| json!({ "node": node, "will": "update" }));
        let inputs = json!({ "release": "r", "folder": "", "variables": {}, "artifact": null });
        let started = json!({ "service": "app", "command": "deploy", "actor": "me", "file": "app.yaml",
            "playbook": null, "nodes": nodes, "inputs": inputs });
        let first = [
            ("release.started", None, started),
            ("batch.started", None, json!({ "number": 1, "nodes": ["a"] })),
            ("step.started", Some("a"), json!({})),
            ("step.finished", Some("a"), json!({ "elapsed_ms": 1, "message": "down=1" })),
            ("node.done", Some("a"), json!({ "elapsed_ms": 6_000 })),
            ("batch.started", None, json!({ "number": 2, "nodes": ["b", "c"] })),
        ];
        let mut release = Release::default();
        for ((kind, node, data), seq) in first.iter().chain(second).zip(1..) {
            let step = kind.starts_with("step.").then_some("disable");
            let line = json!({ "v": 1, "seq": seq, "ts": "2026-01-01T00:00:00Z", "type": kind,
                "release": "r", "node": node, "step": step, "data": data });
            let event = Event::from_line(&line.to_string()).expect("an event");
            release.apply(&event).expect("it may follow");
            plain.event(&event, &release);
        }
        let told = told.lock().expect("lock");
        told.replace("00:00:00 ", "")
    }

    #[test]
    fn group_of_a_batch_ends_before_the_last_line_of_its_last_node() {
        let done = |node| ("node.done", Some(node), json!({ "elapsed_ms": 6_000 }));
        let told = log(Ci::GitHub, &[done("c"), done("b")]);
        let lines: Vec<_> = told.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "::group::a 1/3",
                "a         1/3 disable     down=1 (1ms)",
                "::endgroup::",
                "a         1/3 done        6s",
                "::group::batch 2: b, c",
                "release       batch       2: b, c",
                "c         3/3 done        6s",
                "::endgroup::",
                "b         2/3 done        6s",
            ]
        );
    }

    #[test]
    fn what_needs_attention_is_outside_every_section() {
        let failed = json!({ "reason": "no answer", "seen": [], "log": [], "put_back": false });
        let events = [
            ("warning", Some("b"), json!({ "message": "50 % full" })),
            ("node.failed", Some("b"), failed),
            ("node.interrupted", Some("c"), json!({})),
        ];
        let told = log(Ci::GitHub, &events);
        let lines: Vec<_> = told.lines().skip(5).collect();
        assert_eq!(
            lines,
            [
                "::group::batch 2: b, c",
                "release       batch       2: b, c",
                "::endgroup::",
                "b         2/3 WARNING     50 % full",
                "::warning title=b::50 %25 full",
                "b         2/3 FAILED      no answer",
                "::error title=b::no answer",
                "c         3/3 interrupted not updated",
            ]
        );
        let told = log(Ci::GitLab, &events);
        let section = "\u{1b}[0Ksection_start:1767225600:rollgate_6[collapsed=true]\r\u{1b}[0Kbatch 2: b, c\n\
                       release       batch       2: b, c\n\
                       \u{1b}[0Ksection_end:1767225600:rollgate_6\r\u{1b}[0K\n\
                       b         2/3 WARNING     50 % full\n";
        assert!(told.contains(section), "{told:?}");
        assert!(!log(Ci::Jenkins, &events).contains("section"), "plain lines");
    }
}
