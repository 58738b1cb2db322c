//! Reads the part of JSON Schema that our types produce: which values a schema accepts.

use serde_json::Value;

/// The objects among which a map chooses, and how.
pub(super) enum MapChoice<'a> {
    Object(&'a Value),
    /// One of the schemas, by the value of a key.
    Tagged(&'a str, Vec<&'a Value>),
    /// One of the schemas, by its only key.
    OneKey(Vec<&'a Value>),
}

/// Returns the alternatives of a schema, without references to the definitions of `root`.
pub(super) fn choices<'a>(root: &'a Value, schema: &'a Value) -> Vec<&'a Value> {
    if let Some(name) = schema["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/")) {
        return choices(root, &root["$defs"][name]);
    }
    match schema.get("anyOf").or(schema.get("oneOf")).and_then(Value::as_array) {
        Some(inner) => inner.iter().flat_map(|inner| choices(root, inner)).collect(),
        None => vec![schema],
    }
}

/// Returns the smallest value that a schema's first alternative accepts, as far as types show it.
pub(super) fn smallest(root: &Value, schema: &Value) -> Value {
    let choices = choices(root, schema);
    let Some(first) = choices.first() else {
        return Value::Null;
    };
    if let Some(word) = first.get("const").or_else(|| first["enum"].get(0)) {
        return word.clone();
    }
    match first["type"].as_str() {
        Some("object") => {
            let least = |name: &str| smallest(root, &first["properties"][name]);
            required(first).map(|name| (name.to_owned(), least(name))).collect()
        }
        Some("array") => Value::Array(Vec::new()),
        Some("integer") => first.get("minimum").cloned().unwrap_or_else(|| Value::from(0)),
        Some("boolean") => Value::from(false),
        _ if first["format"] == "rollgate-duration" => Value::from("0s"),
        _ => Value::from(""),
    }
}

/// Returns how a map chooses among the alternatives, if there is a choice.
pub(super) fn map_choice<'a>(choices: &[&'a Value]) -> Option<MapChoice<'a>> {
    let objects: Vec<&Value> =
        choices.iter().copied().filter(|choice| choice["type"] == "object").collect();
    let first = objects.first()?;
    let mut properties = first["properties"].as_object().into_iter().flatten();
    match properties.find(|(_, schema)| schema.get("const").is_some()) {
        Some((tag, _)) => Some(MapChoice::Tagged(tag, objects)),
        None if objects.len() == 1 => Some(MapChoice::Object(first)),
        None => Some(MapChoice::OneKey(objects)),
    }
}

/// Returns what the map needs at least, for people, where nothing but a map can stand.
pub(super) fn keys_of_map(choices: &[&Value]) -> Option<String> {
    if choices.iter().any(|choice| choice["type"] != "object") {
        return None;
    }
    let keys: Vec<_> = match map_choice(choices)? {
        MapChoice::Tagged(tag, _) => vec![tag],
        MapChoice::Object(schema) => required(schema).collect(),
        MapChoice::OneKey(_) => Vec::new(),
    };
    let keys: Vec<_> = keys.into_iter().map(|key| format!("{key}: …")).collect();
    (!keys.is_empty()).then(|| format!("write `{{ {} }}`", keys.join(", ")))
}

pub(super) fn required(schema: &Value) -> impl Iterator<Item = &str> {
    schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

pub(super) fn properties(schema: &Value) -> impl Iterator<Item = &str> {
    schema["properties"].as_object().into_iter().flat_map(|map| map.keys().map(String::as_str))
}

/// Returns the words that the alternatives allow.
pub(super) fn words<'a>(choices: &[&'a Value]) -> impl Iterator<Item = &'a str> {
    choices.iter().flat_map(|choice| {
        let list = choice["enum"].as_array().into_iter().flatten();
        list.chain(choice.get("const")).filter_map(Value::as_str)
    })
}
