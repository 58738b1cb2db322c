//! `show`: shows one past release. It changes nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::arguments::{Global, Output, PlaybookArguments};
use super::complete;
use super::connect::connected;
use super::exit::Exit;
use super::history::SummaryLine;
use super::open::{Missing, open};
use super::status::JournalStatus;
use super::{html, output, page};
use crate::journal;
use crate::ops::show::{Shown, show};
use crate::ops::{Cause, Refusal};
use crate::release::{Event, Finished, LineData, Outcome, Part};
use crate::report::{Story, StoryPage, StoryText, print_page};

/// How much is printed at once, in bytes.
const PIECE: usize = 64 * 1024;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The playbook, to find the journals of its service
    #[arg(value_name = "FILE", add = complete::playbooks())]
    file: PathBuf,
    /// The release's id or an unambiguous start of it [default: the last release]
    #[arg(value_name = "ID", add = complete::releases())]
    id: Option<String>,
    /// Show only this node
    #[arg(long, value_name = "NODE", add = complete::nodes())]
    node: Option<String>,
    /// Write the release as a page of HTML to this file: no script, no other file, no network
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath, conflicts_with = "node")]
    html: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<Exit, Refusal> {
    let session = open(&PlaybookArguments::of(&arguments.file), global, Missing::Open)?;
    let shown = connected(&session, global, async |connections, terminal| {
        show(&session, connections, terminal, arguments.id.as_deref()).await
    })?;
    if let Some(node) = &arguments.node {
        check_node(&shown, node)?;
    }
    let story = told(&shown);
    if let Some(path) = &arguments.html {
        html::write(path, &html(&shown, &story, TimeZone::system())?)?;
    }
    if output::form(global) == Output::Jsonl {
        return Ok(replay(&shown, &story));
    }
    print_page(&page::unread(&shown.problems));
    if let Some(path) = &arguments.html {
        let written = format!("Wrote {}\n", path.display());
        return Ok(output::show(&crate::text::page(&written), Exit::DONE));
    }
    Ok(output::show(
        &text(&shown, &story, arguments.node.as_deref(), TimeZone::system()),
        Exit::DONE,
    ))
}

/// Refuses a node that the release does not have.
fn check_node(shown: &Shown, node: &str) -> Result<(), Refusal> {
    let planned = shown.past.release.planned().iter();
    let names: Vec<_> = planned.map(|planned| planned.node.as_str()).collect();
    if names.contains(&node) {
        return Ok(());
    }
    let problem = format!("release {} has no node `{node}`", shown.past.id);
    Err(Refusal::new(Cause::Invalid, problem).hint(format!(
        "its nodes are {}",
        crate::text::few(names.iter().map(ToString::to_string), 20).join(", ")
    )))
}

/// The release as its journal tells it.
#[must_use]
pub fn told(shown: &Shown) -> Story {
    let mut story = Story::default();
    journal::events(&shown.past.bytes).for_each(|event| story.take(&event));
    story.finish()
}

/// The release as text for people.
#[must_use]
pub fn text(shown: &Shown, story: &Story, node: Option<&str>, zone: TimeZone) -> String {
    let Shown { summary, stays_healthy, next, .. } = shown;
    StoryText { story, summary, stays_healthy: *stays_healthy, node, next, zone }.render()
}

/// The release as a page of HTML.
///
/// # Errors
///
/// If the page cannot be rendered.
pub fn html(shown: &Shown, story: &Story, zone: TimeZone) -> Result<String, Refusal> {
    let Shown { summary, stays_healthy, next, suggested, .. } = shown;
    let (stays_healthy, now) = (*stays_healthy, jiff::Timestamp::now());
    let page = StoryPage { story, summary, stays_healthy, next, suggested, zone, now }.render();
    page.map_err(|error| Refusal::new(Cause::Internal, format!("cannot render the page: {error}")))
}

/// Where the time of a node went.
#[derive(Serialize, JsonSchema)]
pub(super) struct TimeLine {
    /// The whole time.
    total_ms: u64,
    /// Its parts: together, the whole time.
    #[schemars(with = "BTreeMap<String, u64>", extend("propertyNames" = { "enum": Part::ALL.map(Part::word) }))]
    parts_ms: Map<String, Value>,
}

impl LineData for TimeLine {
    const KIND: &'static str = "node.time";
    const NAMES: &'static [&'static str] = &["node"];
}

/// Prints the events of the release as it printed them, where the time of its nodes went, and the end of this command.
fn replay(shown: &Shown, story: &Story) -> Exit {
    let (mut text, mut exit) = (String::new(), Exit::DONE);
    for event in journal::events(&shown.past.bytes) {
        text += &Event { fact: event.fact.without_secrets(), ..event }.to_line();
        text.push('\n');
        if text.len() > PIECE && exit == Exit::DONE {
            exit = output::print(&std::mem::take(&mut text), exit);
        }
    }
    if exit == Exit::DONE { output::print(&(text + &end(shown, story)), exit) } else { exit }
}

/// The lines of the command itself.
fn end(shown: &Shown, story: &Story) -> String {
    let mut lines = output::lines().after(&shown.past.id, shown.past.release.seq);
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    for name in story.timeline.nodes() {
        let parts = story.timeline.parts(name, shown.stays_healthy);
        let by_part =
            Part::ALL.map(|part| (part.word().to_owned(), millis(parts.get(part)).into()));
        let parts_ms = by_part.into_iter().collect();
        lines.tell(Some(name), None, &TimeLine { total_ms: millis(parts.total()), parts_ms });
    }
    for problem in &shown.problems {
        lines.tell(None, None, &JournalStatus { problem });
    }
    lines.tell(None, None, &SummaryLine::of(&shown.summary));
    let finished = Finished::unstarted(Outcome::Done, Exit::DONE.0, None);
    lines.finish(Finished { next: shown.next.clone(), ..finished })
}
