//! `man`: prints the manual page of a command, or writes the pages of all commands into a folder.

mod sections;

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Arg, Args, Command};
use clap_mangen::Man;

use super::exit::Exit;
use super::output;
use crate::ops::{Cause, Refusal};
use crate::text::{self, did_you_mean};

/// The heading of what every command takes.
const GLOBAL: &str = "Global options";

/// The date of a release build's commit.
const DATE: &str = env!("ROLLGATE_DATE");

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The command [default: rollgate itself]
    #[arg(value_name = "COMMAND", conflicts_with = "out")]
    command: Vec<String>,
    /// Write the pages of all commands into this folder
    #[arg(long, value_name = "FOLDER", value_hint = clap::ValueHint::DirPath)]
    out: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, command: Command) -> Result<Exit, Refusal> {
    let command = prepared(command);
    let text = if let Some(folder) = &arguments.out {
        let mut pages = Vec::new();
        collect(&command, &mut pages);
        write(folder, &pages)?;
        format!("{}: {}\n", folder.display(), text::count(pages.len(), "page"))
    } else {
        page(find(&command, &arguments.command)?)
    };
    Ok(output::print(&text, Exit::DONE))
}

/// The command line as a manual shows it.
fn prepared(command: Command) -> Command {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    grouped(command)
}

/// Puts what every command takes under a heading of its own.
fn grouped(command: Command) -> Command {
    let argument = |arg: Arg| {
        if arg.is_global_set() { arg.help_heading(GLOBAL) } else { arg }
    };
    let command = command.subcommand_value_name("COMMAND").subcommand_help_heading("COMMANDS");
    command.mut_args(argument).mut_subcommands(grouped)
}

fn find<'a>(command: &'a Command, words: &[String]) -> Result<&'a Command, Refusal> {
    let mut found = command;
    for (index, word) in words.iter().enumerate() {
        found = found.find_subcommand(word).ok_or_else(|| unknown(found, &words[..index], word))?;
    }
    Ok(found)
}

fn unknown(above: &Command, before: &[String], word: &str) -> Refusal {
    let whole = |last: &str| [before, &[last.to_owned()]].concat().join(" ");
    let refusal = Refusal::new(Cause::Invalid, format!("there is no command `{}`", whole(word)));
    match did_you_mean(word, above.get_subcommands().map(Command::get_name)) {
        Some(likely) => refusal.hint(format!("did you mean `{}`?", whole(likely))),
        None => refusal.hint("`rollgate --help` lists the commands"),
    }
}

/// Adds the page of a command and of each command below it, with the names of their files.
fn collect(command: &Command, pages: &mut Vec<(String, String)>) {
    pages.push((format!("{}.1", name_of(command)), page(command)));
    let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    shown.for_each(|command| collect(command, pages));
}

/// Returns the name of a command's page: `rollgate-node-out`.
fn name_of(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

fn write(folder: &Path, pages: &[(String, String)]) -> Result<(), Refusal> {
    let written = fs::create_dir_all(folder).and_then(|()| {
        pages.iter().try_for_each(|(name, page)| fs::write(folder.join(name), page))
    });
    let refused = |error| format!("cannot write into {}: {error}", folder.display());
    written.map_err(|error| Refusal::new(Cause::Internal, refused(error)))
}

fn page(command: &Command) -> String {
    let (name, version) = (name_of(command), env!("CARGO_PKG_VERSION"));
    // An empty date keeps its place only in quotes, which clap_mangen leaves out.
    let title =
        format!(".TH \"{name}\" \"1\" \"{DATE}\" \"rollgate {version}\" \"rollgate manual\"\n");
    let (man, mut text) = (Man::new(command.clone()), title.into_bytes());
    // Writing to memory does not fail.
    let _ = man.render_name_section(&mut text);
    let _ = man.render_synopsis_section(&mut text);
    let _ = man.render_description_section(&mut text);
    let _ = man.render_options_section(&mut text);
    if command.has_subcommands() {
        let _ = man.render_subcommands_section(&mut text);
    }
    // The marks around code are for the source and for Markdown.
    String::from_utf8_lossy(&text).replace('`', "") + &sections::render(command, name)
}
