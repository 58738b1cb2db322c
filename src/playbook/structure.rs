//! Tree → JSON value, against the schema of the playbook's types: every problem of structure at once.
//!
//! It knows the part of JSON Schema that our types produce and nothing of playbooks, so a new key needs no
//! line here. What YAML leaves open is settled by what the schema wants: a plain `1.20` where text is wanted
//! stays the text `1.20`, and `no` is never a boolean.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::Range;

use serde_json::{Map, Value};

use super::findings::{Findings, known, likely, quoted};
use super::scalar;
use super::tree::{Key, Kind, Tree, template_hint};
use crate::diagnostic::Problem;

/// What a walk leaves behind, besides its findings.
pub(super) struct Outcome {
    /// The file's content; what was wrong is left out.
    pub(super) value: Value,
    /// The top-level keys in which something was wrong.
    pub(super) broken: BTreeSet<String>,
}

/// Checks the tree of a file against a schema without `null`.
pub(super) fn walk(tree: &Tree, source: &str, schema: &Value, findings: &mut Findings) -> Outcome {
    let mut walk = Walk { source, schema, path: String::new(), broken: BTreeSet::new(), findings };
    let value = walk.value(tree, schema, &(0..0)).unwrap_or(Value::Null);
    Outcome { value, broken: walk.broken }
}

struct Walk<'a> {
    source: &'a str,
    schema: &'a Value,
    path: String,
    broken: BTreeSet<String>,
    findings: &'a mut Findings,
}

