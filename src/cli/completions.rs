//! `completions`: prints the script by which a shell asks rollgate for completions.

use clap::Args;
use clap_complete::Shell;

use super::exit::Exit;
use super::{output, shells};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    output::print(&shells::script(arguments.shell), Exit::DONE)
}
