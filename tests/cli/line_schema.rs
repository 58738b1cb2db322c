//! The published schema of JSON lines, for every test that prints lines. For tests it is closed: it also refuses fields
//! and types that it does not name.

use std::sync::LazyLock;

use boon::{Compiler, Draft, SchemaIndex, Schemas};
use serde_json::{Value, json};

/// A schema that is ready for use.
pub(crate) struct LineSchema {
    schemas: Schemas,
    index: SchemaIndex,
}

static CLOSED: LazyLock<LineSchema> = LazyLock::new(|| {
    let mut schema = rollgate::cli::event_schema();
    close(&mut schema["allOf"]);
    close(&mut schema["$defs"]);
    schema["additionalProperties"] = false.into();
    schema["properties"]["type"]["enum"] = kinds(&schema).into();
    LineSchema::new(schema)
});

impl LineSchema {
    pub(crate) fn new(schema: Value) -> Self {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.set_default_draft(Draft::V2020_12);
        compiler.enable_format_assertions();
        let id = schema["$id"].as_str().expect("an id").to_owned();
        compiler.add_resource(&id, schema).expect("a resource");
        let index = compiler.compile(&id, &mut schemas).expect("a valid schema");
        Self { schemas, index }
    }

    /// Says why a line does not match.
    pub(crate) fn check(&self, line: &Value) -> Result<(), String> {
        let checked = self.schemas.validate(line, self.index);
        checked.map_err(|error| format!("{error:#}\n{line}"))
    }
}

/// The types of lines that a schema names.
pub(crate) fn kinds(schema: &Value) -> Vec<&str> {
    let rules = schema["allOf"].as_array().expect("a rule for each type").iter();
    rules.map(|rule| rule["if"]["properties"]["type"]["const"].as_str().expect("a type")).collect()
}

/// Refuses other fields in every object that does not say what they are.
fn close(schema: &mut Value) {
    match schema {
        Value::Array(parts) => parts.iter_mut().for_each(close),
        Value::Object(parts) => {
            if parts.get("type") == Some(&json!("object"))
                && !parts.contains_key("additionalProperties")
            {
                parts.insert("additionalProperties".into(), false.into());
            }
            parts.values_mut().for_each(close);
        }
        _ => {}
    }
}

/// Says why a line does not match the closed schema.
pub(crate) fn check(line: &Value) -> Result<(), String> {
    CLOSED.check(line)
}

/// Asserts that a line matches the closed schema.
#[track_caller]
pub(crate) fn assert_line(line: &Value) {
    if let Err(problem) = check(line) {
        panic!("a line does not match docs/events.schema.json: {problem}");
    }
}

/// Asserts that each line of an output matches the closed schema. Some commands print other text.
#[track_caller]
pub(crate) fn assert_lines(output: &str) {
    for line in output.lines().filter(|line| line.starts_with("{\"v\":")) {
        assert_line(&serde_json::from_str(line).expect("JSON"));
    }
}
