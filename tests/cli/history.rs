//! `history`: past releases from the journals in the state folder.

use std::fs;

use serde_json::Value;

use crate::support::Case;

/// A service without Consul: its journals are in the state folder alone.
const PLAYBOOK: &str = "service: app
registry: { type: gateway }
gateways: [{ type: haproxy, backend: app, socket: { path: /none.sock } }]
nodes:
  - { ssh: local, name: node-1, address: '127.0.0.1:9000' }
  - { ssh: local, name: node-2, address: '127.0.0.2:9000' }
stop: 'true'
start: 'true'
health: { tcp: '${{ node.address }}' }
";

/// A release of three nodes that is done.
pub(crate) const DONE: &str = include_str!("../fixtures/journals/v1-deploy.jsonl");

/// The same release with another id, on another day.
pub(crate) fn release(id: &str, day: u32) -> String {
    DONE.replace("2ace9702", id).replace("2026-11-21T", &format!("2026-11-{day:02}T"))
}

/// A case with these journals, by the id of their release.
pub(crate) fn case(journals: &[(&str, &str)]) -> Case {
    let case = Case::new(&[("app.yaml", PLAYBOOK.as_bytes())]).env("TZ", "UTC");
    for (id, journal) in journals {
        let folder = case.folder().join(".rollgate/app").join(id);
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("journal.jsonl"), journal).expect("a journal");
    }
    case
}

