//! Pages of reference that are made from the code: every key of a playbook, and every command.

use clap::{Arg, Command, CommandFactory as _};
use rollgate::cli::Cli;
use serde_json::Value;

use crate::generated::{assert_current, between};
use crate::support::{Case, root};

const KEYS: &str = "# Every key of a playbook

[The playbook](playbook.md) explains the keys. This page lists all of them, as `rollgate schema` describes them for editors. Tests
keep it current. **Bold** keys are required.
";

/// A text in a cell of a table.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn text<'a>(schema: &'a Value, key: &str) -> &'a str {
    schema[key].as_str().unwrap_or_default()
}

/// What a value can be, in words.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return match name {
            "Template" => "text".into(),
            name => format!("[{name}](#{})", name.to_lowercase()),
        };
    }
    if let Some(value) = schema["const"].as_str() {
        return format!("`{value}`");
    }
    if let Some(values) = schema["enum"].as_array() {
        let values = values.iter().filter_map(Value::as_str).map(|value| format!("`{value}`"));
        return values.collect::<Vec<_>>().join(", ");
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let is_list = |schema: &&Value| schema["type"] == "array";
        // A list of one entry can be written as the entry alone.
        return match any.iter().find(is_list) {
            Some(list) if any.len() == 2 && any.contains(&list["items"]) => kind(list),
            _ => any.iter().map(kind).collect::<Vec<_>>().join(", or "),
        };
    }
    match text(schema, "type") {
        "array" => format!("list of {}", kind(&schema["items"])),
        "object" if schema["additionalProperties"].is_object() => {
            format!("map of names to {}", kind(&schema["additionalProperties"]))
        }
        "object" => {
            let keys = schema["properties"].as_object().into_iter().flatten();
            let keys = keys.map(|(key, value)| format!("`{key}`: {}", kind(value)));
            format!("map with {}", keys.collect::<Vec<_>>().join(", "))
        }
        "integer" => "number".into(),
        "boolean" => "`true` or `false`".into(),
        _ => "text".into(),
    }
}

/// The keys of a map.
fn keys(schema: &Value) -> String {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let rows = schema["properties"].as_object().into_iter().flatten().map(|(key, value)| {
        let name = if required.contains(&key.as_str().into()) {
            format!("**`{key}`**")
        } else {
            format!("`{key}`")
        };
        // A map's default is that of its keys.
        let default = match &value["default"] {
            Value::Null | Value::Object(_) => String::new(),
            Value::String(text) => format!("`{text}`"),
            default => format!("`{default}`"),
        };
        let meaning = cell(text(value, "description"));
        format!("| {name} | {} | {default} | {meaning} |\n", kind(value))
    });
    format!(
        "\n| key | value | default | meaning |\n|---|---|---|---|\n{}",
        rows.collect::<String>()
    )
}

/// One type, below its heading.
fn section(name: &str, schema: &Value) -> String {
    let mut page = format!("\n## {name}\n\n{}\n", cell(text(schema, "description")));
    let forms = schema["oneOf"].as_array().cloned().unwrap_or_default();
    if schema["properties"].is_object() {
        page += &keys(schema);
    } else if forms.iter().any(|form| form["properties"]["type"]["const"].is_string()) {
        for form in &forms {
            let title = text(&form["properties"]["type"], "const");
            page += &format!("\n### {name}: `{title}`\n\n{}\n", cell(text(form, "description")));
            page += &keys(form);
        }
    } else if !forms.is_empty() {
        let row =
            |form: &Value| format!("| {} | {} |\n", kind(form), cell(text(form, "description")));
        let rows: String = forms.iter().map(row).collect();
        page += &format!("\n| value | meaning |\n|---|---|\n{rows}");
    } else if !schema["anyOf"].is_null() {
        page += &format!("\nValue: {}.\n", kind(schema));
    }
    page
}

