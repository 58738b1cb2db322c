//! The journals of old releases are deleted on this machine, as they are in Consul.

use std::cmp::Reverse;
use std::fs;
use std::path::Path;

use super::KEPT;
use super::disk::{Folding, all};
use super::pieces;
use crate::release::{CommandKind, Outcome};

/// Deletes the oldest journals of finished releases, as in Consul. What can be resumed or rolled back by default stays.
pub fn prune(state: &Path) {
    let mut journals = all(state);
    journals.sort_by_key(|(begun, ..)| Reverse(*begun));
    if journals.len() <= KEPT {
        return;
    }
    // Whether a newer release is one that `rollback` takes, and whether one has come to its end.
    let (mut is_undoable, mut is_settled) = (false, false);
    for (number, (_, id, path)) in journals.iter().enumerate() {
        if number < KEPT && is_undoable && is_settled {
            continue;
        }
        let folding = Folding::new(&path.display().to_string()).without_details();
        let Ok(release) = pieces::fold(path, folding) else { continue };
        let Some(started) = &release.started else { continue };
        let result = release.finished.as_ref().map(|finished| finished.result);
        let is_done = result == Some(Outcome::Done);
        let is_resumable = started.command.is_release() && !is_done && !is_settled;
        let is_needed = is_resumable || (started.command == CommandKind::Deploy && !is_undoable);
        is_undoable |= started.command == CommandKind::Deploy;
        is_settled |= started.command.is_release() && is_done;
        if number >= KEPT && result.is_some() && !is_needed {
            delete(&state.join(id), path);
        }
    }
}

/// What cannot be deleted stays; a folder that leads elsewhere is not followed.
fn delete(folder: &Path, journal: &Path) {
    if fs::symlink_metadata(folder).is_ok_and(|found| found.is_dir()) {
        let _ = fs::remove_file(journal);
        let _ = fs::remove_dir(folder);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::journal::Journal;
    use crate::release::{Event, EventKind, Finished};

    /// A release that was begun at this second, and how it ended.
    fn release(state: &Path, second: usize, command: &str, result: Option<Outcome>) -> String {
        let id = format!("r{second}");
        let mut journal = Journal::create(state, &id).expect("a journal");
        let started = serde_json::json!({ "type": "release.started", "data": {
            "service": "app", "command": command, "actor": "me", "file": "app.yaml",
            "playbook": null, "nodes": [],
            "inputs": { "release": id, "folder": "", "variables": {}, "artifact": null },
        }});
        let started: EventKind = serde_json::from_value(started).expect("a fact");
        let finished = result.map(|result| {
            EventKind::ReleaseFinished(Finished::unstarted(result, result.exit_code(), None))
        });
        for (seq, fact) in (1..).zip([started].into_iter().chain(finished)) {
            let second = i64::try_from(second).expect("a number of seconds");
            let at = jiff::Timestamp::from_second(second).expect("a time");
            let (release, node, step) = (id.clone(), None, None);
            let line = Event { seq, at, release, node, step, fact }.to_line() + "\n";
            journal.append(&line).expect("a line");
        }
        id
    }

    fn left(state: &Path) -> Vec<String> {
        let mut left: Vec<_> = all(state).into_iter().map(|(at, id, _)| (at, id)).collect();
        left.sort();
        left.into_iter().map(|(_, id)| id).collect()
    }

    #[test]
    fn the_oldest_finished_releases_are_deleted() {
        let state = tempfile::tempdir().expect("a folder");
        let all: Vec<_> = (1..=KEPT + 3)
            .map(|second| release(state.path(), second, "deploy", Some(Outcome::Done)))
            .collect();
        prune(state.path());
        assert_eq!(left(state.path()), all[3..]);
        assert!(!state.path().join("r1").exists());
    }

    #[test]
    fn what_can_be_resumed_or_rolled_back_stays() {
        let state = tempfile::tempdir().expect("a folder");
        let old = |second, command, result| release(state.path(), second, command, result);
        let superseded = old(1, "deploy", Some(Outcome::Failed));
        old(2, "deploy", Some(Outcome::Done));
        let unfinished = old(3, "deploy", None);
        let failed = old(4, "rollback", Some(Outcome::Failed));
        let last_deploy = old(5, "deploy", Some(Outcome::Stopped));
        let by_hand: Vec<_> = (6..6 + KEPT)
            .map(|second| release(state.path(), second, "node out", Some(Outcome::Done)))
            .collect();
        prune(state.path());
        let expected = [&[unfinished, failed, last_deploy][..], &by_hand].concat();
        assert_eq!(left(state.path()), expected);
        assert!(!state.path().join(superseded).exists());
    }

    #[test]
    fn a_folder_that_leads_elsewhere_is_left_alone() {
        let (state, elsewhere) = (tempfile::tempdir(), tempfile::tempdir());
        let (state, elsewhere) = (state.expect("a folder"), elsewhere.expect("a folder"));
        release(elsewhere.path(), 1, "deploy", Some(Outcome::Done));
        symlink(elsewhere.path().join("r1"), state.path().join("r1")).expect("a symlink");
        for second in 2..=KEPT + 1 {
            release(state.path(), second, "deploy", Some(Outcome::Done));
        }
        prune(state.path());
        assert_eq!(left(elsewhere.path()), ["r1"]);
    }
}
