//! The other commands and their output.

use crate::harness::{Bench, events, journals, quick};

fn bench() -> Bench {
    Bench::new(3, vec![quick(2), quick(2)])
}

#[test]
fn plan_shows_the_changes_and_writes_nothing() {
    let bench = bench();
    let keys = bench.keys();
    let listing = |bench: &Bench| -> Vec<String> {
        let look = |node: &rollgate_lab::Node| {
            let output = node.exec(
                "find /srv/app /tmp /home -newer /srv/app/current -o -ls | md5sum; find /srv/app",
            );
            String::from_utf8_lossy(&output.expect("the node answers").stdout).into_owned()
        };
        bench
            .lab
            .nodes
            .iter()
            .map(|node| look(node).lines().skip(1).map(str::to_owned).collect())
            .collect()
    };
    let before = listing(&bench);
    let plan = bench.run(&["plan"], &["--var", "version=2"]).exits(0).stdout();
    for expected in [
        "app  1 -> 2   (",
        "sha256 ",
        " 1      node-1  ",
        "routed 2/2",
        "at least 1 must stay (min_available 1); lowest in this plan 2",
        "down 0->1->0",
        "stop: /srv/app/ctl stop",
        "Plan: 3 to update, 0 up to date, 0 left out, 0 blocked.",
        "Nothing was changed.",
    ] {
        assert!(plan.contains(expected), "`{expected}` is missing in:\n{plan}");
    }
    assert_eq!(bench.keys(), keys);
    assert_eq!(listing(&bench), before);
    assert!(journals(&bench.playbook).is_empty());
    assert!(!bench.lab.directory().join(".rollgate").exists());
}

#[test]
fn node_out_and_in_run_the_checks_of_a_release() {
    let bench = bench();
    let load = bench.load();
    bench
        .run(&["node", "out"], &["node-2", "--var", "version=1"])
        .exits(0)
        .says("confirmed by gw-1");
    assert!(bench.is_down(1) && bench.versions()[1].is_some(), "out, and still running");
    let status = bench.run(&["status"], &[]).exits(0).stdout();
    let line = status.lines().find(|line| line.contains("node-2")).unwrap_or("");
    assert!(
        line.contains("down") && line.contains("out 2/2") && line.contains("healthy"),
        "{status}"
    );
    // The last nodes must stay: 2 are left, and both at once would leave none.
    bench.run(&["node", "out"], &["node-1", "node-3"]).exits(3).says("fewer than 1");
    let out: Vec<_> = (0..3).filter(|index| bench.is_down(*index)).collect();
    assert_eq!(out, [1], "nothing was changed");
    bench.run(&["node", "in"], &["node-1", "node-2", "node-3"]).exits(0).says("healthy=2/2");
    assert!((0..3).all(|index| !bench.is_down(index)));
    let totals = load.stop();
    assert_eq!(totals.failed, 0, "{totals}");
    bench.run(&["node", "out"], &["nobody"]).exits(2).says("no node is called nobody");
}

#[test]
fn jsonl_output_has_one_event_per_line_and_the_end_last() {
    let bench = bench();
    let arguments = ["--var", "version=2", "--yes", "--output", "jsonl"];
    let ran = bench.run(&["deploy"], &arguments).exits(0);
    let seen = events(&ran.stdout());
    let numbers: Vec<_> = seen.iter().filter_map(|event| event["seq"].as_u64()).collect();
    assert!(numbers.is_sorted() && numbers.len() == seen.len());
    assert_eq!(seen[0]["type"], "release.started");
    let last = seen.last().expect("events");
    assert_eq!(last["type"], "release.finished");
    assert_eq!(
        (last["data"]["result"].as_str(), last["data"]["exit_code"].as_u64()),
        (Some("done"), Some(0))
    );
    assert_eq!(last["data"]["nodes"]["done"].as_array().map(Vec::len), Some(3));
    // The journal has the same events without progress.
    let journal = std::fs::read_to_string(&journals(&bench.playbook)[0]).expect("a journal");
    let durable: Vec<_> = seen.iter().filter(|event| event["type"] != "step.progress").collect();
    assert_eq!(events(&journal).iter().collect::<Vec<_>>(), durable);
    // A run that does not become a release ends with that line, too.
    let ran = bench.run(&["deploy"], &arguments).exits(0);
    assert_eq!(events(&ran.stdout()).last().expect("an event")["data"]["result"], "nothing");
    let ran = bench.run(&["deploy"], &["--yes", "--output", "jsonl"]).exits(2);
    assert_eq!(events(&ran.stdout()).last().expect("an event")["data"]["exit_code"], 2);
    let plan = ["--var", "version=3", "--output", "jsonl", "--only", "node-2"];
    let ran = bench.run(&["plan"], &plan).exits(0);
    let seen = events(&ran.stdout());
    let writes: Vec<_> = seen.iter().filter(|line| line["type"] == "plan.write").collect();
    let steps: Vec<_> = writes.iter().filter_map(|line| line["step"].as_str()).collect();
    assert_eq!(steps, ["stage", "disable", "stop", "activate", "start", "enable", "prune"]);
    let last = &seen.last().expect("a line")["data"];
    assert_eq!((&last["result"], &last["nodes"]["update"][0]), (&"done".into(), &"node-2".into()));
    let ran = bench.run(&["status"], &["--output", "jsonl"]).exits(0);
    let seen = events(&ran.stdout());
    let node = seen.iter().find(|line| line["node"] == "node-3").expect("its line");
    assert_eq!(
        (&node["data"]["version"], &node["data"]["routed"]["gw-2"]),
        (&"2".into(), &true.into())
    );
    assert_eq!(seen.last().expect("a line")["type"], "release.finished");
}

