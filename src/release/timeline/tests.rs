use super::*;

/// Events of node `a`, each with its second.
fn timeline(events: &[(u32, &str, Option<&str>, serde_json::Value)]) -> Timeline {
    let events = events.iter().zip(1..).map(|((second, kind, step, data), seq)| {
        let is_of_node = step.is_some() || kind.starts_with("node.");
        let line = serde_json::json!({
            "v": 1, "seq": seq, "ts": format!("2026-01-01T00:{:02}:{:02}Z", second / 60, second % 60), "type": kind,
            "release": "r", "node": is_of_node.then_some("a"), "step": step, "data": data,
        });
        Event::from_line(&line.to_string()).expect("an event")
    });
    Timeline::of(&events.collect::<Vec<_>>())
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("JSON")
}

fn nothing() -> serde_json::Value {
    json("{}")
}

fn finished(message: &str) -> serde_json::Value {
    serde_json::json!({ "elapsed_ms": 1, "message": message })
}

fn batch() -> serde_json::Value {
    json(r#"{"number":1,"nodes":["a"]}"#)
}

/// `activity end seconds`, one for each segment.
fn told(timeline: &Timeline) -> Vec<String> {
    let segments = timeline.segments("a").iter();
    let told = segments.map(|segment| {
        let activity = match segment.activity {
            Activity::Step(step) => step.to_string(),
            other => format!("{other:?}").to_lowercase(),
        };
        format!("{activity} {:?} {}", segment.end, segment.took().as_secs())
    });
    told.collect()
}

fn seconds(parts: &Parts) -> Vec<(&'static str, u64)> {
    let parts = Part::ALL.map(|part| (part.word(), parts.get(part).as_secs()));
    parts.into_iter().filter(|(_, seconds)| *seconds > 0).collect()
}

#[test]
fn every_second_of_a_node_belongs_to_one_part() {
    let timeline = timeline(&[
        (0, "step.started", Some("stage"), nothing()),
        (2, "step.finished", Some("stage"), finished("")),
        (10, "batch.started", None, batch()),
        (11, "step.started", Some("disable"), nothing()),
        (12, "step.finished", Some("disable"), finished("")),
        (12, "step.started", Some("confirm_out"), nothing()),
        (15, "step.finished", Some("confirm_out"), finished("seen")),
        (15, "step.started", Some("drain"), nothing()),
        (19, "step.finished", Some("drain"), finished("")),
        (20, "step.started", Some("stop"), nothing()),
        (25, "step.finished", Some("stop"), finished("")),
        (25, "step.started", Some("start"), nothing()),
        (31, "step.finished", Some("start"), finished("")),
        (31, "step.started", Some("health"), nothing()),
        (50, "step.finished", Some("health"), finished("")),
        (50, "step.started", Some("enable"), nothing()),
        (51, "step.finished", Some("enable"), finished("")),
        (51, "step.started", Some("confirm_in"), nothing()),
        (58, "step.finished", Some("confirm_in"), finished("")),
        (60, "node.done", None, json(r#"{"elapsed_ms":50000}"#)),
        (60, "step.started", Some("prune"), nothing()),
        (63, "step.finished", Some("prune"), finished("")),
    ]);
    let parts = timeline.parts("a", Duration::from_secs(10));
    assert_eq!(parts.total().as_secs(), 2 + 50 + 3, "staging, the batch, pruning");
    let expected = [
        ("stop", 5),
        ("start", 6),
        ("ready", 9),
        ("stay_healthy", 10),
        ("gateways_out", 3),
        ("gateways_in", 7),
        ("drain", 4),
        ("rollgate", 2 + 1 + 1 + 1 + 1 + 2 + 3),
    ];
    assert_eq!(seconds(&parts), expected);
    assert_eq!(parts.sum(&[Part::Out, Part::In]).as_secs(), 10);
    assert_eq!(timeline.segments("a")[3].found, "seen");
}

#[test]
fn failed_node_that_returns_to_rotation_waits_for_gateways() {
    let failure = json(r#"{"reason":"no answer","put_back":true}"#);
    let writing = json(r#"{"key":"k","down":false,"original":"","modify_index":1}"#);
    let timeline = timeline(&[
        (0, "batch.started", None, batch()),
        (0, "step.started", Some("drain"), nothing()),
        (30, "node.failed", Some("drain"), failure),
        (31, "registry.writing", Some("drain"), writing),
        (35, "node.put_back", Some("drain"), json(r#"{"proven":true}"#)),
        (
            90,
            "release.finished",
            None,
            json(r#"{"result":"failed","exit_code":20,"nodes":{},"next":[],"elapsed_ms":1}"#),
        ),
    ]);
    assert_eq!(told(&timeline), ["drain Failed 30", "return Done 5"]);
    assert_eq!(timeline.segments("a")[0].found, "no answer");
    let parts = timeline.parts("a", Duration::from_secs(10));
    assert_eq!(seconds(&parts), [("gateways_in", 5), ("drain", 30)]);
}

#[test]
fn interrupted_step_ends_where_the_node_returns_to_rotation() {
    let writing = json(r#"{"key":"k","down":false,"original":"","modify_index":1}"#);
    let timeline = timeline(&[
        (0, "batch.started", None, batch()),
        (1, "step.started", Some("confirm_out"), nothing()),
        (4, "registry.writing", Some("confirm_out"), writing),
        (6, "node.put_back", Some("confirm_out"), json(r#"{"proven":true}"#)),
        (7, "node.interrupted", Some("confirm_out"), nothing()),
    ]);
    let expected = ["between Done 1", "confirm_out BrokenOff 3", "return Done 2", "between Done 1"];
    assert_eq!(told(&timeline), expected);
}

/// The time between two runs belongs to no node, and a killed run ends with its last event.
#[test]
fn killed_run_ends_with_its_last_event() {
    let resumed = json(r#"{"actor":"me","nodes":[{"node":"a","down":true,"done":[]}]}"#);
    let started = json(
        r#"{"service":"app","command":"deploy","actor":"me","file":"f","playbook":null,"nodes":[],"inputs":{"release":"r","folder":"","variables":{},"artifact":null},"pool":{"nodes":3,"routed":2,"min":1}}"#,
    );
    let timeline = timeline(&[
        (0, "release.started", None, started),
        (0, "batch.started", None, batch()),
        (0, "step.started", Some("drain"), nothing()),
        (9, "notice", None, json(r#"{"message":"x"}"#)),
        (100, "release.resumed", None, resumed),
        (100, "batch.started", None, json(r#"{"number":2,"nodes":["a"]}"#)),
        (101, "step.started", Some("drain"), nothing()),
        (103, "step.finished", Some("drain"), finished("")),
    ]);
    let runs = timeline.runs.iter().map(|(from, to)| to.duration_since(*from).as_secs());
    assert_eq!(runs.collect::<Vec<_>>(), [9, 3]);
    assert_eq!(told(&timeline), ["drain BrokenOff 9", "between Done 1", "drain Done 2"]);
    assert_eq!(timeline.capacity[0].1, 2);
}

#[test]
fn failed_health_check_is_time_until_ready() {
    let failure = json(r#"{"reason":"not healthy within 30s"}"#);
    let timeline = timeline(&[
        (0, "batch.started", None, batch()),
        (0, "step.started", Some("health"), nothing()),
        (30, "node.failed", Some("health"), failure),
        (30, "node.rolling_back", None, json(r#"{"version":"1"}"#)),
        (31, "step.started", Some("stop"), nothing()),
        (33, "step.finished", Some("stop"), finished("")),
        (33, "node.rolled_back", None, json(r#"{"elapsed_ms":1}"#)),
    ]);
    let parts = timeline.parts("a", Duration::from_secs(10));
    assert_eq!(seconds(&parts), [("stop", 2), ("ready", 30), ("rollgate", 1)]);
}

#[test]
fn clock_that_goes_back_takes_no_time_away() {
    let timeline = timeline(&[
        (50, "batch.started", None, batch()),
        (20, "step.started", Some("drain"), nothing()),
        (60, "step.finished", Some("drain"), finished("")),
        (55, "node.done", None, json(r#"{"elapsed_ms":1}"#)),
    ]);
    assert_eq!(told(&timeline), ["drain Done 10"]);
    assert_eq!(timeline.parts("a", Duration::ZERO).total().as_secs(), 10);
}

#[test]
fn capacity_is_that_of_the_gateway_with_the_fewest_nodes() {
    let proven = |gateway: &str, pool: usize| {
        serde_json::json!({
            "gateway": gateway, "routed": false, "reads": 1, "workers": 1, "method": "workers", "pool": pool,
        })
    };
    let timeline = timeline(&[
        (0, "capacity.seen", Some("disable"), json(r#"{"routed":{"g1":5,"g2":5}}"#)),
        (1, "gateway.proven", Some("confirm_out"), proven("g2", 4)),
        (2, "gateway.proven", Some("confirm_out"), proven("g1", 4)),
        (5, "gateway.proven", Some("confirm_in"), proven("g1", 5)),
        (6, "gateway.proven", Some("confirm_in"), proven("g2", 5)),
    ]);
    let numbers: Vec<_> = timeline.capacity.iter().map(|(_, number)| *number).collect();
    assert_eq!(numbers, [5, 4, 5]);
}
