//! Problems of meaning, all at once: what no schema can say. One file per part of the playbook.
//!
//! A part in which the structure is already wrong is not judged: what was left out would only cause
//! complaints about what the user did write.

mod checks;
mod fleet;
mod steps;
mod templates;

use std::collections::BTreeSet;

use super::findings::Findings;
use super::tree::Tree;
use super::{Playbook, Template};
use crate::diagnostic::Problem;

/// Adds every problem of meaning to the findings. `broken` are the top-level keys that are wrong already.
pub(super) fn check(
    playbook: &Playbook,
    tree: &Tree,
    source: &str,
    broken: &BTreeSet<String>,
    findings: &mut Findings,
) {
    let mut check = Check { playbook, tree, source, broken, findings };
    check.fleet();
    check.parts();
    check.steps();
    check.templates();
}

struct Check<'a> {
    playbook: &'a Playbook,
    tree: &'a Tree,
    source: &'a str,
    broken: &'a BTreeSet<String>,
    findings: &'a mut Findings,
}

impl Check<'_> {
    /// Returns whether these top-level keys have the right structure.
    fn sound(&self, keys: &[&str]) -> bool {
        keys.iter().all(|key| !self.broken.contains(*key))
    }

    /// Returns whether the file has this key.
    fn given(&self, path: &str) -> bool {
        self.tree.locate(path).2 == path
    }

    /// Adds a problem at the key of a path, or at what comes nearest to it.
    fn add(
        &mut self,
        path: &str,
        message: impl Into<String>,
        finish: impl FnOnce(Problem) -> Problem,
    ) {
        let tree = self.tree;
        self.findings.add(|| {
            let (_, span, path) = tree.locate(path);
            finish(Problem::new(message).at(span).on(path))
        });
    }
}

/// Returns the text of a template that has no names to fill in.
fn fixed(template: &Template) -> Option<&str> {
    let (names, errors) = template.names();
    (names.is_empty() && errors.is_empty()).then(|| template.as_str())
}
