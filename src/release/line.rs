//! The format of a line: the same for every event of a release and for the output of other commands.

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, IntoDeserializer, MapAccess};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::event::{Event, EventKind};
use super::outcome::Finished;
use super::step::Step;
use crate::{secret, text};

/// The version of the format. Later versions only add fields.
pub(super) const FORM: u32 = 1;

/// The limit of values in a line. The start of a release contains a playbook of at most 1 MiB.
const MOST_VALUES: usize = 200_000;

/// The limit of nodes of a release.
pub const MOST_NODES: usize = 20_000;

/// A kind of event with its data, in the form that [`EventKind`] expects: parsed directly from the line, without a
/// copy.
struct Tagged<'a> {
    kind: Option<&'a str>,
    data: Option<&'a RawValue>,
}

impl<'de> MapAccess<'de> for Tagged<'de> {
    type Error = serde_json::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Self::Error> {
        let key = match (self.kind, self.data) {
            (Some(_), _) => "type",
            (None, Some(_)) => "data",
            (None, None) => return Ok(None),
        };
        seed.deserialize(key.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, Self::Error> {
        match (self.kind.take(), self.data.take()) {
            (Some(kind), data) => {
                self.data = data;
                seed.deserialize(kind.into_deserializer())
            }
            (None, data) => {
                let data = data.map_or("null", RawValue::get);
                seed.deserialize(&mut serde_json::Deserializer::from_str(data))
            }
        }
    }
}

/// One line before rendering.
#[derive(Debug, Clone)]
pub struct Line<'a> {
    /// Counted from 1 within a release or a command.
    pub seq: u64,
    /// The time.
    pub at: jiff::Timestamp,
    /// The type of the line: `step.finished`.
    pub kind: &'a str,
    /// The release of the line; empty if there is none.
    pub release: &'a str,
    /// The node of the line.
    pub node: Option<&'a str>,
    /// The step of the line.
    pub step: Option<Step>,
    /// The other fields.
    pub data: Value,
}

/// The data of a line that is no event of a release. Its type is in the published schema of lines.
pub trait LineData: Serialize + JsonSchema {
    /// The type of the line: `plan.node`.
    const KIND: &'static str;
    /// What the line always names besides its data: `node`, `step`.
    const NAMES: &'static [&'static str] = &[];
}

impl Line<'_> {
    /// Renders it as one line of JSON, without a line break.
    #[must_use]
    pub fn render(self) -> String {
        let mut line = Map::new();
        line.insert("v".into(), FORM.into());
        line.insert("seq".into(), self.seq.into());
        line.insert("ts".into(), format!("{:.3}", self.at).into());
        line.insert("type".into(), self.kind.into());
        line.insert("release".into(), self.release.into());
        if let Some(node) = self.node {
            line.insert("node".into(), node.into());
        }
        if let Some(step) = self.step {
            line.insert("step".into(), step.to_string().into());
        }
        line.insert("data".into(), self.data);
        plain(&Value::Object(line).to_string())
    }
}

/// The same JSON without control characters for a terminal; JSON itself allows many of them.
fn plain(json: &str) -> String {
    let mut plain = String::with_capacity(json.len());
    for character in json.chars() {
        if text::is_harmful(character) {
            plain += &format!("\\u{:04x}", u32::from(character));
        } else {
            plain.push(character);
        }
    }
    plain
}

impl Event {
    /// Renders it as one line of JSON, without a line break.
    ///
    /// # Panics
    ///
    /// Never: facts have only string keys, which is all that JSON requires.
    #[must_use]
    pub fn to_line(&self) -> String {
        let mut fact = serde_json::to_value(&self.fact).expect("facts have only string keys");
        let data = fact["data"].take();
        Line {
            seq: self.seq,
            at: self.at,
            kind: fact["type"].as_str().unwrap_or_default(),
            release: &self.release,
            node: self.node.as_deref(),
            step: self.step,
            data,
        }
        .render()
    }

    /// Reads one line.
    ///
    /// # Errors
    ///
    /// When it is not an event of this format.
    pub fn from_line(line: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Read<'a> {
            v: u32,
            seq: u64,
            ts: jiff::Timestamp,
            r#type: String,
            release: String,
            node: Option<String>,
            step: Option<Step>,
            #[serde(borrow)]
            data: &'a RawValue,
        }
        // A parsed line needs many times the memory of its text.
        if line.bytes().filter(|byte| *byte == b',').count() > MOST_VALUES {
            return Err(format!("it has more than {MOST_VALUES} values"));
        }
        let line: Read<'_> = serde_json::from_str(line).map_err(|error| error.to_string())?;
        if line.v != FORM {
            return Err(format!("events of version {} need a newer rollgate", line.v));
        }
        let tagged = Tagged { kind: Some(&line.r#type), data: Some(line.data) };
        let fact = EventKind::deserialize(MapAccessDeserializer::new(tagged));
        let fact = fact.map_err(|error| error.to_string())?;
        if let EventKind::ReleaseStarted(started) = &fact
            && started.nodes.len() > MOST_NODES
        {
            return Err(format!("it has more than {MOST_NODES} nodes"));
        }
        Ok(Self {
            seq: line.seq,
            at: line.ts,
            release: line.release,
            node: line.node,
            step: line.step,
            fact,
        })
    }
}

/// The JSON lines of a command that is not a release: its own types, and the same last line as a release.
#[derive(Debug)]
pub struct Lines {
    at: jiff::Timestamp,
    release: String,
    seq: u64,
    text: String,
}

impl Lines {
    /// No lines yet; all get the same time and contain no secrets.
    #[must_use]
    pub fn new(at: jiff::Timestamp) -> Self {
        Self { at, release: String::new(), seq: 0, text: String::new() }
    }

