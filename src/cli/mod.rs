//! The command line: arguments, one file per command, exit codes.

mod arguments;
mod check;
mod ci;
mod complete;
mod completions;
mod connect;
mod deploy;
mod doctor;
mod echo;
mod environment;
mod exit;
mod history;
mod html;
mod identity;
mod init;
mod lock;
mod man;
mod node;
mod open;
mod output;
pub mod page;
mod plan;
mod report;
mod resume;
mod rollback;
mod schema;
mod shells;
pub mod show;
mod signals;
pub mod status;
mod terminal;
mod variables;

use clap::{CommandFactory as _, Parser, Subcommand};

use arguments::Global;
pub use exit::Exit;
pub use schema::event_schema;

use crate::ops::{Cause, Refusal};
use crate::report::{log_line, log_to, print_stderr};

/// The version; in a release build with its commit and the commit's date.
const VERSION: &str = env!("ROLLGATE_VERSION");

/// Releases a service behind dynamic-upstream gateways without dropping a request.
///
/// For each node: mark it down, wait until every gateway has stopped routing to it, drain it, replace and restart the
/// service, check the new process, mark the node up, and wait until every gateway routes to it again.
#[derive(Debug, Parser)]
#[command(name = "rollgate", version = VERSION, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    global: Global,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a first playbook, from what Consul, the gateways and the nodes answer
    Init(Box<init::Arguments>),
    /// Check the playbook file alone and show every problem at once; changes nothing
    Check(check::Arguments),
    /// Check nodes, gateways and Consul before a release; changes nothing
    Doctor(doctor::Arguments),
    /// Show what a release would do to each node, and why; changes nothing
    Plan(plan::Arguments),
    /// Run a release: update the nodes, batch by batch
    Deploy(deploy::Arguments),
    /// Continue a release that was stopped, failed or interrupted
    Resume(resume::Arguments),
    /// Return nodes to the version that they ran before a release
    Rollback(rollback::Arguments),
    /// Show each node's state: version, process, registry, gateways
    Status(status::Arguments),
    /// Show past releases: who, when, what, how long, and why each one stopped
    History(history::Arguments),
    /// Show one past release: its steps, why it stopped, where the time went
    Show(show::Arguments),
    /// Take nodes out of rotation by hand, or return them, with the checks of a release
    #[command(subcommand)]
    Node(node::Arguments),
    /// Show or break a service's lock
    #[command(subcommand)]
    Lock(lock::Arguments),
    /// Print the JSON Schema of playbooks or of plan files, for editors and programs
    Schema(schema::Arguments),
    /// Print the script by which a shell completes commands, nodes and releases
    Completions(completions::Arguments),
    /// Print the manual page of a command, or write all pages into a folder
    Man(man::Arguments),
}

impl Command {
    /// Its name on the command line.
    fn name(&self) -> &'static str {
        match self {
            Self::Init(_) => "init",
            Self::Check(_) => "check",
            Self::Doctor(_) => "doctor",
            Self::Plan(_) => "plan",
            Self::Deploy(_) => "deploy",
            Self::Resume(_) => "resume",
            Self::Rollback(_) => "rollback",
            Self::Status(_) => "status",
            Self::History(_) => "history",
            Self::Show(_) => "show",
            Self::Node(_) => "node",
            Self::Lock(_) => "lock",
            Self::Schema(_) => "schema",
            Self::Completions(_) => "completions",
            Self::Man(_) => "man",
        }
    }
}

/// Runs the command line and returns its exit code.
#[must_use]
pub fn run() -> Exit {
    if let Some(answered) = complete::answer(Cli::command) {
        return if answered { Exit::DONE } else { Exit::because(Cause::Internal) };
    }
    environment::keep_secrets();
    let arguments = match environment::arguments() {
        Ok(arguments) => arguments,
        Err(problem) => {
            print_stderr(&format!("error: {problem}\n"));
            let lossy = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
            return output::misused(&problem, meant_for_programs(&lossy.collect::<Vec<_>>()));
        }
    };
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // `--help` and `--version` are not errors. clap selects the right stream.
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
    if let Err(refusal) = log(&cli) {
        return output::refuse(refusal, global);
    }
    let exit = ran(cli.command, global);
    log_line(&format!("exit {}", exit.0));
    exit
}

/// Begins the log file, if one is wanted.
fn log(cli: &Cli) -> Result<(), Refusal> {
    let Some(path) = &cli.global.log_file else { return Ok(()) };
    log_to(path, cli.command.name()).map_err(|error| {
        let problem = format!("cannot write the log file {}: {error}", path.display());
        Refusal::new(Cause::Invalid, problem).hint("nothing was changed")
    })
}

fn ran(command: Command, global: &Global) -> Exit {
    let ended = match command {
        Command::Init(arguments) => init::run(&arguments, global),
        Command::Check(arguments) => check::run(&arguments, global),
        Command::Doctor(arguments) => doctor::run(&arguments, global),
        Command::Plan(arguments) => plan::run(&arguments, global),
        Command::Deploy(arguments) => deploy::run(&arguments, global),
        Command::Resume(arguments) => resume::run(&arguments, global),
        Command::Rollback(arguments) => rollback::run(&arguments, global),
        Command::Status(arguments) => status::run(&arguments, global),
        Command::History(arguments) => history::run(&arguments, global),
        Command::Show(arguments) => show::run(&arguments, global),
        Command::Node(arguments) => node::run(&arguments, global),
        Command::Lock(arguments) => lock::run(&arguments, global),
        Command::Schema(arguments) => Ok(schema::run(&arguments)),
        Command::Completions(arguments) => Ok(completions::run(&arguments)),
        Command::Man(arguments) => man::run(&arguments, Cli::command()),
    };
    ended.unwrap_or_else(|refusal| output::refuse(refusal, global))
}

/// Returns whether an invalid command line still asks for `jsonl`.
fn meant_for_programs(arguments: &[String]) -> bool {
    let pairs = arguments.windows(2).any(|pair| pair == ["--output", "jsonl"]);
    pairs || arguments.iter().any(|argument| argument == "--output=jsonl")
}
