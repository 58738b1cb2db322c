//! Renders problems of a file in the style of rustc: with the place, a snippet and advice.
//!
//! The file may come from anywhere: its lines may be huge and full of control characters. Each snippet is cut
//! and cleaned here before the renderer gets it.

mod excerpt;

use std::fmt::{self, Write as _};
use std::ops::Range;

use annotate_snippets::{
    Annotation, AnnotationKind, Element, Group, Level, Origin, Renderer, Snippet,
};

use schemars::JsonSchema;
use serde::Serialize;

use self::excerpt::{Lines, Window, window};
use crate::release::LineData;
use crate::secret::{self, literal};
use crate::text;

/// The file's name as the user gave it, and its text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// The name that the user gave.
    pub name: String,
    /// The content; empty if it could not be read.
    pub text: String,
    /// Places that may contain secrets, shown as stars.
    pub hidden: Vec<Range<usize>>,
}

/// One problem, its place, and advice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong: lower case, no final period.
    pub message: String,
    /// The key of the problem: `nodes[1].address`.
    pub path: Option<String>,
    /// The place in the file, in bytes.
    pub span: Option<Range<usize>>,
    /// A short label under the place.
    pub label: Option<String>,
    /// Other relevant places, and why.
    pub related: Vec<(Range<usize>, String)>,
    /// Advice.
    pub help: Vec<String>,
    /// The place contains a secret and is shown as stars.
    pub is_secret: bool,
}

impl Problem {
    /// A problem with this message.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }

    /// Sets the place, in bytes of the file.
    #[must_use]
    pub fn at(mut self, span: Range<usize>) -> Self {
        self.span = Some(span);
        self
    }

    /// Shows the place as stars because it contains a secret.
    #[must_use]
    pub fn secret(mut self) -> Self {
        self.is_secret = true;
        self
    }

    /// Sets the key.
    #[must_use]
    pub fn on(mut self, path: impl Into<String>) -> Self {
        self.path = Some(path.into()).filter(|path: &String| !path.is_empty());
        self
    }

    /// Sets the label under the place.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds another relevant place.
    #[must_use]
    pub fn related(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        self.related.push((span, label.into()));
        self
    }

    /// Adds advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Adds advice, if there is any.
    #[must_use]
    pub fn helps(mut self, help: impl IntoIterator<Item = String>) -> Self {
        self.help.extend(help);
        self
    }
}

/// An unusable file with all its problems, in the file's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The file.
    pub source: Source,
    /// The problems; never empty.
    pub problems: Vec<Problem>,
    /// How many further problems were dropped.
    pub more: usize,
}

impl Invalid {
    /// Sorts problems into the file's order; those without a place come first.
    #[must_use]
    pub fn new(source: Source, mut problems: Vec<Problem>, more: usize) -> Self {
        problems.sort_by_key(|problem| problem.span.as_ref().map(|span| (span.start, span.end)));
        Self { source, problems, more }
    }

    /// Returns the number of problems, or the only problem.
    #[must_use]
    pub fn summary(&self) -> String {
        let name = text::harmless(&self.source.name);
        match self.problems.as_slice() {
            [problem] if self.more == 0 => format!("{name}: {}", text::harmless(&problem.message)),
            problems => format!("{} in {name}", text::count(problems.len() + self.more, "problem")),
        }
    }

    /// Returns the line and the column of each problem that has a place, counted from 1.
    #[must_use]
    pub fn positions(&self) -> Vec<Option<(usize, usize)>> {
        let text = Lines::new(&self.source.text);
        self.problems.iter().map(|problem| Some(text.place(problem.span.as_ref()?))).collect()
    }

