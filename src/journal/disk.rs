//! The journal: a release's events on disk, one line of JSON each, written before the action.
//!
//! The file is `<state folder>/<release id>/journal.jsonl`. Each line is flushed to the disk before the
//! engine continues. A line that a crash has torn is the last one; it is dropped when the journal is read.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use crate::release::{Event, EventKind, Release};
use crate::{file, text};

/// The name of the file in a release's folder.
pub(super) const FILE: &str = "journal.jsonl";

/// The limit of a line. The longest one contains a playbook, which has at most 1 MiB.
pub const LONGEST_LINE: u64 = 8 * 1024 * 1024;

/// How much of a failure's reason is kept when a journal is only scanned, in bytes.
const REASON: usize = 500;

/// A journal that is being written.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    /// The length up to the last line that is on the disk.
    length: u64,
}

impl Journal {
    /// Creates the folder of a new release and its empty journal.
    ///
    /// # Errors
    ///
    /// When the disk refuses, or the release exists.
    pub fn create(state: &Path, release: &str) -> Result<Self> {
        let folder = state.join(release);
        private(state, &folder)
            .with_context(|| format!("cannot create the state folder {}", folder.display()))?;
        let path = folder.join(FILE);
        let file = file::open_private(&path, OpenOptions::new().append(true).create_new(true))
            .with_context(|| format!("cannot create the journal {}", path.display()))?;
        flush_names(&[&folder, state])?;
        Ok(Self { file, path, length: 0 })
    }

    /// Replaces the journal of a release by these bytes; a torn line at their end is cut off.
    ///
    /// # Errors
    ///
    /// When the disk refuses; the old content stays then.
    pub fn take_over(state: &Path, release: &str, so_far: &[u8]) -> Result<Self> {
        let folder = state.join(release);
        let path = folder.join(FILE);
        let trouble = || format!("cannot take over the journal {}", path.display());
        private(state, &folder).with_context(trouble)?;
        // One rename: a reader finds the old or the new journal.
        let mut file = tempfile::NamedTempFile::new_in(&folder).with_context(trouble)?;
        let whole = so_far.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        file.write_all(&so_far[..whole]).with_context(trouble)?;
        file.as_file().sync_all().with_context(trouble)?;
        let file = file.persist(&path).with_context(trouble)?;
        flush_names(&[&folder, state])?;
        Ok(Self { file, path, length: whole as u64 })
    }

    /// Writes the lines of events completely or not at all, and returns when they are on the disk.
    ///
    /// # Errors
    ///
    /// When the disk refuses; the events then count as not having happened, and none of them stays in the file.
    pub fn append(&mut self, lines: &str) -> Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(lines.as_bytes()).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => self.length += lines.len() as u64,
            // The next reader would cut off a torn line at its end too.
            Err(_) => drop(self.file.set_len(self.length)),
        }
        written.with_context(|| format!("cannot write the journal {}", self.path.display()))
    }

    /// The path of the journal.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The folders of a journal are private: it contains every command of a release and its output.
fn private(state: &Path, folder: &Path) -> std::io::Result<()> {
    file::private_folder(state)?;
    file::private_folder(folder)
}

/// The names of new files are data of their folder, so the folder is flushed too.
fn flush_names(folders: &[&Path]) -> Result<()> {
    for folder in folders {
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .with_context(|| format!("cannot flush {}", folder.display()))?;
    }
    Ok(())
}

/// Reads a journal back.
///
/// # Errors
///
/// When it cannot be read, or a line other than a torn last one is not an event that may follow.
pub fn read(path: &Path) -> Result<(Vec<Event>, Release)> {
    let bytes = bytes_of(path)?;
    parse(&bytes, &path.display().to_string())
}

/// Reads a journal's bytes.
///
/// # Errors
///
/// When it cannot be read, or is not a regular file.
pub fn bytes_of(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file::open_regular(path)
        .and_then(|mut file| file.read_to_end(&mut bytes))
        .with_context(|| format!("cannot read the journal {}", path.display()))?;
    Ok(bytes)
}

/// Parses a journal's bytes; `name` is their origin for messages.
///
/// # Errors
///
/// When a line other than a torn last one is not an event that may follow.
pub fn parse(bytes: &[u8], name: &str) -> Result<(Vec<Event>, Release)> {
    let mut events = Vec::new();
    let mut folding = Folding::new(name);
    folding.feed(bytes, |event| events.push(event))?;
    Ok((events, folding.finish()))
}

/// The same for the release alone, which needs little memory for a journal of any length.
///
/// # Errors
///
/// As [`parse`].
pub fn fold(bytes: &[u8], name: &str) -> Result<Release> {
    let mut folding = Folding::new(name);
    folding.feed(bytes, drop)?;
    Ok(folding.finish())
}