/// The objects among which a map chooses.
enum Shape<'a> {
    Object(&'a Value),
    /// One of the schemas, by the value of a key.
    Tagged(&'a str, Vec<&'a Value>),
    /// One of the schemas, by its only key.
    OneKey(Vec<&'a Value>),
}

impl<'a> Walk<'a> {
    /// Returns the value, or nothing where it is wrong. `key` is where the value's name stands.
    fn value(&mut self, tree: &Tree, schema: &'a Value, key: &Range<usize>) -> Option<Value> {
        let choices = self.choices(schema);
        match &tree.kind {
            Kind::Map(entries) => match shape(&choices) {
                Some(shape) => self.map(entries, &shape, &choices, key),
                None => self.wrong_type(tree, &choices, key),
            },
            Kind::List(items) => match choices.iter().find(|choice| choice["type"] == "array") {
                Some(list) => self.list(items, list, key),
                None => self.wrong_type(tree, &choices, key),
            },
            Kind::Scalar { text, plain } => {
                if *plain && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL") {
                    let place = if text.is_empty() { key.clone() } else { tree.span.clone() };
                    let expected = scalar::expected(&choices);
                    self.problem(
                        place,
                        |problem| problem.help(format!("expected {expected}")),
                        || "this key has no value".to_owned(),
                    );
                    return None;
                }
                match scalar::read(text, *plain, &choices) {
                    Ok(value) => Some(value),
                    Err(wrong) => {
                        let span =
                            wrong.at.map_or(tree.span.clone(), |at| tree.part(self.source, at));
                        self.problem(span, |problem| problem.helps(wrong.help), || wrong.message);
                        None
                    }
                }
            }
        }
    }

    fn wrong_type(&mut self, tree: &Tree, choices: &[&Value], key: &Range<usize>) -> Option<Value> {
        let (source, expected) = (self.source, scalar::expected(choices));
        let found = if matches!(tree.kind, Kind::Map(_)) { "a map" } else { "a list" };
        let is_template = source[..tree.span.start].ends_with('$')
            || source.get(tree.span.clone()).is_some_and(|text| text.starts_with("{{"));
        let hint = is_template.then(|| template_hint(source, tree.span.start)).flatten();
        let place = if key.is_empty() { tree.span.clone() } else { key.clone() };
        self.problem(
            place,
            |problem| problem.helps(hint),
            || format!("expected {expected}, found {found}"),
        );
        None
    }

    fn list(&mut self, items: &[Tree], schema: &'a Value, key: &Range<usize>) -> Option<Value> {
        let least = schema["minItems"].as_u64().unwrap_or(0);
        if (items.len() as u64) < least {
            self.problem(
                key.clone(),
                |problem| problem,
                || "this list is empty; at least one entry is needed".to_owned(),
            );
            return None;
        }
        let length = self.path.len();
        let mut values = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let _ = write!(self.path, "[{index}]");
            let place = match &item.kind {
                Kind::Map(entries) if !entries.is_empty() => entries[0].0.span.clone(),
                _ => item.span.clone(),
            };
            values.extend(self.value(item, &schema["items"], &place));
            self.path.truncate(length);
        }
        // What lost entries is known as broken, so nobody judges it.
        Some(Value::Array(values))
    }

    fn map(
        &mut self,
        entries: &[(Key, Tree)],
        shape: &Shape<'a>,
        choices: &[&'a Value],
        place: &Range<usize>,
    ) -> Option<Value> {
        match shape {
            Shape::Object(schema) => self.object(entries, schema, choices, place),
            Shape::Tagged(tag, schemas) => {
                let tags =
                    schemas.iter().filter_map(|schema| schema["properties"][tag]["const"].as_str());
                let Some((_, tree)) = entries.iter().find(|(key, _)| key.name == *tag) else {
                    let help = known("", "it is one of", tags);
                    self.problem(
                        place.clone(),
                        |problem| problem.helps(help),
                        || format!("missing key `{tag}`"),
                    );
                    return None;
                };
                let Kind::Scalar { text, .. } = &tree.kind else {
                    return self.wrong_type(tree, &[&schemas[0]["properties"][tag]], &tree.span);
                };
                let chosen =
                    schemas.iter().find(|schema| schema["properties"][tag]["const"] == **text);
                let Some(schema) = chosen else {
                    let help = known(text, "it is one of", tags);
                    let length = self.push(tag);
                    self.problem(
                        tree.span.clone(),
                        |problem| problem.helps(help),
                        || format!("unknown {tag} `{}`", quoted(text)),
                    );
                    self.path.truncate(length);
                    return None;
                };
                self.object(entries, schema, choices, place)
            }
            Shape::OneKey(schemas) => {
                let chosen = entries.first().and_then(|(key, _)| {
                    schemas.iter().find(|schema| !schema["properties"][&key.name].is_null())
                });
                if let (Some(schema), 1) = (chosen, entries.len()) {
                    return self.object(entries, schema, choices, place);
                }
                let names: Vec<&str> =
                    schemas.iter().flat_map(|schema| properties(schema)).collect();
                let first = entries.first().map_or("", |(key, _)| key.name.as_str());
                let at = entries.first().map_or(place.clone(), |(key, _)| key.span.clone());
                let help = known(first, "it is one of", names.into_iter().chain(words(choices)));
                self.problem(
                    at,
                    |problem| problem.helps(help),
                    || match entries.len() {
                        0 => "this map is empty; one key is needed".to_owned(),
                        1 => format!("unknown key `{}`", quoted(first)),
                        _ => "more than one key where one is chosen".to_owned(),
                    },
                );
                None
            }
        }
    }

    fn object(
        &mut self,
        entries: &[(Key, Tree)],
        schema: &'a Value,
        choices: &[&'a Value],
        place: &Range<usize>,
    ) -> Option<Value> {
        let mut map = Map::new();
        let mut meant = BTreeSet::new();
        let length = self.path.len();
        for (key, tree) in entries {
            let rest = &schema["additionalProperties"];
            let listed = schema["properties"].get(&key.name);
            let inner = listed.or(Some(rest).filter(|rest| rest.is_object()));
            self.push(&key.name);
            if let Some(inner) = inner {
                if let Some(value) = self.value(tree, inner, &key.span) {
                    map.insert(key.name.clone(), value);
                }
            } else {
                if !self.findings.is_full() {
                    meant.extend(likely(&key.name, properties(schema)));
                }
                self.unknown_key(key, schema, choices);
            }
            self.path.truncate(length);
        }
        let mut whole = true;
        let required = schema["required"].as_array().into_iter().flatten();
        for name in required.filter_map(Value::as_str) {
            whole &= map.contains_key(name);
            let given = entries.iter().any(|(key, _)| key.name == name);
            if !given && !meant.contains(name) {
                self.problem(place.clone(), |problem| problem, || format!("missing key `{name}`"));
            }
        }
        let most = schema["maxProperties"].as_u64().unwrap_or(u64::MAX);
        let least = schema["minProperties"].as_u64().unwrap_or(0);
        let count = entries.len() as u64;
        if count < least || (count > most && map.len() as u64 > most) {
            let at = entries.get(1).map_or(place.clone(), |(key, _)| key.span.clone());
            let valid = known("", "valid keys", properties(schema));
            self.problem(
                at,
                |problem| problem.helps(valid),
                || {
                    if count < least { "this map is empty" } else { "only one key may stand here" }
                        .to_owned()
                },
            );
            return None;
        }
        whole.then_some(Value::Object(map))
    }

    fn unknown_key(&mut self, key: &Key, schema: &Value, choices: &[&Value]) {
        let name = quoted(&key.name);
        let advise = |problem: Problem| {
            let stands_alone = words(choices).any(|word| word == key.name);
            problem.helps(match key.name.as_str() {
                _ if stands_alone => vec![format!("`{name}` stands alone, without `:`")],
                "timeout" | "sudo" if schema["maxProperties"] == 1 => {
                    vec![format!(
                        "settings of a command go inside: `- run: {{ run: …, {name}: … }}`"
                    )]
                }
                other => known(other, "valid keys", properties(schema)),
            })
        };
        self.problem(key.span.clone(), advise, || format!("unknown key `{name}`"));
    }

    /// Adds a key to the path and returns the length to go back to.
    fn push(&mut self, key: &str) -> usize {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.push_str(&quoted(key));
        length
    }

    fn problem(
        &mut self,
        span: Range<usize>,
        finish: impl FnOnce(Problem) -> Problem,
        message: impl FnOnce() -> String,
    ) {
        let top = self.path.split(['.', '[']).next().unwrap_or_default();
        let is_key = self.schema["properties"].get(top).is_some();
        // An unknown key taints the one that was meant.
        let meant = if is_key {
            Some(top)
        } else if self.findings.is_full() {
            None
        } else {
            likely(top, properties(self.schema))
        };
        self.broken.extend(meant.map(str::to_owned));
        let path = &self.path;
        self.findings.add(|| finish(Problem::new(message()).at(span).on(path.clone())));
    }

    /// Returns the alternatives of a schema, without references.
    fn choices(&self, schema: &'a Value) -> Vec<&'a Value> {
        if let Some(name) = schema["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/")) {
            return self.choices(&self.schema["$defs"][name]);
        }
        match schema.get("anyOf").or(schema.get("oneOf")).and_then(Value::as_array) {
            Some(inner) => inner.iter().flat_map(|inner| self.choices(inner)).collect(),
            None => vec![schema],
        }
    }
}

fn shape<'a>(choices: &[&'a Value]) -> Option<Shape<'a>> {
    let objects: Vec<&Value> =
        choices.iter().copied().filter(|choice| choice["type"] == "object").collect();
    let first = objects.first()?;
    let mut properties = first["properties"].as_object().into_iter().flatten();
    match properties.find(|(_, schema)| schema.get("const").is_some()) {
        Some((tag, _)) => Some(Shape::Tagged(tag, objects)),
        None if objects.len() == 1 => Some(Shape::Object(first)),
        None => Some(Shape::OneKey(objects)),
    }
}

fn properties(schema: &Value) -> impl Iterator<Item = &str> {
    schema["properties"].as_object().into_iter().flat_map(|map| map.keys().map(String::as_str))
}

/// Returns the words that the alternatives allow.
pub(super) fn words<'a>(choices: &[&'a Value]) -> impl Iterator<Item = &'a str> {
    choices.iter().flat_map(|choice| {
        let list = choice["enum"].as_array().into_iter().flatten();
        list.chain(choice.get("const")).filter_map(Value::as_str)
    })
}
