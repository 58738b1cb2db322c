//! The files that rollgate writes for itself: journals, and the holder of the lock.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rollgate::journal;
use rollgate::lock::{Holder, Process};
use rollgate::plan::PlanFile;
use rollgate::release::Release;
use rollgate::release::{Drained, EntryBefore, Event, EventKind, Failure, Outcome, Step};
use rollgate::spec::Spec;
use rollgate::suggestions::{Repeated, Situation};

use crate::damaged::{assert_printable, bytes, cases};

/// A recorded journal of a whole release.
pub(crate) const JOURNAL: &str = include_str!("../fixtures/journals/v1-deploy.jsonl");

/// A recorded plan file.
const PLAN: &str = include_str!("../fixtures/plans/v1.json");

pub(crate) const HOLDER: &str = r#"{"release":"7f3a19c2","command":"deploy","by":"me@ci-7","host":"ci-7","pid":42,"since":"2026-06-12T14:00:00Z","seen":"2026-06-12T14:03:10Z","doing":"node-2 drain","file":"b:1:2"}"#;

/// A playbook whose version is filled into commands.
const PLAYBOOK: &str = "service: app
variables: { version: { required: true } }
registry: { type: consul-kv, prefix: upstreams/app/ }
gateways: [{ type: nginx-upsync, status_url: 'http://10.0.0.1/l?app', upstream: app }]
nodes: [{ ssh: a, address: '10.0.1.1:80' }, { ssh: b, address: '10.0.1.2:80' }]
artifact: { source: 'app-${{ version }}.tar.gz', releases: /srv/r, current: /srv/c }
stop: stop ${{ version }}
start: start ${{ version }}
health: { tcp: '${{ node.address }}' }";

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof!["(?s).{0,40}", "[ -~]{0,20}", Just("\u{9b}2J\u{202e}\r\n\0\u{2028}\"\\".to_owned())]
}

fn time() -> impl Strategy<Value = jiff::Timestamp> {
    // An event has its time in milliseconds.
    (0..4_000_000_000_000_i64)
        .prop_map(|millis| jiff::Timestamp::from_millisecond(millis).expect("a time"))
}

