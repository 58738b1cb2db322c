//! A gateway's JSON or YAML file on a machine: it is read, and replaced only if it is still as it was read. One value
//! of a node changes; every other byte stays.

#[cfg(test)]
mod tests;
mod tree;
mod yaml;

use std::time::Duration;

use sha2::{Digest, Sha256};

pub(super) use self::tree::Tree;
use super::query::{Query, first, ok};
use super::rotation::{Listed, Listing, NotDone, RotationControl};
use crate::node::NodeScript;
use crate::secret::Secret;
use crate::world::{Command, Host, OUTPUT_LIMIT, Reply, Stdin};

/// The time limit for one command on the file's machine, including the connection.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest file that is written: a longer one could not be read back.
pub(super) const LIMIT: usize = OUTPUT_LIMIT - 1;

/// The endings of the names of YAML files.
pub(super) const YAML_ENDINGS: [&str; 2] = [".yml", ".yaml"];

/// Where such a file is.
pub(super) struct GatewayFile {
    pub(super) host: Host,
    pub(super) path: String,
    pub(super) sudo: bool,
}

impl GatewayFile {
    /// Reads its content.
    pub(super) fn ask(&self) -> Query {
        self.run(NodeScript::File { path: self.path.clone() }, Stdin::Empty)
    }

    /// Reads the content of a reply: JSON, and YAML in a file that is named so.
    fn parse<'a>(&self, reply: &'a Reply) -> Result<(&'a str, Tree), String> {
        let text = std::str::from_utf8(&ok(reply)?.body);
        let text = text.map_err(|error| format!("the file is not UTF-8: {error}"))?;
        let json = match tree::parse(text) {
            Ok(tree) => return Ok((text, tree)),
            Err(error) => error,
        };
        if !YAML_ENDINGS.iter().any(|ending| self.path.ends_with(ending)) {
            return Err(format!("the file is not JSON: {json}; a YAML file is named `.yaml`"));
        }
        let tree = yaml::parse(text).map_err(|error| format!("the file is not YAML: {error}"))?;
        Ok((text, tree))
    }

    /// Replaces the content of the reply.
    fn replace(&self, reply: &Reply, content: String) -> Result<Query, String> {
        if content.len() > LIMIT {
            let (path, size) = (&self.path, content.len());
            return Err(format!("{path} would have {size} bytes, more than {LIMIT}"));
        }
        let path = self.path.clone();
        let sum = |bytes: &[u8]| crate::text::hex(&Sha256::digest(bytes));
        let (before, after) = (sum(&reply.body), sum(content.as_bytes()));
        // The content can be secret, and is much longer than a command line can be.
        let stdin = Stdin::Text(Secret::new(content));
        Ok(self.run(NodeScript::Replace { path, before, after }, stdin))
    }

    fn run(&self, script: NodeScript, stdin: Stdin) -> Query {
        let command = Command::new(script, COMMAND_TIMEOUT, self.sudo).reading(stdin);
        Query::Run(self.host.clone(), command)
    }
}

/// A key and its value.
pub(super) type Entry = (String, Written);

/// A value that rollgate writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    Word(&'static str),
    Number(i64),
}

/// Takes nodes out of rotation and returns them, by changing such a file.
pub(super) struct FileControl {
    pub(super) file: GatewayFile,
    /// The name of the part of the file that has the nodes.
    pub(super) pool: String,
    /// Finds all entries of an address in the file. There is at least one.
    pub(super) find: FindEntries,
    /// Returns whether an entry keeps requests away.
    pub(super) is_down: fn(&Tree) -> Result<bool, String>,
    /// The key of an entry, and the value with which the entry keeps requests away, or not.
    pub(super) mark: fn(&Tree, bool) -> Result<Entry, String>,
}

/// Finds the entries of an address in the pool with this name.
type FindEntries = for<'a> fn(&'a Tree, pool: &str, address: &str) -> Result<Vec<&'a Tree>, String>;

impl FileControl {
    fn is_down(&self, entries: &[&Tree]) -> Result<bool, String> {
        let mut is_down = true;
        for entry in entries {
            is_down &= (self.is_down)(entry)?;
        }
        Ok(is_down)
    }

