//! `completions`: what a shell needs to complete rollgate's command line.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Exit, output};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    output::print(&generate(arguments.shell), Exit::DONE)
}

/// Returns the completions for a shell.
#[must_use]
pub fn generate(shell: Shell) -> String {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "rollgate", &mut text);
    String::from_utf8_lossy(&text).into_owned()
}
