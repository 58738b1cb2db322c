//! A page that is redrawn in place: only lines that were changed are written, and nothing wraps.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::wrap::{Size, size_of, wrapped};
use crate::secret;

/// Moves the cursor to the top left of an empty screen.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// A page on a terminal.
pub(crate) struct Screen {
    out: Box<dyn Write>,
    size: Box<dyn Fn() -> Option<Size>>,
    /// What is on the screen. The cursor is below it.
    drawn: Vec<String>,
    drawn_for: Option<Size>,
}

impl Screen {
    /// A page on the terminal behind stdout.
    pub(crate) fn of_stdout() -> Self {
        Self::new(Box::new(io::stdout()), Box::new(|| size_of(io::stdout())))
    }

    fn new(out: Box<dyn Write>, size: Box<dyn Fn() -> Option<Size>>) -> Self {
        Self { out, size, drawn: Vec::new(), drawn_for: None }
    }

    /// The width of the terminal, if it tells it.
    pub(crate) fn columns(&self) -> Option<usize> {
        (self.size)().map(|size| size.columns)
    }

    /// Whether a whole page fits.
    pub(crate) fn fits(&self, page: &str) -> bool {
        let Some(size) = (self.size)() else { return true };
        wrapped(page.trim_end_matches('\n'), Some(size.columns)).lines().count() <= size.room()
    }

    /// Draws a page in place of the one before. What does not fit is counted in its last line.
    ///
    /// # Errors
    ///
    /// If the terminal is gone.
    pub(crate) fn draw(&mut self, page: &str) -> io::Result<()> {
        let size = (self.size)();
        let lines = fitting(page, size);
        let mut text = String::new();
        if self.drawn_for != size && !self.drawn.is_empty() {
            // The terminal has moved what was drawn.
            text += CLEAR;
            self.drawn.clear();
        }
        if !self.drawn.is_empty() {
            let _ = write!(text, "\x1b[{}A", self.drawn.len());
        }
        for index in 0..lines.len().max(self.drawn.len()) {
            let line = lines.get(index).map_or("", String::as_str);
            if self.drawn.get(index).is_none_or(|drawn| drawn != line) {
                let _ = write!(text, "\x1b[2K{line}");
            }
            text += "\r\n";
        }
        if self.drawn.len() > lines.len() {
            let _ = write!(text, "\x1b[{}A", self.drawn.len() - lines.len());
        }
        (self.drawn, self.drawn_for) = (lines, size);
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

impl Size {
    /// The lines for a page. The cursor has a line, too.
    fn room(self) -> usize {
        self.lines.saturating_sub(1).max(1)
    }
}

/// The lines of a page that fit.
fn fitting(page: &str, size: Option<Size>) -> Vec<String> {
    let page = secret::hide(page);
    let Some(size) = size else {
        return page.lines().map(str::to_owned).collect();
    };
    let (columns, room) = (size.columns, size.room());
    let page = wrapped(page.trim_end_matches('\n'), Some(columns));
    let cut = |line: &str| line.chars().take(columns).collect::<String>();
    let mut lines: Vec<_> = page.lines().map(cut).collect();
    if lines.len() > room {
        let more = lines.len() - room + 1;
        lines.truncate(room - 1);
        lines.push(cut(&format!("… {more} more lines")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;

    use super::*;

    /// A terminal that interprets what is written.
    #[derive(Clone)]
    struct Terminal {
        screen: Rc<RefCell<vt100::Parser>>,
        written: Rc<RefCell<Vec<u8>>>,
        size: Rc<Cell<Size>>,
    }

    impl Terminal {
        fn new(columns: u16, lines: u16) -> (Self, Screen) {
            let number = |number: u16| std::num::NonZero::new(number).expect("not zero");
            let screen = vt100::Parser::new(number(lines), number(columns), 100);
            let size = Size { columns: columns.into(), lines: lines.into() };
            let terminal = Self {
                screen: Rc::new(RefCell::new(screen)),
                written: Rc::default(),
                size: Rc::new(Cell::new(size)),
            };
            let size = terminal.size.clone();
            let size = Box::new(move || Some(size.get()));
            (terminal.clone(), Screen::new(Box::new(terminal), size))
        }

        fn contents(&self) -> String {
            self.screen.borrow().screen().contents()
        }

        /// What was written since the last call.
        fn written(&self) -> String {
            String::from_utf8(self.written.take()).expect("text")
        }
    }

    impl Write for Terminal {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.screen.borrow_mut().process(bytes);
            self.written.borrow_mut().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn only_changed_lines_are_written_and_none_remains() {
        let (terminal, mut screen) = Terminal::new(20, 10);
        screen.draw("a\nb 1\nc\nd\n").expect("drawn");
        assert_eq!(terminal.contents(), "a\nb 1\nc\nd");
        terminal.written();
        screen.draw("a\nb 2\nc\nd\n").expect("drawn");
        assert_eq!(terminal.contents(), "a\nb 2\nc\nd");
        assert_eq!(terminal.written(), "\x1b[4A\r\n\x1b[2Kb 2\r\n\r\n\r\n");
        screen.draw("a\nb 2\n").expect("drawn");
        assert_eq!(terminal.contents(), "a\nb 2");
        screen.draw("a\nb 2\nc\n").expect("drawn");
        assert_eq!(terminal.contents(), "a\nb 2\nc");
    }

    #[test]
    fn long_page_is_cut_to_the_terminal_and_never_scrolls_it() {
        let (terminal, mut screen) = Terminal::new(20, 5);
        let page = (1..=9).map(|number| format!("line {number}")).collect::<Vec<_>>().join("\n");
        assert!(
            !screen.fits(&page) && screen.fits("1\n2\n3\n4\n") && !screen.fits("1\n2\n3\n4\n5\n")
        );
        for _ in 0..3 {
            screen.draw(&page).expect("drawn");
            assert_eq!(terminal.contents(), "line 1\nline 2\nline 3\n… 6 more lines");
        }
        // A line of the terminal's width.
        screen.draw(&"x".repeat(20)).expect("drawn");
        assert_eq!(terminal.contents(), "x".repeat(20));
        screen.draw(&"y".repeat(35)).expect("drawn");
        assert_eq!(terminal.contents(), "y".repeat(20));
    }

    #[test]
    fn page_is_drawn_anew_when_the_terminal_has_another_size() {
        let (terminal, mut screen) = Terminal::new(20, 10);
        screen.draw("a\nb\n").expect("drawn");
        terminal.size.set(Size { columns: 60, lines: 10 });
        terminal.written();
        screen.draw("a\nb\n").expect("drawn");
        assert!(terminal.written().starts_with(CLEAR));
        assert_eq!(terminal.contents(), "a\nb");
    }
}
