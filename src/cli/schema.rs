//! `schema`: prints the JSON Schema of playbooks, or of plan files.

use clap::{Args, ValueEnum};

use super::exit::Exit;
use super::output;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The kind of file
    #[arg(value_enum, default_value_t = Kind::Playbook, value_name = "KIND")]
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// A playbook
    Playbook,
    /// A plan file of `plan --out`
    Plan,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let schema = match arguments.kind {
        Kind::Playbook => crate::playbook::schema(),
        Kind::Plan => crate::plan::schema(),
    };
    let schema = serde_json::to_string_pretty(&schema).unwrap_or_default();
    output::print(&format!("{schema}\n"), Exit::DONE)
}
