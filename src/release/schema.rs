//! The JSON Schema of lines: the events of a release, and the lines of other commands.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::event::EventKind;
use super::line::{FORM, LineData};
use super::step::Step;

/// The `$id`. It changes with the version of the format only.
const ID: &str = "urn:rollgate:schema:events:v1";

/// What a line is, for readers of the schema.
const ABOUT: &str =
    "One line of `--output jsonl`, or of a journal. Later versions only add fields and types.";

/// The schema of lines, to which each command adds its own.
#[derive(Debug)]
pub struct LineSchema {
    generator: SchemaGenerator,
    kinds: Vec<Value>,
}

impl LineSchema {
    /// The schema of a release's events.
    #[must_use]
    pub fn of_events() -> Self {
        let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
        let mut schema = Self { generator, kinds: Vec::new() };
        let mut events = Value::from(EventKind::json_schema(&mut schema.generator));
        for event in events["oneOf"].as_array_mut().into_iter().flatten() {
            let (about, data) = (event["description"].take(), event["properties"]["data"].take());
            let kind = &event["properties"]["type"]["const"];
            schema.insert(kind.as_str().unwrap_or_default(), names(kind), &about, &data);
        }
        schema
    }

    /// Adds a line of another command.
    pub fn add<D: LineData>(&mut self) {
        let data = Value::from(self.generator.subschema_for::<D>());
        let name = data["$ref"].as_str().and_then(|path| path.rsplit('/').next());
        let definition = name.and_then(|name| self.generator.definitions().get(name));
        let about = definition.map_or(Value::Null, |data| data["description"].clone());
        self.insert(D::KIND, D::NAMES, &about, &data);
    }

    fn insert(&mut self, kind: &str, names: &[&str], about: &Value, data: &Value) {
        let mut then = Map::new();
        then.insert("description".into(), about.clone());
        then.insert("properties".into(), json!({ "data": data }));
        if !names.is_empty() {
            then.insert("required".into(), json!(names));
        }
        self.kinds
            .push(json!({ "if": { "properties": { "type": { "const": kind } } }, "then": then }));
    }

    /// The whole schema. It accepts fields and types that it does not know.
    #[must_use]
    pub fn build(mut self) -> Value {
        let step = self.generator.subschema_for::<Step>();
        let mut definitions = Value::Object(self.generator.take_definitions(true));
        let mut kinds = Value::Array(self.kinds);
        tidy(&mut definitions);
        tidy(&mut kinds);
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": ID,
            "title": "rollgate JSON lines",
            "description": ABOUT,
            "type": "object",
            "properties": {
                "v": { "const": FORM, "description": "The version of this format." },
                "seq": { "type": "integer", "minimum": 1, "description": "The number of the line. It always grows, but numbers can be missing." },
                "ts": { "type": "string", "format": "date-time", "description": "The time, by the clock of the machine that runs rollgate." },
                "type": { "type": "string", "description": "What the line describes." },
                "release": { "type": "string", "description": "The id of the release; empty if the line belongs to no release." },
                "node": { "type": "string", "description": "The node, if the line is about one." },
                "step": step,
                "data": { "type": "object", "description": "Everything else; its form depends on `type`." },
            },
            "required": ["v", "seq", "ts", "type", "release", "data"],
            "allOf": kinds,
            "$defs": definitions,
        })
    }
}

/// What an event always names besides its data.
fn names(kind: &Value) -> &'static [&'static str] {
    match kind.as_str().and_then(|kind| kind.split('.').next()) {
        Some("step" | "capacity" | "gateway") => &["node", "step"],
        // The watch of a node that is out writes between steps, too.
        Some("node" | "registry") => &["node"],
        _ => &[],
    }
}

/// Makes every object as strict as what is written: a field that can be absent is never `null`, and a field with a
/// default is absent in the journals of older versions. A description is one line.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Array(parts) => parts.iter_mut().for_each(tidy),
        Value::Object(parts) => {
            if let Some(Value::Object(mut fields)) = parts.get("properties").cloned() {
                let mut required = parts.get("required").cloned().unwrap_or_else(|| json!([]));
                for (name, field) in &mut fields {
                    let is_required = |names: &Vec<Value>| names.iter().any(|other| other == name);
                    if !required.as_array().is_some_and(is_required) {
                        forbid_null(field);
                    }
                    if field.get("default").is_some()
                        && let Some(names) = required.as_array_mut()
                    {
                        names.retain(|other| other != name);
                    }
                }
                parts.insert("properties".into(), fields.into());
                if parts.contains_key("required") {
                    parts.insert("required".into(), required);
                }
            }
            if let Some(Value::String(text)) = parts.get_mut("description") {
                *text = text.replace('\n', " ");
            }
            parts.values_mut().for_each(tidy);
        }
        _ => {}
    }
}

fn forbid_null(field: &mut Value) {
    if let Some(types) = field.get_mut("type").and_then(Value::as_array_mut) {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            field["type"] = only.clone();
        }
        return;
    }
    let Some(Value::Array(forms)) = field.get("anyOf") else { return };
    let forms: Vec<_> = forms.iter().filter(|form| form["type"] != "null").cloned().collect();
    if let ([Value::Object(only)], Value::Object(field)) = (forms.as_slice(), field) {
        field.remove("anyOf");
        field.extend(only.clone());
    }
}