/// The events of a journal that was read before: all of its lines are events, except perhaps a torn last one.
pub fn events(bytes: &[u8]) -> impl Iterator<Item = Event> {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let lines = lines.filter_map(|line| line.strip_suffix(b"\n"));
    lines.filter_map(|line| Event::from_line(&String::from_utf8_lossy(line)).ok())
}

/// A journal that is parsed piece by piece and is never in memory as a whole.
#[derive(Debug)]
pub struct Folding {
    name: String,
    release: Release,
    /// The number of lines so far.
    lines: usize,
    /// The line that is not complete yet.
    torn: Vec<u8>,
    /// Whether the reasons of failures are shortened.
    is_brief: bool,
}

impl Folding {
    /// A fold without any input yet; `name` is the origin for messages.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            release: Release::default(),
            lines: 0,
            torn: Vec::new(),
            is_brief: false,
        }
    }

    /// The same without the observations at failures, which may be most of a journal.
    #[must_use]
    pub fn without_details(self) -> Self {
        Self { is_brief: true, ..self }
    }

    /// Takes in the next piece; `tell` gets every event.
    ///
    /// # Errors
    ///
    /// When a line is not an event that may follow, or is too long.
    pub fn feed(&mut self, piece: &[u8], mut tell: impl FnMut(Event)) -> Result<()> {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            if (self.torn.len() + part.len()) as u64 > LONGEST_LINE {
                return Err(self.refused("a line that is too long for a journal"));
            }
            let Some(line) = part.strip_suffix(b"\n") else {
                self.torn.extend_from_slice(part);
                break;
            };
            let whole = if self.torn.is_empty() {
                Event::from_line(&String::from_utf8_lossy(line))
            } else {
                self.torn.extend_from_slice(line);
                Event::from_line(&String::from_utf8_lossy(&std::mem::take(&mut self.torn)))
            };
            let mut event =
                whole.map_err(|error| self.refused(&format!("not an event: {error}")))?;
            if let (true, EventKind::NodeFailed(failure)) = (self.is_brief, &mut event.fact) {
                (failure.seen, failure.log) = Default::default();
                failure.reason = text::cut(&failure.reason, REASON);
            }
            self.release.apply(&event).map_err(|error| self.refused(&format!("{error:#}")))?;
            self.lines += 1;
            tell(event);
        }
        Ok(())
    }

    /// The release that the events amount to; a torn last line does not count.
    #[must_use]
    pub fn finish(self) -> Release {
        self.release
    }

    /// The error may quote text from another program.
    fn refused(&self, why: &str) -> anyhow::Error {
        anyhow!("{}:{}: {}", self.name, self.lines + 1, text::line(why, 300))
    }
}

/// Finds the journal of the release that began last.
#[must_use]
pub fn latest(state: &Path) -> Option<PathBuf> {
    recent(state, 1).pop()
}

/// Finds the journals of the last `most` releases, the newest first.
#[must_use]
pub fn recent(state: &Path, most: usize) -> Vec<PathBuf> {
    let mut journals: Vec<_> =
        all(state).into_iter().map(|(begun, _, path)| (begun, path)).collect();
    journals.sort();
    journals.into_iter().rev().take(most).map(|(_, path)| path).collect()
}

/// Finds every journal: when its release began, the release, and the file.
#[must_use]
pub fn all(state: &Path) -> Vec<(jiff::Timestamp, String, PathBuf)> {
    beginnings(state).map(|(event, release, path)| (event.at, release, path)).collect()
}

/// Reads the first event of every journal, with its release and file, in any order.
pub fn beginnings(state: &Path) -> impl Iterator<Item = (Event, String, PathBuf)> {
    let entries = fs::read_dir(state).into_iter().flatten();
    entries.filter_map(|entry| {
        let folder = entry.ok()?;
        // The folder's name is the release's id, whatever a copied journal contains.
        let release = folder.file_name().into_string().ok().filter(|name| is_id(name))?;
        let path = folder.path().join(FILE);
        Some((first(&path)?, release, path))
    })
}

/// Returns whether a text may be a release's id, which becomes a part of paths and keys.
#[must_use]
pub fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Reads the first event.
#[must_use]
pub fn first(path: &Path) -> Option<Event> {
    let mut line = String::new();
    let file = file::open_regular(path).ok()?;
    BufReader::new(file.take(LONGEST_LINE)).read_line(&mut line).ok()?;
    Event::from_line(&line).ok()
}

