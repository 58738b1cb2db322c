//! The rules of the artifact: where releases and the symlink to the running one can be on a node.

use super::Check;
use crate::playbook::findings::quoted;
use crate::playbook::{Artifact, Template};

/// A path on the node that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misplaced {
    /// Its key: `artifact.releases` or `artifact.current`.
    pub key: &'static str,
    /// The problem.
    pub message: String,
    /// What to do.
    pub help: &'static str,
}

/// Returns the problems of keeping releases in one path and the symlink to the running one at the other. The start
/// of a path can still have names to fill in.
#[must_use]
pub fn misplaced(releases: &str, current: &str) -> Vec<Misplaced> {
    let paths = [("artifact.releases", releases), ("artifact.current", current)];
    let mut misplaced: Vec<Misplaced> =
        paths.into_iter().filter_map(|(key, path)| unusable(key, path)).collect();
    if misplaced.is_empty() {
        misplaced.extend(entangled(releases, current));
    }
    misplaced
}

fn unusable(key: &'static str, path: &str) -> Option<Misplaced> {
    let (message, help) = if !path.starts_with('/') && !path.starts_with("${{") {
        let message = format!("`{}` is not an absolute path", quoted(path));
        (message, "start it with `/`: it is a path on the node")
    } else if names(path).is_empty() {
        let message = format!("`{}` is the root of the node's file system", quoted(path));
        (message, "give it its own folder, like `/srv/app/releases` and `/srv/app/current`")
    } else {
        return None;
    };
    Some(Misplaced { key, message, help })
}

fn entangled(releases: &str, current: &str) -> Option<Misplaced> {
    let (inner, outer) = (names(current), names(releases));
    let (key, message, help) = if inner == outer {
        (
            "artifact.current",
            "`current` and `releases` are the same path",
            "`current` is a symlink to one of the folders in `releases`: put it beside that folder",
        )
    } else if inner.starts_with(&outer) {
        (
            "artifact.current",
            "`current` lies inside `releases`",
            "old folders in `releases` are removed: put the symlink beside it",
        )
    } else if outer.starts_with(&inner) {
        (
            "artifact.releases",
            "`releases` lies inside `current`",
            "`current` is a symlink that each release switches: put the folder beside it",
        )
    } else {
        return None;
    };
    Some(Misplaced { key, message: message.into(), help })
}

/// Returns the names along a path, without those that only lead back.
fn names(path: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    names
}

impl Check<'_> {
    pub(super) fn artifact(&mut self, artifact: &Artifact) {
        let (releases, current) = (artifact.releases.as_str(), artifact.current.as_str());
        let problems = if self.sound(&["artifact.releases", "artifact.current"]) {
            misplaced(releases, current)
        } else {
            let paths = [("artifact.releases", releases), ("artifact.current", current)];
            paths.into_iter().filter_map(|(key, path)| unusable(key, path)).collect()
        };
        for Misplaced { key, message, help } in problems {
            self.wrong(key, message, |problem| problem.help(help));
        }
        if let Some(sum) = artifact.sha256.as_ref().and_then(Template::fixed)
            && (sum.len() != 64 || !sum.bytes().all(|byte| byte.is_ascii_hexdigit()))
        {
            self.wrong(
                "artifact.sha256",
                format!("`{}` is not a SHA-256 sum", quoted(sum)),
                |problem| problem.help("write 64 hexadecimal digits, as `sha256sum` prints them"),
            );
        }
    }
}
