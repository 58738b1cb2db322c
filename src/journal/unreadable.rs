//! Journals that do not begin with an event.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::Path;

use super::disk::{FILE, LONGEST_LINE, is_id};
use crate::release::Event;
use crate::{file, text};

/// Says which journals do not begin with an event. [`all`](super::all) leaves them out.
#[must_use]
pub(super) fn unreadable(state: &Path) -> Vec<String> {
    let entries = match fs::read_dir(state) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Vec::new(),
        Err(error) => return vec![format!("cannot read {}: {error}", state.display())],
    };
    let paths = entries.flatten().filter(|folder| folder.file_name().to_str().is_some_and(is_id));
    let mut problems: Vec<_> =
        paths.filter_map(|folder| problem_of_first(&folder.path().join(FILE))).collect();
    problems.sort();
    problems
}

/// Says why a journal has no first event, unless it does not exist or was torn before its first event was whole.
fn problem_of_first(path: &Path) -> Option<String> {
    let told = |why: &str| Some(format!("{}: {}", path.display(), text::line(why, 300)));
    let is_absent =
        |kind: ErrorKind| matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory);
    let mut line = String::new();
    let file = match file::open_regular(path) {
        Ok(file) => file,
        Err(error) if is_absent(error.kind()) => return None,
        Err(error) => return told(&error.to_string()),
    };
    match BufReader::new(file.take(LONGEST_LINE)).read_line(&mut line) {
        Err(error) => told(&error.to_string()),
        Ok(_) if !line.ends_with('\n') => None,
        Ok(_) => {
            Event::from_line(&line).err().and_then(|why| told(&format!("not an event: {why}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn journal_without_a_first_event_is_reported_unless_it_is_torn() {
        let state = tempfile::tempdir().expect("temp dir");
        for (id, text) in [("torn", "{\"v\":1,"), ("bad", "garbage\n"), ("not an id", "garbage\n")]
        {
            let folder = state.path().join(id);
            fs::create_dir(&folder).expect("mkdir");
            fs::write(folder.join(FILE), text).expect("write");
        }
        fs::write(state.path().join("lock"), "a file").expect("write");
        let problems = unreadable(state.path());
        let path = state.path().join("bad").join(FILE).display().to_string();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with(&format!("{path}: not an event: ")), "{problems:?}");
        assert!(unreadable(&state.path().join("none")).is_empty());
        let link = state.path().join("torn").join(FILE);
        fs::remove_file(&link).expect("removed");
        symlink(state.path().join("bad").join(FILE), link).expect("a link");
        assert_eq!(unreadable(state.path()).len(), 2, "a symlink is no journal");
    }
}
