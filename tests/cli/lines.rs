//! `--output jsonl`: stdout has lines of one form, and the last one has the result, however a command ends.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::line_schema::{LineSchema, assert_lines, check, kinds};
use crate::support::{Case, SMALL, root, sources};

/// Returns the lines of a command, all of the same form and numbered; the last one has the exit code.
#[track_caller]
fn lines(case: &Case, code: i32, arguments: &[&str]) -> Vec<Value> {
    let arguments: Vec<_> = arguments.iter().chain(&["--output", "jsonl"]).copied().collect();
    let (stdout, _) = case.exits(code, &arguments);
    let lines: Vec<Value> =
        stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for (index, line) in lines.iter().enumerate() {
        assert_eq!((&line["v"], &line["seq"]), (&1.into(), &(index + 1).into()), "{line}");
        assert!(line["ts"].is_string() && line["release"] == "", "{line}");
        assert_eq!(line["type"] == "release.finished", index + 1 == lines.len(), "{line}");
    }
    let last = &lines.last().expect("a last line")["data"];
    assert_eq!(last["exit_code"], code, "{last}");
    assert!(last["next"].is_array(), "{last}");
    lines
}

fn end(lines: &[Value]) -> (&str, &str) {
    let data = &lines.last().expect("a last line")["data"];
    (data["result"].as_str().unwrap_or(""), data["reason"].as_str().unwrap_or(""))
}

fn types(lines: &[Value]) -> Vec<&str> {
    lines.iter().filter_map(|line| line["type"].as_str()).collect()
}

fn case() -> Case {
    let bad = SMALL.replace("stop: 'true'", "stpo: 'true'").replace("}}/ping", "}}/${{ x }}");
    Case::new(&[("app.yaml", SMALL.as_bytes()), ("bad.yaml", bad.as_bytes())])
}

#[test]
fn every_problem_of_a_file_is_one_line_with_its_position() {
    let case = case();
    assert_eq!(end(&lines(&case, 0, &["check", "app.yaml"])), ("done", ""));
    let problems = lines(&case, 2, &["check", "bad.yaml"]);
    assert_eq!(types(&problems), ["check.problem", "check.problem", "release.finished"]);
    assert_eq!(end(&problems), ("refused", "2 problems in bad.yaml"));
    let first = &problems[0]["data"];
    assert_eq!((&first["line"], &first["column"]), (&10.into(), &1.into()));
    assert_eq!((&first["file"], &first["key"]), (&"bad.yaml".into(), &"stpo".into()));
    assert_eq!(first["message"], "unknown key `stpo`");
    assert_eq!(first["help"][0], "did you mean `stop`?");
    // Every command that reads the file reports the same.
    for command in ["plan", "deploy", "status"] {
        assert_eq!(types(&lines(&case, 2, &[command, "bad.yaml"])), types(&problems));
    }
    assert_eq!(end(&lines(&case, 2, &["check", "none"])), ("refused", "none: no such file"));
}

#[test]
fn refusal_states_its_reason() {
    let case = case();
    let reason = |arguments: &[&str]| end(&lines(&case, 2, arguments)).1.to_owned();
    let unset = "app.yaml: variable `version` is required and has no value";
    assert_eq!(reason(&["plan", "app.yaml"]), unset);
    assert_eq!(reason(&["deploy", "app.yaml", "--yes"]), unset);
    assert_eq!(reason(&["deploy", "app.yaml", "--yes", "--only", "app-1"]), unset);
    assert_eq!(reason(&["deploy", "--bogus"]), "unexpected argument '--bogus' found");
}

#[test]
fn refused_plan_states_each_reason_on_its_own_line() {
    let plan = lines(&case(), 3, &["plan", "app.yaml", "--var", "version=2"]);
    let refusals: Vec<_> = plan.iter().filter(|line| line["type"] == "plan.refused").collect();
    let told = |line: &Value| line["data"]["reason"].as_str().unwrap_or("").to_owned();
    assert!(told(refusals[0]).starts_with("Consul cannot be reached: "), "{refusals:?}");
    assert!(told(refusals[1]).starts_with("gateway 127.0.0.1:1 cannot be read: "), "{refusals:?}");
    let (result, reason) = end(&plan);
    assert_eq!(
        (result, reason),
        ("refused", &*format!("{}; {}", told(refusals[0]), told(refusals[1])))
    );
    let gateway = plan.iter().find(|line| line["type"] == "plan.gateway").expect("the gateway");
    assert_eq!(gateway["data"]["type"], "nginx-upsync");
}

