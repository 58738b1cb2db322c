//! The places of a playbook where a secret can be, whether it is allowed there or not: no message quotes them.

use std::ops::Range;

use super::findings::quoted;
use super::tree::{Key, Kind, Tree};
use crate::diagnostic::Problem;
use crate::secret::{Redactor, Secret, TELLING, literal};

/// Replaces a value that is not shown.
pub(super) const NOT_SHOWN: &str = "text that is not shown because it may be a secret";

/// The text that a message must not quote.
#[derive(Debug, Default)]
pub(super) struct Hidden {
    /// As bytes of the file.
    places: Vec<Range<usize>>,
    /// The texts that are long enough to differ from ordinary text. An alias repeats them elsewhere.
    texts: Vec<Secret>,
}

impl Hidden {
    /// Collects everything below `secrets` except the names of variables and files, everything in `consul` except
    /// addresses, the datacenter and the authorities' file, and everything below a key that is called a token, a password or a secret.
    pub(super) fn of(tree: &Tree, source: &str) -> Self {
        let mut hidden = Self::default();
        let Kind::Map(entries) = &*tree.kind else { return hidden };
        for (key, value) in entries {
            match (key.name.as_str(), &*value.kind) {
                ("secrets", Kind::Map(secrets)) => hidden.secrets(secrets, source),
                ("secrets", _) | ("consul", Kind::Scalar { .. } | Kind::List(_)) => {
                    hidden.all(value, source);
                }
                ("consul", Kind::Map(settings)) => {
                    hidden.bare_keys(settings, source);
                    let shown =
                        |key: &Key| matches!(key.name.as_str(), "addresses" | "datacenter" | "ca");
                    let others = settings.iter().filter(|(key, _)| !shown(key));
                    others.for_each(|(_, value)| hidden.all(value, source));
                }
                _ if literal::is_secret_key(&key.name) => hidden.all(value, source),
                _ => hidden.called(value, source),
            }
        }
        hidden
    }

    fn secrets(&mut self, secrets: &[(Key, Tree)], source: &str) {
        self.bare_keys(secrets, source);
        for (_, secret) in secrets {
            let Kind::Map(settings) = &*secret.kind else {
                self.all(secret, source);
                continue;
            };
            self.bare_keys(settings, source);
            for (key, value) in settings {
                let is_name = matches!(key.name.as_str(), "env" | "file");
                if !(is_name && matches!(*value.kind, Kind::Scalar { .. })) {
                    self.all(value, source);
                }
            }
        }
    }

    /// Finds keys that are named after a secret.
    fn called(&mut self, tree: &Tree, source: &str) {
        match &*tree.kind {
            Kind::Scalar { .. } => {}
            Kind::List(items) => items.iter().for_each(|item| self.called(item, source)),
            Kind::Map(entries) => {
                for (key, value) in entries {
                    if literal::is_secret_key(&key.name) {
                        self.all(value, source);
                    } else {
                        self.called(value, source);
                    }
                }
            }
        }
    }

    fn all(&mut self, tree: &Tree, source: &str) {
        match &*tree.kind {
            // A name that is filled in is not a secret.
            Kind::Scalar { text, .. } if text.is_empty() || text.starts_with("${{") => {}
            Kind::Scalar { text, .. } => self.add(tree.span.clone(), text),
            Kind::List(items) => items.iter().for_each(|item| self.all(item, source)),
            Kind::Map(entries) => {
                self.bare_keys(entries, source);
                for (_, value) in entries {
                    self.all(value, source);
                }
            }
        }
    }

    /// Collects texts that YAML reads as keys without a value, like `X` in `{ X }`.
    fn bare_keys(&mut self, entries: &[(Key, Tree)], source: &str) {
        for (key, _) in entries {
            let after = source.get(key.span.end..).unwrap_or_default();
            if !after.trim_start_matches(['"', '\'']).trim_start().starts_with(':') {
                self.add(key.span.clone(), &key.name);
            }
        }
    }

    fn add(&mut self, place: Range<usize>, text: &str) {
        self.places.push(place);
        if text.trim().len() >= TELLING {
            self.texts.push(Secret::new(text));
        }
    }

    /// Returns whether a value, a key or a part of one must not be quoted.
    pub(super) fn covers(&self, span: &Range<usize>) -> bool {
        self.places.iter().any(|place| place.start <= span.start && span.end <= place.end)
    }

    /// Removes the value of a place from a message that quotes it.
    pub(super) fn without_value(&self, message: String, value: &Tree) -> String {
        match &*value.kind {
            Kind::Scalar { text, .. } if self.covers(&value.span) => {
                message.replace(&format!("`{}`", quoted(text)), "`***`")
            }
            Kind::Scalar { .. } | Kind::List(_) | Kind::Map(_) => message,
        }
    }

    /// Removes the remaining values from all texts of the problems.
    pub(super) fn redact(&self, problems: &mut [Problem]) {
        if self.texts.is_empty() {
            return;
        }
        let redactor = Redactor::new(self.texts.iter().cloned());
        for problem in problems {
            let related = problem.related.iter_mut().map(|(_, label)| label);
            let said = [&mut problem.message].into_iter();
            for text in said
                .chain(&mut problem.path)
                .chain(&mut problem.label)
                .chain(&mut problem.help)
                .chain(related)
            {
                *text = redactor.redact(text);
            }
        }
    }

    /// Returns the places that are shown as stars.
    pub(super) fn into_places(self, source: &str) -> Vec<Range<usize>> {
        let redactor = Redactor::new(self.texts);
        self.places.into_iter().chain(redactor.places(source).collect::<Vec<_>>()).collect()
    }
}
