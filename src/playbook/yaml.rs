//! Text → tree with the place of every value. It knows YAML and nothing of playbooks.
//!
//! The parser's events are first written into one flat list, in which an alias is a copy of what its anchor
//! stands for: depth, nodes and text are counted there, before anything is built, so that a hostile file
//! costs no more than a large one. What can be repaired is reported and passed over (duplicate keys, tags);
//! what cannot be read ends the reading.

mod build;

use std::collections::BTreeMap;
use std::ops::Range;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput};

use self::build::{Builder, Item};
use super::findings::Findings;
use super::tree::{Tree, template_hint};
use crate::diagnostic::Problem;

/// Lists and maps inside each other.
const MAX_DEPTH: usize = 64;
/// Values, those that aliases repeat included.
const MAX_NODES: usize = 50_000;
/// Bytes of text, that which aliases repeat included.
const MAX_TEXT: usize = 4 << 20;

/// Inside brackets the parser looks ahead, and pays for each comma by the depth: before anything is parsed,
/// this bounds what counting values cannot.
const MAX_COMMAS: usize = 100_000;

const RIGHT_FILE: &str = "no playbook needs that: is this the right file?";

/// Reads one document; what is wrong goes to the findings. Nothing comes back where no tree can be made.
pub(super) fn parse(source: &str, findings: &mut Findings) -> Option<Tree> {
    if source.trim().is_empty() {
        findings.add(|| Problem::new("the file is empty"));
        return None;
    }
    if source.matches(',').nth(MAX_COMMAS).is_some() {
        findings.add(|| Problem::new(format!("more than {MAX_COMMAS} commas")).help(RIGHT_FILE));
        return None;
    }
    for (at, character) in source.match_indices(is_forbidden) {
        findings.add(|| {
            let code = character.chars().next().map_or(0, u32::from);
            Problem::new(format!("a control character, U+{code:04X}"))
                .at(at..at + character.len())
                .help("YAML files have none; in double quotes it can be written as an escape")
        });
    }
    let mut reader = Reader::new(source);
    match reader.read(findings) {
        Ok(()) if reader.flat.is_empty() => {
            findings.add(|| Problem::new("the file has no content, only comments"));
            None
        }
        Ok(()) => Builder::new(reader.flat, findings).tree(),
        Err(problem) => {
            findings.add(|| *problem);
            None
        }
    }
}

fn is_forbidden(character: char) -> bool {
    character.is_control() && !matches!(character, '\t' | '\n' | '\r' | '\u{85}')
}

/// What an anchor stands for: a part of the flat list.
struct Anchor {
    items: Range<usize>,
    depth: usize,
    nodes: usize,
    text: usize,
}

/// A list or map that is not closed yet.
struct Open {
    anchor: usize,
    start: usize,
    nodes: usize,
    text: usize,
    deepest: usize,
}

struct Reader<'a> {
    source: &'a str,
    /// The byte of each character, where that is not the character's number.
    offsets: Option<Vec<usize>>,
    flat: Vec<Item>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Anchor>,
    nodes: usize,
    text: usize,
}

type Fatal = Box<Problem>;

impl<'a> Reader<'a> {
    fn new(source: &'a str) -> Self {
        let offsets = (!source.is_ascii())
            .then(|| source.char_indices().map(|(at, _)| at).chain([source.len()]).collect());
        Self {
            source,
            offsets,
            flat: Vec::new(),
            open: Vec::new(),
            anchors: BTreeMap::new(),
            nodes: 0,
            text: 0,
        }
    }

