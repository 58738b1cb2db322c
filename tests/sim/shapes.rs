//! Events as lines for programs: each new form of an event is checked with the published schema.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::{Discriminant, discriminant};
use std::sync::{LazyLock, Mutex, PoisonError};

use rollgate::release::{Event, EventKind};
use serde_json::Value;

use crate::line_schema::assert_line;

/// How many events of a kind are looked at, one after the other.
const ALL: u64 = 20;

/// After that, one of so many.
const SAMPLE: u64 = 16;

/// The forms that were seen, in all schedules.
#[derive(Default)]
struct Shapes {
    count: HashMap<Discriminant<EventKind>, u64>,
    seen: HashSet<u64>,
}

static SHAPES: LazyLock<Mutex<Shapes>> = LazyLock::new(Mutex::default);

/// Checks an event whose form is new. A schedule must not become slower: of frequent kinds, most events are not looked
/// at.
pub(crate) fn check(event: &Event) {
    let kind = discriminant(&event.fact);
    let mut shapes = SHAPES.lock().unwrap_or_else(PoisonError::into_inner);
    let count = shapes.count.entry(kind).or_default();
    *count += 1;
    if *count <= ALL || count.is_multiple_of(SAMPLE) {
        look(event, &mut shapes.seen);
    }
}

fn look(event: &Event, seen: &mut HashSet<u64>) {
    let line: Value = serde_json::from_str(&event.to_line()).expect("JSON");
    let mut hasher = DefaultHasher::new();
    hash(&line, &mut hasher);
    line["type"].hash(&mut hasher);
    if seen.insert(hasher.finish()) {
        assert_line(&line);
    }
}

/// Hashes names and types, without values. Of a list, the first entry counts.
fn hash(value: &Value, hasher: &mut DefaultHasher) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                name.hash(hasher);
                hash(field, hasher);
            }
        }
        Value::Array(list) => list.first().into_iter().for_each(|entry| hash(entry, hasher)),
        _ => {}
    }
    std::mem::discriminant(value).hash(hasher);
}

#[test]
fn event_with_another_form_than_published_is_refused() {
    let journal = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/journals/v1-deploy.jsonl");
    let journal = std::fs::read_to_string(journal).expect("a journal");
    let event = journal.lines().find(|line| line.contains("gateway.proven")).expect("an event");
    let mut event = Event::from_line(event).expect("an event");
    let look = |event: &Event| look(event, &mut HashSet::new());
    look(&event);
    event.node = None;
    std::panic::catch_unwind(|| look(&event)).expect_err("an event of no node");
}

/// The watch of a node that is out marks it down again between two steps.
#[test]
fn registry_event_without_a_step_is_published() {
    let fact = EventKind::RegistryRefused {};
    let (at, node) = (jiff::Timestamp::UNIX_EPOCH, Some("node-1".to_owned()));
    let event = Event { seq: 1, at, release: "r1".into(), node, step: None, fact };
    assert_line(&serde_json::from_str(&event.to_line()).expect("JSON"));
}