#[test]
fn plain_output_has_no_escape_codes_and_shows_a_heartbeat() {
    let config = rollgate_lab::LabConfig::new(2, vec![quick(1)]);
    let bench = Bench::with(config, |playbook| {
        playbook["health"]["min_healthy_time"] = "17s".into();
        playbook["health"]["deadline"] = "30s".into();
    });
    let ran = bench.run(&["deploy"], &["--var", "version=2", "--yes", "--only", "node-1"]).exits(0);
    let text = ran.stderr();
    assert!(!text.contains('\x1b') && !text.contains('\r'), "{text}");
    let beats = text.lines().filter_map(|line| {
        let (_, rest) = line.split_once("still waiting, ")?;
        let (waited, limit) = rest.split_once("s of at most ")?;
        assert!(limit.starts_with("47s: ") || limit.starts_with("48s: "), "{text}");
        waited.parse().ok()
    });
    // On a busy machine, a line can be late by a second, and the limit is rounded up.
    let beats: Vec<u64> = beats.collect();
    assert!(matches!(beats[..], [3..=4, 15..=16, ..]), "{beats:?} {text}");
    assert!(ran.stdout().is_empty(), "stdout is data");
}

#[test]
fn deploy_without_a_terminal_requires_yes() {
    let bench = bench();
    let keys = bench.keys();
    bench.run(&["deploy"], &["--var", "version=2"]).exits(2).says("pass --yes");
    assert_eq!(bench.keys(), keys);
}

#[test]
fn registry_write_changes_only_down_and_keeps_concurrent_edits() {
    let bench = bench();
    let odd = r#"{"weight":5,"max_fails":"3", "x":[1],"down":0,"n":1.50}"#;
    let key = bench.lab.registry_key(0).expect("a key");
    bench.lab.consul.put(&key, odd).expect("put");
    bench.run(&["node", "out"], &["node-1", "--var", "version=1"]).exits(0);
    let down = odd.replace(r#""down":0"#, r#""down":1"#);
    assert_eq!(bench.keys()[0].as_deref(), Some(down.as_str()));
    let heavier = down.replace(r#""weight":5"#, r#""weight":7"#);
    bench.lab.consul.put(&key, &heavier).expect("put");
    bench.run(&["node", "in"], &["node-1"]).exits(0);
    let up = heavier.replace(r#""down":1"#, r#""down":0"#);
    assert_eq!(bench.keys()[0].as_deref(), Some(up.as_str()));
    let journal = journals(&bench.playbook);
    let texts: Vec<_> =
        journal.iter().map(|path| std::fs::read_to_string(path).expect("a journal")).collect();
    let original = serde_json::to_string(odd).expect("JSON");
    assert!(texts.iter().any(|text| text.contains(&original)), "the original is in the journal");
}

#[test]
fn held_node_is_left_out_until_it_is_included() {
    let bench = bench();
    let out = ["node-3", "--reason", "disk is replaced", "--var", "version=1"];
    bench.run(&["node", "out"], &out).exits(0);
    let elsewhere = bench.lab.directory().join("elsewhere");
    let elsewhere = ["--state-dir", elsewhere.to_str().expect("UTF-8"), "--var", "version=2"];
    let plan = bench.run(&["plan"], &elsewhere).exits(0).stdout();
    assert!(plan.contains("left out  held by ") && plan.contains("disk is replaced"), "{plan}");
    let yes = [&elsewhere[..], &["--yes"]].concat();
    bench.run(&["deploy"], &yes).exits(0).says("node-3 is held out of rotation by ").says("DONE");
    let versions = |bench: &Bench| bench.versions().into_iter().map(Option::unwrap_or_default);
    assert_eq!(versions(&bench).collect::<Vec<_>>(), ["2", "2", "1"]);
    assert!(bench.is_down(2));
    let status = bench.run(&["status"], &elsewhere).exits(0).stdout();
    assert!(status.contains("\nHeld  node-3 by ") && !status.contains("Next"), "{status}");
    bench.run(&["doctor"], &elsewhere).exits(0);
    let included = [&yes[..], &["--include-held"]].concat();
    bench.run(&["deploy"], &included).exits(0).says("DONE");
    assert!(versions(&bench).all(|version| version == "2") && !bench.is_down(2));
    let holds = bench.lab.consul.get("rollgate/app/holds").expect("Consul answers");
    assert_eq!(holds.as_deref(), Some("{}"));
    bench.run(&["node", "in"], &["node-3"]).exits(0);
}
