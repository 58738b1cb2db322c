//! Plan files on the command line: what `deploy --plan` refuses before it reaches any system.

use std::collections::BTreeMap;

use rollgate::plan::{PlanFile, PlaybookSeen};
use rollgate::playbook::load_text;

use crate::support::{Case, SMALL};

/// A plan of version 7 of the small playbook, at this path.
fn plan(file: &str) -> String {
    let loaded = load_text("app.yaml", SMALL).unwrap_or_else(|invalid| panic!("{invalid}"));
    let playbook = PlaybookSeen::new(file.into(), SMALL, BTreeMap::new(), &loaded.playbook);
    let variables = [("version".to_owned(), "7".to_owned())].into();
    let made_at = "2026-06-12T14:00:00Z".parse().expect("a time");
    let service = "app".into();
    PlanFile { service, variables, playbook, ..PlanFile::new(made_at, "ana@laptop") }.text()
}

fn case(plan: &str, playbook: &str) -> Case {
    Case::new(&[("plan.json", plan.as_bytes()), ("app.yaml", playbook.as_bytes())])
}

const DEPLOY: [&str; 3] = ["deploy", "--plan", "plan.json"];

#[track_caller]
fn refused(code: i32, plan: &str, says: &str) {
    let (_, stderr) = case(plan, SMALL).exits(code, &DEPLOY);
    assert!(stderr.contains(says), "{stderr}");
}

#[test]
fn plan_takes_no_other_inputs_and_no_question_is_asked() {
    let case = case(&plan("app.yaml"), SMALL);
    for option in [
        &["--var", "version=8"][..],
        &["--var-file", "app.yaml"],
        &["--only", "app-1"],
        &["--skip", "app-1"],
        &["--limit", "1"],
        &["--include-held"],
        &["--allow-unhealthy"],
        &["--restart"],
    ] {
        let (_, stderr) = case.exits(2, &[&DEPLOY[..], option].concat());
        let told = "the argument '--plan <PLAN>' cannot be used with '--";
        assert!(stderr.contains(told), "{stderr}");
    }
    let (_, stderr) = case.exits(2, &["deploy"]);
    assert!(stderr.contains("<FILE>"), "{stderr}");
    // Everything is accepted; then Consul does not answer.
    let (_, stderr) = case.exits(3, &DEPLOY);
    assert!(stderr.contains("the lock cannot be taken: Consul cannot be reached"), "{stderr}");
}

#[test]
fn file_that_is_no_valid_plan_is_a_usage_error_that_names_the_place() {
    let text = plan("app.yaml");
    refused(2, "", "plan plan.json: it is not a plan of rollgate");
    refused(2, SMALL, "plan plan.json: it is not a plan of rollgate");
    refused(2, &text[..text.len() / 2], "its end is missing: EOF while parsing");
    refused(2, &text[..text.len() / 2], " at line ");
    let edited = text.replacen("\"version\": \"7\"", "\"version\": \"8\"", 1);
    refused(2, &edited, "it was edited after it was written: `variables`");
    let newer = text.replacen("\"v\": 1", "\"v\": 2", 1);
    refused(2, &newer, "it was written by a newer rollgate");
    let (_, stderr) = case(&text, SMALL).exits(2, &["deploy", "--plan", "none.json"]);
    assert!(stderr.contains("plan none.json: No such file"), "{stderr}");
}

#[test]
fn changed_playbook_makes_the_plan_stale_in_both_outputs() {
    let text = plan("app.yaml");
    let case = case(&text, &SMALL.replace("stop: 'true'", "stop: 'false'"));
    let arguments = [&DEPLOY[..], &["--state-dir", "state", "--output", "jsonl"]].concat();
    let (stdout, stderr) = case.exits(5, &arguments);
    let change = "playbook app.yaml: stop was changed: \"true\" -> \"false\"";
    assert!(stderr.contains(&format!("\n  {change}\n")), "{stderr}");
    assert!(
        stderr.contains(" ago by ana@laptop), and nothing was changed; 1 change since"),
        "{stderr}"
    );
    let last: serde_json::Value = serde_json::from_str(&stdout).expect("one line");
    let data = &last["data"];
    assert_eq!((&data["result"], &data["exit_code"]), (&"refused".into(), &5.into()));
    assert_eq!(data["reason"], format!("the plan is stale: {change}"));
    let again = "rollgate plan app.yaml --out plan.json --var version=7 --state-dir state";
    assert_eq!(data["next"][0], serde_json::json!(["makes a new plan", again]));
    assert!(!case.folder().join("state").exists());
}

#[test]
fn playbook_at_another_path_is_named_beside_the_plan() {
    let elsewhere = case(&plan("ci/app.yaml"), SMALL);
    let (_, stderr) = elsewhere.exits(2, &DEPLOY);
    assert!(
        stderr.contains("ci/app.yaml: no such file") || stderr.contains("no such file"),
        "{stderr}"
    );
    assert!(stderr.contains("or name the playbook: deploy FILE --plan PLAN"), "{stderr}");
    let (_, stderr) = elsewhere.exits(3, &["deploy", "app.yaml", "--plan", "plan.json"]);
    assert!(stderr.contains("the lock cannot be taken"), "{stderr}");
}

#[test]
fn variable_of_the_environment_is_not_used_by_a_plan() {
    let name = "ROLLGATE_VAR_version";
    let with = |value| case(&plan("app.yaml"), SMALL).env(name, value).exits(3, &DEPLOY).1;
    assert!(with("8").contains("warning: ROLLGATE_VAR_version is not used"), "{}", with("8"));
    assert!(!with("7").contains("warning"), "{}", with("7"));
}

#[test]
fn plan_is_written_neither_over_another_file_nor_if_it_is_refused() {
    let case = case(&plan("app.yaml"), SMALL);
    let out =
        |code, path| case.exits(code, &["plan", "app.yaml", "--var", "version=7", "--out", path]).1;
    assert!(out(2, "app.yaml").contains("this file exists and is not a plan of rollgate"));
    assert!(out(2, "none/plan.json").contains("its folder does not exist"));
    assert!(out(2, ".").contains("it is a folder"));
    let read = |name: &str| std::fs::read_to_string(case.folder().join(name)).expect(name);
    assert_eq!(read("app.yaml"), SMALL);
    assert!(
        out(3, "plan.json").contains("warning: the plan is refused, and plan.json was not written")
    );
    assert_eq!(read("plan.json"), plan("app.yaml"));
    out(3, "new.json");
    assert!(!case.folder().join("new.json").exists());
}
