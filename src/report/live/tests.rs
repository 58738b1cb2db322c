//! The content of the screen.

use indicatif::InMemoryTerm;

use super::*;
use crate::release::Step;
use crate::report::hostile;

#[test]
fn foreign_text_and_colour_never_reach_the_screen_unasked() {
    let terminal = InMemoryTerm::new(24, 100);
    let mut live = Live::new(ProgressDrawTarget::term_like(Box::new(terminal.clone())), false);
    let event = |fact| Event {
        seq: 1,
        at: jiff::Timestamp::UNIX_EPOCH,
        release: "r".into(),
        node: Some("app-1".into()),
        step: None,
        fact,
    };
    let release = Release::default();
    let message = "evil \x1b[2J text".to_owned();
    live.event(&event(EventKind::Warning { message }), &release);
    live.event(&event(EventKind::NodePutBack { proven: true, problem: None }), &release);
    let screen = terminal.contents();
    assert!(screen.contains("! evil  [2J text"), "{screen}");
    assert!(screen.contains("app-1    back in rotation unchanged"), "{screen}");
}

#[test]
fn hostile_text_of_a_release_never_reaches_the_screen() {
    let terminal = InMemoryTerm::new(60, 200);
    let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
    let (mut live, mut release) = (Live::new(target, false), Release::default());
    for event in hostile::release() {
        release.apply(&event).expect("it may follow");
        live.event(&event, &release);
        let screen = terminal.contents();
        hostile::assert_tame(&screen);
        // Codes that would colour, hide or clear text must appear as text.
        let drawn = String::from_utf8_lossy(&terminal.contents_formatted()).into_owned();
        assert!(!drawn.contains("\x1b[31m") && !drawn.contains("\x1b[8m"), "{drawn:?}");
    }
    assert!(terminal.contents().contains("[2J"), "{}", terminal.contents());
}

/// A release of nine nodes as drawn.
struct Scene {
    terminal: InMemoryTerm,
    live: Live,
    release: Release,
}

impl Scene {
    fn new(width: u16) -> Self {
        let terminal = InMemoryTerm::new(24, width);
        let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
        let live = Live::new(target, false).with_columns(width.into());
        let mut scene = Self { terminal, live, release: Release::default() };
        let planned = (1..=9).map(|number| {
            serde_json::json!({ "node": format!("a-long-name-{number}"), "will": "update" })
        });
        let started = serde_json::json!({ "type": "release.started", "data": {
            "service": "order-api-of-the-shop", "command": "deploy", "actor": "me", "file": "app.yaml",
            "from": "2.7.0", "to": "2.7.1", "playbook": null, "nodes": planned.collect::<Vec<_>>(),
            "inputs": { "release": "7f3a19c2", "folder": "", "variables": {}, "artifact": null },
            "pool": { "nodes": 9, "routed": 8, "min": 3 },
        }});
        scene.tell(serde_json::from_value(started).expect("a fact"), None);
        let nodes = vec!["a-long-name-1".into()];
        scene.tell(EventKind::BatchStarted { number: 1, nodes, back: false }, None);
        scene.tell(EventKind::StepStarted {}, Some(Step::Disable));
        scene
    }

    fn tell(&mut self, fact: EventKind, step: Option<Step>) {
        let event = Event {
            seq: self.release.seq + 1,
            at: jiff::Timestamp::UNIX_EPOCH,
            release: "7f3a19c2".into(),
            node: step.map(|_| "a-long-name-1".into()),
            step,
            fact,
        };
        self.release.apply(&event).expect("it may follow");
        self.live.event(&event, &self.release);
    }

    fn line(&self, start: &str) -> String {
        let screen = self.terminal.contents();
        let line = screen.lines().find(|line| line.trim_start().starts_with(start));
        line.unwrap_or_else(|| panic!("no {start} in:\n{screen}")).trim().to_owned()
    }
}

#[test]
fn pool_is_the_last_count_of_the_gateway_with_the_fewest_nodes() {
    let mut scene = Scene::new(100);
    assert_eq!(scene.line("Pool"), "Pool  8 of 9 routed (min_available 3)");
    let routed = [("gw-1".to_owned(), 9), ("gw-2".to_owned(), 7)].into();
    scene.tell(EventKind::CapacitySeen { routed }, Some(Step::Disable));
    assert_eq!(scene.line("Pool"), "Pool  7 of 9 routed (min_available 3)");
    for (gateway, pool, least) in [("gw-2", 8, 8), ("gw-1", 6, 6)] {
        let proven = EventKind::GatewayProven {
            gateway: gateway.into(),
            routed: false,
            reads: 9,
            workers: 1,
            method: "samples".into(),
            pool: Some(pool),
        };
        scene.tell(proven, Some(Step::Disable));
        assert_eq!(scene.line("Pool"), format!("Pool  {least} of 9 routed (min_available 3)"));
    }
}

