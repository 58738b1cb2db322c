//! `--trace FILE`: what rollgate asked and what it was answered, for support.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use serde_json::Value;

use crate::support::{Case, SMALL};

const TOKEN: &str = "b1gs5ecr-7e57-4a4a";

#[test]
fn a_trace_has_every_request_and_command_and_no_token() {
    let case = Case::new(&[("app.yaml", SMALL.as_bytes())]).env("CONSUL_HTTP_TOKEN", TOKEN);
    case.exits(0, &["status", "app.yaml", "--trace", "trace.jsonl"]);
    let path = case.folder().join("trace.jsonl");
    let mode = std::fs::metadata(&path).expect("a trace").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = std::fs::read_to_string(&path).expect("a trace");
    assert!(!text.contains(TOKEN), "{text}");
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let asked = |kind: &str, key: &str, part: &str| {
        let told = |line: &&Value| {
            line["kind"] == kind && line[key].as_str().is_some_and(|text| text.contains(part))
        };
        assert!(lines.iter().any(|line| told(&line)), "{kind} {part}: {text}");
    };
    asked("request", "url", "http://127.0.0.1:1/v1/kv/upstreams/app/");
    asked("request", "url", "http://127.0.0.1:1/upstream_list?app");
    asked("reply", "error", "connection refused");
    asked("command", "script", "Survey");
    asked("output", "stdout", "mark=");
}

#[test]
fn a_trace_that_cannot_be_written_is_refused() {
    let case = Case::new(&[("app.yaml", SMALL.as_bytes()), ("precious", b"kept")]);
    symlink("precious", case.folder().join("link")).expect("a symlink");
    for path in ["link", "none/trace.jsonl", "."] {
        let (_, told) = case.exits(2, &["status", "app.yaml", "--trace", path]);
        assert!(told.contains(&format!("cannot write the trace {path}: ")), "{told}");
    }
    assert_eq!(std::fs::read(case.folder().join("precious")).expect("a file"), b"kept");
}
