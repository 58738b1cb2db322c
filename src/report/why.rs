//! Why nodes failed, with what was seen.

use std::fmt::Write;

use crate::release::{Failure, Phase, Release, Step};
use crate::text;

/// A failure, and the nodes that have it.
pub(super) struct SameFailure<'a> {
    pub(super) nodes: Vec<&'a str>,
    pub(super) failure: &'a Failure,
    pub(super) step: Option<Step>,
}

impl SameFailure<'_> {
    /// The nodes, the step and the reason, in one line.
    pub(super) fn told(&self) -> String {
        let step = self.step.map_or(String::new(), |step| format!("{step}: "));
        format!("{}, {step}{}", self.nodes.join(", "), self.failure.reason)
    }

    /// What was seen, one thing per line.
    pub(super) fn evidence(&self) -> String {
        let Failure { seen, log, .. } = self.failure;
        let mut text = String::new();
        for (label, line) in seen {
            let (label, line) = (text::harmless(label), text::harmless(line));
            let _ = writeln!(text, "{label:<11} {line}");
        }
        for line in log {
            let _ = writeln!(text, "log         {}", text::harmless(line));
        }
        if self.nodes.len() > 1 && !text.is_empty() {
            let _ = writeln!(text, "(as seen at {})", text::harmless(self.nodes[0]));
        }
        text
    }

    /// The failure as a section of a report.
    pub(super) fn section(&self, when: &str) -> String {
        let mut text = String::new();
        section(&mut text, "Why", &format!("{}{when}", self.told()));
        for line in self.evidence().lines() {
            let _ = writeln!(text, "        {line}");
        }
        text
    }
}

/// The failures of a release as it is. Equal ones are one.
pub(super) fn failures(release: &Release) -> Vec<SameFailure<'_>> {
    let mut failures: Vec<SameFailure<'_>> = Vec::new();
    for (name, node) in release.in_order() {
        let Some(failure) = &node.failure else { continue };
        let is_same = |other: &&mut SameFailure<'_>| {
            (&other.failure.reason, other.step) == (&failure.reason, node.failed_at)
        };
        match failures.iter_mut().find(is_same) {
            Some(same) => same.nodes.push(name),
            None => failures.push(SameFailure { nodes: vec![name], failure, step: node.failed_at }),
        }
    }
    failures
}

/// The nodes that could not be used from the start, each with the reason.
pub(super) fn blocked(release: &Release) -> impl Iterator<Item = (&str, &str)> {
    let is_blocked =
        |name: &str| release.nodes.get(name).is_some_and(|node| node.phase == Phase::Blocked);
    let blocked = release.planned().iter().filter(move |planned| is_blocked(&planned.node));
    blocked.map(|planned| (planned.node.as_str(), planned.why.as_str()))
}

/// Says why nodes of a release failed.
pub(super) fn why(release: &Release) -> String {
    let mut text: String = failures(release).iter().map(|same| same.section("")).collect();
    for (node, why) in blocked(release) {
        section(&mut text, "Why", &format!("{node}, {why}"));
    }
    text
}

/// Begins a section of a report.
pub(super) fn section(text: &mut String, label: &str, rest: &str) {
    let _ = writeln!(text, "\n{}", format!("{label:<7} {}", text::harmless(rest)).trim_end());
}
