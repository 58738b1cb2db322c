//! Checks which event may follow which.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::foreign::Recorded;
use crate::json::Written;
use crate::release::Leaving;
use crate::release::RotationState;
use crate::release::{CommandKind, Failure, ResumePoint, Resumed};

/// A release of nodes `a` and `b` and the numbering of its events.
#[derive(Clone)]
struct Story {
    release: Release,
}

impl Story {
    fn new() -> Self {
        let planned = |node: &str, will| Planned {
            first_install: false,
            node: node.into(),
            will,
            why: String::new(),
            runs: None,
            was_out: false,
            taken_out: false,
            strangers: BTreeSet::new(),
            held: None,
        };
        let mut story = Self { release: Release::default() };
        let started = Started {
            service: "app".into(),
            command: CommandKind::Deploy,
            from: None,
            to: None,
            actor: "me".into(),
            file: "app.yaml".into(),
            arguments: Vec::new(),
            selection: Vec::new(),
            playbook: Written::default(),
            inputs: Recorded::default(),
            nodes: vec![
                planned("b", PlannedAction::Update),
                planned("a", PlannedAction::Update),
                planned("c", PlannedAction::Skip),
            ]
            .into(),
            pool: None,
            plan: None,
            before: Recorded::default(),
            toward: Recorded::default(),
        };
        story.tell(None, None, EventKind::ReleaseStarted(Box::new(started))).expect("starts");
        story
    }

    fn tell(&mut self, node: Option<&str>, step: Option<Step>, fact: EventKind) -> Result<()> {
        let event = Event {
            seq: self.release.seq + 1,
            at: jiff::Timestamp::UNIX_EPOCH,
            release: "r".into(),
            node: node.map(Into::into),
            step,
            fact,
        };
        self.release.apply(&event)
    }

    fn batch(&mut self, nodes: &[&str]) -> Result<()> {
        let number = self.release.batch + 1;
        let nodes = nodes.iter().map(ToString::to_string).collect();
        self.tell(None, None, EventKind::BatchStarted { number, nodes, back: false })
    }

    fn step(&mut self, step: Step) -> Result<()> {
        self.tell(Some("b"), Some(step), EventKind::StepStarted {})?;
        if matches!(step, Step::ConfirmOut | Step::ConfirmIn) {
            let proven = EventKind::GatewayProven {
                gateway: "gw".into(),
                routed: step == Step::ConfirmIn,
                reads: 1,
                workers: 1,
                method: "workers".into(),
                pool: None,
            };
            self.tell(Some("b"), Some(step), proven)?;
        }
        if matches!(step, Step::Disable | Step::Enable) {
            self.write(step == Step::Disable)?;
        }
        let finished =
            EventKind::StepFinished { elapsed_ms: 1, message: String::new(), drained: None };
        self.tell(Some("b"), Some(step), finished)
    }

    fn write(&mut self, down: bool) -> Result<()> {
        let key = || "upstreams/app/b".to_owned();
        let writing = EventKind::RegistryWriting {
            key: key(),
            down,
            original: "{}".into(),
            entries: Vec::new(),
            modify_index: 1,
            strangers: BTreeSet::new(),
        };
        self.tell(Some("b"), None, writing)?;
        assert_eq!(self.release.nodes["b"].rotation_state(), RotationState::Unknown);
        self.tell(Some("b"), None, EventKind::RegistryWritten { key: key(), down, modify_index: 2 })
    }
}

const FULL: [Step; 9] = [
    Step::Disable,
    Step::ConfirmOut,
    Step::Drain,
    Step::Stop,
    Step::Activate,
    Step::Start,
    Step::Health,
    Step::Enable,
    Step::ConfirmIn,
];

