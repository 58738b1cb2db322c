//! Which playbook a command follows that continues a release: the one in its journal, or the file as it is now.

use super::{Cause, Refusal, Session};
use crate::journal::history::JournaledRelease;
use crate::playbook::{Difference, differences};
use crate::suggestions::USE_CURRENT;
use crate::text::{count, harmless};

/// How many keys that differ are shown.
const SHOWN: usize = 5;

/// The playbook that a command follows.
pub(super) struct Chosen {
    /// The session with this playbook, and with the release's variables.
    pub(super) session: Session,
    /// What to tell before anything is done: how the file differs from the journal, and which is used.
    pub(super) notice: Option<String>,
    /// The session with the journal's playbook, if the file replaces it.
    pub(super) replaced: Option<Session>,
    /// The journal's playbook is used, although the file was changed and can replace it.
    pub(super) file_was_changed: bool,
}

/// Chooses the playbook for a `command` that continues a release. `session` has the file.
///
/// # Errors
///
/// If the journal cannot be used, or the file is wanted and the release cannot continue with it.
pub(super) fn choose(
    session: &Session,
    past: &JournaledRelease,
    command: &str,
    use_current: bool,
) -> Result<Chosen, Refusal> {
    let journaled = session.of_release(past)?;
    let found = differences(&journaled.loaded.playbook, &session.loaded.playbook);
    if found.is_empty() {
        return Ok(Chosen {
            session: journaled,
            notice: None,
            replaced: None,
            file_was_changed: false,
        });
    }
    let (file, id) = (session.file.display(), &past.id);
    let fixed = found.iter().find(|difference| difference.is_fixed);
    let mut notice = format!("{file} differs from the playbook in the journal of {id}:\n");
    notice += &listed(&found);
    if !use_current {
        notice += "The journal's playbook is used. ";
        notice += &if let Some(Difference { key, .. }) = fixed {
            format!("The release cannot continue with the file, because `{key}` differs.")
        } else {
            let again = session.repeated(false).command(command, [id.as_str(), USE_CURRENT]);
            format!("To use the file: {again}")
        };
        let started = past.release.started.as_ref().filter(|_| fixed.is_none());
        let file_was_changed = started.is_some_and(|started| session.with_file(started).is_ok());
        let notice = Some(notice);
        return Ok(Chosen { session: journaled, notice, replaced: None, file_was_changed });
    }
    let unusable = |why: String| {
        let problem = format!("release {id} cannot continue with {file}: {why}");
        let hint = format!("nothing was changed; run it without {USE_CURRENT}, or `deploy` again");
        Refusal::new(Cause::Refused, problem).hint(hint)
    };
    if let Some(fixed) = fixed {
        return Err(unusable(told(fixed)));
    }
    let started = past.release.started.as_ref();
    let started = started.ok_or_else(|| unusable("the release did not start".to_owned()))?;
    let current = session.with_file(started).map_err(unusable)?;
    notice += "The file is used from now on.";
    let (notice, replaced) = (Some(notice), Some(journaled));
    Ok(Chosen { session: current, notice, replaced, file_was_changed: false })
}

/// One line for each key that differs.
fn listed(found: &[Difference]) -> String {
    let lines = found.iter().take(SHOWN).map(|difference| format!("  {}\n", told(difference)));
    let mut text: String = lines.collect();
    if let more @ 1.. = found.len().saturating_sub(SHOWN) {
        text += &format!("  and {} more\n", count(more, "key"));
    }
    text
}

/// `stop: "kill app" in the journal, "svc stop" in the file`.
fn told(difference: &Difference) -> String {
    let nothing = || "not set".to_owned();
    let journal = difference.journal.clone().unwrap_or_else(nothing);
    let file = difference.file.clone().unwrap_or_else(nothing);
    harmless(&format!("{}: {journal} in the journal, {file} in the file", difference.key))
}
