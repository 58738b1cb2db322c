//! `check`: checks only the playbook file.

use clap::Args;

use super::arguments::{Global, Output};
use super::complete;
use super::exit::Exit;
use super::open::load;
use super::output;
use crate::ops::Refusal;
use crate::release::{Finished, Outcome};
use crate::text::count;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The playbook
    #[arg(value_name = "FILE", add = complete::playbooks())]
    file: std::path::PathBuf,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<Exit, Refusal> {
    let playbook = load(&arguments.file)?.playbook;
    if output::form(global) == Output::Jsonl {
        let finished = Finished::unstarted(Outcome::Done, Exit::DONE.0, None);
        return Ok(output::end(finished, output::lines(), global));
    }
    if global.quiet {
        return Ok(Exit::DONE);
    }
    let text = format!(
        "{}: ok, service {}, {}, {}\n",
        arguments.file.display(),
        playbook.service,
        count(playbook.nodes.len(), "node"),
        count(playbook.gateways.len(), "gateway"),
    );
    Ok(output::show(&text, Exit::DONE))
}
