//! The commands that rollgate suggests on a screen.

use std::process::Command;

use clap::{ArgMatches, CommandFactory as _};
use rollgate::cli::Cli;

/// A command that rollgate suggests.
#[derive(Debug, Clone)]
pub(crate) struct Suggested {
    pub(crate) label: String,
    pub(crate) command: String,
}

/// Reads a command line as a shell and rollgate read it.
#[track_caller]
pub(crate) fn parsed(line: &str) -> ArgMatches {
    try_parsed(line).unwrap_or_else(|error| panic!("{line}\n{error}"))
}

/// The same for a command line that may be wrong.
pub(crate) fn try_parsed(line: &str) -> Result<ArgMatches, clap::Error> {
    let script = format!("set -- {line}; printf '%s\\0' \"$@\"");
    let words = Command::new("sh").args(["-c", &script]).output().expect("a shell");
    let words = String::from_utf8(words.stdout).expect("UTF-8");
    Cli::command().try_get_matches_from(words.split_terminator('\0'))
}

/// Returns every command that a screen suggests, with its label.
pub(crate) fn suggested(screen: &str) -> Vec<Suggested> {
    let commands = screen.lines().flat_map(|line| {
        let starts = line.match_indices("rollgate ").map(|(at, _)| at);
        // A command follows its label, or is quoted. Other lines are sentences, or about usage.
        let is_command = |before: &str| ["  ", ": ", "`"].iter().any(|end| before.ends_with(end));
        let is_known = |rest: &str| {
            let word = rest.split_whitespace().nth(1).unwrap_or_default();
            Cli::command().get_subcommands().any(|command| command.get_name() == word)
        };
        let starts = starts.filter(move |at| {
            let (before, rest) = line.split_at(*at);
            let known = before.ends_with('`') || is_known(rest);
            is_command(before) && known && !before.ends_with("Usage: ")
        });
        starts.map(move |at| {
            let (before, rest) = line.split_at(at);
            let quoted = before.strip_suffix('`');
            let command = match quoted {
                Some(_) => rest.split('`').next().expect("its start"),
                None => rest,
            };
            let label = quoted.unwrap_or(before).trim().trim_start_matches("Next");
            let label = label.trim().trim_end_matches(':').to_owned();
            Suggested { label, command: command.trim().to_owned() }
        })
    });
    let is_told = |it: &Suggested| !it.label.is_empty() && !it.label.starts_with('$');
    commands.filter(is_told).collect()
}

/// Asserts that rollgate accepts every command that a screen suggests.
#[track_caller]
pub(crate) fn assert_accepted(screen: &str) {
    for suggested in suggested(screen) {
        parsed(&suggested.command);
    }
}
