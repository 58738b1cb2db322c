//! `--output jsonl`: stdout has lines of one form, and the last one has the result, however a command ends.

use serde_json::Value;

use crate::support::{Case, SMALL, root};

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

#[test]
fn documentation_covers_every_event_type() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).expect(path);
    let page = read("docs/jsonl.md");
    let mut known = 0;
    for file in [
        "src/release/event.rs",
        "src/diagnostic.rs",
        "src/plan/lines.rs",
        "src/cli/plan.rs",
        "src/cli/status.rs",
        "src/cli/history.rs",
        "src/cli/show.rs",
    ] {
        for line in read(file).lines().map(str::trim) {
            let after = |start: &str| line.strip_prefix(start)?.split('"').next();
            let told = after("#[serde(rename = \"").or_else(|| after("lines.tell(\""));
            if let Some(name) = told {
                known += 1;
                assert!(page.contains(&format!("| `{name}` |")), "docs/jsonl.md lacks `{name}`");
            }
        }
    }
    assert!(known > 20, "they were found");
}