#[test]
fn status_reports_what_it_cannot_read() {
    let status = lines(&case(), 0, &["status", "app.yaml"]);
    assert_eq!(
        types(&status),
        [
            "registry.status",
            "gateway.status",
            "node.status",
            "node.status",
            "lock.status",
            "release.finished"
        ]
    );
    let lock = status[4]["data"]["problem"].as_str().unwrap_or("");
    assert!(lock.starts_with("Consul cannot be reached"), "{lock}");
    let problem = status[0]["data"]["problem"].as_str().unwrap_or("");
    assert!(problem.starts_with("Consul cannot be reached"), "{problem}");
    assert!(status[1]["data"]["problem"].is_string(), "{}", status[1]);
    assert_eq!((&status[2]["node"], &status[2]["data"]["down"]), (&"app-1".into(), &Value::Null));
    assert_eq!(end(&status), ("done", ""));
}

/// The parts of `text` after each `start`, until a quote.
fn quoted<'a>(text: &'a str, start: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(start).skip(1).filter_map(|rest| rest.split(['"', '`']).next())
}

#[test]
fn page_and_schema_name_every_type_of_line() {
    let page = std::fs::read_to_string(root().join("docs/jsonl.md")).expect("a page");
    let schema = rollgate::cli::event_schema();
    let kinds: BTreeSet<_> = kinds(&schema).into_iter().collect();
    let tables = page.split("| type | meaning |\n|---|---|").skip(1);
    let tables = tables.filter_map(|rest| rest.split("\n\n").next());
    let documented = tables.flat_map(|table| quoted(table, "\n| `"));
    assert_eq!(documented.collect::<BTreeSet<_>>(), kinds);
    for file in sources(&root().join("src")) {
        let text = std::fs::read_to_string(&file).expect("a source");
        for kind in quoted(&text, "const KIND: &'static str = \"") {
            assert!(kinds.contains(kind), "`{kind}` of {} is not in the schema", file.display());
        }
    }
}

#[test]
fn lines_of_recorded_journals_match_the_schema() {
    let mut count = 0;
    for entry in std::fs::read_dir(root().join("tests/fixtures/journals")).expect("a folder") {
        let text = std::fs::read_to_string(entry.expect("a file").path()).expect("a journal");
        assert_lines(&text);
        count += text.lines().count();
    }
    assert!(count > 50, "{count} lines");
}

#[test]
fn schema_refuses_what_a_line_must_not_be() {
    let published = LineSchema::new(rollgate::cli::event_schema());
    let journal = root().join("tests/fixtures/journals/v1-deploy.jsonl");
    let journal = std::fs::read_to_string(journal).expect("a journal");
    let line_of = |kind: &str| {
        let mut lines = journal.lines().map(|line| serde_json::from_str(line).expect("JSON"));
        lines.find(|line: &Value| line["type"] == kind).expect(kind)
    };
    // A type, a field, its wrong value (none: it is missing), and whether only the closed schema refuses it.
    for (kind, field, value, only_closed) in [
        ("step.finished", "/data/elapsed_ms", Some(json!("4s")), false),
        ("step.finished", "/data/elapsed_ms", None, false),
        ("step.finished", "/data/elapsed_ms", Some(json!(-1)), false),
        ("step.finished", "/data/more", Some(json!(1)), true),
        ("step.started", "/data/more", Some(json!(1)), true),
        ("step.started", "/node", None, false),
        ("step.started", "/step", None, false),
        ("step.started", "/step", Some(json!("run-x")), false),
        ("step.started", "/type", Some(json!("step.begun")), true),
        ("step.started", "/ts", Some(json!("yesterday")), false),
        ("step.started", "/v", Some(json!(2)), false),
        ("step.started", "/more", Some(json!(1)), true),
        ("gateway.proven", "/data/method", Some(json!("guess")), false),
        ("registry.writing", "/data/modify_index", None, false),
        ("release.started", "/data/nodes/0/will", Some(json!("updated")), false),
        ("release.started", "/data/nodes/0/more", Some(json!(1)), true),
        ("release.started", "/data/command", Some(json!("deploy now")), false),
        ("release.started", "/data/to", Some(Value::Null), false),
        ("release.finished", "/data/result", Some(json!("perfect")), false),
        ("release.finished", "/data/nodes/well", Some(json!([])), false),
        ("release.finished", "/data/next", Some(json!([["status"]])), false),
    ] {
        let mut line = line_of(kind);
        assert_eq!(check(&line), Ok(()));
        let (parent, name) = field.rsplit_once('/').expect("a pointer");
        let parent = line.pointer_mut(parent).and_then(Value::as_object_mut).expect(field);
        match value {
            Some(value) => drop(parent.insert(name.to_owned(), value)),
            None => drop(parent.remove(name).expect(field)),
        }
        assert_eq!(published.check(&line).is_ok(), only_closed, "{line}");
        assert!(check(&line).is_err(), "{line}");
    }
}
