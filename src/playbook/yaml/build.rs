//! The flat list of what was read → the tree, without what has no place in a playbook: duplicate and merge keys.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::diagnostic::Problem;
use crate::playbook::findings::{Findings, quoted};
use crate::playbook::tree::{Key, Kind, MERGE_KEY, Tree};

/// One line of the flat list.
#[derive(Debug, Clone)]
pub(super) enum Item {
    Scalar { text: String, plain: bool, span: Range<usize> },
    List(Range<usize>),
    Map(Range<usize>),
    End(Range<usize>),
}

/// Makes the tree of a flat list. The list's depth is bounded, so recursion is safe.
pub(super) struct Builder<'a> {
    items: std::vec::IntoIter<Item>,
    findings: &'a mut Findings,
}

impl<'a> Builder<'a> {
    pub(super) fn new(items: Vec<Item>, findings: &'a mut Findings) -> Self {
        Self { items: items.into_iter(), findings }
    }

    /// Nothing at the end of a list or map.
    pub(super) fn tree(&mut self) -> Option<Tree> {
        match self.items.next()? {
            Item::Scalar { text, plain, span } => {
                Some(Tree { span, kind: Kind::Scalar { text, plain } })
            }
            Item::List(span) => Some(self.list(span)),
            Item::Map(span) => Some(self.map(span)),
            Item::End(_) => None,
        }
    }

    fn list(&mut self, span: Range<usize>) -> Tree {
        let mut items = Vec::new();
        while let Some(item) = self.tree() {
            items.push(item);
        }
        let end = end_of(&span, items.last());
        Tree { span: span.start..end, kind: Kind::List(items) }
    }

    fn map(&mut self, span: Range<usize>) -> Tree {
        let mut entries: Vec<(Key, Tree)> = Vec::new();
        let mut first: BTreeMap<String, Range<usize>> = BTreeMap::new();
        while let Some(key) = self.tree() {
            let Some(value) = self.tree() else { break };
            let place = key.span.clone();
            let Kind::Scalar { text: name, .. } = key.kind else {
                self.findings.add(|| {
                    Problem::new("a list or map cannot be a key")
                        .at(place.clone())
                        .label("not a word")
                });
                continue;
            };
            if name == MERGE_KEY {
                let at = place.clone();
                self.findings.add(|| {
                    Problem::new("merge keys (`<<`) are not supported").at(at).help(
                        "write the keys out, or repeat a whole value with `&name` and `*name`",
                    )
                });
                entries.push((Key { name, span: place }, value));
                continue;
            }
            if let Some(earlier) = first.get(&name) {
                self.findings.add(|| {
                    Problem::new(format!("duplicate key `{}`", quoted(&name)))
                        .at(place)
                        .related(earlier.clone(), "first given here")
                });
                continue;
            }
            first.insert(name.clone(), place.clone());
            entries.push((Key { name, span: place }, value));
        }
        let end = end_of(&span, entries.last().map(|(_, value)| value));
        Tree { span: span.start..end, kind: Kind::Map(entries) }
    }
}

/// A block ends with its last value; a flow list or map, and an alias, say so themselves.
fn end_of(span: &Range<usize>, last: Option<&Tree>) -> usize {
    last.map_or(span.end, |last| last.span.end.max(span.end))
}