    /// Returns each problem as the data of a line.
    #[must_use]
    pub fn lines(&self) -> Vec<ProblemLine<'_>> {
        let text = Lines::new(&self.source.text);
        let place = |span: &Range<usize>| text.place(span);
        let describe = |problem: &'_ Problem| {
            let (line, column) = problem.span.as_ref().map(place).unzip();
            let related = problem.related.iter().map(|(span, message)| {
                let (line, column) = place(span);
                RelatedPlace { line, column, message: message.clone() }
            });
            ProblemLine {
                file: &self.source.name,
                line,
                column,
                key: problem.path.clone(),
                message: problem.message.clone(),
                label: problem.label.clone(),
                help: problem.help.clone(),
                related: related.collect(),
            }
        };
        self.problems.iter().map(describe).collect()
    }
}

/// One problem of a file.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ProblemLine<'a> {
    /// The file, as given.
    file: &'a str,
    /// The line, from 1.
    line: Option<usize>,
    /// The column, from 1.
    column: Option<usize>,
    /// The key: `nodes[1].address`.
    key: Option<String>,
    /// What is wrong.
    message: String,
    /// A short text for the place.
    label: Option<String>,
    /// Advice.
    help: Vec<String>,
    /// Other places in the file.
    related: Vec<RelatedPlace>,
}

impl LineData for ProblemLine<'_> {
    const KIND: &'static str = "check.problem";
}

/// Another place in the file.
#[derive(Debug, Serialize, JsonSchema)]
struct RelatedPlace {
    /// The line, from 1.
    line: usize,
    /// The column, from 1.
    column: usize,
    /// Why the place matters.
    message: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(render(self, false).trim_end())
    }
}

impl std::error::Error for Invalid {}

/// How many problems are shown.
const SHOWN: usize = 50;

/// Renders all problems of a file, ending with their count.
#[must_use]
pub fn render(invalid: &Invalid, colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let name = text::harmless(&invalid.source.name);
    let shown = shown(invalid);
    let lines = Lines::new(&shown);
    let mut out = String::new();
    for problem in invalid.problems.iter().take(SHOWN) {
        out.push_str(&renderer.render(&[group(problem, &name, &lines)]));
        out.push_str("\n\n");
    }
    let total = invalid.problems.len() + invalid.more;
    if total > SHOWN {
        let _ = writeln!(out, "… and {} more\n", total - SHOWN);
    }
    let _ = writeln!(out, "{} in {name}", text::count(total, "problem"));
    out
}

/// The file's text with every secret as stars, so that every place stays the same.
fn shown(invalid: &Invalid) -> String {
    let text = &invalid.source.text;
    let known = secret::known();
    let secrets = invalid.problems.iter().filter(|problem| problem.is_secret);
    let places = secrets.filter_map(|problem| problem.span.clone());
    let places = places.chain(invalid.source.hidden.iter().cloned());
    literal::mask(&literal::mask_at(text, places.chain(known.places(text))))
}

fn group<'a>(problem: &'a Problem, name: &str, lines: &Lines<'_>) -> Group<'a> {
    let mut elements: Vec<Element<'a>> = Vec::new();
    match problem.span.clone().filter(|_| !lines.text.is_empty()) {
        Some(span) => {
            let (line, column) = lines.position(span.start);
            let (snippet, cut) = snippet(problem, span, lines);
            if cut {
                // Otherwise the renderer would count columns from the cut.
                let origin = Origin::path(name.to_owned()).line(line + 1).char_column(column + 1);
                elements.extend([origin.into(), snippet.into()]);
            } else {
                elements.push(snippet.path(name.to_owned()).into());
            }
        }
        None => elements.push(Origin::path(name.to_owned()).into()),
    }
    if let Some(path) = &problem.path {
        let path = format!("`{}`", text::harmless(path));
        elements.push(Level::NOTE.with_name("in").message(path).into());
    }
    for help in &problem.help {
        elements.push(Level::HELP.message(text::harmless(help)).into());
    }
    Level::ERROR.primary_title(text::harmless(&problem.message)).elements(elements)
}