#[test]
fn nodes_are_taken_in_the_planned_order_and_skipped_ones_never() {
    let mut story = Story::new();
    assert_eq!(story.release.next_batch(1, |_| false), ["b"]);
    assert_eq!(story.release.next_batch(5, |_| false), ["b", "a"]);
    story.batch(&["b"]).expect("taken");
    assert_eq!(story.release.next_batch(5, |_| false), ["a"]);
    assert!(story.batch(&["c"]).is_err(), "a skipped node is not taken");
    let stopping = EventKind::ReleaseStopping { reason: "SIGINT".into() };
    story.tell(None, None, stopping).expect("stops");
    assert!(story.release.next_batch(5, |_| false).is_empty());
    assert!(story.batch(&["a"]).is_err(), "nothing is taken while it stops");
}

#[test]
fn complete_node_is_accepted_and_its_rotation_state_follows() {
    let mut story = Story::new();
    assert!(story.step(Step::Disable).is_err(), "not taken yet");
    story.batch(&["b"]).expect("taken");
    for step in FULL {
        let before = story.release.nodes["b"].rotation_state();
        story.step(step).unwrap_or_else(|error| panic!("{step}: {error:#}"));
        let after = story.release.nodes["b"].rotation_state();
        match step {
            Step::Disable => {
                assert_eq!((before, after), (RotationState::Untouched, RotationState::Out));
            }
            Step::Enable => {
                assert_eq!((before, after), (RotationState::Out, RotationState::Enabled));
            }
            Step::ConfirmIn => assert_eq!(after, RotationState::Updated),
            _ => assert_eq!((before, after), (RotationState::Out, RotationState::Out)),
        }
    }
    story.tell(Some("b"), None, EventKind::NodeDone { elapsed_ms: 5 }).expect("done");
    assert_eq!(story.release.nodes["b"].phase, Phase::Done);
}

#[test]
fn leaving_out_any_proof_makes_the_next_dangerous_step_illegal() {
    for (missing, refused) in [
        (Step::ConfirmOut, Step::Stop),
        (Step::Drain, Step::Stop),
        (Step::Health, Step::Enable),
        (Step::Enable, Step::ConfirmIn),
    ] {
        let mut story = Story::new();
        story.batch(&["b"]).expect("taken");
        for step in FULL.into_iter().filter(|step| *step != missing) {
            let result = story.step(step);
            if step == refused {
                assert!(result.is_err(), "{refused} without {missing}");
                break;
            }
            result.unwrap_or_else(|error| panic!("{step}: {error:#}"));
        }
    }
}

#[test]
fn stopped_node_cannot_be_put_back_without_health_check() {
    let mut story = Story::new();
    story.batch(&["b"]).expect("taken");
    story.step(Step::Disable).expect("disabled");
    let mut put_back = story.release.clone();
    std::mem::swap(&mut story.release, &mut put_back);
    story.write(false).expect("written");
    story
        .tell(Some("b"), None, EventKind::NodePutBack { proven: true, problem: None })
        .expect("put back");
    assert_eq!(story.release.nodes["b"].rotation_state(), RotationState::PutBack);
    std::mem::swap(&mut story.release, &mut put_back);
    for step in [Step::ConfirmOut, Step::Drain, Step::Stop] {
        story.step(step).expect("legal");
    }
    story.write(false).expect("written");
    assert!(
        story
            .tell(Some("b"), None, EventKind::NodePutBack { proven: true, problem: None })
            .is_err()
    );
}

impl Story {
    /// Node `b` is selected and runs up to this step, which begins.
    fn up_to(step: Step) -> Self {
        let mut story = Self::new();
        story.batch(&["b"]).expect("taken");
        for before in FULL.into_iter().take_while(|before| *before != step) {
            story.step(before).expect("legal");
        }
        story.tell(Some("b"), Some(step), EventKind::StepStarted {}).expect("begins");
        story
    }

    /// The step did not begin, and the node is to be put back or left out.
    fn never_began(&mut self, step: Step, put_back: bool) -> Result<()> {
        let failure = Failure { not_begun: true, put_back, ..Failure::default() };
        self.tell(Some("b"), Some(step), EventKind::NodeFailed(Box::new(failure)))
    }

