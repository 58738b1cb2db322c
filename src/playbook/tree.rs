//! The content of a file, with the place of every value, so that a problem can point at it.

use std::ops::Range;
use std::sync::Arc;

use super::findings::quoted;

/// The key that merges another map. It is reported when it is read, and kept so that the keys that it would have
/// added do not count as missing.
pub(super) const MERGE_KEY: &str = "<<";

/// The place of a single value where a list is meant.
const ONLY_ITEM: &str = "[0]";

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tree {
    /// Its bytes in the text. For an alias, the bytes of the alias.
    pub(super) span: Range<usize>,
    /// Shared with the aliases of the value.
    pub(super) kind: Arc<Kind>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// Text. `plain` if it has no quotes, so that it can be a number or a word like `true`.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Tree>),
    /// In the file's order. No name occurs twice, except merge keys.
    Map(Vec<(Key, Tree)>),
}

/// The name of a map's entry, and its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) span: Range<usize>,
}

impl Tree {
    pub(super) fn new(span: Range<usize>, kind: Kind) -> Self {
        Self { span, kind: Arc::new(kind) }
    }

    /// Returns the value at a path like `nodes[1].address`, or the nearest existing value; the place to point at,
    /// which is the value's place, or its key's place if the value is a list or a map; and the path so far.
    pub(super) fn locate<'a>(&self, path: &'a str) -> (&Self, Range<usize>, &'a str) {
        let (mut tree, mut span, mut rest) = (self, 0..0, path);
        while !rest.is_empty() {
            let next = match &*tree.kind {
                // A single value stands for a list of one.
                Kind::Map(_) | Kind::Scalar { .. } if rest.starts_with(ONLY_ITEM) => {
                    Some((tree, span.clone(), &rest[ONLY_ITEM.len()..]))
                }
                Kind::Map(entries) => entry(entries, rest),
                Kind::List(items) => item(items, rest),
                Kind::Scalar { .. } => None,
            };
            let Some((found, place, after)) = next else {
                break;
            };
            (tree, span, rest) = (found, place, after);
        }
        (tree, span, &path[..path.len() - rest.len()])
    }

    /// Returns the value's own word, or the word of its first key.
    pub(super) fn name(&self) -> Option<&str> {
        match &*self.kind {
            Kind::Scalar { text, .. } => Some(text),
            Kind::List(_) => None,
            Kind::Map(entries) => entries.first().map(|(key, _)| key.name.as_str()),
        }
    }

    /// Returns the place of a part of a scalar's text: exact if the file has the text unchanged, otherwise the
    /// whole value.
    pub(super) fn part(&self, source: &str, at: Range<usize>) -> Range<usize> {
        let Kind::Scalar { text, plain } = &*self.kind else {
            return self.span.clone();
        };
        let start = self.span.start + usize::from(!plain);
        let written = source.get(start..).is_some_and(|rest| rest.starts_with(text.as_str()));
        if written { start + at.start..start + at.end } else { self.span.clone() }
    }
}

type Found<'a, 'b> = Option<(&'a Tree, Range<usize>, &'b str)>;

fn entry<'a, 'b>(entries: &'a [(Key, Tree)], rest: &'b str) -> Found<'a, 'b> {
    let rest = rest.strip_prefix('.').unwrap_or(rest);
    let matching = entries.iter().filter_map(|(key, tree)| {
        let after = rest.strip_prefix(key.name.as_str())?;
        (after.is_empty() || after.starts_with(['.', '['])).then_some((key, tree, after))
    });
    // Of `a` and `a.b`, the longer one is meant.
    let (key, tree, after) = matching.max_by_key(|(key, ..)| key.name.len())?;
    let pointable = matches!(&*tree.kind, Kind::Scalar { .. }) && !tree.span.is_empty();
    let span = if pointable { tree.span.clone() } else { key.span.clone() };
    Some((tree, span, after))
}

fn item<'a, 'b>(items: &'a [Tree], rest: &'b str) -> Found<'a, 'b> {
    let (index, after) = rest.strip_prefix('[')?.split_once(']')?;
    let tree = items.get(index.parse::<usize>().ok()?)?;
    let span = match &*tree.kind {
        // The first key identifies an item better than a whole block.
        Kind::Map(entries) if !entries.is_empty() => entries[0].0.span.clone(),
        _ => tree.span.clone(),
    };
    Some((tree, span, after))
}

/// Returns advice if the line of a mistake, or the line before, has a `${{` outside quotes: YAML reads its braces
/// as a map.
pub(super) fn template_hint(source: &str, at: usize) -> Option<String> {
    let line = source[..at].rfind('\n').map_or(0, |line| line + 1);
    let before = source[..line.saturating_sub(1)].rfind('\n').map_or(0, |line| line + 1);
    let end = source[at..].find('\n').map_or(source.len(), |end| at + end);
    source[before..end].lines().rev().find(|line| has_bare_template(line)).map(|line| {
        let from = line.find("${{").unwrap_or_default();
        let template =
            line[from..].find("}}").map_or("${{ name }}", |to| &line[from..from + to + 2]);
        format!("put the whole value that has `${{{{` in quotes, like '…{}…'", quoted(template))
    })
}

fn has_bare_template(line: &str) -> bool {
    let mut quote = None;
    for (at, character) in line.char_indices() {
        match (quote, character) {
            (None, '\'' | '"') => quote = Some(character),
            (Some(open), _) if open == character => quote = None,
            (None, '$') if line[at..].starts_with("${{") => return true,
            (None, '#') if line[..at].ends_with([' ', '\t']) || at == 0 => return false,
            _ => {}
        }
    }
    false
}
