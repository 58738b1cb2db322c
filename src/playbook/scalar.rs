//! Converts one scalar of the file to one JSON value, as the schema requires.

use std::ops::Range;

use serde_json::Value;

use super::findings::{known, quoted};
use super::schema::words;
use super::{Amount, DurationSetting, Statuses, Template};
use crate::pattern::Pattern;

/// Why a scalar is wrong.
#[derive(Debug, Default)]
pub(super) struct Issue {
    pub(super) message: String,
    pub(super) help: Vec<String>,
    /// Which part of the text. Default: all of it.
    pub(super) at: Option<Range<usize>>,
}

impl Issue {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }
}

/// Reads a scalar as one of the alternatives.
pub(super) fn read(text: &str, plain: bool, choices: &[&Value]) -> Result<Value, Issue> {
    let of_type = |name: &str| choices.iter().copied().find(|choice| choice["type"] == name);
    let free = choices.iter().copied().find(|choice| {
        choice["type"] == "string" && choice.get("const").is_none() && choice.get("enum").is_none()
    });
    if words(choices).any(|word| word == text) {
        return Ok(Value::from(text));
    }
    if let Some(integer) = of_type("integer")
        && (free.is_none() || (plain && is_integer(text)))
    {
        return read_integer(text, plain, integer);
    }
    if of_type("boolean").is_some() {
        return read_boolean(text, plain);
    }
    if let Some(schema) = free {
        return read_text(text, schema);
    }
    let mut names: Vec<&str> = words(choices).collect();
    let shown = quoted(text);
    if names.is_empty() {
        return Err(Issue::new(format!("expected {}, found `{shown}`", expected(choices))));
    }
    let maps = choices.iter().filter_map(|choice| choice["properties"].as_object());
    let keys: Vec<&str> = maps.flat_map(|map| map.keys().map(String::as_str)).collect();
    if keys.contains(&text) {
        return Err(Issue::new(format!("`{shown}` needs a value"))
            .help(format!("write `{shown}: …` with its settings")));
    }
    names.extend(keys.iter().filter(|key| !words(choices).any(|word| word == **key)));
    Err(Issue {
        help: known(text, "it is one of", names),
        ..Issue::new(format!("unknown word `{shown}`"))
    })
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn read_integer(text: &str, plain: bool, schema: &Value) -> Result<Value, Issue> {
    let shown = quoted(text);
    if !is_integer(text) {
        return Err(Issue::new(format!("expected a whole number, found `{shown}`")));
    }
    if !plain {
        return Err(Issue::new(format!("expected a whole number, found the text '{shown}'"))
            .help("remove the quotes"));
    }
    let most = match schema["format"].as_str() {
        Some("uint16") => u64::from(u16::MAX),
        Some("uint32") => u64::from(u32::MAX),
        _ => u64::MAX,
    };
    let most = schema["maximum"].as_u64().unwrap_or(most).min(most);
    let least = schema["minimum"].as_u64().unwrap_or(0);
    match text.parse::<u64>() {
        Ok(number) if (least..=most).contains(&number) => Ok(Value::from(number)),
        _ => Err(Issue::new(format!("`{shown}` is out of range"))
            .help(format!("a whole number from {least} to {most}"))),
    }
}

fn read_boolean(text: &str, plain: bool) -> Result<Value, Issue> {
    match text {
        "true" | "false" if plain => return Ok(Value::from(text == "true")),
        _ => {}
    }
    let shown = quoted(text);
    let wrong = Issue::new(format!("expected `true` or `false`, found `{shown}`"));
    Err(match text.to_ascii_lowercase().as_str() {
        "true" | "false" if !plain => wrong.help("remove the quotes"),
        "yes" | "on" | "y" | "true" => wrong.help("write `true`"),
        "no" | "off" | "n" | "false" => wrong.help("write `false`"),
        _ => wrong,
    })
}

fn read_text(text: &str, schema: &Value) -> Result<Value, Issue> {
    let shown = quoted(text);
    if let Some(pattern) = schema["pattern"].as_str()
        && !Pattern::new(pattern).is_ok_and(|pattern| pattern.matches(text))
    {
        return Err(Issue::new(format!("`{shown}` is not allowed here"))
            .help(format!("it must match `{pattern}`")));
    }
    match schema["format"].as_str() {
        Some("rollgate-duration") => {
            DurationSetting::parse(text).map_err(|message| Issue::new(quoted_message(&message)))?;
        }
        Some("rollgate-amount") => {
            Amount::parse(text).map_err(|message| {
                Issue::new(format!("`{shown}` is not an amount")).help(message)
            })?;
        }
        Some("rollgate-statuses") => {
            Statuses::parse(text).map_err(|message| {
                Issue::new(format!("`{shown}` is not a status")).help(message)
            })?;
        }
        Some("rollgate-template") => read_template(text)?,
        Some("regex") => {
            Pattern::new(text).map_err(|error| {
                Issue::new(format!("`{shown}` is not a regular expression: {error}"))
            })?;
        }
        Some("json-pointer") if !is_pointer(text) => {
            return Err(Issue::new(format!("`{shown}` is not a JSON pointer")).help(
                "write `/` before each name, as in `/peers/0/state`; `~0` is `~`, `~1` is `/`",
            ));
        }
        _ => {}
    }
    Ok(Value::from(text))
}

fn read_template(text: &str) -> Result<(), Issue> {
    let template = Template::new(text);
    match template.names().1.first() {
        None => Ok(()),
        Some(error) => {
            Err(Issue { at: Some(error.at()), ..Issue::new(quoted_message(&error.to_string())) })
        }
    }
}

/// Messages of other libraries quote the value, which can be long.
fn quoted_message(message: &str) -> String {
    crate::text::line(message, 160)
}

fn is_pointer(text: &str) -> bool {
    let escapes = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    (text.is_empty() || text.starts_with('/')) && escapes
}

/// Describes what the alternatives accept.
pub(super) fn expected(choices: &[&Value]) -> String {
    let mut wanted: Vec<&str> = Vec::new();
    for choice in choices {
        let format = choice["format"].as_str().unwrap_or_default();
        wanted.push(match (choice["type"].as_str().unwrap_or_default(), format) {
            ("object", _) => "a map",
            ("array", _) => "a list",
            ("integer", _) => "a whole number",
            ("boolean", _) => "`true` or `false`",
            (_, "rollgate-duration") => "a duration like `30s`",
            (_, "rollgate-amount") => "a percentage like `25%`",
            (_, "rollgate-statuses") => "a range like `200-299`",
            (_, "regex") => "a regular expression",
            (_, "json-pointer") => "a JSON pointer",
            _ if choice.get("const").is_some() || choice.get("enum").is_some() => "a word",
            _ => "text",
        });
    }
    wanted.dedup();
    wanted.join(" or ")
}
