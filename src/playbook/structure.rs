//! Converts the tree to a JSON value with the schema of the playbook's types, and finds every problem of structure
//! at once.
//!
//! A wrong or missing value becomes the smallest value that the schema accepts, and its path is recorded. So the
//! types accept the result, and all correct values can still be checked.
//!
//! The module does not know playbooks, so a new key needs no line here. The schema decides what YAML leaves open: a
//! plain `1.20` stays the text `1.20` if the schema wants text, and `no` is never a boolean.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::Range;
use std::slice;

use serde_json::{Map, Value};

use super::findings::{Findings, known, likely, quoted};
use super::hidden::{Hidden, NOT_SHOWN};
use super::invalid_paths::InvalidPaths;
use super::scalar;
use super::schema::{
    MapChoice, choices, keys_of_map, map_choice, properties, required, smallest, words,
};
use super::tree::{Key, Kind, MERGE_KEY, Tree, template_hint};
use crate::diagnostic::Problem;

/// The help for a value that can be a secret.
const NAMED: &str = "a playbook only names secrets: write `secrets: { consul_token: { env: CONSUL_HTTP_TOKEN } }`, or `file`";

/// The result of a walk, besides its findings.
pub(super) struct Outcome {
    /// The file's content, in a form that the schema accepts.
    pub(super) value: Value,
    /// Where it differs from the file.
    pub(super) invalid: InvalidPaths,
}

/// Checks the tree of a file against a schema without `null`.
pub(super) fn walk(
    tree: &Tree,
    source: &str,
    schema: &Value,
    hidden: &Hidden,
    findings: &mut Findings,
) -> Outcome {
    let (path, invalid) = (String::new(), InvalidPaths::default());
    let mut walk = Walk { source, schema, hidden, path, invalid, findings };
    let value = walk.value(tree, schema, &(0..0));
    Outcome { value, invalid: walk.invalid }
}

struct Walk<'a> {
    source: &'a str,
    schema: &'a Value,
    hidden: &'a Hidden,
    path: String,
    invalid: InvalidPaths,
    findings: &'a mut Findings,
}

impl<'a> Walk<'a> {
    /// Returns the value, or the smallest one if it is wrong. `key` is the place of the value's name.
    fn value(&mut self, tree: &Tree, schema: &'a Value, key: &Range<usize>) -> Value {
        self.read(tree, schema, key).unwrap_or_else(|| {
            self.invalid.add(&self.path);
            smallest(self.schema, schema)
        })
    }

    /// Returns the value, or `None` if it is wrong.
    fn read(&mut self, tree: &Tree, schema: &'a Value, key: &Range<usize>) -> Option<Value> {
        let choices = choices(self.schema, schema);
        let lists_only = choices.iter().all(|choice| choice["type"] == "array");
        match &*tree.kind {
            // A single value stands for a list of one.
            Kind::Map(_) if lists_only => self.list(slice::from_ref(tree), choices.first()?, key),
            Kind::Scalar { text, plain } if lists_only && !(*plain && is_null(text)) => {
                self.list(slice::from_ref(tree), choices.first()?, key)
            }
            Kind::Map(entries) => match map_choice(&choices) {
                Some(choice) => self.map(entries, &choice, &choices, key),
                None => self.wrong_type(tree, &choices, key),
            },
            Kind::List(items) => match choices.iter().find(|choice| choice["type"] == "array") {
                Some(list) => self.list(items, list, key),
                None => self.wrong_type(tree, &choices, key),
            },
            Kind::Scalar { text, plain } => {
                if *plain && is_null(text) {
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
                    Err(_) if self.hidden.covers(&tree.span) => {
                        let expected = scalar::expected(&choices);
                        let finish = |problem: Problem| problem.secret().help(NAMED);
                        let message = || format!("expected {expected}, found {NOT_SHOWN}");
                        self.problem(tree.span.clone(), finish, message);
                        None
                    }
                    Err(wrong) => {
                        let span =
                            wrong.at.map_or(tree.span.clone(), |at| tree.part(self.source, at));
                        let map = keys_of_map(&choices).filter(|_| wrong.help.is_empty());
                        let help = wrong.help.into_iter().chain(map);
                        self.problem(span, |problem| problem.helps(help), || wrong.message);
                        None
                    }
                }
            }
        }
    }

