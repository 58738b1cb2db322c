//! The command line: arguments, one file per command, exit codes.

mod check;
mod completions;
mod connect;
mod deploy;
mod doctor;
mod echo;
mod environment;
mod identity;
mod lock;
mod node;
mod open;
mod output;
mod plan;
mod report;
mod resume;
mod rollback;
mod schema;
mod signals;
mod status;
mod terminal;
mod variables;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use completions::generate as generate_completions;

use crate::ops::Cause;
use crate::plan::Selection;
use crate::release::Outcome;
use crate::report::say;

/// Releases a service behind dynamic-upstream gateways without dropping a request.
///
/// Each node is marked down, proven out at every gateway, drained, replaced, restarted, proven healthy, marked up and
/// proven in, before the next one leaves.
#[derive(Debug, Parser)]
#[command(name = "rollgate", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    global: Global,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
struct Global {
    /// How to tell what happens: a live view, plain lines, or one JSON event a line on stdout
    #[arg(long, global = true, value_enum, default_value_t = Output::Auto, value_name = "FORM")]
    output: Output,
    /// When to use colour; `NO_COLOR` is honoured
    #[arg(long, global = true, value_enum, default_value_t = Colour::Auto, value_name = "WHEN")]
    color: Colour,
    /// Only warnings and failures
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Every step
    #[arg(short, long, global = true)]
    verbose: bool,
    /// Append every request, command and answer to this file, without secrets: one JSON line each
    #[arg(long, global = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    trace: Option<PathBuf>,
    /// Where journals are kept [default: `.rollgate` beside the playbook]
    #[arg(long, global = true, env = "ROLLGATE_STATE_DIR", value_name = "FOLDER")]
    state_dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A live view on a terminal, plain lines elsewhere
    Auto,
    /// The live view
    Tty,
    /// One line a change
    Plain,
    /// One JSON event a line on stdout
    Jsonl,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Colour {
    /// On a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check a playbook alone: every problem at once
    Check(check::Arguments),
    /// Say what stands against a release on the live systems; changes nothing
    Doctor(doctor::Arguments),
    /// Say what would happen to each node, and why; changes nothing
    Plan(plan::Arguments),
    /// Release
    Deploy(deploy::Arguments),
    /// Go on with a release that was stopped, failed or broke off
    Resume(resume::Arguments),
    /// Bring nodes back to what they ran before a release
    Rollback(rollback::Arguments),
    /// Tell each node's state: version, process, registry, gateways
    Status(status::Arguments),
    /// Take a node out of rotation, or bring it back in, by hand, with the same proofs
    #[command(subcommand)]
    Node(node::Arguments),
    /// See who holds the lock, or break it
    #[command(subcommand)]
    Lock(lock::Arguments),
    /// Print the JSON Schema of playbooks, for editors
    Schema,
    /// Print the completions for a shell
    Completions(completions::Arguments),
}

/// The playbook and its variables.
#[derive(Debug, Clone, Args)]
struct PlaybookArguments {
    /// The playbook
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    file: PathBuf,
    /// A variable; goes before --var-file and `ROLLGATE_VAR_<name>`
    #[arg(long = "var", value_name = "NAME=VALUE")]
    variables: Vec<String>,
    /// A file with a line `name=value` per variable
    #[arg(long = "var-file", value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    variable_files: Vec<PathBuf>,
}

impl PlaybookArguments {
    /// A playbook without variables.
    fn of(file: &std::path::Path) -> Self {
        Self { file: file.to_owned(), variables: Vec::new(), variable_files: Vec::new() }
    }
}

/// Which nodes are meant.
#[derive(Debug, Clone, Args)]
struct SelectionArguments {
    /// Only these nodes, by name or tag
    #[arg(long, value_name = "NODE", value_delimiter = ',')]
    only: Vec<String>,
    /// Not these nodes, by name or tag
    #[arg(long, value_name = "NODE", value_delimiter = ',')]
    skip: Vec<String>,
    /// At most so many nodes
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
}

/// How a command ends. The codes are a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit(pub u8);

impl Exit {
    /// Done, or nothing to do.
    pub const DONE: Self = Self(0);
    /// `plan --detailed-exitcode`: there are changes.
    pub const CHANGES: Self = Self(6);

    /// The code of a result.
    fn of(result: Outcome) -> Self {
        Self(result.exit_code())
    }

    /// The code of a command that was refused.
    fn because(cause: Cause) -> Self {
        Self(cause.exit_code())
    }
}

/// Runs the command line and says how it ended.
#[must_use]
pub fn run() -> Exit {
    environment::keep_secrets();
    let arguments = match environment::arguments() {
        Ok(arguments) => arguments,
        Err(problem) => {
            say(&format!("error: {problem}\n"));
            let lossy = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
            return output::misused(&problem, meant_for_programs(&lossy.collect::<Vec<_>>()));
        }
    };
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // `--help` and `--version` are no errors; clap knows which stream is right.
            let printed = error.print();
            return match (error.use_stderr(), printed) {
                (true, _) => output::misused(&error.to_string(), meant_for_programs(&arguments)),
                (false, Err(error)) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                    Exit::because(Cause::Internal)
                }
                (false, _) => Exit::DONE,
            };
        }
    };
    let global = &cli.global;
    let ended = match cli.command {
        Command::Check(arguments) => check::run(&arguments, global),
        Command::Doctor(arguments) => doctor::run(&arguments, global),
        Command::Plan(arguments) => plan::run(&arguments, global),
        Command::Deploy(arguments) => deploy::run(&arguments, global),
        Command::Resume(arguments) => resume::run(&arguments, global),
        Command::Rollback(arguments) => rollback::run(&arguments, global),
        Command::Status(arguments) => status::run(&arguments, global),
        Command::Node(arguments) => node::run(&arguments, global),
        Command::Lock(arguments) => lock::run(&arguments, global),
        Command::Schema => Ok(schema::run()),
        Command::Completions(arguments) => Ok(completions::run(&arguments)),
    };
    ended.unwrap_or_else(|refusal| output::refuse(refusal, global))
}

/// Whether a command line that cannot be understood asks for `jsonl` all the same.
fn meant_for_programs(arguments: &[String]) -> bool {
    let pairs = arguments.windows(2).any(|pair| pair == ["--output", "jsonl"]);
    pairs || arguments.iter().any(|argument| argument == "--output=jsonl")
}

impl From<&SelectionArguments> for Selection {
    fn from(arguments: &SelectionArguments) -> Self {
        Self { only: arguments.only.clone(), skip: arguments.skip.clone(), limit: arguments.limit }
    }
}