#[test]
fn redrawn_lines_are_cut_and_never_wrap_on_a_narrow_terminal() {
    let mut scene = Scene::new(60);
    for _ in 0..3 {
        let message = "waits for capacity: gw-1 would route to 2 nodes only, fewer than 3".into();
        let progress = EventKind::StepProgress { message, in_flight: None, deadline_s: None };
        scene.tell(progress, Some(Step::Disable));
    }
    scene.tell(EventKind::ReleaseStopping { reason: "SIGINT".into() }, None);
    let screen = scene.terminal.contents();
    // The spinner moves and its time passes.
    let still = |line: &str| match line.trim_start().strip_prefix(|sign| sign > '\u{27ff}') {
        Some(rest) => {
            format!("  *{}", rest.trim_end_matches(|end| " 0123456789s".contains(end)))
        }
        None => line.to_owned(),
    };
    assert!(screen.lines().all(|line| line.chars().count() <= 60), "{screen}");
    let lines: Vec<_> = screen.lines().map(still).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    deploy order-api-of-the-shop 2.7.0 -> 2.7.1 · 0 of 9 done ·…
      * a-long-name-1  disable      waits for capacity: g…
      · a-long-name-2, a-long-name-3, a-long-name-4, a-long-nam…
      Pool  8 of 9 routed (min_available 3)
      Stopping (SIGINT): no further node is updated.
    "#);
}

#[test]
fn time_stands_beside_the_text_on_a_wide_terminal() {
    let mut scene = Scene::new(200);
    let message = "2 requests in flight".to_owned();
    let progress = EventKind::StepProgress { message, in_flight: None, deadline_s: Some(57) };
    scene.tell(progress, Some(Step::Disable));
    let screen = scene.terminal.contents();
    let row = screen.lines().find(|line| line.contains("requests in flight")).expect("a row");
    assert!(row.contains("disable      2 requests in flight, 57s left"), "{row}");
    assert!((90..=100).contains(&row.trim_end().chars().count()), "{row}");
}

#[test]
fn node_that_returns_has_one_line_and_its_row_says_so() {
    let mut scene = Scene::new(100);
    let written = |down| EventKind::RegistryWritten { key: "a".into(), down, modify_index: 1 };
    let writing = |down| EventKind::RegistryWriting {
        key: "a".into(),
        down,
        original: String::new(),
        modify_index: 1,
        entries: Vec::new(),
        strangers: BTreeSet::new(),
    };
    scene.tell(writing(true), Some(Step::Disable));
    scene.tell(written(true), Some(Step::Disable));
    scene.tell(EventKind::ReleaseStopping { reason: "SIGINT".into() }, None);
    let row = |scene: &Scene| {
        let screen = scene.terminal.contents();
        let line = screen.lines().find(|line| line.contains("a-long-name-1 "));
        line.expect("a line").split_whitespace().skip(1).take(4).collect::<Vec<_>>().join(" ")
    };
    scene.tell(writing(false), Some(Step::Disable));
    assert_eq!(row(&scene), "a-long-name-1 return marking up");
    scene.tell(written(false), Some(Step::Disable));
    let progress = |message: &str| EventKind::StepProgress {
        message: message.into(),
        in_flight: None,
        deadline_s: None,
    };
    scene.tell(progress("gw-1: 3 of 64 reads in a row"), Some(Step::Disable));
    assert_eq!(row(&scene), "a-long-name-1 return gw-1: 3");
    let problem = Some("not confirmed in rotation: gw-1: 3 of 64 reads in a row".to_owned());
    scene.tell(EventKind::NodePutBack { proven: false, problem }, Some(Step::Disable));
    scene.tell(EventKind::NodeInterrupted {}, Some(Step::Disable));
    let screen = scene.terminal.contents();
    let lines: Vec<_> = screen.lines().filter(|line| line.contains("a-long-name-1 ")).collect();
    let told =
        "  - a-long-name-1  marked up, not confirmed in rotation: gw-1: 3 of 64 reads in a row";
    assert_eq!(lines, [told]);
}
