//! Arguments that several commands take.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::complete;
use crate::plan::Selection;

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub(super) struct Global {
    /// Output format
    #[arg(long, global = true, value_enum, default_value_t = Output::Auto, value_name = "FORM")]
    pub(super) output: Output,
    /// When to use colour; `NO_COLOR` is honoured
    #[arg(long, global = true, value_enum, default_value_t = Colour::Auto, value_name = "WHEN")]
    pub(super) color: Colour,
    /// Show only warnings and failures
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// Show every step
    #[arg(short, long, global = true)]
    pub(super) verbose: bool,
    /// Append every request, command and answer to this file, without secrets: one JSON line each
    #[arg(long, global = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(super) trace: Option<PathBuf>,
    /// The CI system whose form the log gets
    #[arg(long, global = true, value_enum, default_value_t = CiSystem::Auto, value_name = "SYSTEM")]
    pub(super) ci: CiSystem,
    /// Append everything that is printed for people to this file, with dates and every step
    #[arg(long, global = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(super) log_file: Option<PathBuf>,
    /// Where journals are kept [default: `.rollgate` beside the playbook]
    #[arg(long, global = true, env = "ROLLGATE_STATE_DIR", value_name = "FOLDER", value_hint = clap::ValueHint::DirPath)]
    pub(super) state_dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// A live view on a terminal, plain lines elsewhere
    Auto,
    /// The live view
    Tty,
    /// One line per change
    Plain,
    /// One JSON event per line on stdout
    Jsonl,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Colour {
    /// On a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum CiSystem {
    /// The system that runs this command, by its variables
    Auto,
    /// Groups, errors beside the log, and a summary in Markdown
    Github,
    /// Sections
    Gitlab,
    /// Plain lines
    Jenkins,
    /// Plain lines, on any system
    None,
}

/// The playbook and its variables.
#[derive(Debug, Clone, Args)]
pub(super) struct PlaybookArguments {
    /// The playbook
    #[arg(value_name = "FILE", add = complete::playbooks())]
    pub(super) file: PathBuf,
    #[command(flatten)]
    pub(super) variables: VariableArguments,
}

/// The variables of a playbook.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct VariableArguments {
    /// Set a variable; overrides --var-file and `ROLLGATE_VAR_<name>`
    #[arg(long = "var", value_name = "NAME=VALUE", add = complete::variables())]
    pub(super) variables: Vec<String>,
    /// Read variables from a file, one `name=value` per line
    #[arg(long = "var-file", value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(super) variable_files: Vec<PathBuf>,
}

impl PlaybookArguments {
    /// A playbook without variables.
    pub(super) fn of(file: &Path) -> Self {
        Self { file: file.to_owned(), variables: VariableArguments::default() }
    }
}

/// Which nodes are meant.
#[derive(Debug, Clone, Args)]
pub(super) struct SelectionArguments {
    /// Take only these nodes, by name or tag
    #[arg(long, value_name = "NODE", value_delimiter = ',', add = complete::selections())]
    pub(super) only: Vec<String>,
    /// Leave out these nodes, by name or tag
    #[arg(long, value_name = "NODE", value_delimiter = ',', add = complete::selections())]
    pub(super) skip: Vec<String>,
    /// Update at most this many nodes
    #[arg(long, value_name = "COUNT")]
    pub(super) limit: Option<usize>,
    /// Update held nodes, too; the hold of a node ends once it is back in rotation
    #[arg(long)]
    pub(super) include_held: bool,
    /// Release even if no node passes the health check now, because the new version will
    #[arg(long)]
    pub(super) allow_unhealthy: bool,
    /// Restart the nodes with the version that each of them runs; deploy nothing
    #[arg(long)]
    pub(super) restart: bool,
}

impl From<&SelectionArguments> for Selection {
    fn from(arguments: &SelectionArguments) -> Self {
        let SelectionArguments { limit, include_held, allow_unhealthy, restart, .. } = *arguments;
        let (only, skip) = (arguments.only.clone(), arguments.skip.clone());
        Self { only, skip, limit, include_held, allow_unhealthy, restart }
    }
}
