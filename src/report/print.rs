//! Prints text for people and programs. What people read is also written to the log file, if there is one: with dates,
//! and with what the screen leaves out.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::wrap::{question, width_of, wrapped};
use crate::{file, secret};

/// A time with its date and its zone.
pub(super) const DATED: &str = "%Y-%m-%dT%H:%M:%S%:z";

static LOG: OnceLock<Mutex<File>> = OnceLock::new();

/// Writes a copy of everything for people to a file, after what is there already. `command` is named in its first
/// line.
///
/// # Errors
///
/// If the file cannot be written, or is a symlink or no regular file.
pub fn log_to(path: &Path, command: &str) -> io::Result<()> {
    let log = file::open_private(path, OpenOptions::new().append(true).create(true))?;
    let _ = LOG.set(Mutex::new(log));
    log_line(&format!("rollgate {} {command}", env!("CARGO_PKG_VERSION")));
    Ok(())
}

/// Writes a line with its time to the log file, if there is one.
pub fn log_line(text: &str) {
    log(&format!("{} {text}\n", jiff::Zoned::now().strftime(DATED)));
}

/// Whether there is a log file.
pub(super) fn is_logging() -> bool {
    LOG.get().is_some()
}

/// Writes text to the log file, if there is one. A log that cannot be written any more stops nothing.
pub(super) fn log(text: &str) {
    if let Some(log) = LOG.get() {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = log.write_all(secret::hide(text).as_bytes());
    }
}

/// Prints text for people, without any secret, also to the log file.
pub(crate) fn print_stderr(text: &str) {
    log(text);
    write_stderr(text);
}

/// Prints text to stderr only, without any secret. A closed pipe or a full disk is not a reason to stop a release.
pub(super) fn write_stderr(text: &str) {
    let _ = io::stderr().lock().write_all(secret::hide(text).as_bytes());
}

/// The same for an excerpt of a file, which has colours. The log file gets it without them.
pub(crate) fn print_excerpt(text: &str, plain: &str) {
    log(plain);
    write_stderr(text);
}

/// The same for a page: on a terminal, long lines are broken between words.
pub(crate) fn print_page(text: &str) {
    log(text);
    write_stderr(&broken(text, width_of(io::stderr())));
}

/// Breaks a question that is longer than a line of the terminal. Returns the lines before its last one, and the last
/// one.
pub(crate) fn broken_question(prompt: &str) -> (String, String) {
    question(&secret::hide(prompt), width_of(io::stderr()))
}

/// The width of stdout, if it is a terminal.
pub(crate) fn stdout_width() -> Option<usize> {
    width_of(io::stdout())
}

/// The form of a page for stdout, without secrets: on a terminal, long lines are broken between words. The log file gets
/// it, too.
pub(crate) fn for_stdout(page: &str) -> String {
    log(page);
    broken(page, stdout_width())
}

/// Writes a page to the log file, if there is one.
pub(crate) fn log_page(page: &str) {
    log(page);
}

/// Breaks the lines of a page. Secrets are hidden first: a broken one would no longer be found.
fn broken(page: &str, width: Option<usize>) -> String {
    wrapped(&secret::hide(page), width)
}

/// Writes data. A reader that closes early is not an error.
///
/// # Errors
///
/// When another write error, such as a full disk.
pub(crate) fn print_stdout(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::{Secret, remember};

    #[test]
    fn secret_with_a_blank_is_hidden_before_lines_are_broken() {
        remember([Secret::new("open sesame of this test".to_owned())], []);
        let told =
            broken("error: the password was not accepted: open sesame of this test", Some(50));
        assert!(!told.contains("sesame"), "{told}");
    }
}