fn fact() -> impl Strategy<Value = EventKind> {
    let failure = (any_text(), prop::collection::vec((any_text(), any_text()), 0..3), any_text());
    prop_oneof![
        any_text().prop_map(|message| EventKind::Warning { message }),
        any_text().prop_map(|reason| EventKind::ReleaseStopping { reason }),
        (any::<u64>(), any_text(), any::<Option<(u64, u64)>>()).prop_map(
            |(elapsed_ms, message, drained)| {
                let drained = drained.map(|(from, cut)| Drained { from, cut });
                EventKind::StepFinished { elapsed_ms, message, drained }
            }
        ),
        (any_text(), any::<bool>(), any_text(), any::<u64>(), any_text()).prop_map(
            |(key, down, original, modify_index, stranger)| EventKind::RegistryWriting {
                entries: vec![EntryBefore {
                    key: key.clone(),
                    original: original.clone(),
                    modify_index
                }],
                key,
                down,
                original,
                modify_index,
                strangers: [stranger].into()
            }
        ),
        failure.prop_map(|(reason, seen, log)| {
            EventKind::NodeFailed(Box::new(Failure {
                reason,
                seen,
                log: vec![log],
                ..Failure::default()
            }))
        }),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let step = prop::option::of(prop_oneof![
        any::<u32>().prop_map(Step::Run),
        Just(Step::Drain),
        Just(Step::ConfirmIn)
    ]);
    (any::<u64>(), time(), any_text(), prop::option::of(any_text()), step, fact()).prop_map(
        |(seq, at, release, node, step, fact)| Event { seq, at, release, node, step, fact },
    )
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn event_with_any_text_round_trips_as_one_line(event in event()) {
        let line = event.to_line();
        prop_assert!(!line.contains('\n'));
        prop_assert_eq!(Event::from_line(&line), Ok(event));
    }

    #[test]
    fn lock_holder_with_any_text_round_trips_and_prints_as_one_line(
        [release, command, by, host, doing] in prop::array::uniform5(any_text()),
        pid in any::<u32>(), since in time(), seen in time(), now in time(),
        file in prop::option::of(any_text()), released in any::<bool>(),
    ) {
        let holder = Holder { release, command, by, host, pid, since, seen, doing, file, released };
        prop_assert_eq!(Holder::from_bytes(&holder.to_bytes()), Some(holder.clone()));
        assert_printable(&holder.describe(Process::Runs, now));
    }

    #[test]
    fn any_bytes_are_a_printable_lock_holder_or_none(bytes in bytes(&[HOLDER])) {
        if let Some(holder) = Holder::from_bytes(&bytes.0) {
            assert_printable(&holder.describe(Process::Unknown, jiff::Timestamp::UNIX_EPOCH));
        }
    }

    #[test]
    fn any_bytes_are_the_recorded_plan_or_a_printable_error(bytes in bytes(&[PLAN])) {
        let recorded = PlanFile::read(PLAN).expect("a plan");
        match PlanFile::read(&String::from_utf8_lossy(&bytes.0)) {
            // Its checksums leave only other white space, and other checksums do not fit.
            Ok(plan) => prop_assert_eq!(plan, recorded),
            Err(error) => assert_printable(&error),
        }
    }

    #[test]
    fn any_bytes_are_an_event_or_a_printable_error(bytes in bytes(&[HOLDER])) {
        if let Err(error) = Event::from_line(&String::from_utf8_lossy(&bytes.0)) {
            assert_printable(&error);
        }
    }
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn corrupt_journal_is_read_or_refused_with_its_line(bytes in bytes(&[JOURNAL])) {
        match journal::parse(&bytes.0, "journal") {
            Ok((events, release)) => {
                let again = Release::replay(&events).expect("it was read in this order");
                prop_assert_eq!(again.seq, release.seq);
                prop_assert_eq!(journal::fold(&bytes.0, "journal").expect("the same").seq, release.seq);
            }
            Err(error) => {
                assert_printable(&format!("{error:#}"));
                prop_assert!(error.to_string().starts_with("journal:"), "{error}");
            }
        }
    }

    /// From any journal, only plain words and the operator's own values are restored.
    #[test]
    fn corrupt_journal_restores_plain_values_or_is_refused(
        bytes in bytes(&[JOURNAL]), version in any_text(), id in any_text(), sha256 in any_text(),
    ) {
        let loaded = rollgate::playbook::load_text("app.yaml", PLAYBOOK).expect("a playbook");
        let mut lines = bytes.0.split(|byte| *byte == b'\n').map(String::from_utf8_lossy);
        let first = Event::from_line(&lines.next().unwrap_or_default());
        let mut line: serde_json::Value =
            serde_json::from_str(JOURNAL.lines().next().expect("a line")).expect("JSON");
        line["data"]["inputs"]["variables"]["version"] = version.into();
        line["data"]["inputs"]["release"] = id.into();
        line["data"]["inputs"]["artifact"] =
            serde_json::json!({ "sha256": sha256, "size": u64::MAX, "unpacked": u64::MAX });
        let forged = Event::from_line(&line.to_string());
        for event in [first, forged].into_iter().flatten() {
            let EventKind::ReleaseStarted(started) = event.fact else { continue };
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
            match started.inputs.restored(&loaded.playbook, &BTreeMap::new()) {
                Ok(variables) => {
                    prop_assert!(variables.values().all(|value| value.bytes().all(plain)));
                }
                Err(why) => assert_printable(&why),
            }
            if let Some(digest) = started.inputs.digest() {
                prop_assert!(digest.sha256.len() == 64 && digest.sha256.bytes().all(plain));
            }
            match started.inputs.followed(&loaded.playbook) {
                Ok(inputs) => drop(Spec::new(&loaded.playbook, &inputs)),
                Err(why) => assert_printable(&why),
            }
            let release = Release { started: Some(*started), ..Release::default() };
            let repeated =
                Repeated { file: "app.yaml".into(), ..Repeated::default() };
            for (_, command) in Situation::new(&release, Outcome::Failed, &repeated).commands() {
                prop_assert!(command.starts_with("rollgate "));
                prop_assert!(!command.contains([';', '$', '`', '|', '&', '\n']), "{command}");
            }
        }
    }

    #[test]
    fn truncated_journal_yields_every_complete_event(cut in 0..JOURNAL.len()) {
        let (events, _) = journal::parse(&JOURNAL.as_bytes()[..cut], "journal").expect("torn at its end only");
        prop_assert_eq!(events.len(), JOURNAL[..cut].matches('\n').count());
    }
}

#[test]
fn sample_journal_is_complete() {
    let (events, release) = journal::parse(JOURNAL.as_bytes(), "journal").expect("whole");
    assert!(events.len() > 50 && release.finished.is_some());
    let again: String = events.iter().map(|event| event.to_line() + "\n").collect();
    assert_eq!(again, JOURNAL);
}
