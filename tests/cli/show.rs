//! `show`: one past release, from the journal in the state folder.

use serde_json::Value;

use crate::history::{case, killed, release};
use crate::suggested::parsed;

#[test]
fn show_tells_each_step_and_where_the_time_went() {
    let done = release("aaaa0001", 1);
    let case = case(&[("aaaa0001", &done)]);
    let (stdout, stderr) = case.exits(0, &["show", "app.yaml", "a", "--node", "node-1"]);
    insta::assert_snapshot!(stdout, @r"
    DONE  release aaaa0001 of app: deploy 1 -> 2, 3.0s, exit 0

    Begun   2026-11-01 13:34:49 by unknown@vm
    Ended   2026-11-01 13:34:52
    Nodes   3 of 3 done

    Plan
            NODE    PLAN    RAN  AT THE END  WHY
            node-1  update  1    done

    Steps   node-1
            13:34:49  stage         205ms  app-2-78b3a2de, 255 B
            13:34:49  disable        31ms  consul upstreams/app/127.77.1.101:9000 down=1 (index 12)
            13:34:49  confirm_out   539ms  proven: gw-1 18 reads, gw-2 26 reads
            13:34:50  drain          41ms  0 -> 0 in 40ms, 0 cut
            13:34:50  stop           36ms
            13:34:50  activate       14ms  current -> app-2-78b3a2de
            13:34:50  start          35ms
            13:34:50  health        102ms  healthy=2/2
            13:34:50  enable          4ms  consul upstreams/app/127.77.1.101:9000 down=0 (index 13)
            13:34:50  confirm_in     47ms  proven: gw-1 3 reads, gw-2 1 reads
            13:34:50  done          852ms
            13:34:50  prune          13ms

    Events
            13:34:49  lock         taken by unknown@vm
            13:34:49  start        deploy app 1 -> 2, 3 nodes, release aaaa0001 by unknown@vm
            13:34:52  lock         released

    Time    where the time of each node went
     NODE    ALL   STOP  START  READY  STAYS  RUN  OUT    IN    DRAIN  OWN
     node-1  1.1s  36ms  35ms   102ms  -      -    539ms  47ms  41ms   271ms
            service: STOP, START, until READY, STAYS healthy, RUN commands; gateways: until OUT, IN;
            requests in flight: DRAIN; rollgate: OWN
    ");
    assert_eq!(stderr, "");
    let (stdout, _) = case.exits(0, &["show", "app.yaml"]);
    for node in ["node-1", "node-2", "node-3"] {
        assert!(stdout.contains(&format!("\nSteps   {node}\n")), "{stdout}");
    }
}

#[test]
fn show_of_an_interrupted_release_says_where_it_was() {
    let (done, killed) = (release("aaaa0001", 1), killed("bbbb0002", 2));
    let case = case(&[("aaaa0001", &done), ("bbbb0002", &killed)]);
    let (stdout, _) = case.exits(0, &["show", "app.yaml"]);
    for expected in [
        "INTERRUPTED  release bbbb0002 of app: deploy 1 -> 2, 1.3s\n",
        "Last    2026-11-02 13:34:50 (node-2 at stop)\n",
        "node-2  update  1    OUT OF ROTATION\n",
        "stop            0ms  broken off\n",
        "Next    show every node, and what to do next  rollgate status app.yaml\n",
    ] {
        assert!(stdout.contains(expected), "{expected} is missing in {stdout}");
    }
}

#[test]
fn show_replays_the_events_and_ends_with_its_own_end() {
    let killed = killed("bbbb0002", 2);
    for journal in [release("bbbb0002", 2), killed] {
        let case = case(&[("bbbb0002", &journal)]);
        let (stdout, _) = case.exits(0, &["show", "app.yaml", "--output", "jsonl"]);
        let rest = stdout.strip_prefix(&journal).expect("the events, byte for byte");
        let rest: Vec<Value> =
            rest.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let types: Vec<_> = rest.iter().filter_map(|line| line["type"].as_str()).collect();
        let times = ["node.time"; 3];
        assert_eq!(types, [&times[..], &["history.release", "release.finished"]].concat());
        let seq = |line: &Value| line["seq"].as_u64().expect("a number");
        let last = journal.lines().last().expect("an event");
        let last: Value = serde_json::from_str(last).expect("JSON");
        assert_eq!(seq(&rest[0]), seq(&last) + 1);
        for line in &rest[..3] {
            let parts = line["data"]["parts_ms"].as_object().expect("parts").values();
            let sum: u64 = parts.filter_map(Value::as_u64).sum();
            assert_eq!(line["data"]["total_ms"], sum);
        }
        let end = &rest.last().expect("an end")["data"];
        assert_eq!((&end["result"], &end["exit_code"]), (&"done".into(), &0.into()));
    }
}

#[test]
fn unknown_and_ambiguous_ids_are_refused_as_by_resume() {
    let journals = [("aaaa0001", &*release("aaaa0001", 1)), ("aaaa0002", &release("aaaa0002", 2))];
    let case = case(&journals);
    for id in ["zz", "aaaa"] {
        let (_, shown) = case.exits(3, &["show", "app.yaml", id]);
        let (_, resumed) = case.exits(3, &["resume", "app.yaml", id, "--yes"]);
        assert_eq!(shown, resumed);
        assert!(shown.contains("`rollgate history app.yaml` shows the releases"), "{shown}");
    }
    let (_, stderr) = case.exits(2, &["show", "app.yaml", "--node", "node-9"]);
    assert!(stderr.contains("release aaaa0002 has no node `node-9`"), "{stderr}");
}

/// The commands of a page, as a person copies them.
#[test]
fn commands_of_a_page_are_accepted() {
    let case = case(&[("bbbb0002", &killed("bbbb0002", 2))]);
    let (stdout, _) = case.exits(0, &["show", "app.yaml", "--html", "page.html"]);
    assert_eq!(stdout, "Wrote page.html\n");
    let page = std::fs::read_to_string(case.folder().join("page.html")).expect("a page");
    let codes = page.split("<code>").skip(1).filter_map(|rest| rest.split("</code>").next());
    let codes: Vec<_> = codes.map(|code| code.replace("&#39;", "'")).collect();
    assert!(codes.len() >= 3, "{codes:?}");
    for code in codes {
        parsed(&code);
    }
    // An earlier page is replaced, any other file is not.
    case.exits(0, &["show", "app.yaml", "--html", "page.html"]);
    let (_, stderr) = case.exits(2, &["show", "app.yaml", "--html", "app.yaml"]);
    assert!(stderr.contains("app.yaml is there already, and is no page of rollgate"), "{stderr}");
}
