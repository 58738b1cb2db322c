//! A JSON or YAML file as values with their places, so that one value can be changed and every other byte stays.

use std::ops::Range;

use serde_json::value::RawValue;

use crate::json;
use crate::text;

/// How many values a file can have.
pub(super) const MOST_VALUES: usize = 300_000;

/// A YAML map's key that adds the keys of another map.
const MERGE_KEY: &str = "<<";

/// A value and its place.
#[derive(Debug)]
pub(in crate::gateway) struct Tree {
    /// Its bytes in the file.
    pub(super) at: Range<usize>,
    pub(super) kind: Kind,
    /// The file repeats it elsewhere (`&name` and `*name`).
    pub(super) is_repeated: bool,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// A text, a number or a word. `plain`: without quotes.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Tree>),
    /// Every entry that is written, in the file's order.
    Map(Vec<(String, Tree)>),
    /// A value from another place of the file (`*name`).
    Alias,
}

impl Tree {
    /// Returns the value of the key that `is_name` accepts, with the key. None if there is none.
    ///
    /// # Errors
    ///
    /// If the key occurs twice, or the value can be at several places of the file.
    pub(in crate::gateway) fn entry(
        &self,
        is_name: impl Fn(&str) -> bool,
    ) -> Result<Option<(&str, &Self)>, String> {
        let Kind::Map(entries) = &self.kind else { return Ok(None) };
        let mut found = entries.iter().filter(|(name, _)| is_name(name));
        let first = found.next();
        if let (Some((name, _)), Some(_)) = (first, found.next()) {
            let name = text::line(name, 40);
            return Err(format!("the file has the key `{name}` twice in one place: remove one"));
        }
        match first {
            None if entries.iter().any(|(name, _)| name == MERGE_KEY) => Err(format!(
                "the file has a merge key (`{MERGE_KEY}`) on the way to the node: write the keys out"
            )),
            None => Ok(None),
            Some((name, value)) => {
                value.is_own()?;
                Ok(Some((name, value)))
            }
        }
    }

    /// Returns the entries of a list; none if it is not a list.
    ///
    /// # Errors
    ///
    /// If an entry can be at several places of the file.
    pub(in crate::gateway) fn items(&self) -> Result<&[Self], String> {
        let Kind::List(items) = &self.kind else { return Ok(&[]) };
        items.iter().try_for_each(Self::is_own)?;
        Ok(items)
    }

    /// Returns a text, a number or a word as it is meant, without quotes.
    pub(in crate::gateway) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } => Some(text),
            Kind::List(_) | Kind::Map(_) | Kind::Alias => None,
        }
    }

    /// Returns a value without quotes: a number or a word, which can be `null`.
    pub(in crate::gateway) fn plain(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, plain: true } => Some(text),
            Kind::Scalar { .. } | Kind::List(_) | Kind::Map(_) | Kind::Alias => None,
        }
    }

    /// Returns whether it is a list.
    pub(in crate::gateway) fn is_list(&self) -> bool {
        matches!(self.kind, Kind::List(_))
    }

    fn is_own(&self) -> Result<(), String> {
        if !self.is_repeated && !matches!(self.kind, Kind::Alias) {
            return Ok(());
        }
        Err("the file repeats the node, or a part with it, by an anchor (`&name` and `*name`): write it out".into())
    }

    /// Every value in order, without the entry `name` of the maps that begin at `changed`.
    pub(super) fn outline<'a>(&'a self, changed: &[usize], name: &str, into: &mut Vec<&'a str>) {
        match &self.kind {
            Kind::Scalar { text, plain } => into.extend([if *plain { "=" } else { "\"" }, text]),
            Kind::Alias => into.push("*"),
            Kind::List(items) => {
                into.push("[");
                for item in items {
                    item.outline(changed, name, into);
                }
                into.push("]");
            }
            Kind::Map(entries) => {
                let is_changed = changed.contains(&self.at.start);
                into.push("{");
                for (key, value) in entries.iter().filter(|(key, _)| !is_changed || key != name) {
                    into.push(key);
                    value.outline(changed, name, into);
                }
                into.push("}");
            }
        }
    }
}

/// Reads JSON.
pub(super) fn parse(source: &str) -> Result<Tree, String> {
    let document = json::document(source.as_bytes())?;
    Reader { start: document.get().as_ptr() as usize, before: 0, values: 0 }.whole(source, document)
}

struct Reader {
    /// The address of the document's first byte.
    start: usize,
    /// The bytes before the document.
    before: usize,
    values: usize,
}

impl Reader {
    fn whole(mut self, source: &str, document: &RawValue) -> Result<Tree, String> {
        self.before = self.start - source.as_ptr() as usize;
        self.read(document)
    }

    fn read(&mut self, raw: &RawValue) -> Result<Tree, String> {
        self.values += 1;
        if self.values > MOST_VALUES {
            return Err(too_many());
        }
        let kind = if json::is_list(raw) {
            let mut items = Vec::new();
            json::each(raw, |_, item| {
                items.push(self.read(item)?);
                Ok(())
            })?;
            Kind::List(items)
        } else if json::is_object(raw) {
            let mut entries = Vec::new();
            json::each(raw, |name, value| {
                entries.push((name.unwrap_or_default().to_owned(), self.read(value)?));
                Ok(())
            })?;
            Kind::Map(entries)
        } else {
            match json::string(Some(raw)) {
                Some(text) => Kind::Scalar { text: text.into_owned(), plain: false },
                None => Kind::Scalar { text: raw.get().to_owned(), plain: true },
            }
        };
        let from = raw.get().as_ptr() as usize - self.start + self.before;
        Ok(Tree { at: from..from + raw.get().len(), kind, is_repeated: false })
    }
}

pub(super) fn too_many() -> String {
    format!("it has more than {MOST_VALUES} values")
}
