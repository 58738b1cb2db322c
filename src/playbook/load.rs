//! Loads a file: returns a playbook, or all problems of the file.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::findings::Findings;
use super::hidden::Hidden;
use super::tree::Tree;
use super::{Playbook, rules, structure, yaml};
use crate::diagnostic::{Invalid, Problem, Source};
use crate::{file, text};

static SCHEMA: LazyLock<Value> = LazyLock::new(structure);

/// A larger file is not a playbook, and is not read.
const MAX_SIZE: u64 = 8 << 20;

/// A playbook that is valid as a file, with the file for problems that are found later.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Its content.
    pub playbook: Playbook,
    /// The file.
    pub source: Source,
    tree: Tree,
}

impl Loaded {
    /// Returns a problem at the place of a key like `nodes[1].address`, or at the nearest existing key.
    #[must_use]
    pub fn problem(&self, key_path: &str, message: impl Into<String>) -> Problem {
        let (_, span, _) = self.tree.locate(key_path);
        Problem::new(message).at(span).on(key_path)
    }

    /// Returns these problems as the reason to refuse the file.
    #[must_use]
    pub fn invalid(&self, problems: Vec<Problem>) -> Invalid {
        Invalid::new(self.source.clone(), problems, 0)
    }
}

/// Reads a playbook from a file.
///
/// # Errors
///
/// All problems of the file, or why it cannot be read.
pub fn load(path: &Path) -> Result<Loaded, Invalid> {
    let name = path.display().to_string();
    match read(path) {
        Ok(text) => load_text(name, text),
        Err(Unread { problem, text }) => {
            let source = Source { name, text, ..Source::default() };
            Err(Invalid::new(source, vec![*problem], 0))
        }
    }
}

/// Reads a playbook from a text with a name.
///
/// # Errors
///
/// All problems of the text.
pub fn load_text(name: impl Into<String>, text: impl Into<String>) -> Result<Loaded, Invalid> {
    let text = file::without_mark(text.into());
    let mut findings = Findings::default();
    let mut hidden = Hidden::default();
    let found = understand(&text, &mut hidden, &mut findings);
    let (mut problems, more) = findings.into_parts();
    hidden.redact(&mut problems);
    let source = Source { name: name.into(), hidden: hidden.into_places(&text), text };
    match found {
        Some((playbook, tree)) if problems.is_empty() => Ok(Loaded { playbook, source, tree }),
        _ => Err(Invalid::new(source, problems, more)),
    }
}

/// Reads as much of a playbook as possible, without a problem; the smallest valid values stand for wrong ones. For
/// shell completions, which help while a file is still wrong.
#[must_use]
pub fn glance(path: &Path) -> Option<Playbook> {
    // A pipe may never end.
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    let text = file::without_mark(read(path).ok()?);
    let mut ignored = Findings::default();
    let tree = yaml::parse(&text, &mut ignored)?;
    let hidden = Hidden::default();
    let outcome = structure::walk(&tree, &text, &SCHEMA, &hidden, &mut ignored);
    Playbook::deserialize(&outcome.value).ok()
}

fn understand(
    text: &str,
    hidden: &mut Hidden,
    findings: &mut Findings,
) -> Option<(Playbook, Tree)> {
    if text.len() as u64 > MAX_SIZE {
        findings.add(|| too_large(text.len() as u64));
        return None;
    }
    let tree = yaml::parse(text, findings)?;
    *hidden = Hidden::of(&tree, text);
    let outcome = structure::walk(&tree, text, &SCHEMA, hidden, findings);
    match Playbook::deserialize(&outcome.value) {
        Ok(playbook) => {
            rules::check(&playbook, &tree, text, (&outcome.invalid, hidden), findings);
            Some((playbook, tree))
        }
        Err(error) => {
            // The schema and the types disagree. An error is better than a wrong playbook.
            findings.add(|| Problem::new(format!("this is not a playbook: {error}")));
            None
        }
    }
}

struct Unread {
    problem: Box<Problem>,
    text: String,
}

impl From<Problem> for Unread {
    fn from(problem: Problem) -> Self {
        Self { problem: Box::new(problem), text: String::new() }
    }
}