/// A release that was killed: its journal ends in a step of node-2.
pub(crate) fn killed(id: &str, day: u32) -> String {
    let journal = release(id, day);
    let lines = journal.lines().take_while(|line| !line.contains(r#""seq":115"#));
    let until_drained: String = lines.flat_map(|line| [line, "\n"]).collect();
    let stop = r#"{"v":1,"seq":115,"ts":"2026-11-21T13:34:50.858Z","type":"step.started","release":"2ace9702","node":"node-2","step":"stop","data":{}}"#;
    let stop = stop.replace("2ace9702", id).replace("11-21T", &format!("11-{day:02}T"));
    until_drained + &stop + "\n"
}

/// A release that failed at node-2; another user resumed it an hour later, and it was done.
fn resumed(id: &str, day: u32) -> String {
    let failed = killed(id, day);
    let line = |seq: u32, second: &str, kind: &str, more: &str| {
        format!(
            r#"{{"v":1,"seq":{seq},"ts":"2026-11-{day:02}T{second}Z","type":"{kind}","release":"{id}",{more}}}"#
        ) + "\n"
    };
    let node = r#""node":"node-2","step":"stop","data":{"reason":"exit 5: no such unit"}"#;
    let end = r#""data":{"result":"failed","exit_code":20,"reason":"node-2, stop: exit 5: no such unit","nodes":{},"next":[],"elapsed_ms":2000}"#;
    let again = r#""data":{"actor":"ana@laptop","nodes":[{"node":"node-2","down":true,"done":["disable","confirm_out","drain"]}]}"#;
    let stopped = end.replace("failed", "stopped").replace("20,", "10,");
    [
        failed,
        line(116, "13:34:51.572", "node.failed", node),
        line(117, "13:34:51.573", "release.finished", end),
        line(118, "14:40:00", "release.resumed", again),
        line(119, "14:40:30", "release.finished", &stopped),
    ]
    .concat()
}

fn jsonl(case: &Case, arguments: &[&str]) -> Vec<Value> {
    let arguments = [&["history", "app.yaml"], arguments, &["--output", "jsonl"]].concat();
    let (stdout, _) = case.exits(0, &arguments);
    stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The ids of the releases that `history` shows.
fn ids(case: &Case, arguments: &[&str]) -> Vec<String> {
    let lines = jsonl(case, arguments);
    let ids = lines.iter().filter(|line| line["type"] == "history.release");
    ids.map(|line| line["data"]["id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn history_shows_who_when_what_how_long_and_why() {
    let (done, killed, resumed) =
        (release("aaaa0001", 1), killed("bbbb0002", 2), resumed("cccc0003", 3));
    let case = case(&[("aaaa0001", &done), ("bbbb0002", &killed), ("cccc0003", &resumed)]);
    let (stdout, stderr) = case.exits(0, &["history", "app.yaml"]);
    insta::assert_snapshot!(stdout, @r"
    app: 3 releases, the newest first

     RELEASE   WHEN              COMMAND        NODES               TOOK  RESULT       BY
     cccc0003  2026-11-03 13:34  deploy 1 -> 2  1 of 3 done, 1 out  32s   stopped      unknown@vm, resumed by ana@laptop
               node-2, stop: exit 5: no such unit
     bbbb0002  2026-11-02 13:34  deploy 1 -> 2  1 of 3 done, 1 out  1.3s  interrupted  unknown@vm
               node-2 at stop
     aaaa0001  2026-11-01 13:34  deploy 1 -> 2  3 of 3 done         3.0s  done         unknown@vm
    ");
    assert_eq!(stderr, "");
    let lines = jsonl(&case, &[]);
    let data = &lines[0]["data"];
    assert_eq!((&data["begun"], &data["runs"]), (&"2026-11-03T13:34:49.572Z".into(), &2.into()));
    assert_eq!((&data["result"], &data["exit_code"]), (&"stopped".into(), &10.into()));
    assert_eq!(data["elapsed_ms"], 2_001 + 30_000, "the hour between two runs does not count");
    assert_eq!(lines[1]["data"]["state"], "interrupted");
    assert_eq!(
        (&lines[1]["data"]["ended"], &lines[1]["data"]["result"]),
        (&Value::Null, &Value::Null)
    );
    let last = lines.last().expect("a last line");
    assert_eq!(
        (&last["type"], &last["data"]["exit_code"]),
        (&"release.finished".into(), &0.into())
    );
}

#[test]
fn history_shows_only_what_is_asked_for() {
    let (done, killed, resumed) =
        (release("aaaa0001", 1), killed("bbbb0002", 2), resumed("cccc0003", 3));
    let case = case(&[("aaaa0001", &done), ("bbbb0002", &killed), ("cccc0003", &resumed)]);
    let all = ["cccc0003", "bbbb0002", "aaaa0001"];
    for (arguments, expected) in [
        (&[][..], &all[..]),
        (&["--limit", "2"], &all[..2]),
        (&["--result", "done"], &all[2..]),
        (&["--result", "interrupted,stopped"], &all[..2]),
        (&["--result", "running"], &[]),
        (&["--by", "ANA"], &all[..1]),
        (&["--by", "unknown"], &all),
        (&["--since", "2026-11-03"], &all[..1]),
        (&["--since", "2026-11-02T14:00"], &all[..1]),
        (&["--node", "node-3"], &all),
        (&["--node", "node-4"], &[]),
        (&["--command", "deploy"], &all),
        (&["--command", "rollback,node-out"], &[]),
        (&["--limit", "1", "--result", "done"], &all[2..]),
    ] {
        assert_eq!(ids(&case, arguments), expected, "{arguments:?}");
    }
    let (stdout, _) = case.exits(0, &["history", "app.yaml", "--limit", "2"]);
    assert!(stdout.starts_with("app: the last 2 releases; `--limit` shows more\n"), "{stdout}");
    let (stdout, _) = case.exits(0, &["history", "app.yaml", "--node", "nod-3"]);
    let none = "No release of app matches; 3 releases are known. No node is called `nod-3`, did you mean `node-1`?\n";
    assert_eq!(stdout.replace("node-3", "node-1").replace("node-2", "node-1"), none);
}

#[test]
fn history_without_a_release_says_where_it_looked() {
    let (stdout, _) = case(&[]).exits(0, &["history", "app.yaml"]);
    assert!(stdout.starts_with("No release of app is known in "), "{stdout}");
    assert!(stdout.ends_with(".rollgate/app.\n"), "{stdout}");
}

#[test]
fn history_reports_journals_that_it_cannot_read() {
    let done = release("aaaa0001", 1);
    let damaged = release("bbbb0002", 2).replacen("step.started", "step.unknown", 1);
    let journals = [("aaaa0001", &*done), ("bbbb0002", &*damaged), ("cccc0003", "garbage\n")];
    let case = case(&journals);
    let (stdout, stderr) = case.exits(0, &["history", "app.yaml"]);
    assert!(stdout.contains("app: 1 release, the newest first"), "{stdout}");
    assert!(stderr.contains("bbbb0002/journal.jsonl:2: not an event"), "{stderr}");
    assert!(stderr.contains("cccc0003/journal.jsonl: not an event"), "{stderr}");
    let problems = jsonl(&case, &[]);
    let problems = problems.iter().filter(|line| line["type"] == "journal.status");
    assert_eq!(problems.count(), 2);
}
