//! Plain text tables with columns as wide as their content.

/// The narrowest last column whose texts are broken.
const NARROWEST: usize = 12;

/// A table that is being filled.
#[derive(Debug, Clone)]
pub struct Table {
    rows: Vec<Vec<String>>,
    indent: usize,
}

impl Table {
    /// A table with these headings.
    #[must_use]
    pub fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(ToString::to_string).collect()], indent: 1 }
    }

    /// The same table, further to the right.
    #[must_use]
    pub fn indented(mut self, columns: usize) -> Self {
        self.indent = columns;
        self
    }

    /// Adds a row; unsafe characters in it are replaced.
    pub fn row(&mut self, cells: &[&str]) {
        self.rows.push(cells.iter().map(|cell| crate::text::harmless(cell)).collect());
    }

    /// The same table on a terminal: the texts of its last column are broken between words, so that no line is wider,
    /// if there is room for them.
    #[must_use]
    pub fn within(mut self, width: usize) -> Self {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let before: usize =
            (0..columns.saturating_sub(1)).map(|column| self.width(column) + 2).sum();
        let room = width.saturating_sub(self.indent + before);
        if room < NARROWEST {
            return self;
        }
        let mut rows = Vec::new();
        for mut row in std::mem::take(&mut self.rows) {
            let last =
                if row.len() == columns { row.pop().unwrap_or_default() } else { String::new() };
            let mut lines = broken(&last, room).into_iter();
            row.extend(lines.next());
            rows.push(row);
            let empty = vec![String::new(); columns.saturating_sub(1)];
            rows.extend(lines.map(|line| [&empty[..], &[line]].concat()));
        }
        self.rows = rows;
        self
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    }

    /// Renders it, each line ending in a line break.
    #[must_use]
    pub fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<_> = (0..columns).map(|column| self.width(column)).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = " ".repeat(self.indent);
            for (cell, width) in row.iter().zip(&widths) {
                line += cell;
                line += &" ".repeat(width - cell.chars().count() + 2);
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }
}

/// Breaks a text between words. A longer word is not broken.
fn broken(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => word.clone_into(line),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                *line += " ";
                *line += word;
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_column_is_broken_below_itself_where_it_does_not_fit() {
        let mut table = Table::new(&["NODE", "STATE"]);
        table.row(&["app-1", "OUT OF ROTATION, action required"]);
        table.row(&["app-2", "done"]);
        let told =
            " NODE   STATE\n app-1  OUT OF ROTATION,\n        action required\n app-2  done\n";
        assert_eq!(table.clone().within(28).render(), told);
        assert_eq!(table.clone().within(12).render(), table.render(), "there is no room");
    }

    #[test]
    fn columns_line_up_and_no_line_ends_in_spaces() {
        let mut table = Table::new(&["NODE", "WHY"]);
        table.row(&["app-1", ""]);
        table.row(&["a", "b\x1bc"]);
        assert_eq!(table.render(), " NODE   WHY\n app-1\n a      b c\n");
    }
}
