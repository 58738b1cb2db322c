//! The places where a file's structure is wrong, so that no rule checks a value that is missing.

use std::collections::BTreeSet;

/// The key paths whose values are not those that the file means: wrong, missing, or under a misspelt name.
#[derive(Debug, Default, Clone)]
pub(super) struct InvalidPaths(BTreeSet<String>);

impl InvalidPaths {
    pub(super) fn add(&mut self, path: &str) {
        self.0.insert(path.to_owned());
    }

    /// Returns whether a value itself is wrong or missing, or is inside such a value. Values inside it can be
    /// wrong.
    pub(super) fn holds(&self, path: &str) -> bool {
        let above = path.match_indices(['.', '[']).map(|(end, _)| &path[..end]);
        !self.0.is_empty() && above.chain(["", path]).any(|path| self.0.contains(path))
    }

    /// Returns whether anything is wrong with a value, or inside it.
    pub(super) fn touches(&self, path: &str) -> bool {
        let within = |separator: char| {
            let start = format!("{path}{separator}");
            self.0.range(start.clone()..).next().is_some_and(|next| next.starts_with(&start))
        };
        self.holds(path) || within('.') || within('[')
    }
}

#[cfg(test)]
mod tests {
    use super::InvalidPaths;

    #[test]
    fn wrong_value_invalidates_its_parents_and_its_content_only() {
        let mut invalid = InvalidPaths::default();
        assert!(!invalid.touches(""));
        invalid.add("nodes[1].ssh");
        invalid.add("drain");
        let holds = ["nodes[1].ssh", "nodes[1].ssh.user", "drain.in_flight.http.url", "drain"];
        let above = ["", "nodes", "nodes[1]"];
        let beside = ["nodes[0]", "nodes[1].address", "nodes[11].ssh", "nodes[1].ss", "drains"];
        for path in holds {
            assert!(invalid.holds(path) && invalid.touches(path), "{path}");
        }
        for path in above {
            assert!(!invalid.holds(path), "{path}");
            assert_eq!(invalid.touches(path), !path.is_empty(), "{path}");
        }
        for path in beside {
            assert!(!invalid.touches(path), "{path}");
        }
        invalid.add("");
        assert!(invalid.holds("service") && invalid.holds(""));
    }
}
