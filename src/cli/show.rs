//! `show`: shows one past release. It changes nothing.

use std::path::PathBuf;

use clap::Args;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use super::arguments::{Global, Output, PlaybookArguments};
use super::connect::connected;
use super::exit::Exit;
use super::history::summary;
use super::open::{Missing, open};
use super::{output, page};
use crate::journal::Folding;
use crate::ops::show::{Shown, show};
use crate::ops::{Cause, Refusal};
use crate::release::{Event, Finished, Outcome, Part};
use crate::report::{Story, StoryText, print_page};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The playbook, to find the journals of its service
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    file: PathBuf,
    /// The release's id or an unambiguous start of it [default: the last release]
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// Show only this node
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<Exit, Refusal> {
    let session = open(&PlaybookArguments::of(&arguments.file), global, Missing::Open)?;
    let shown = connected(&session, global, async |connections, terminal| {
        show(&session, connections, terminal, arguments.id.as_deref()).await
    })?;
    if let Some(node) = &arguments.node {
        check_node(&shown, node)?;
    }
    let (story, events) = told(&shown);
    if output::form(global) == Output::Jsonl {
        let text = lines(&shown, &story, &events);
        return Ok(output::print(&text, Exit::DONE));
    }
    print_page(&page::unread(&shown.problems));
    Ok(output::show(
        &text(&shown, &story, arguments.node.as_deref(), TimeZone::system()),
        Exit::DONE,
    ))
}

/// Refuses a node that the release does not have.
fn check_node(shown: &Shown, node: &str) -> Result<(), Refusal> {
    let names: Vec<_> = shown.past.release.in_order().map(|(name, _)| name).collect();
    if names.contains(&node) {
        return Ok(());
    }
    let problem = format!("release {} has no node `{node}`", shown.past.id);
    Err(Refusal::new(Cause::Invalid, problem).hint(format!(
        "its nodes are {}",
        crate::text::few(names.iter().map(ToString::to_string), 20).join(", ")
    )))
}

/// The release as its journal tells it, and the events in it.
#[must_use]
pub fn told(shown: &Shown) -> (Story, Vec<Event>) {
    let (mut story, mut events) = (Story::default(), Vec::new());
    let mut folding = Folding::new(&shown.past.id);
    // The journal was read once already.
    let _ = folding.feed(&shown.past.bytes, |event| {
        story.take(&event);
        events.push(event);
    });
    (story.finish(), events)
}

/// The release as text for people.
#[must_use]
pub fn text(shown: &Shown, story: &Story, node: Option<&str>, zone: TimeZone) -> String {
    let Shown { summary, stays_healthy, next, .. } = shown;
    StoryText { story, summary, stays_healthy: *stays_healthy, node, next, zone }.render()
}

/// The events of the release as it printed them, where the time of its nodes went, and the end of this command.
fn lines(shown: &Shown, story: &Story, events: &[Event]) -> String {
    let mut text = String::new();
    for event in events {
        let fact = event.fact.clone().without_secrets();
        text += &Event { fact, ..event.clone() }.to_line();
        text.push('\n');
    }
    let mut lines = output::lines().after(&shown.past.id, shown.past.release.seq);
    for name in story.timeline.nodes() {
        let parts = story.timeline.parts(name, shown.stays_healthy);
        let millis =
            |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let by_part =
            Part::ALL.map(|part| (part.word().to_owned(), millis(parts.get(part)).into()));
        let data = json!({
            "total_ms": millis(parts.total()),
            "parts_ms": Value::Object(by_part.into_iter().collect::<Map<_, _>>()),
        });
        lines.tell("node.time", Some(name), None, data);
    }
    for problem in &shown.problems {
        lines.tell("journal.status", None, None, json!({ "problem": problem }));
    }
    lines.tell("history.release", None, None, summary(&shown.summary));
    let finished = Finished::unstarted(Outcome::Done, Exit::DONE.0, None);
    text + &lines.finish(Finished { next: shown.next.clone(), ..finished })
}