fn read(path: &Path) -> Result<String, Unread> {
    let unreadable = |error: io::Error| {
        let problem = Problem::new(format!("cannot read the playbook: {error}"));
        match error.kind() {
            io::ErrorKind::NotFound => {
                Problem::new("no such file").help("the path is relative to the current folder")
            }
            io::ErrorKind::PermissionDenied => Problem::new("no permission to read this file"),
            io::ErrorKind::IsADirectory => Problem::new("this is a folder, not a file"),
            _ => problem,
        }
    };
    // A folder can be opened, and a huge file need not be.
    let kind = std::fs::metadata(path).map_err(unreadable)?;
    if kind.is_dir() {
        return Err(Problem::new("this is a folder, not a file").into());
    }
    if kind.is_file() && kind.len() > MAX_SIZE {
        return Err(too_large(kind.len()).into());
    }
    let mut bytes = Vec::new();
    let opened = File::open(path).map_err(unreadable)?;
    opened.take(MAX_SIZE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(Problem::new("larger than 8.0 MiB, the most a playbook may have").into());
    }
    decode(bytes)
}

fn too_large(size: u64) -> Problem {
    let (size, most) = (text::size(size), text::size(MAX_SIZE));
    Problem::new(format!("this file has {size}; a playbook may have {most}"))
        .help("is this the right file?")
}

fn decode(bytes: Vec<u8>) -> Result<String, Unread> {
    if file::is_utf16(&bytes) {
        return Err(Problem::new("this file is UTF-16, not UTF-8")
            .help("save the file as UTF-8")
            .into());
    }
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        return Err(Problem::new(format!("this is a binary file: byte {at} is 0"))
            .help("a playbook is a YAML file in UTF-8")
            .into());
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(&error.as_bytes()[..at]).into_owned();
        let line = text.matches('\n').count() + 1;
        let problem = Problem::new(format!("not UTF-8 at byte {at}, in line {line}"))
            .at(at..at)
            .help("save the file as UTF-8");
        Unread { problem: Box::new(problem), text }
    })
}

/// Returns the JSON Schema of a playbook, for editors. [`load`] uses the same, and takes a single value for each list.
#[must_use]
pub fn schema() -> Value {
    let mut schema = structure();
    with_single_values(&mut schema);
    schema
}

/// Lets each list of a schema be its only entry, too, unless it already has other forms.
fn with_single_values(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(with_single_values),
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                // Its entries are alternatives.
                if key != "anyOf" && key != "oneOf" {
                    with_single_values(value);
                }
            }
            if let (Some("array"), Some(items)) =
                (map.get("type").and_then(Value::as_str), map.get("items").cloned())
            {
                let mut list = Map::new();
                for key in ["type", "items", "minItems"] {
                    list.extend(map.remove(key).map(|value| (key.to_owned(), value)));
                }
                map.insert("anyOf".to_owned(), json!([list, items]));
            }
        }
        _ => {}
    }
}

/// The schema of the playbook's types.
fn structure() -> Value {
    let mut schema = Value::from(schemars::schema_for!(Playbook));
    without_null(&mut schema);
    schema["title"] = json!("rollgate playbook");
    schema["$comment"] = json!(
        "formats: rollgate-duration is a number with its unit (30s, 2m, 500ms); rollgate-amount is a count or a \
         percentage (2, 25%); rollgate-statuses is a status of HTTP or a range (204, 200-299); \
         rollgate-template is text with ${{ name }}; regex is the syntax of Rust's regex crate"
    );
    schema
}

/// A key without a value is an error in a playbook, so an optional key does not allow `null`.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(without_null),
        Value::Object(map) => {
            map.retain(|key, value| key != "default" || !value.is_null());
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    map.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(choices)) = map.get_mut("anyOf") {
                choices.retain(|choice| choice["type"] != "null");
                if let [Value::Object(only)] = choices.as_slice() {
                    let only = only.clone();
                    map.remove("anyOf");
                    map.extend(only);
                }
            }
            map.values_mut().for_each(without_null);
        }
        _ => {}
    }
}
