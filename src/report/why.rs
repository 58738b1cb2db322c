//! Why nodes failed, with what was seen.

use std::fmt::Write;

use crate::release::{Failure, Phase, Release, Step};
use crate::text;

/// A failure, and the nodes that have it.
pub(super) struct SameFailure<'a> {
    pub(super) nodes: Vec<&'a str>,
    pub(super) failure: &'a Failure,
    step: Option<Step>,
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

/// Groups failures: equal ones are one.
pub(super) fn grouped<'a>(
    failures: impl IntoIterator<Item = (&'a str, &'a Failure, Option<Step>)>,
) -> Vec<SameFailure<'a>> {
    let mut groups: Vec<SameFailure<'a>> = Vec::new();
    for (node, failure, step) in failures {
        let is_same = |other: &&mut SameFailure<'_>| {
            (&other.failure.reason, other.step) == (&failure.reason, step)
        };
        match groups.iter_mut().find(is_same) {
            Some(same) if same.nodes.contains(&node) => {}
            Some(same) => same.nodes.push(node),
            None => groups.push(SameFailure { nodes: vec![node], failure, step }),
        }
    }
    groups
}

/// The failures of a release as it is.
pub(super) fn failures(release: &Release) -> Vec<SameFailure<'_>> {
    let failed = release.in_order();
    grouped(failed.filter_map(|(name, node)| Some((name, node.failure.as_ref()?, node.failed_at))))
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