#[test]
fn page_of_all_keys_is_as_the_schema_describes_them() {
    let (schema, _) = Case::new(&[]).exits(0, &["schema"]);
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    let types = schema["$defs"].as_object().expect("types").iter();
    let types = types.filter(|(name, _)| *name != "Template");
    let sections: String = types.map(|(name, schema)| section(name, schema)).collect();
    let page = format!("{KEYS}{}{sections}", keys(&schema));
    assert_current(&root().join("docs/keys.md"), &page);
}

/// An argument as it is typed.
fn typed(argument: &Arg) -> String {
    let names = argument.get_value_names().unwrap_or_default();
    let takes = argument.get_action().takes_values();
    let is_optional = argument.is_require_equals_set();
    let form = |name| if is_optional { format!("[=<{name}>]") } else { format!(" <{name}>") };
    let names: Vec<_> = names.iter().map(form).collect();
    let value = if takes { names.concat() } else { String::new() };
    let short = argument.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
    match argument.get_long() {
        Some(long) => format!("`{short}--{long}{value}`"),
        None => format!("`{}`", value.trim()),
    }
}

/// The arguments and options of a command.
fn arguments<'a>(arguments: impl Iterator<Item = &'a Arg>) -> String {
    let rows = arguments.filter(|argument| {
        !argument.is_hide_set() && !["help", "version"].contains(&argument.get_id().as_str())
    });
    let rows = rows.map(|argument| {
        let help = argument.get_long_help().or(argument.get_help()).map(ToString::to_string);
        let mut meaning = cell(&help.unwrap_or_default());
        let values = argument.get_possible_values();
        if argument.get_action().takes_values() && !values.is_empty() {
            let names = values.iter().filter(|value| !value.is_hide_set());
            let names = names.map(|value| match value.get_help() {
                Some(help) => format!("`{}` ({})", value.get_name(), cell(&help.to_string())),
                None => format!("`{}`", value.get_name()),
            });
            meaning += &format!(". One of {}", names.collect::<Vec<_>>().join(", "));
        }
        let defaults: Vec<_> =
            argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        if argument.get_action().takes_values() && !defaults.is_empty() {
            meaning += &format!(". Default: `{}`", defaults.join(" "));
        }
        if let Some(variable) = argument.get_env() {
            meaning += &format!(". Also `{}` in the environment", variable.to_string_lossy());
        }
        format!("| {} | {meaning} |\n", typed(argument))
    });
    let rows: String = rows.collect();
    if rows.is_empty() {
        return String::new();
    }
    format!("\n| argument | meaning |\n|---|---|\n{rows}")
}

/// A command, or the commands below it.
fn described(command: &Command, name: &str) -> String {
    if command.has_subcommands() {
        let below = command.get_subcommands().filter(|below| below.get_name() != "help");
        return below
            .map(|below| described(below, &format!("{name} {}", below.get_name())))
            .collect();
    }
    let about = command.get_long_about().or(command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    let usage = command.clone().bin_name(name).render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    let own = command.get_arguments().filter(|argument| !argument.is_global_set());
    format!("## {name}\n\n{about}.\n\n```text\n{usage}\n```\n{}\n", arguments(own))
}

#[test]
fn page_of_the_commands_is_as_their_help_describes_them() {
    let path = root().join("docs/commands.md");
    let page = std::fs::read_to_string(&path).expect("the page");
    let mut command = Cli::command();
    command.build();
    let global = command.get_arguments().filter(|argument| argument.is_global_set());
    let global = format!("## Options of every command\n{}", arguments(global));
    let all = described(&command, "rollgate") + &global;
    let (begin, end) =
        ("<!-- The commands, as their help describes them. -->", "<!-- End of the commands. -->");
    assert_current(&path, &between(&page, begin, end, &all));
}

#[test]
fn table_of_the_commands_names_each() {
    let page = std::fs::read_to_string(root().join("docs/commands.md")).expect("the page");
    let (table, _) = page.split_once("<!--").expect("generated text");
    for command in Cli::command().get_subcommands().filter(|command| command.get_name() != "help") {
        let name = command.get_name();
        assert!(table.contains(&format!("`{name}`")), "docs/commands.md does not explain `{name}`");
    }
}
