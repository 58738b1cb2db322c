//! Parses text to a tree with the place of every value. It knows YAML, not playbooks.
//!
//! An alias shares the value of its anchor, so the tree is never larger than the file. Repetitions by aliases are
//! counted (depth, values, text), because everything that walks the tree visits them again. Duplicate keys, merge
//! keys and tags are reported and skipped. Text that is not YAML ends the reading.

use std::collections::BTreeMap;
use std::mem;
use std::ops::Range;
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput};

use super::findings::{Findings, quoted};
use super::tree::{Key, Kind, MERGE_KEY, Tree, template_hint};
use crate::diagnostic::Problem;

/// How many lists and maps may be inside each other.
const MAX_DEPTH: usize = 64;
/// How many values, including repetitions by aliases.
const MAX_NODES: usize = 500_000;
/// How many bytes of text, including repetitions by aliases.
const MAX_TEXT: usize = 16 << 20;

/// Inside brackets the parser looks ahead, and each comma costs as much as its depth. This limit is checked before
/// parsing, because a count of values cannot bound that.
const MAX_COMMAS: usize = 300_000;

const RIGHT_FILE: &str = "no playbook needs that: is this the right file?";

/// Reads one document. Problems are added to the findings. `None` if no tree can be made.
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
    let read = Reader::new(source, findings).read();
    read.map_err(|problem| findings.add(|| *problem)).ok()
}

fn is_forbidden(character: char) -> bool {
    character.is_control() && !matches!(character, '\t' | '\n' | '\r' | '\u{85}')
}

/// The size of a value, with everything inside it and all repetitions by aliases.
#[derive(Clone, Copy)]
struct Size {
    depth: usize,
    nodes: usize,
    text: usize,
}

/// A list or map that is not closed yet.
struct Open {
    anchor: usize,
    span: Range<usize>,
    /// A map's keys and values in turn.
    parts: Vec<Tree>,
    size: Size,
}

struct Reader<'a> {
    source: &'a str,
    /// The byte of each character, if bytes and characters differ.
    offsets: Option<Vec<usize>>,
    findings: &'a mut Findings,
    open: Vec<Open>,
    anchors: BTreeMap<usize, (Tree, Size)>,
    root: Option<Tree>,
    nodes: usize,
    text: usize,
}

type Fatal = Box<Problem>;

impl<'a> Reader<'a> {
    fn new(source: &'a str, findings: &'a mut Findings) -> Self {
        let offsets = (!source.is_ascii())
            .then(|| source.char_indices().map(|(at, _)| at).chain([source.len()]).collect());
        Self {
            source,
            offsets,
            findings,
            open: Vec::new(),
            anchors: BTreeMap::new(),
            root: None,
            nodes: 0,
            text: 0,
        }
    }

    fn read(mut self) -> Result<Tree, Fatal> {
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
                Event::Alias(anchor) => {
                    let Some((tree, size)) = self.anchors.get(&anchor) else {
                        let message = "an alias inside its own anchor";
                        return Err(Box::new(Problem::new(message).at(span)));
                    };
                    let (kind, size) = (Arc::clone(&tree.kind), *size);
                    self.count(size, &span)?;
                    self.add(Tree { span, kind }, size, 0);
                }
                Event::Scalar(text, style, anchor, tag) => {
                    self.refuse_tag(tag.is_some(), &span);
                    let size = Size { depth: 0, nodes: 1, text: text.len() };
                    self.count(size, &span)?;
                    let plain = style == ScalarStyle::Plain;
                    let kind = Kind::Scalar { text: text.into_owned(), plain };
                    self.add(Tree::new(span, kind), size, anchor);
                }
                Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => {
                    self.refuse_tag(tag.is_some(), &span);
                    let size = Size { depth: 1, nodes: 1, text: 0 };
                    self.count(size, &span)?;
                    self.open.push(Open { anchor, span, parts: Vec::new(), size });
                }
                Event::SequenceEnd => self.close(|_, items| Kind::List(items)),
                Event::MappingEnd => self.close(|reader, parts| Kind::Map(reader.entries(parts))),
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            }
        }
        let empty = || Box::new(Problem::new("the file has no content, only comments"));
        self.root.ok_or_else(empty)
    }

    fn close(&mut self, kind: impl FnOnce(&mut Self, Vec<Tree>) -> Kind) {
        let Some(mut open) = self.open.pop() else { return };
        // The parser reports where a block starts. The block ends with its last value.
        let end = open.parts.last().map_or(open.span.end, |last| last.span.end.max(open.span.end));
        let kind = kind(self, mem::take(&mut open.parts));
        self.add(Tree::new(open.span.start..end, kind), open.size, open.anchor);
    }

    /// Adds a value to the open list or map. Anchors count from 1; 0 is none.
    fn add(&mut self, tree: Tree, size: Size, anchor: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, (tree.clone(), size));
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(tree);
            return;
        };
        open.size.depth = open.size.depth.max(size.depth + 1);
        open.size.nodes += size.nodes;
        open.size.text += size.text;
        open.parts.push(tree);
    }

    /// Returns the entries of a map, without those that are not allowed in a playbook.
    fn entries(&mut self, parts: Vec<Tree>) -> Vec<(Key, Tree)> {
        let mut entries: Vec<(Key, Tree)> = Vec::new();
        let mut first: BTreeMap<String, Range<usize>> = BTreeMap::new();
        let mut parts = parts.into_iter();
        while let (Some(Tree { span, kind }), Some(value)) = (parts.next(), parts.next()) {
            let Kind::Scalar { text: name, .. } = &*kind else {
                self.findings.add(|| {
                    Problem::new("a list or map cannot be a key").at(span).label("not a word")
                });
                continue;
            };
            if name == MERGE_KEY {
                let at = span.clone();
                self.findings.add(|| {
                    Problem::new("merge keys (`<<`) are not supported").at(at).help(
                        "write the keys out, or repeat a whole value with `&name` and `*name`",
                    )
                });
            } else if let Some(earlier) = first.get(name) {
                self.findings.add(|| {
                    Problem::new(format!("duplicate key `{}`", quoted(name)))
                        .at(span)
                        .related(earlier.clone(), "first given here")
                });
                continue;
            } else {
                first.insert(name.clone(), span.clone());
            }
            entries.push((Key { name: name.clone(), span }, value));
        }
        entries
    }

    fn count(
        &mut self,
        Size { depth, nodes, text }: Size,
        span: &Range<usize>,
    ) -> Result<(), Fatal> {
        self.nodes += nodes;
        self.text += text;
        let message = if self.open.len() + depth > MAX_DEPTH {
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

    fn refuse_tag(&mut self, tagged: bool, span: &Range<usize>) {
        if tagged {
            // The event's own place can omit the tag, which is before the value.
            let line = self.source[..span.start].rfind('\n').map_or(0, |at| at + 1);
            let tag = self.source[line..span.start].rfind('!');
            let place = tag.map_or(span.clone(), |at| line + at..span.end);
            self.findings.add(|| {
                Problem::new("tags like `!name` mean nothing in a playbook")
                    .at(place)
                    .help("remove the tag; quote the value if it should be text")
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
                .help("quote the value if it should be text that starts with `*`")
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
