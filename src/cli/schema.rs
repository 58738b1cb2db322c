//! `schema`: prints the JSON Schema of playbooks, of plan files, or of JSON lines.

use clap::{Args, ValueEnum};

use super::exit::Exit;
use super::history::SummaryLine;
use super::show::TimeLine;
use super::{output, plan, status};
use crate::diagnostic::ProblemLine;
use crate::ops::doctor;
use crate::release::LineSchema;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The kind of file or output
    #[arg(value_enum, default_value_t = Kind::Playbook, value_name = "KIND")]
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// A playbook
    Playbook,
    /// A plan file of `plan --out`
    Plan,
    /// A line of `--output jsonl`
    Events,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let schema = match arguments.kind {
        Kind::Playbook => crate::playbook::schema(),
        Kind::Plan => crate::plan::schema(),
        Kind::Events => event_schema(),
    };
    let schema = serde_json::to_string_pretty(&schema).unwrap_or_default();
    output::print(&format!("{schema}\n"), Exit::DONE)
}

/// Returns the JSON Schema of the lines of every command.
#[must_use]
pub fn event_schema() -> serde_json::Value {
    let mut schema = LineSchema::of_events();
    schema.add::<ProblemLine<'_>>();
    doctor::describe(&mut schema);
    crate::plan::describe(&mut schema);
    schema.add::<plan::SavedLine<'_>>();
    status::describe(&mut schema);
    schema.add::<SummaryLine<'_>>();
    schema.add::<TimeLine>();
    schema.build()
}
