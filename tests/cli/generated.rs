//! Files that are generated from the code: `UPDATE=1` writes them, otherwise they must match.

use std::path::Path;

use crate::support::{Case, root};

#[track_caller]
pub(crate) fn assert_current(path: &Path, made: &str) {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, made).expect("written");
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == made,
        "{} is not as the code makes it: run the tests with UPDATE=1",
        path.display()
    );
}

#[test]
fn completion_scripts_match_the_command() {
    for (shell, file) in [
        ("bash", "rollgate.bash"),
        ("zsh", "_rollgate"),
        ("fish", "rollgate.fish"),
        ("powershell", "rollgate.ps1"),
        ("elvish", "rollgate.elv"),
    ] {
        let (script, _) = Case::new(&[]).exits(0, &["completions", shell]);
        assert_current(&root().join("completions").join(file), &script);
    }
}

#[test]
fn schema_matches_the_types() {
    let (stdout, _) = Case::new(&[]).exits(0, &["schema"]);
    assert_current(&root().join("docs/playbook.schema.json"), &stdout);
    let schema: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["properties"]["nodes"]["anyOf"][0]["minItems"], 1);
    let (stdout, _) = Case::new(&[]).exits(0, &["schema", "plan"]);
    assert_current(&root().join("docs/plan.schema.json"), &stdout);
    let schema: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(schema["properties"]["type"]["$ref"], "#/$defs/Kind");
    assert_eq!(schema["properties"]["v"]["const"], 1);
    let (stdout, _) = Case::new(&[]).exits(0, &["schema", "events"]);
    assert_current(&root().join("docs/events.schema.json"), &stdout);
    let schema: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(schema["$id"], "urn:rollgate:schema:events:v1");
}

#[test]
fn every_playbook_of_the_repository_is_valid() {
    let mut count = 0;
    for entry in std::fs::read_dir(root().join("playbooks")).expect("playbooks").flatten() {
        let path = entry.path().display().to_string();
        Case::new(&[]).exits(0, &["check", &path]);
        count += 1;
    }
    assert!(count >= 3, "there are playbooks");
}

/// The first line by which editors find the schema.
fn assert_names_schema(playbook: &str, folder: Option<&Path>, name: &str) {
    let first = playbook.lines().next().unwrap_or_default();
    let schema = first.strip_prefix("# yaml-language-server: $schema=");
    let schema = schema.unwrap_or_else(|| panic!("{name} does not begin with its schema: {first}"));
    match folder {
        Some(folder) => {
            let path = folder.join(schema).canonicalize().expect("the schema");
            assert!(path.ends_with("docs/playbook.schema.json"), "{name}: {}", path.display());
        }
        None => assert_eq!(schema, "rollgate.schema.json", "{name}"),
    }
}

#[test]
fn every_playbook_begins_with_its_schema() {
    let folder = root().join("playbooks");
    for entry in std::fs::read_dir(&folder).expect("playbooks").flatten() {
        let text = std::fs::read_to_string(entry.path()).expect("a playbook");
        assert_names_schema(&text, Some(&folder), &entry.path().display().to_string());
    }
    let mut pages = vec![root().join("README.md")];
    let docs = std::fs::read_dir(root().join("docs")).expect("docs").flatten();
    pages.extend(
        docs.map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|end| end == "md")),
    );
    let mut count = 0;
    for page in pages {
        let text = std::fs::read_to_string(&page).expect("a page");
        for block in text.split("```yaml\n").skip(1) {
            let block = block.split("```").next().unwrap_or_default();
            if block.lines().any(|line| line.starts_with("service:")) {
                assert_names_schema(block, None, &page.display().to_string());
                count += 1;
            }
        }
    }
    assert!(count > 0, "the README has a playbook");
}

/// What a driver documents of its kind: the rows of the table of all kinds, and its section.
fn documented(kind: &str, module: &str) -> (String, String) {
    let file = root().join(format!("src/gateway/drivers/{module}.rs"));
    let text = std::fs::read_to_string(&file).expect("a driver");
    let lines = text.lines().map_while(|line| line.strip_prefix("//!"));
    let lines: Vec<_> = lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    assert!(lines[0].starts_with(&format!("## {kind}")), "{module} begins with its heading");
    let table = lines.iter().position(|line| line.starts_with("|---")).expect("a table");
    let rows = lines[table + 1..].iter().take_while(|line| line.starts_with('|'));
    let rows: Vec<_> = rows.map(|row| row.trim_matches('|').split('|').collect()).collect();
    let end = table + 1 + rows.len();
    let row = |cells: &Vec<&str>| match cells[..] {
        [gateway, registry, playbook] => format!("|{gateway}|{registry}| `{kind}` |{playbook}|\n"),
        _ => panic!("{module}: {cells:?}"),
    };
    let section = [&lines[..table - 2], &lines[end..]].concat().join("\n");
    (rows.iter().map(row).collect(), format!("{section}\n\n"))
}

/// A page with other text between two of its lines.
pub(crate) fn between(page: &str, begin: &str, end: &str, text: &str) -> String {
    let (before, rest) = page.split_once(begin).expect("the first line");
    let (_, after) = rest.split_once(end).expect("the last line");
    format!("{before}{begin}\n\n{text}\n{end}{after}")
}

#[test]
fn page_of_the_gateways_is_as_their_drivers_document_them() {
    let path = root().join("docs/gateways.md");
    let page = std::fs::read_to_string(&path).expect("the page");
    let kinds = rollgate::gateway::KINDS.iter();
    let (rows, sections): (String, String) =
        kinds.map(|(kind, module)| documented(kind, module)).unzip();
    let table =
        format!("| gateway | `registry` | `type` | a playbook |\n|---|---|---|---|\n{rows}");
    let (begin, end) =
        ("<!-- The kinds, as their drivers document them. -->", "<!-- End of the kinds. -->");
    let page = between(&page, begin, end, &table);
    let (begin, end) = (
        "<!-- The sections of the kinds, as their drivers document them. -->",
        "<!-- End of the sections. -->",
    );
    assert_current(&path, &between(&page, begin, end, sections.trim_end()));
}

#[test]
fn paths_in_the_pages_for_developers_exist() {
    for page in ["docs/architecture.md", "CONTRIBUTING.md", "tests/README.md"] {
        let text = std::fs::read_to_string(root().join(page)).expect(page);
        let quoted = text.split('`').skip(1).step_by(2);
        let paths: Vec<_> = quoted
            .filter(|word| {
                ["src/", "tests/", "lab/", "scripts/", "docs/"]
                    .iter()
                    .any(|top| word.starts_with(top))
            })
            .filter(|word| !word.contains("KIND") && !word.contains(' '))
            .collect();
        assert!(!paths.is_empty(), "{page} names no path");
        for path in paths {
            assert!(root().join(path).exists(), "{page} names `{path}`");
        }
    }
}
