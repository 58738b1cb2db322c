//! `check`: the file alone.

use clap::Args;

use super::{Exit, Global, open, output};
use crate::text::count;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The playbook
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    file: std::path::PathBuf,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Exit {
    match open::load(&arguments.file, global) {
        Ok(loaded) => {
            let playbook = &loaded.playbook;
            if global.quiet {
                return Exit::DONE;
            }
            let text = format!(
                "{}: ok, service {}, {}, {}\n",
                arguments.file.display(),
                playbook.service,
                count(playbook.nodes.len(), "node"),
                count(playbook.gateways.len(), "gateway"),
            );
            output::print(&text, Exit::DONE)
        }
        Err(problem) => output::complain(&problem),
    }
}
