//! Prepares lines of a file for display: finds them, removes characters that move a cursor, and cuts them to
//! a width.

use std::ops::Range;

use crate::text;

/// How many characters of a line are shown.
const WIDTH: usize = 120;
/// How many of them come before the place.
const BEFORE: usize = 40;

/// A line as shown.
#[derive(Default)]
pub(super) struct Window {
    pub(super) text: String,
    /// Pairs of a byte of the line and a byte of the shown text, ascending.
    map: Vec<(usize, usize)>,
}

impl Window {
    pub(super) fn place(&self, byte: usize) -> usize {
        let next = self.map.partition_point(|(from, _)| *from < byte);
        self.map.get(next).map_or(self.text.len(), |(_, to)| *to)
    }
}

/// Cleans a line and cuts a long one around a byte.
pub(super) fn window(line: &str, focus: usize) -> Window {
    let mut skip = 0;
    if line.chars().nth(WIDTH).is_some() {
        skip = line[..focus.min(line.len())].chars().count().saturating_sub(BEFORE);
    }
    let mut window = Window::default();
    if skip > 0 {
        window.text.push('…');
    }
    for (count, (byte, character)) in line.char_indices().skip(skip).enumerate() {
        if count == WIDTH {
            window.map.push((byte, window.text.len()));
            window.text.push('…');
            break;
        }
        window.map.push((byte, window.text.len()));
        window.text.push(match character {
            '\t' => ' ',
            harmful if text::is_harmful(harmful) => '\u{fffd}',
            other => other,
        });
    }
    window
}

/// A text with the starts of its lines.
pub(super) struct Lines<'a> {
    pub(super) text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let starts =
            [0].into_iter().chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// Returns the line and the column in characters of a byte, both from 0.
    pub(super) fn position(&self, byte: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= byte) - 1;
        let column = self.text[self.starts[line]..].char_indices();
        let start = self.starts[line];
        (line, column.take_while(|(at, _)| start + at < byte).count())
    }

    /// Returns the line and the column at which a place begins, both from 1.
    pub(super) fn place(&self, span: &Range<usize>) -> (usize, usize) {
        let (line, column) = self.position(span.start);
        (line + 1, column + 1)
    }

    /// Returns the first byte of a line and the line without its end.
    pub(super) fn line(&self, number: usize) -> (usize, &'a str) {
        let start = self.starts.get(number).copied().unwrap_or(self.text.len());
        let end = self.starts.get(number + 1).map_or(self.text.len(), |next| next - 1);
        (start, self.text[start..end].trim_end_matches('\r'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cleaned_character_by_character() {
        let shown = window("a\t\u{1b}[2J\u{202e}é", 0);
        assert_eq!(shown.text, "a \u{fffd}[2J\u{fffd}é");
        assert_eq!(shown.place(3), "a \u{fffd}".len());
    }

    #[test]
    fn positions_count_characters_and_lines() {
        let lines = Lines::new("é: 1\r\nb: 2");
        assert_eq!((lines.position(4), lines.position(9)), ((0, 3), (1, 2)));
        assert_eq!((lines.line(0), lines.line(1)), ((0, "é: 1"), (7, "b: 2")));
    }
}
