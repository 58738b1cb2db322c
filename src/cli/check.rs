//! `check`: the file alone.

use clap::Args;

use super::{Exit, Global, Output, open, output};
use crate::release::{Finished, Outcome};
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
            if output::form(global) == Output::Jsonl {
                let finished = Finished::unstarted(Outcome::Done, Exit::DONE.0, None);
                return output::end(finished, output::lines(), global);
            }
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
            output::show(&text, Exit::DONE)
        }
        Err(refusal) => output::refuse(refusal, global),
    }
}
