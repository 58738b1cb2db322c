//! Reads YAML as values with their places.

use std::collections::BTreeSet;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span};

use super::tree::{Kind, MOST_VALUES, Tree, too_many};
use crate::text;

/// How many lists and maps may be inside each other.
const MAX_DEPTH: usize = 64;

/// Inside brackets each comma costs the parser as much as its depth.
const MAX_COMMAS: usize = 100_000;

/// Reads one document.
pub(super) fn parse(source: &str) -> Result<Tree, String> {
    if source.matches(',').nth(MAX_COMMAS).is_some() {
        return Err(format!("it has more than {MAX_COMMAS} commas"));
    }
    let mut repeated = BTreeSet::new();
    for next in Parser::new_from_str(source) {
        if let (Event::Alias(anchor), _) = next.map_err(|error| unreadable(&error))? {
            repeated.insert(anchor);
        }
    }
    Reader { offsets: offsets(source), repeated, open: Vec::new(), root: None, values: 0 }
        .read(source)
}

/// The byte of each character, if bytes and characters differ.
fn offsets(source: &str) -> Option<Vec<usize>> {
    let all = || source.char_indices().map(|(at, _)| at).chain([source.len()]).collect();
    (!source.is_ascii()).then(all)
}

fn unreadable(error: &ScanError) -> String {
    let (line, why) = (error.marker().line(), text::line(error.info(), 100));
    format!("line {line}: {why}")
}

/// A list or map that is not closed yet.
struct Open {
    start: usize,
    anchor: usize,
    /// A map's keys and values in turn.
    parts: Vec<Tree>,
}

struct Reader {
    offsets: Option<Vec<usize>>,
    /// The anchors with an alias.
    repeated: BTreeSet<usize>,
    open: Vec<Open>,
    root: Option<Tree>,
    values: usize,
}

impl Reader {
    fn read(mut self, source: &str) -> Result<Tree, String> {
        for next in Parser::new_from_str(source) {
            let (event, span) = next.map_err(|error| unreadable(&error))?;
            self.take(event, span)?;
        }
        self.root.ok_or_else(|| "it has no content".into())
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), String> {
        let (start, end) = (self.byte(span.start), self.byte(span.end));
        match event {
            Event::DocumentStart(_) if self.root.is_some() => {
                return Err(format!("line {}: a second document", span.start.line()));
            }
            Event::Alias(_) => self.add(start, end, Kind::Alias, 0)?,
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                self.add(start, end, Kind::Scalar { text: text.into_owned(), plain }, anchor)?;
            }
            Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) => {
                if self.open.len() == MAX_DEPTH {
                    return Err(format!("lists and maps nested more than {MAX_DEPTH} deep"));
                }
                self.open.push(Open { start, anchor, parts: Vec::new() });
            }
            Event::SequenceEnd => self.close(end, Kind::List)?,
            Event::MappingEnd => self.close(end, |parts| Kind::Map(entries(parts)))?,
            Event::DocumentStart(_)
            | Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn close(&mut self, end: usize, kind: impl FnOnce(Vec<Tree>) -> Kind) -> Result<(), String> {
        match self.open.pop() {
            Some(Open { start, anchor, parts }) => self.add(start, end, kind(parts), anchor),
            None => Ok(()),
        }
    }

    /// Adds a value to the open list or map. Anchors count from 1; 0 is none.
    fn add(&mut self, start: usize, end: usize, kind: Kind, anchor: usize) -> Result<(), String> {
        self.values += 1;
        if self.values > MOST_VALUES {
            return Err(too_many());
        }
        let is_repeated = self.repeated.contains(&anchor);
        let tree = Tree { at: start..end.max(start), kind, is_repeated };
        match self.open.last_mut() {
            Some(open) => open.parts.push(tree),
            None => self.root = Some(tree),
        }
        Ok(())
    }

    /// The parser counts characters.
    fn byte(&self, marker: Marker) -> usize {
        let index = marker.index();
        self.offsets.as_ref().map_or(index, |offsets| {
            offsets.get(index).or(offsets.last()).copied().unwrap_or_default()
        })
    }
}

/// The entries of a map. A key that is not a text has no name.
fn entries(parts: Vec<Tree>) -> Vec<(String, Tree)> {
    let mut parts = parts.into_iter();
    let mut entries = Vec::new();
    while let (Some(key), Some(value)) = (parts.next(), parts.next()) {
        entries.push((key.text().unwrap_or_default().to_owned(), value));
    }
    entries
}