    /// The new content, in which the node at `address` is down or up and nothing else has changed.
    fn changed(&self, reply: &Reply, address: &str, down: bool) -> Result<String, String> {
        let (text, before) = self.file.parse(reply)?;
        let entries = (self.find)(&before, &self.pool, address)?;
        let is_json = tree::parse(text).is_ok();
        let mut content = text.to_owned();
        let mut name = String::new();
        // From the end, so that the places before it stay valid.
        for entry in entries.iter().rev() {
            let (key, value) = (self.mark)(entry, down)?;
            set(&mut content, entry, &key, value, is_json)?;
            name = key;
        }
        // The parser's places decide what is overwritten: the result must be what was meant.
        let odd = |why: &str| {
            format!(
                "the file cannot be changed in place ({why}): write the node's entry in another form"
            )
        };
        let reply = Reply { status: 200, body: content.clone().into_bytes(), ..Reply::default() };
        let (_, after) = self.file.parse(&reply).map_err(|error| odd(&error))?;
        let found = (self.find)(&after, &self.pool, address)?;
        if self.is_down(&found)? != down {
            return Err(odd("the new value has no effect"));
        }
        let outline = |tree: &Tree, entries: &[&Tree]| {
            let starts: Vec<_> = entries.iter().map(|entry| entry.at.start).collect();
            let mut outline = Vec::new();
            tree.outline(&starts, &name, &mut outline);
            outline.into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        if outline(&before, &entries) != outline(&after, &found) {
            return Err(odd("another value would change"));
        }
        Ok(content)
    }
}

/// Sets a value of an entry: in the place of the old value, or before the entry's first key.
fn set(
    content: &mut String,
    entry: &Tree,
    key: &str,
    value: Written,
    is_json: bool,
) -> Result<(), String> {
    let value = match value {
        Written::Word(word) if is_json => format!("\"{word}\""),
        Written::Word(word) => word.to_owned(),
        Written::Number(number) => number.to_string(),
    };
    if let Some((_, old)) = entry.entry(|name| name == key)? {
        content.replace_range(old.at.clone(), &value);
        return Ok(());
    }
    let start = entry.at.start;
    let (at, added) = if content[start..].starts_with('{') {
        let key = if is_json { format!("\"{key}\"") } else { key.to_owned() };
        let at = start + 1;
        if content[at..].starts_with(char::is_whitespace) {
            (at, format!(" {key}: {value},"))
        } else {
            (at, format!("{key}: {value}, "))
        }
    } else {
        let line = content[..start].rfind('\n').map_or(0, |end| end + 1);
        let indent = " ".repeat(content[line..start].chars().count());
        let end = if content[start..].split('\n').next().is_some_and(|line| line.ends_with('\r')) {
            "\r\n"
        } else {
            "\n"
        };
        (start, format!("{key}: {value}{end}{indent}"))
    };
    content.insert_str(at, &added);
    Ok(())
}

impl RotationControl for FileControl {
    fn listing(&self, replies: &[Reply], address: &str) -> Result<Listing, String> {
        let (_, tree) = self.file.parse(first(replies)?)?;
        let is_down = self.is_down(&(self.find)(&tree, &self.pool, address)?)?;
        Ok(if is_down { Listed::Down } else { Listed::Up }.into())
    }

    fn set(&self, replies: &[Reply], address: &str, down: bool) -> Result<Vec<Query>, String> {
        let reply = first(replies)?;
        let content = self.changed(reply, address, down)?;
        Ok(vec![self.file.replace(reply, content)?])
    }

    fn is_done(&self, _: &[Reply]) -> Result<(), NotDone> {
        Ok(())
    }
}

impl Tree {
    /// Returns the value at a path of keys, of which `is_name` compares a written one with a wanted one.
    pub(super) fn path(
        &self,
        keys: &[&str],
        is_name: impl Fn(&str, &str) -> bool,
    ) -> Result<Option<&Self>, String> {
        let mut at = self;
        for key in keys {
            match at.entry(|name| is_name(name, key))? {
                Some((_, value)) => at = value,
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }
}
