//! Breaks long lines for a terminal: between words, and with an indent below the text that they continue.

use std::os::fd::AsFd;

use textwrap::{Options, WordSeparator, WordSplitter};

/// A command that an operator may copy is not broken.
const COMMAND: &str = "rollgate ";

/// The narrowest terminal for which lines are broken.
const NARROWEST: usize = 40;

/// The room for ` [y/N] no` after a question.
const ANSWER: usize = 10;

/// The indent of the rest of a line that has no columns.
const INDENT: usize = 4;

/// Returns the width of a stream if it is a terminal.
pub(crate) fn width_of(stream: impl AsFd) -> Option<usize> {
    size_of(stream).map(|size| size.columns)
}

/// The size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    /// Its width.
    pub(crate) columns: usize,
    /// Its height.
    pub(crate) lines: usize,
}

/// Returns the size of a stream if it is a terminal.
pub(crate) fn size_of(stream: impl AsFd) -> Option<Size> {
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    let size = Size { columns: size.ws_col.into(), lines: size.ws_row.into() };
    Some(size).filter(|size| size.columns > 0)
}

/// Cuts a text to a number of columns.
#[must_use]
pub(crate) fn shortened(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    text.chars().take(columns.saturating_sub(1)).chain(['…']).collect()
}

/// Breaks the lines of a text that are longer than `width`.
#[must_use]
pub(crate) fn wrapped(text: &str, width: Option<usize>) -> String {
    match width.filter(|width| *width >= NARROWEST) {
        Some(width) => folded(text, width),
        None => text.to_owned(),
    }
}

fn folded(text: &str, width: usize) -> String {
    let lines = text.split('\n').map(|line| match line.chars().count() {
        length if length <= width => line.to_owned(),
        _ => broken(line, width),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Breaks a question. Returns the lines before its last one, and the last one, with room for the answer.
#[must_use]
pub(crate) fn question(prompt: &str, width: Option<usize>) -> (String, String) {
    let text = match width.filter(|width| *width >= NARROWEST) {
        Some(width) => folded(prompt, width.saturating_sub(ANSWER)),
        None => prompt.to_owned(),
    };
    let (before, last) = text.split_at(text.rfind('\n').map_or(0, |at| at + 1));
    (before.to_owned(), last.to_owned())
}

fn broken(line: &str, width: usize) -> String {
    if let Some((label, command)) = label_and_command(line) {
        let indent = " ".repeat(INDENT);
        return format!("{}\n{indent}{command}", label.trim_end());
    }
    let rest = " ".repeat(last_column(line, width));
    let options = Options::new(width)
        .subsequent_indent(&rest)
        .break_words(false)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation);
    textwrap::fill(line, options)
}

/// Splits a line that ends in a command after its purpose.
fn label_and_command(line: &str) -> Option<(&str, &str)> {
    let at = line.find(COMMAND)?;
    let (label, command) = line.split_at(at);
    let is_label = label.ends_with("  ") || label.ends_with(": ");
    (is_label && !label.trim().is_empty()).then_some((label, command))
}

/// Returns where the last column of a line begins. Columns are separated by two spaces. A column that begins too far
/// to the right leaves no room for its text.
fn last_column(line: &str, width: usize) -> usize {
    let start = line.chars().take_while(|letter| *letter == ' ').count();
    let letters: Vec<_> = line.chars().collect();
    let ends_gap = |at: &usize| letters[at - 2..*at] == [' ', ' '] && letters[*at] != ' ';
    let mut columns = (start.max(2)..letters.len().min(width * 2 / 3)).filter(ends_gap);
    columns.next_back().unwrap_or(start + INDENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_continue_below_their_text_and_commands_stay_whole() {
        let told = |line: &str| wrapped(line, Some(40));
        assert_eq!(told("short"), "short");
        assert_eq!(
            told("Capacity   3 of 3 routed now; at least 2 must stay (min_available 2)"),
            "Capacity   3 of 3 routed now; at least 2\n           must stay (min_available 2)"
        );
        assert_eq!(
            told("error: the lock is held by alice@vm, `deploy`, acquired 3m ago"),
            "error: the lock is held by alice@vm,\n    `deploy`, acquired 3m ago"
        );
        let command = "rollgate rollback app.yaml r1 --only node-3,node-4,node-5,node-6";
        assert_eq!(
            told(&format!("Next    return 4 nodes to version 1  {command}")),
            format!("Next    return 4 nodes to version 1\n    {command}")
        );
        let word = "x".repeat(50);
        assert_eq!(told(&format!("a {word} b")), format!("a\n    {word}\n    b"));
        assert_eq!(wrapped(&word, None), word);
        assert_eq!(wrapped("too narrow", Some(4)), "too narrow");
    }

    #[test]
    fn long_question_is_broken_between_words_and_leaves_room_for_the_answer() {
        let prompt =
            "Held by alice@vm, last seen 2s ago at node-1 stage. Break the lock? It stops.";
        let before = "Held by alice@vm, last seen 2s\n    ago at node-1 stage. Break\n".to_owned();
        let last = "    the lock? It stops.".to_owned();
        assert_eq!(question(prompt, Some(40)), (before, last));
        assert_eq!(question("Go on?", Some(40)), (String::new(), "Go on?".to_owned()));
        assert_eq!(question(prompt, None), (String::new(), prompt.to_owned()));
    }
}