    fn put_back(&mut self) -> Result<()> {
        self.write(false)?;
        self.tell(Some("b"), None, EventKind::NodePutBack { proven: true, problem: None })
    }

    /// The unfinished node is taken again, from its first step.
    fn resume(&mut self) {
        self.wait_again();
        self.batch(&["b"]).expect("taken");
    }

    /// The release is resumed, and the unfinished node waits for its turn.
    fn wait_again(&mut self) {
        let found = ResumePoint { node: "b".into(), down: true, ..ResumePoint::default() };
        let resumed = Resumed { actor: "me".into(), nodes: vec![found], ..Default::default() };
        self.tell(None, None, EventKind::ReleaseResumed(resumed)).expect("resumed");
    }
}

#[test]
fn node_whose_stop_did_not_begin_is_put_back() {
    let mut story = Story::up_to(Step::Stop);
    assert!(story.release.nodes["b"].is_stopped(), "perhaps, until more is known");
    story.never_began(Step::Stop, true).expect("fails");
    story.put_back().expect("put back");
    assert_eq!(story.release.nodes["b"].rotation_state(), RotationState::PutBack);
    assert!(!story.release.nodes["b"].is_stopped());
}

#[test]
fn possibly_stopped_node_is_not_put_back_when_a_later_step_did_not_begin() {
    for later in [Step::Activate, Step::Start] {
        let mut story = Story::up_to(later);
        story.never_began(later, true).expect("fails");
        assert!(story.put_back().is_err(), "{later}");
    }
    let mut story = Story::up_to(Step::Stop);
    story.tell(Some("b"), Some(Step::Stop), EventKind::NodeInterrupted {}).expect("interrupted");
    story.resume();
    for step in [Step::Disable, Step::ConfirmOut, Step::Drain] {
        story.step(step).expect("legal");
    }
    story.tell(Some("b"), Some(Step::Stop), EventKind::StepStarted {}).expect("begins again");
    story.never_began(Step::Stop, true).expect("fails");
    assert!(story.put_back().is_err(), "the first try may have ended it");
}

#[test]
fn node_left_out_is_not_put_back_later_without_health_check() {
    let mut story = Story::up_to(Step::Stop);
    story.never_began(Step::Stop, false).expect("fails");
    story.resume();
    story.step(Step::Disable).expect("legal");
    assert!(story.put_back().is_err());
}

#[test]
fn only_the_current_step_can_be_reported_as_not_begun() {
    let mut story = Story::up_to(Step::Stop);
    assert!(story.never_began(Step::Drain, true).is_err());
    let finished = EventKind::StepFinished { elapsed_ms: 1, message: String::new(), drained: None };
    story.tell(Some("b"), Some(Step::Stop), finished).expect("done");
    assert!(story.never_began(Step::Stop, true).is_err());
}

#[test]
fn no_event_follows_the_end_and_the_end_waits_for_every_node() {
    let mut story = Story::new();
    let finished = || {
        EventKind::ReleaseFinished(Finished {
            result: crate::release::Outcome::Done,
            exit_code: 0,
            reason: None,
            nodes: BTreeMap::new(),
            next: Vec::new(),
            elapsed_ms: 1,
        })
    };
    story.batch(&["b"]).expect("taken");
    assert!(story.tell(None, None, finished()).is_err(), "b is under way");
    story.tell(Some("b"), None, EventKind::NodeInterrupted {}).expect("interrupted");
    story.tell(None, None, finished()).expect("ends");
    assert!(story.batch(&["a"]).is_err());
}

