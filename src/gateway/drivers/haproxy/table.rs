//! HAProxy's CSV: its cells, read by the names in its first line.

use crate::text;

/// The most cells of the servers of one backend. Each server has about a hundred.
const MOST_CELLS: usize = 400_000;

/// The most cells of one line. The rest is ignored.
const MOST_OF_A_LINE: usize = 1_000;

/// A table. Its first line names its columns.
pub(super) struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Reads lines that were cut into cells. The first one begins with `# `. Lines of backends other than `own` (by
    /// their first cell) can have any number of cells.
    pub(super) fn new(
        what: &str,
        own: Option<&str>,
        mut lines: impl Iterator<Item = Vec<String>>,
    ) -> Result<Self, String> {
        let mut columns = lines.next().unwrap_or_default();
        match columns.first_mut().and_then(|first| first.strip_prefix('#').map(str::to_owned)) {
            Some(first) => first.trim().clone_into(&mut columns[0]),
            None => return Err(format!("{what} does not begin with the names of its columns")),
        }
        if columns[0].is_empty() {
            columns.remove(0);
        }
        let mut rows = Vec::new();
        let mut cells = 0;
        for row in lines {
            // A line with another first cell than `own` belongs to another backend.
            if own.is_some_and(|own| row.first().is_none_or(|first| first != own)) {
                continue;
            }
            if row.len() != columns.len() {
                return Err(format!(
                    "a line of {what} has {}, but the header names {}: {}",
                    crate::text::count(row.len(), "cell"),
                    columns.len(),
                    text::line(&row.join(" "), 80)
                ));
            }
            cells += row.len();
            if cells > MOST_CELLS {
                return Err(format!("{what} has more than {MOST_CELLS} cells of one backend"));
            }
            rows.push(row);
        }
        Ok(Self { columns, rows })
    }

    /// Returns whether it has a column of this name.
    pub(super) fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|name| name == column)
    }

    /// Returns each row, for access by column name.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|cells| Row { columns: &self.columns, cells })
    }
}

/// One row of a table.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    columns: &'a [String],
    cells: &'a [String],
}

impl<'a> Row<'a> {
    /// The text in a column.
    pub(super) fn text(&self, column: &str) -> Result<&'a str, String> {
        let place = self.columns.iter().position(|name| name == column);
        let cell = place.and_then(|place| self.cells.get(place));
        cell.map(String::as_str).ok_or_else(|| format!("there is no column `{column}`"))
    }

    /// The text in a column that older versions lack.
    pub(super) fn newer(&self, column: &str) -> Option<&'a str> {
        self.text(column).ok()
    }

    /// The number in a column. `None` if the cell is empty.
    pub(super) fn number(&self, column: &str) -> Result<Option<u64>, String> {
        let text = self.text(column)?;
        if text.is_empty() {
            return Ok(None);
        }
        text.parse()
            .map(Some)
            .map_err(|_| format!("`{}` in column `{column}` is not a number", text::line(text, 40)))
    }

    /// The number in a column that must have one: an empty cell is not 0.
    pub(super) fn needed(&self, column: &str) -> Result<u64, String> {
        self.number(column)?.ok_or_else(|| format!("column `{column}` is empty"))
    }

    /// Requests at a server and requests that wait for it, if both are reported.
    pub(super) fn in_flight(&self) -> Option<u64> {
        let told = |column| self.number(column).ok().flatten();
        Some(told("scur")?.saturating_add(told("qcur")?))
    }
}

/// The cells of a line.
pub(super) fn cells<'a>(line: impl Iterator<Item = &'a str>) -> Vec<String> {
    line.take(MOST_OF_A_LINE + 1).map(str::to_owned).collect()
}

/// Cuts CSV as HAProxy writes it: a cell with a comma or a quote is between quotes, and its own quotes are doubled.
pub(super) fn csv(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut is_quoted = false;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        if cells.len() > MOST_OF_A_LINE {
            break;
        }
        let cell = cells.last_mut().expect("there is always a cell");
        match letter {
            '"' if is_quoted && letters.peek() == Some(&'"') => {
                letters.next();
                cell.push('"');
            }
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => cells.push(String::new()),
            letter => cell.push(letter),
        }
    }
    cells
}
