//! Problems of meaning, all at once: those that a schema cannot express. One file per part of the playbook.
//!
//! A rule is not checked if a key that it reads is broken: the structure has been reported, and the replacement
//! value would only cause wrong problems. A key under a misspelt name counts as given.

mod artifact;
mod checks;
mod fleet;
mod gateways;
mod http_check;
mod registries;
mod secrets;
mod steps;
mod templates;

pub use artifact::{Misplaced, misplaced};

use super::Playbook;
use super::findings::Findings;
use super::hidden::Hidden;
use super::invalid_paths::InvalidPaths;
use super::tree::Tree;
use crate::diagnostic::Problem;

/// Adds every problem of meaning to the findings, except for values that are already broken.
pub(super) fn check(
    playbook: &Playbook,
    tree: &Tree,
    source: &str,
    (invalid, hidden): (&InvalidPaths, &Hidden),
    findings: &mut Findings,
) {
    let invalid = invalid.clone();
    let mut check = Check { playbook, tree, source, invalid, hidden, findings };
    if !check.known("") {
        return;
    }
    // First: no other rule may quote a part of a URL that contains a login.
    check.literals();
    check.fleet();
    check.gateways();
    check.parts();
    check.steps();
    check.templates();
}

struct Check<'a> {
    playbook: &'a Playbook,
    tree: &'a Tree,
    source: &'a str,
    invalid: InvalidPaths,
    hidden: &'a Hidden,
    findings: &'a mut Findings,
}

impl Check<'_> {
    /// Returns whether everything at these paths, and inside, is as the file says.
    fn sound(&self, paths: &[&str]) -> bool {
        !paths.iter().any(|path| self.invalid.touches(path))
    }

    /// Returns whether the value of a path is from the file, even if values inside it are wrong.
    fn known(&self, path: &str) -> bool {
        !self.invalid.holds(path)
    }

    /// Returns whether the file has this key, under its right name.
    fn given(&self, path: &str) -> bool {
        self.tree.locate(path).2 == path
    }

    /// Adds a problem of the value at a path, unless the value is already broken.
    fn wrong(
        &mut self,
        path: &str,
        message: impl Into<String>,
        finish: impl FnOnce(Problem) -> Problem,
    ) {
        if self.known(path) {
            self.add(path, message, finish);
        }
    }

    /// Adds a problem of given and missing keys, at the key of a path or at the nearest existing key.
    fn add(
        &mut self,
        path: &str,
        message: impl Into<String>,
        finish: impl FnOnce(Problem) -> Problem,
    ) {
        let (tree, hidden) = (self.tree, self.hidden);
        self.findings.add(|| {
            let (value, span, path) = tree.locate(path);
            let message = hidden.without_value(message.into(), value);
            finish(Problem::new(message).at(span).on(path))
        });
    }
}
