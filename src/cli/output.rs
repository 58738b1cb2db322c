//! Which form of output, which colours, and how errors are said.

use std::io::IsTerminal;

use indicatif::ProgressDrawTarget;

use super::{Colour, Exit, Global, Output};
use crate::engine::Sink;
use crate::event::{Event, Fact, Finished, Outcome};
use crate::report::{Background, Json, Live, Plain, put, say};

/// Something that ends a command before it began.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) exit: Exit,
    /// Ready to print.
    pub(super) text: String,
}

impl Refusal {
    pub(super) fn new(exit: Exit, message: impl AsRef<str>) -> Self {
        Self { exit, text: format!("error: {}\n", message.as_ref()) }
    }

    /// Somebody wanted it to stop before it began.
    pub(super) fn stopped() -> Self {
        Self::new(Exit::STOPPED, "stopped on request; nothing was changed")
    }

    pub(super) fn hint(mut self, hint: impl AsRef<str>) -> Self {
        self.text += &format!("hint: {}\n", hint.as_ref());
        self
    }
}

/// Says why a command does not begin.
pub(super) fn complain(refusal: &Refusal) -> Exit {
    say(&refusal.text);
    refusal.exit
}

/// Prints what a command was run for, and ends it; what nobody could get was not done.
pub(super) fn print(text: &str, exit: Exit) -> Exit {
    match put(text) {
        Ok(()) => exit,
        Err(error) => {
            complain(&Refusal::new(Exit::INTERNAL, format!("cannot write to stdout: {error}")))
        }
    }
}

/// The form that is meant.
pub(super) fn form(global: &Global) -> Output {
    match global.output {
        Output::Auto => {
            let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
            let ci = std::env::var_os("CI").is_some();
            if std::io::stderr().is_terminal() && !dumb && !ci {
                Output::Tty
            } else {
                Output::Plain
            }
        }
        // A view that redraws itself is of no use in a pipe.
        Output::Tty if !std::io::stderr().is_terminal() => Output::Plain,
        form => form,
    }
}

/// Whether to colour what goes to stderr.
pub(super) fn colour(global: &Global) -> bool {
    match global.color {
        Colour::Always => true,
        Colour::Never => false,
        Colour::Auto => {
            let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
            std::io::stderr().is_terminal() && !no_colour && !dumb
        }
    }
}

/// Who hears of a release's events.
pub(super) fn sinks(global: &Global) -> Background {
    let github = std::env::var_os("GITHUB_ACTIONS").is_some();
    let plain = || Plain::new(global.quiet, global.verbose, github);
    let sinks: Vec<Box<dyn Sink>> = match form(global) {
        Output::Tty if !global.quiet => {
            vec![Box::new(Live::new(ProgressDrawTarget::stderr(), colour(global)))]
        }
        Output::Jsonl => vec![Box::new(Json::default())],
        Output::Auto | Output::Tty | Output::Plain => vec![Box::new(plain())],
    };
    Background::new(sinks)
}

/// How a command ended that never became a release.
pub(super) fn outcome_of(exit: Exit) -> Outcome {
    if exit == Exit::STOPPED { Outcome::Stopped } else { Outcome::Refused }
}

/// Ends a command that never became a release; a program that reads events hears of the end all the same.
pub(super) fn end_unstarted(global: &Global, result: Outcome, exit: Exit) -> Exit {
    if form(global) == Output::Jsonl {
        let event = Event {
            seq: 1,
            at: jiff::Timestamp::now(),
            release: String::new(),
            node: None,
            step: None,
            fact: Fact::ReleaseFinished(Finished {
                result,
                exit_code: exit.0,
                nodes: std::collections::BTreeMap::new(),
                next: Vec::new(),
                elapsed_ms: 0,
            }),
        };
        return print(&format!("{}\n", event.to_line()), exit);
    }
    exit
}