    /// The same after the events of a release that ended without its last event.
    #[must_use]
    pub fn after(mut self, release: &str, seq: u64) -> Self {
        (self.release, self.seq) = (release.to_owned(), seq);
        self
    }

    /// Adds a line.
    pub fn tell<D: LineData>(&mut self, node: Option<&str>, step: Option<Step>, data: &D) {
        self.seq = self.seq.saturating_add(1);
        let mut data = serde_json::to_value(data).unwrap_or_default();
        secret::hide_value(&mut data);
        let (kind, release) = (D::KIND, self.release.as_str());
        let line = Line { seq: self.seq, at: self.at, kind, release, node, step, data };
        self.text += &line.render();
        self.text.push('\n');
    }

    /// Gives this time to the next lines.
    pub fn at(&mut self, at: jiff::Timestamp) {
        self.at = at;
    }

    /// Returns the lines so far. The next ones continue their numbers.
    #[must_use]
    pub fn take(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    /// Adds the last line and returns all lines.
    #[must_use]
    pub fn finish(mut self, finished: Finished) -> String {
        let event = Event {
            seq: self.seq.saturating_add(1),
            at: self.at,
            release: self.release,
            node: None,
            step: None,
            fact: EventKind::ReleaseFinished(finished).without_secrets(),
        };
        self.text += &event.to_line();
        self.text.push('\n');
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::Outcome;
    use crate::secret::Secret;

    #[test]
    fn an_event_survives_its_line() {
        let event = Event {
            seq: 22,
            at: "2026-06-12T14:03:02.137Z".parse().expect("time"),
            release: "7f3a".into(),
            node: Some("app-1".into()),
            step: Some(Step::Run(2)),
            fact: EventKind::GatewayProven {
                gateway: "gw-2".into(),
                routed: false,
                reads: 25,
                workers: 4,
                method: "workers".into(),
                pool: Some(3),
            },
        };
        let line = event.to_line();
        assert_eq!(
            line,
            r#"{"v":1,"seq":22,"ts":"2026-06-12T14:03:02.137Z","type":"gateway.proven","release":"7f3a","node":"app-1","step":"run-2","data":{"gateway":"gw-2","routed":false,"reads":25,"workers":4,"method":"workers","pool":3}}"#
        );
        assert_eq!(Event::from_line(&line), Ok(event));
    }

    #[test]
    fn event_of_another_format_is_refused() {
        let line =
            r#"{"v":2,"seq":1,"ts":"2026-06-12T14:03:02.137Z","type":"x","release":"a","data":{}}"#;
        assert_eq!(Event::from_line(line), Err("events of version 2 need a newer rollgate".into()));
    }

    #[derive(Serialize, JsonSchema)]
    struct Why {
        why: [&'static str; 1],
    }

    impl LineData for Why {
        const KIND: &'static str = "plan.node";
    }

    #[test]
    fn other_commands_print_lines_of_the_same_format_without_secrets() {
        let at = "2026-06-12T14:03:02.137Z".parse().expect("time");
        secret::remember([Secret::new("hun\"ter-of-l1nes")], []);
        let mut lines = Lines::new(at);
        lines.tell(Some("app-1"), None, &Why { why: ["say hun\"ter-of-l1nes"] });
        let reason = Some("no hun\"ter-of-l1nes".to_owned());
        let text = lines.finish(Finished::unstarted(Outcome::Refused, 3, reason));
        insta::assert_snapshot!(text, @r#"
        {"v":1,"seq":1,"ts":"2026-06-12T14:03:02.137Z","type":"plan.node","release":"","node":"app-1","data":{"why":["say ***"]}}
        {"v":1,"seq":2,"ts":"2026-06-12T14:03:02.137Z","type":"release.finished","release":"","data":{"result":"refused","exit_code":3,"reason":"no ***","nodes":{},"next":[],"elapsed_ms":0}}
        "#);
    }

    #[test]
    fn added_end_of_a_release_continues_its_numbers() {
        let lines = Lines::new(jiff::Timestamp::UNIX_EPOCH).after("7f3a", 7);
        let text = lines.finish(Finished::unstarted(Outcome::Degraded, 22, None));
        let end = Event::from_line(text.trim_end()).expect("an event");
        assert_eq!((end.seq, end.release.as_str()), (8, "7f3a"));
    }
}