/// Reads the event of the first line from the start of a journal, if the line is complete.
#[must_use]
pub fn first_of(start: &[u8]) -> Option<Event> {
    let end = start.iter().position(|byte| *byte == b'\n')?;
    Event::from_line(std::str::from_utf8(&start[..end]).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::EventKind;

    fn warning(seq: u64, message: &str) -> Event {
        Event {
            seq,
            at: jiff::Timestamp::UNIX_EPOCH,
            release: "r1".into(),
            node: None,
            step: None,
            fact: EventKind::Warning { message: message.into() },
        }
    }

    fn started(seq: u64) -> Event {
        let started = serde_json::json!({ "type": "release.started", "data": {
            "service": "app", "command": "deploy", "actor": "me", "file": "app.yaml",
            "playbook": null, "nodes": [],
            "inputs": { "release": "r1", "folder": "", "variables": {}, "artifact": null },
        }});
        Event { fact: serde_json::from_value(started).expect("fact"), ..warning(seq, "") }
    }

    #[test]
    fn written_events_are_read_back_and_a_torn_line_is_dropped() {
        let state = tempfile::tempdir().expect("temp dir");
        let mut journal = Journal::create(state.path(), "r1").expect("journal");
        let events = [started(1), warning(2, "first"), warning(3, "second")];
        for event in &events {
            journal.append(&(event.to_line() + "\n")).expect("append");
        }
        let (read_back, release) = read(journal.path()).expect("reads");
        assert_eq!(read_back, events);
        assert_eq!(release.seq, 3);
        assert_eq!(latest(state.path()).as_deref(), Some(journal.path()));

        let bytes = fs::read(journal.path()).expect("read");
        let whole = bytes.len() - warning(3, "second").to_line().len() - 1;
        for cut in whole..bytes.len() {
            fs::write(journal.path(), &bytes[..cut]).expect("write");
            assert_eq!(read(journal.path()).expect("reads").0, events[..2], "cut at {cut}");
        }
    }

    #[test]
    fn damaged_line_before_the_end_is_an_error_with_its_number() {
        let state = tempfile::tempdir().expect("temp dir");
        let mut journal = Journal::create(state.path(), "r1").expect("journal");
        journal.append(&(started(1).to_line() + "\n")).expect("append");
        journal.file.write_all(b"garbage\n").expect("write");
        journal.append(&(warning(2, "later").to_line() + "\n")).expect("append");
        let error = read(journal.path()).expect_err("damaged");
        assert!(error.to_string().contains("journal.jsonl:2: not an event"), "{error}");
    }

    #[test]
    fn newest_journal_is_found_first() {
        let state = tempfile::tempdir().expect("temp dir");
        let mut paths = Vec::new();
        for (second, id) in [(30, "a"), (10, "b"), (20, "c")] {
            let mut journal = Journal::create(state.path(), id).expect("journal");
            let at = jiff::Timestamp::from_second(second).expect("time");
            journal.append(&(Event { at, ..started(1) }.to_line() + "\n")).expect("append");
            paths.push(journal.path().to_owned());
        }
        Journal::create(state.path(), "empty").expect("journal");
        assert_eq!(recent(state.path(), 20), [0, 2, 1].map(|index| paths[index].clone()));
        assert_eq!(recent(state.path(), 2).len(), 2);
        assert_eq!(latest(state.path()), Some(paths[0].clone()));
        assert!(recent(&state.path().join("none"), 20).is_empty());
    }

    #[test]
    fn journal_is_private_and_not_a_symlink() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let root = tempfile::tempdir().expect("temp dir");
        let state = root.path().join("state");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        fs::create_dir(&state).expect("mkdir");
        fs::set_permissions(&state, fs::Permissions::from_mode(0o755)).expect("chmod");
        let mut journal = Journal::create(&state, "r1").expect("journal");
        journal.append(&(started(1).to_line() + "\n")).expect("append");
        assert_eq!([&state, &state.join("r1"), journal.path()].map(mode), [0o700, 0o700, 0o600]);
        let whole = bytes_of(journal.path()).expect("readable");
        let taken = Journal::take_over(&state, "r2", &whole).expect("journal");
        assert_eq!((mode(&state.join("r2")), mode(taken.path())), (0o700, 0o600));
        fs::create_dir(state.join("r3")).expect("mkdir");
        symlink(journal.path(), state.join("r3").join(FILE)).expect("symlink");
        assert!(bytes_of(&state.join("r3").join(FILE)).is_err());
        assert_eq!(all(&state).len(), 2, "a symlink is no journal");
    }

    #[test]
    fn existing_release_is_never_overwritten() {
        let state = tempfile::tempdir().expect("temp dir");
        Journal::create(state.path(), "r1").expect("journal");
        assert!(Journal::create(state.path(), "r1").is_err());
    }
}
