//! The content of the screen.

use indicatif::InMemoryTerm;

use super::*;
use crate::mark::Mark;
use crate::release::{Failure, Finished, Leaving, NodeState, Outcome, Step};
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

#[test]
fn node_that_was_taken_out_is_not_called_routed() {
    let state = |marked, leaving, proven| NodeState {
        phase: Phase::Done,
        marked,
        leaving,
        proven,
        drained: Some(Drained { from: 0, cut: 0 }),
        ..NodeState::default()
    };
    let told = |state: NodeState| {
        let release = Release { nodes: [("two".to_owned(), state)].into(), ..Release::default() };
        Live::summary("two", &release, 169, 1)
    };
    let out = told(state(Mark::Down, Leaving::Marked, 0));
    assert!(out.contains("169ms  drained 0 -> 0") && out.ends_with("  out 1/1"), "{out}");
    let back = told(state(Mark::Up, Leaving::No, 1));
    assert!(back.ends_with("  routed 1/1"), "{back}");
}

/// A release of nine nodes as drawn.
struct Scene {
    terminal: InMemoryTerm,
    live: Live,
    release: Release,
}

impl Scene {
    fn new(width: u16) -> Self {
        Self::of(9, (width, 24))
    }

    /// A release of so many nodes on a terminal of this size.
    fn of(nodes: usize, (width, height): (u16, u16)) -> Self {
        let terminal = InMemoryTerm::new(height, width);
        let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
        let size = Size { columns: width.into(), lines: height.into() };
        let live = Live::new(target, false).sized(size);
        let mut scene = Self { terminal, live, release: Release::default() };
        let planned = (1..=nodes).map(|number| {
            serde_json::json!({ "node": format!("a-long-name-{number}"), "will": "update" })
        });
        let started = serde_json::json!({ "type": "release.started", "data": {
            "service": "order-api-of-the-shop", "command": "deploy", "actor": "me", "file": "app.yaml",
            "from": "2.7.0", "to": "2.7.1", "playbook": null, "nodes": planned.collect::<Vec<_>>(),
            "inputs": { "release": "7f3a19c2", "folder": "", "variables": {}, "artifact": null },
            "pool": { "nodes": nodes, "routed": nodes - 1, "min": 3 },
        }});
        scene.tell(serde_json::from_value(started).expect("a fact"), None);
        let first = if nodes > 9 { nodes } else { 1 };
        let nodes = (1..=first).map(|number| format!("a-long-name-{number}")).collect();
        scene.tell(EventKind::BatchStarted { number: 1, nodes, back: false }, None);
        scene.tell(EventKind::StepStarted {}, Some(Step::Disable));
        scene
    }

    fn tell(&mut self, fact: EventKind, step: Option<Step>) {
        self.tell_of("a-long-name-1", fact, step);
    }

    fn tell_of(&mut self, node: &str, fact: EventKind, step: Option<Step>) {
        let event = Event {
            seq: self.release.seq + 1,
            at: jiff::Timestamp::UNIX_EPOCH,
            release: "7f3a19c2".into(),
            node: step.map(|_| node.into()),
            step,
            fact,
        };
        self.release.apply(&event).expect("it may follow");
        self.live.event(&event, &self.release);
    }

    fn mark_down(&mut self) {
        let key = || "a".to_owned();
        let writing = EventKind::RegistryWriting {
            key: key(),
            down: true,
            original: String::new(),
            modify_index: 1,
            entries: Vec::new(),
            strangers: BTreeSet::new(),
        };
        self.tell(writing, Some(Step::Disable));
        let written = EventKind::RegistryWritten { key: key(), down: true, modify_index: 1 };
        self.tell(written, Some(Step::Disable));
    }