    fn wrong_type(&mut self, tree: &Tree, choices: &[&Value], key: &Range<usize>) -> Option<Value> {
        let (source, expected) = (self.source, scalar::expected(choices));
        let found = if matches!(*tree.kind, Kind::Map(_)) { "a map" } else { "a list" };
        let is_template = source[..tree.span.start].ends_with('$')
            || source.get(tree.span.clone()).is_some_and(|text| text.starts_with("{{"));
        let hint = is_template.then(|| template_hint(source, tree.span.start)).flatten();
        let hint = hint.or_else(|| keys_of_map(choices));
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
            let place = match &*item.kind {
                Kind::Map(entries) if !entries.is_empty() => entries[0].0.span.clone(),
                _ => item.span.clone(),
            };
            values.push(self.value(item, &schema["items"], &place));
            self.path.truncate(length);
        }
        Some(Value::Array(values))
    }

    fn map(
        &mut self,
        entries: &[(Key, Tree)],
        choice: &MapChoice<'a>,
        choices: &[&'a Value],
        place: &Range<usize>,
    ) -> Option<Value> {
        match choice {
            MapChoice::Object(schema) => self.object(entries, schema, choices, place, None),
            MapChoice::Tagged(tag, schemas) => self.tagged(entries, tag, schemas, choices, place),
            MapChoice::OneKey(schemas) => {
                let chosen = entries.first().and_then(|(key, _)| {
                    schemas.iter().find(|schema| !schema["properties"][&key.name].is_null())
                });
                if let (Some(schema), 1) = (chosen, entries.len()) {
                    return self.object(entries, schema, choices, place, None);
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
                        _ => "more than one key where only one is allowed".to_owned(),
                    },
                );
                None
            }
        }
    }

    fn tagged(
        &mut self,
        entries: &[(Key, Tree)],
        tag: &'a str,
        schemas: &[&'a Value],
        choices: &[&'a Value],
        place: &Range<usize>,
    ) -> Option<Value> {
        let tag_of = |schema: &'a Value| schema["properties"][tag]["const"].as_str();
        let tags = || schemas.iter().copied().filter_map(tag_of);
        let given = entries.iter().find(|(key, _)| key.name == tag).map(|(_, tree)| tree);
        let text = match given.map(|tree| &*tree.kind) {
            Some(Kind::Scalar { text, .. }) => text.as_str(),
            Some(Kind::List(_) | Kind::Map(_)) | None => "",
        };
        if let Some(schema) = schemas.iter().find(|schema| tag_of(schema) == Some(text)) {
            return self.object(entries, schema, choices, place, None);
        }
        // Decided by earlier findings: this problem can be the last one that is kept.
        let meant = self.meant(entries, tag, text, schemas);
        let length = self.push(tag);
        match given {
            Some(tree) if matches!(*tree.kind, Kind::Scalar { .. }) => {
                let help = known(text, "it is one of", tags());
                let message = || format!("unknown {tag} `{}`", quoted(text));
                self.problem(tree.span.clone(), |problem| problem.helps(help), message);
            }
            Some(tree) => {
                self.wrong_type(tree, &[&schemas[0]["properties"][tag]], &tree.span);
            }
            None => {
                self.path.truncate(length);
                if !has_merge_key(entries) {
                    let help = known("", "it is one of", tags());
                    let message = || format!("missing key `{tag}`");
                    self.problem(place.clone(), |problem| problem.helps(help), message);
                }
            }
        }
        self.path.truncate(length);
        self.object(entries, meant?, choices, place, Some(tag))
    }

    /// Returns the schema that fits a map without a correct tag: the one whose tag was probably meant, or the only
    /// one that would have no other problem than the tag.
    fn meant(
        &self,
        entries: &[(Key, Tree)],
        tag: &str,
        text: &str,
        schemas: &[&'a Value],
    ) -> Option<&'a Value> {
        if self.findings.is_full() {
            return None;
        }
        let fits = |schema: &&Value| {
            let mut others = entries.iter().map(|(key, _)| key.name.as_str());
            others.all(|name| {
                name == tag
                    || schema["properties"].get(name).is_some()
                    || likely(name, properties(schema)).is_some()
            })
        };
        let complete = |schema: &&Value| {
            let given = |name: &str| entries.iter().any(|(key, _)| key.name == name);
            required(schema).all(|name| name == tag || given(name))
        };
        let fitting: Vec<&Value> = schemas.iter().copied().filter(fits).collect();
        let tag_of = |schema: &'a Value| schema["properties"][tag]["const"].as_str();
        let likely = likely(text, fitting.iter().copied().filter_map(tag_of));
        let by_tag = fitting.iter().find(|schema| likely.is_some() && tag_of(schema) == likely);
        let by_keys = (fitting.len() == 1).then(|| fitting.iter().find(|one| complete(one)));
        by_tag.or(by_keys.flatten()).copied()
    }

    /// Reads a map with the schema of its keys, except a map that was already reported.
    fn object(
        &mut self,
        entries: &[(Key, Tree)],
        schema: &'a Value,
        choices: &[&'a Value],
        place: &Range<usize>,
        settled: Option<&'a str>,
    ) -> Option<Value> {
        let mut map = Map::new();
        let mut meant: BTreeSet<&str> = settled.into_iter().collect();
        let length = self.path.len();
        for (key, tree) in entries.iter().filter(|(key, _)| Some(key.name.as_str()) != settled) {
            let rest = &schema["additionalProperties"];
            let listed = schema["properties"].get(&key.name);
            let inner = listed.or(Some(rest).filter(|rest| rest.is_object()));
            if self.hidden.covers(&key.span) {
                let finish = |problem: Problem| problem.secret().help(NAMED);
                let message = || format!("expected a key and its value, found {NOT_SHOWN}");
                self.problem(key.span.clone(), finish, message);
                self.invalid.add(&self.path);
                continue;
            }
            self.push(&key.name);
            if key.name == MERGE_KEY {
                // Reported when it was read. Any key can come from there.
            } else if let Some(inner) = inner {
                map.insert(key.name.clone(), self.value(tree, inner, &key.span));
            } else {
                if !self.findings.is_full() {
                    meant.extend(likely(&key.name, properties(schema)));
                }
                self.unknown_key(key, schema, choices);
            }
            self.path.truncate(length);
        }
        if has_merge_key(entries) {
            return None;
        }
        let most = schema["maxProperties"].as_u64().unwrap_or(u64::MAX);
        let least = schema["minProperties"].as_u64().unwrap_or(0);
        let (count, right) = (entries.len() as u64, map.len() as u64);
        if count < least || (count > most && right > most) {
            let at = entries.get(1).map_or(place.clone(), |(key, _)| key.span.clone());
            let valid = known("", "valid keys", properties(schema));
            self.problem(
                at,
                |problem| problem.helps(valid),
                || {
                    if count < least { "this map is empty" } else { "only one key is allowed here" }
                        .to_owned()
                },
            );
        }
        if right < least || right > most {
            return None;
        }
        for name in required(schema) {
            if !map.contains_key(name) && !meant.contains(name) {
                self.problem(place.clone(), |problem| problem, || format!("missing key `{name}`"));
                meant.insert(name);
            }
        }
        meant.retain(|name| most == u64::MAX && !map.contains_key(*name));
        for name in meant {
            self.push(name);
            self.invalid.add(&self.path);
            self.path.truncate(length);
            map.insert(name.to_owned(), smallest(self.schema, &schema["properties"][name]));
        }
        Some(Value::Object(map))
    }

    fn unknown_key(&mut self, key: &Key, schema: &Value, choices: &[&Value]) {
        let name = quoted(&key.name);
        let is_port_of_ssh = self.path == "ssh.port";
        let advise = |problem: Problem| {
            let stands_alone = words(choices).any(|word| word == key.name);
            problem.helps(match key.name.as_str() {
                _ if stands_alone => {
                    vec![format!("`{name}` has no settings: write it without `:`")]
                }
                "port" if is_port_of_ssh => {
                    vec!["a port is a part of each destination: `ssh: app-1:2222`".to_owned()]
                }
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

    /// Adds a key to the path, and returns the length to which the path is cut later.
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
        let path = &self.path;
        self.findings.add(|| finish(Problem::new(message()).at(span).on(path.clone())));
    }
}

/// Returns whether YAML reads a plain text as no value.
fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

fn has_merge_key(entries: &[(Key, Tree)]) -> bool {
    entries.iter().any(|(key, _)| key.name == MERGE_KEY)
}
