//! `completions`: prints the shell completions for rollgate's command line.

use clap::{Args, Command};
use clap_complete::Shell;

use super::exit::Exit;
use super::output;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments, command: Command) -> Exit {
    output::print(&generate(arguments.shell, command), Exit::DONE)
}

/// Returns the completions for a shell.
#[must_use]
pub(super) fn generate(shell: Shell, mut command: Command) -> String {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, "rollgate", &mut text);
    String::from_utf8_lossy(&text).into_owned()
}