#[test]
fn updated_node_rolls_back_only_if_its_restore_point_is_known() {
    let mut story = Story::new();
    story.batch(&["b"]).expect("taken");
    for step in [
        Step::Disable,
        Step::ConfirmOut,
        Step::Drain,
        Step::Stop,
        Step::Start,
        Step::Health,
        Step::Enable,
        Step::ConfirmIn,
    ] {
        story.step(step).expect("follows");
    }
    story.tell(Some("b"), None, EventKind::NodeDone { elapsed_ms: 1 }).expect("follows");
    assert_eq!(story.release.next_back(5, |_, _| true), ["b"]);
    assert!(story.release.next_back(5, |name, _| name != "b").is_empty());
}

/// A resume after a crash must not mistake the process of an earlier start for the new one.
#[test]
fn mark_is_valid_for_one_start_only() {
    let mut story = Story::new();
    story.batch(&["b"]).expect("taken");
    for step in [Step::Disable, Step::ConfirmOut, Step::Drain, Step::Stop] {
        story.step(step).expect("follows");
    }
    story.tell(Some("b"), Some(Step::Start), EventKind::StepStarted {}).expect("follows");
    let listener = crate::node::Listener { mark: crate::node::Ticks(7), ..Default::default() };
    story.tell(Some("b"), Some(Step::Start), EventKind::NodeMarked { listener }).expect("follows");
    assert_eq!(story.release.nodes["b"].mark, Some(crate::node::Ticks(7)));
    let finished = EventKind::StepFinished { elapsed_ms: 1, message: String::new(), drained: None };
    story.tell(Some("b"), Some(Step::Start), finished).expect("follows");
    story.tell(Some("b"), Some(Step::Restart), EventKind::StepStarted {}).expect("follows");
    assert_eq!(story.release.nodes["b"].mark, None);
}

#[test]
fn resume_does_not_put_back_node_whose_service_is_gone() {
    for gone in [true, false] {
        let mut story = Story::new();
        story.batch(&["b"]).expect("taken");
        // The journal's replica ends before the stop.
        story.step(Step::Disable).expect("follows");
        let nodes =
            vec![ResumePoint { node: "b".into(), down: true, gone, ..ResumePoint::default() }];
        let resumed = crate::release::Resumed { actor: "me".into(), nodes, ..Default::default() };
        story.tell(None, None, EventKind::ReleaseResumed(resumed)).expect("resumes");
        story.batch(&["b"]).expect("taken");
        assert_eq!(story.put_back().is_err(), gone, "gone: {gone}");
    }
}

#[test]
fn resumed_nodes_that_are_out_come_first() {
    let mut story = Story::new();
    story.batch(&["b", "a"]).expect("taken");
    let found =
        |node: &str, down| ResumePoint { node: node.into(), down, ..ResumePoint::default() };
    let nodes = vec![found("b", false), found("a", true)];
    let resumed = crate::release::Resumed { actor: "me".into(), nodes, ..Default::default() };
    story.tell(None, None, EventKind::ReleaseResumed(resumed)).expect("resumes");
    assert_eq!(story.release.next_batch(1, |_| false), ["a"]);
    assert_eq!(story.release.next_batch(5, |_| false), ["a", "b"]);
}

/// The node in rotation may have to wait for the other one's capacity, also if that one is only partly down.
#[test]
fn nodes_that_are_out_roll_back_first_after_a_resume() {
    for partly in [false, true] {
        let mut story = Story::new();
        story.batch(&["b", "a"]).expect("taken");
        story.tell(Some("a"), Some(Step::Disable), EventKind::StepStarted {}).expect("follows");
        let written = EventKind::RegistryWritten { key: "a".into(), down: true, modify_index: 1 };
        story.tell(Some("a"), Some(Step::Disable), written).expect("follows");
        for node in ["b", "a"] {
            let rolling = EventKind::NodeRollingBack { version: "1".into() };
            let failed = || EventKind::NodeFailed(Box::default());
            for fact in [failed(), rolling, failed()] {
                story.tell(Some(node), Some(Step::Disable), fact).expect("follows");
            }
        }
        let point = |node: &str| ResumePoint { node: node.into(), ..ResumePoint::default() };
        let out = ResumePoint { down: !partly, partly, ..point("a") };
        let nodes = vec![ResumePoint { gone: true, ..point("b") }, out];
        let resumed = crate::release::Resumed { actor: "me".into(), nodes, ..Default::default() };
        story.tell(None, None, EventKind::ReleaseResumed(resumed)).expect("resumes");
        assert_eq!(story.release.next_back(1, |_, _| true), ["a"], "partly: {partly}");
        assert_eq!(story.release.next_back(5, |_, _| true), ["a", "b"], "partly: {partly}");
    }
}