/// Cuts the lines from the first to the last place, cleaned and narrowed; returns whether a line lost its
/// start.
fn snippet<'a>(
    problem: &Problem,
    span: Range<usize>,
    lines: &Lines<'_>,
) -> (Snippet<'a, Annotation<'a>>, bool) {
    let label = problem.label.as_deref().map(text::harmless);
    let mut marks = vec![(AnnotationKind::Primary, span, label)];
    for (span, label) in &problem.related {
        marks.push((AnnotationKind::Context, span.clone(), Some(text::harmless(label))));
    }
    // Lines between distant places are left empty, so that the line numbers stay right.
    let numbers: Vec<usize> =
        marks.iter().map(|(_, span, _)| lines.position(span.start).0).collect();
    let first = numbers.iter().min().copied().unwrap_or_default().saturating_sub(1);
    let last = numbers.iter().max().copied().unwrap_or_default();

    let mut shown = String::new();
    let mut annotations = Vec::new();
    let mut cut = false;
    for number in first..=last {
        let (start, line) = lines.line(number);
        let here: Vec<usize> = (0..marks.len()).filter(|mark| numbers[*mark] == number).collect();
        let near = number + 1 >= last || number <= first + 2 || !here.is_empty();
        let focus = here.first().map_or(start, |mark| marks[*mark].1.start);
        let window = if near { window(line, focus - start) } else { Window::default() };
        for mark in here {
            let (kind, span, label) = &marks[mark];
            let from = shown.len() + window.place(span.start - start);
            let to = shown.len() + window.place(span.end.min(start + line.len()) - start);
            annotations.push(kind.span(from..to.max(from)).label(label.clone()));
        }
        cut |= window.text.starts_with('…') && !line.starts_with('…');
        shown.push_str(&window.text);
        shown.push('\n');
    }
    let snippet = Snippet::source(shown).line_start(first + 1).annotations(annotations);
    (snippet, cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invalid(text: &str, problems: Vec<Problem>) -> Invalid {
        Invalid::new(
            Source { name: "app.yaml".into(), text: text.into(), hidden: Vec::new() },
            problems,
            0,
        )
    }

    #[test]
    fn control_character_never_reaches_the_terminal() {
        let text = "a: \x1b[2J\u{202e}b\r\n";
        let problem = Problem::new("bad \x1b[1m").at(3..10).label("\x07").help("\x1b").on("a\x1b");
        let shown = render(&invalid(text, vec![problem]), false);
        assert!(!shown.chars().any(|shown| shown != '\n' && shown.is_control()), "{shown:?}");
        assert!(!shown.contains('\u{202e}'), "{shown:?}");
    }

    #[test]
    fn a_huge_line_is_cut_around_the_place() {
        let text = format!("a: {}é{}", "x".repeat(500_000), "y".repeat(500_000));
        let problem = Problem::new("here").at(500_003..500_005).label("this");
        insta::assert_snapshot!(render(&invalid(&text, vec![problem]), false), @r#"
        error: here
         --> app.yaml:1:500004
          |
         ::: 
        1 | …xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxéyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy…
          |                                          ^ this

        1 problem in app.yaml
        "#);
    }

    #[test]
    fn far_places_of_one_problem_are_shown_together() {
        let text = format!("first: 1\n{}first: 2\n", "other: 1\n".repeat(40));
        let at = text.rfind("first").expect("it is there");
        let problem = Problem::new("duplicate").at(at..at + 5).related(0..5, "first given here");
        insta::assert_snapshot!(render(&invalid(&text, vec![problem]), false), @r#"
        error: duplicate
          --> app.yaml:42:1
           |
         1 | first: 1
           | ----- first given here
        ...
        42 | first: 2
           | ^^^^^

        1 problem in app.yaml
        "#);
    }

    #[test]
    fn first_of_many_problems_are_shown_and_all_are_counted() {
        let problems = (0..70).map(|number| Problem::new(format!("no {number}"))).collect();
        let shown = render(&invalid("", problems), false);
        assert_eq!(shown.matches("error:").count(), 50);
        assert!(shown.ends_with("… and 20 more\n\n70 problems in app.yaml\n"), "{shown}");
    }
}