    /// The row of the first node, without the spinner.
    fn row(&self) -> String {
        let screen = self.terminal.contents();
        let row = screen.lines().find(|line| line.contains("a-long-name-1  ")).expect("a row");
        row.chars().skip(4).collect::<String>().trim_end().to_owned()
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
    assert!(screen.lines().all(|line| line.chars().count() <= 60), "{screen}");
    insta::assert_snapshot!(still(&screen), @r"
    deploy order-api-of-the-shop · 0 of 9 done · 0s
      * a-long-name-1  disable      0s           waits for ca…
      · 8 waiting: a-long-name-2, a-long-name-3, a-long-name-4,…
      Pool  8 of 9 routed (min_available 3)
      Stopping (SIGINT): no further node is updated.
    ");
}

/// The screen without what moves: spinners, and the time of steps.
fn still(screen: &str) -> String {
    let line = |line: &str| match line.trim_start().strip_prefix(|sign| sign > '\u{27ff}') {
        Some(rest) => format!("  *{rest}"),
        None => line.to_owned(),
    };
    screen.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn row_says_the_step_its_time_its_limit_and_what_is_waited_for() {
    let mut scene = Scene::new(200);
    assert_eq!(scene.row(), "a-long-name-1  disable      0s           marking it down");
    let message = "2 requests in flight".to_owned();
    let progress = EventKind::StepProgress { message, in_flight: None, deadline_s: Some(57) };
    scene.tell(progress, Some(Step::Disable));
    assert_eq!(scene.row(), "a-long-name-1  disable      0s of 57s    2 requests in flight");
    let finished = EventKind::StepFinished { elapsed_ms: 1, message: String::new(), drained: None };
    scene.mark_down();
    scene.tell(finished, Some(Step::Disable));
    scene.tell(EventKind::StepStarted {}, Some(Step::ConfirmOut));
    let waits = "waiting until no gateway routes to it";
    assert_eq!(scene.row(), format!("a-long-name-1  confirm_out  0s           {waits}"));
}

#[test]
fn large_batch_fits_on_a_small_terminal_and_leaves_nothing() {
    let mut scene = Scene::of(40, (80, 12));
    for number in 2..=40 {
        let node = format!("a-long-name-{number}");
        scene.tell_of(&node, EventKind::StepStarted {}, Some(Step::Disable));
    }
    let screen = scene.terminal.contents();
    assert!(screen.lines().count() < 12, "{screen}");
    insta::assert_snapshot!(still(&screen), @r"
    deploy order-api-of-the-shop 2.7.0 -> 2.7.1 · 0 of 40 done · 0s
      * a-long-name-1   disable      0s           marking it down
      * a-long-name-2   disable      0s           marking it down
      * a-long-name-3   disable      0s           marking it down
      * a-long-name-4   disable      0s           marking it down
      * a-long-name-5   disable      0s           marking it down
      * a-long-name-6   disable      0s           marking it down
      … 34 more nodes under way: 34 disable
      Pool  39 of 40 routed (min_available 3)
      Ctrl-C stops the release at a safe point.
    ");
    let reason = Failure { reason: "refused".into(), ..Failure::default() };
    scene.tell(EventKind::NodeFailed(Box::new(reason)), Some(Step::Disable));
    assert!(scene.line("… ").starts_with("… 33 more nodes under way: 33 disable"));
    for number in 2..=40 {
        let node = format!("a-long-name-{number}");
        scene.tell_of(&node, EventKind::NodeInterrupted {}, Some(Step::Disable));
    }
    let finished = Finished::unstarted(Outcome::Failed, 20, None);
    scene.tell(EventKind::ReleaseFinished(finished), None);
    let screen = scene.terminal.contents();
    let is_settled = |line: &str| line.starts_with("  x ") || line.starts_with("  - ");
    assert!(screen.lines().all(is_settled), "{screen}");
}

#[test]
fn title_keeps_the_progress_and_the_time_that_is_left() {
    let release = {
        let mut release = Scene::new(80).release;
        let at = |second| jiff::Timestamp::from_second(second).expect("a time");
        let mut tell = |second, fact| {
            let (id, node, step) = ("r".to_owned(), None, None);
            let seq = release.seq + 1;
            let event = Event { seq, at: at(second), release: id, node, step, fact };
            release.apply(&event).expect("it may follow");
        };
        let nodes = vec!["a-long-name-2".to_owned()];
        tell(60, EventKind::BatchStarted { number: 2, nodes, back: false });
        release
    };
    let now = jiff::Timestamp::from_second(90).expect("a time");
    let title = title::of(&release, release.begun, (1, 0), now);
    let progress = "1 of 9 done · 1m30s · about 7m30s left";
    let deploy = "deploy order-api-of-the-shop";
    for (columns, told) in [
        (120, format!("{deploy} 2.7.0 -> 2.7.1 · {progress} · release 7f3a19c2")),
        (90, format!("{deploy} 2.7.0 -> 2.7.1 · {progress}")),
        (80, format!("{deploy} · {progress}")),
        (40, progress.to_owned()),
    ] {
        assert_eq!(title.fit(Some(columns)), told);
    }
    let failed = title::of(&release, release.begun, (1, 2), now);
    assert_eq!(failed.fit(Some(50)), "1 of 9 done, 2 failed · 1m30s · about 7m30s left");
    let mut ended = release;
    ended.nodes.values_mut().for_each(|node| node.phase = Phase::Done);
    let told = title::of(&ended, ended.begun, (9, 0), now).fit(Some(40));
    assert_eq!(told, "9 of 9 done · 1m30s", "nothing is left to do");
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
        let row = scene.row();
        row.split_whitespace().filter(|word| *word != "0s").take(4).collect::<Vec<_>>().join(" ")
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
