//! The end of a command as Markdown, for the page of a CI job.

use std::fmt::Write;

use super::end::Report;
use crate::text;

/// A page of a CI job is at most 1 MiB long (GitHub), so not every node has a row.
const ROWS: usize = 500;

/// A longer page is cut.
const LONGEST: usize = 200_000;

impl Report<'_> {
    /// Renders the report as Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let Some(headline) = self.headline() else { return String::new() };
        let mut page = format!("### {}\n", inline(headline.trim_end()));
        for failure in self.failures() {
            let _ = writeln!(page, "\n**Why** {}\n", inline(&failure.told()));
            page += &block("text", &failure.evidence());
        }
        let rows = self.rows();
        let _ = writeln!(page, "\n| node | version | process | key | gateways | state |");
        let _ = writeln!(page, "|---|---|---|---|---|---|");
        for row in rows.iter().take(ROWS) {
            let cells: Vec<_> = row.iter().map(|cell| inline(cell)).collect();
            let _ = writeln!(page, "| {} |", cells.join(" | "));
        }
        if rows.len() > ROWS {
            let _ = writeln!(page, "\n… and {} more nodes", rows.len() - ROWS);
        }
        let _ = writeln!(page, "\n{}", inline(&self.serving()));
        if let Some(cost) = self.cost() {
            let _ = writeln!(page, "\n{}", inline(&cost));
        }
        if !self.next.is_empty() {
            let lines = self.next.iter().map(|(what, command)| format!("# {what}\n{command}"));
            let _ = writeln!(page, "\n**Next**\n");
            page += &block("sh", &lines.collect::<Vec<_>>().join("\n"));
        }
        text::page(&page)
    }
}

/// A page for people, below a heading.
#[must_use]
pub fn page(heading: &str, page: &str) -> String {
    text::page(&format!("### {}\n\n{}", inline(heading), block("text", page)))
}

/// Text within a line, without any meaning in Markdown.
fn inline(text: &str) -> String {
    let text = text::line(text, 2_000);
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if "\\`*_{}[]<>#|~&!".contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

/// A block of text as it is. Its fence is longer than any in the text.
fn block(language: &str, text: &str) -> String {
    let text = text::page(text);
    let text = text::cut(text.trim_end(), LONGEST);
    if text.is_empty() {
        return String::new();
    }
    let longest = text.split(|character| character != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}{language}\n{text}\n{fence}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::Release;
    use crate::report::{five, hostile};

    #[test]
    fn text_of_others_means_nothing_in_markdown() {
        assert_eq!(inline("a|b\n<b>`x`</b> [l](u)"), "a\\|b \\<b\\>\\`x\\`\\</b\\> \\[l\\](u)");
        assert_eq!(block("text", "a\n````\nb\n"), "`````text\na\n````\nb\n`````\n");
        assert_eq!(block("text", ""), "");
    }

    #[test]
    fn summary_has_the_reason_every_node_and_the_next_commands() {
        let release = Release::replay(&hostile::release()).expect("they may follow");
        let spec = five::spec();
        let next = [("undo it".to_owned(), "rollgate rollback app.yaml r".to_owned())];
        let page = Report { release: &release, spec: &spec, fleet: None, next: &next, cost: None }
            .markdown();
        assert!(page.starts_with("### FAILED"), "{page}");
        assert_eq!(page.lines().filter(|line| line.starts_with("| ")).count(), 6, "{page}");
        for part in
            ["**Why** ", "confirm\\_out: ", "```sh\n# undo it\nrollgate rollback app.yaml r"]
        {
            assert!(page.contains(part), "{part}: {page}");
        }
        hostile::assert_tame(&page);
        assert!(!page.contains("\n::"), "{page}");
    }
}