/// A release that has failed elsewhere: the node does not stay out without a service.
#[test]
fn stopped_node_rolls_back_after_a_resume_although_the_new_version_was_not_started() {
    let mut story = Story::new();
    story.batch(&["b"]).expect("taken");
    for step in [Step::Disable, Step::ConfirmOut, Step::Drain, Step::Stop] {
        story.step(step).expect("follows");
    }
    story.wait_again();
    assert_eq!(story.release.next_back(5, |_, _| true), ["b"]);
    assert!(story.release.to_return().is_empty());
    // A node that was only marked down returns to rotation as it is.
    let mut story = Story::new();
    story.batch(&["b"]).expect("taken");
    story.step(Step::Disable).expect("follows");
    story.wait_again();
    assert!(story.release.next_back(5, |_, _| true).is_empty());
    assert_eq!(story.release.to_return(), ["b"]);
}

/// The node is already enabled, so only the rest is confirmed again.
#[test]
fn resumed_node_in_rotation_with_the_new_version_is_not_put_back() {
    let mut story = Story::new();
    story.batch(&["b"]).expect("taken");
    for step in [Step::Disable, Step::ConfirmOut, Step::Drain, Step::Stop, Step::Start] {
        story.step(step).expect("follows");
    }
    let done = vec![Step::Disable, Step::ConfirmOut, Step::Drain, Step::Stop, Step::Start];
    let nodes = vec![ResumePoint { node: "b".into(), done, gone: true, ..ResumePoint::default() }];
    let resumed = crate::release::Resumed { actor: "me".into(), nodes, ..Default::default() };
    story.tell(None, None, EventKind::ReleaseResumed(resumed)).expect("resumes");
    assert_eq!(story.release.nodes["b"].rotation_state(), RotationState::Enabled);
}

#[test]
fn node_leaves_from_its_look_at_the_gateways_until_it_is_seen_back_or_stays_after_all() {
    let mut story = Story::up_to(Step::Disable);
    let leaving = |story: &Story| story.release.nodes["b"].leaving;
    let allow = |story: &mut Story| {
        let seen = EventKind::CapacitySeen { routed: BTreeMap::new() };
        story.tell(Some("b"), Some(Step::Disable), seen).expect("legal");
    };
    assert_eq!(leaving(&story), Leaving::No);
    allow(&mut story);
    assert_eq!(leaving(&story), Leaving::Allowed);
    let mut failed = story.clone();
    let failure = Box::new(Failure { reason: "no such key".into(), ..Failure::default() });
    failed.tell(Some("b"), Some(Step::Disable), EventKind::NodeFailed(failure)).expect("fails");
    assert_eq!(leaving(&failed), Leaving::No, "it was not marked down");
    story.write(true).expect("written");
    assert_eq!(leaving(&story), Leaving::Marked);
    let mut back = story.clone();
    back.write(false).expect("written");
    assert_eq!(leaving(&back), Leaving::No, "it is put back");
    let finished = EventKind::StepFinished { elapsed_ms: 1, message: String::new(), drained: None };
    story.tell(Some("b"), Some(Step::Disable), finished).expect("legal");
    for step in &FULL[1..] {
        assert_eq!(leaving(&story), Leaving::Marked, "{step}");
        story.step(*step).expect("legal");
    }
    assert_eq!(leaving(&story), Leaving::No, "it is seen back");
}