    fn read(&mut self, findings: &mut Findings) -> Result<(), Fatal> {
        let mut parser: Parser<'a, StrInput<'a>> = Parser::new_from_str(self.source);
        let mut documents = 0;
        while let Some(next) = parser.next_event() {
            let (event, span) = next.map_err(|error| self.unreadable(&error))?;
            let span = self.bytes(span);
            match event {
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        return Err(Box::new(
                            Problem::new("a second document starts here")
                                .at(span)
                                .help("one file is one playbook: remove `---` and what follows"),
                        ));
                    }
                }
                Event::Alias(anchor) => self.repeat(anchor, &span)?,
                Event::Scalar(text, style, anchor, tag) => {
                    self.refuse_tag(tag.is_some(), &span, findings);
                    let plain = style == ScalarStyle::Plain;
                    let depth = self.open.len();
                    let (start, length) = (self.flat.len(), text.len());
                    self.count(1, length, depth, &span)?;
                    self.flat.push(Item::Scalar { text: text.into_owned(), plain, span });
                    let items = start..self.flat.len();
                    self.remember(anchor, Anchor { items, depth: 0, nodes: 1, text: length });
                }
                Event::SequenceStart(anchor, tag) => {
                    self.refuse_tag(tag.is_some(), &span, findings);
                    self.start(anchor, Item::List(span.clone()), &span)?;
                }
                Event::MappingStart(anchor, tag) => {
                    self.refuse_tag(tag.is_some(), &span, findings);
                    self.start(anchor, Item::Map(span.clone()), &span)?;
                }
                Event::SequenceEnd | Event::MappingEnd => self.end(span),
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            }
        }
        Ok(())
    }

    fn start(&mut self, anchor: usize, item: Item, span: &Range<usize>) -> Result<(), Fatal> {
        let deepest = self.open.len() + 1;
        self.count(1, 0, deepest, span)?;
        let (nodes, text) = (self.nodes - 1, self.text);
        self.open.push(Open { anchor, start: self.flat.len(), nodes, text, deepest });
        self.flat.push(item);
        Ok(())
    }

    fn end(&mut self, span: Range<usize>) {
        self.flat.push(Item::End(span));
        let Some(open) = self.open.pop() else { return };
        if let Some(parent) = self.open.last_mut() {
            parent.deepest = parent.deepest.max(open.deepest);
        }
        let anchor = Anchor {
            items: open.start..self.flat.len(),
            depth: open.deepest - self.open.len(),
            nodes: self.nodes - open.nodes,
            text: self.text - open.text,
        };
        self.remember(open.anchor, anchor);
    }

    /// Anchors count from 1; 0 is none.
    fn remember(&mut self, id: usize, anchor: Anchor) {
        if id > 0 {
            self.anchors.insert(id, anchor);
        }
    }

    fn repeat(&mut self, id: usize, span: &Range<usize>) -> Result<(), Fatal> {
        let Some(Anchor { items, depth, nodes, text }) = self.anchors.get(&id) else {
            return Err(Box::new(Problem::new("an alias inside its own anchor").at(span.clone())));
        };
        let (items, nodes, text, deepest) = (items.clone(), *nodes, *text, self.open.len() + depth);
        self.count(nodes, text, deepest, span)?;
        if let Some(open) = self.open.last_mut() {
            open.deepest = open.deepest.max(deepest);
        }
        let copy = self.flat.len();
        self.flat.extend_from_within(items);
        match &mut self.flat[copy] {
            Item::Scalar { span: place, .. }
            | Item::List(place)
            | Item::Map(place)
            | Item::End(place) => *place = span.clone(),
        }
        if let Some(Item::End(place)) = self.flat.last_mut() {
            *place = span.clone();
        }
        Ok(())
    }

    fn count(
        &mut self,
        nodes: usize,
        text: usize,
        deepest: usize,
        span: &Range<usize>,
    ) -> Result<(), Fatal> {
        self.nodes += nodes;
        self.text += text;
        let message = if deepest > MAX_DEPTH {
            format!("lists and maps nested more than {MAX_DEPTH} deep")
        } else if self.nodes > MAX_NODES && nodes > 1 {
            format!("more than {MAX_NODES} values, counting what aliases repeat")
        } else if self.nodes > MAX_NODES {
            format!("more than {MAX_NODES} values")
        } else if self.text > MAX_TEXT {
            format!("more than {} MiB of text, counting what aliases repeat", MAX_TEXT >> 20)
        } else {
            return Ok(());
        };
        let problem = Problem::new(message).at(span.clone());
        Err(Box::new(problem.help(RIGHT_FILE)))
    }

    fn refuse_tag(&self, tagged: bool, span: &Range<usize>, findings: &mut Findings) {
        if tagged {
            // The event's own place may leave the tag out: it stands before the value.
            let line = self.source[..span.start].rfind('\n').map_or(0, |at| at + 1);
            let tag = self.source[line..span.start].rfind('!');
            let place = tag.map_or(span.clone(), |at| line + at..span.end);
            findings.add(|| {
                Problem::new("tags like `!name` mean nothing in a playbook")
                    .at(place)
                    .help("remove the tag; quote the value if it is to be text")
            });
        }
    }

    fn unreadable(&self, error: &ScanError) -> Fatal {
        let at = self.byte(*error.marker());
        let info = error.info();
        let span = at..self.source[at..].chars().next().map_or(at, |next| at + next.len_utf8());
        let problem = if info.contains("tab") {
            Problem::new("a tab where YAML wants spaces").help("indent with spaces")
        } else if info.contains("unknown anchor") {
            Problem::new("an alias (`*name`) without its anchor (`&name`)")
                .help("quote the value if it is to be text that starts with `*`")
        } else if info.contains("recursion limit") {
            Problem::new(format!("lists and maps nested more than {MAX_DEPTH} deep"))
        } else {
            Problem::new(format!("this is not YAML: {info}"))
        };
        Box::new(problem.at(span).helps(template_hint(self.source, at)))
    }

    fn bytes(&self, span: Span) -> Range<usize> {
        let (start, end) = (self.byte(span.start), self.byte(span.end));
        start..end.max(start)
    }

    /// The parser counts characters.
    fn byte(&self, marker: Marker) -> usize {
        let index = marker.index();
        let byte = match &self.offsets {
            Some(offsets) => offsets.get(index).copied().unwrap_or(self.source.len()),
            None => index,
        };
        byte.min(self.source.len())
    }
}

#[cfg(test)]
mod tests;
