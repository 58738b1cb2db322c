//! Which form of output, which colours, and how errors are said.

use std::io::IsTerminal;

use indicatif::ProgressDrawTarget;

use super::echo::Silence;
use super::{Colour, Exit, Global, Output};
use crate::diagnostic::{Invalid, render};
use crate::engine::Sink;
use crate::release::{Finished, Lines, Outcome};
use crate::report::{Background, Json, Live, Plain, put, say};
use crate::{secret, text};

/// Something that ends a command before it began.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) exit: Exit,
    /// Why, in one line, for programs.
    reason: String,
    /// The same for people, ready to print.
    text: String,
    /// What is wrong with the playbook, one by one.
    invalid: Option<Box<Invalid>>,
    /// The command that tells more, and what it is for.
    next: Option<(String, String)>,
}

impl Refusal {
    pub(super) fn new(exit: Exit, message: impl AsRef<str>) -> Self {
        let message = text::harmless(message.as_ref());
        let text = format!("error: {message}\n");
        Self::told(exit, message, text)
    }

    /// A refusal whose text for people has a form of its own.
    pub(super) fn told(exit: Exit, reason: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text::page(&text.into());
        Self { exit, reason: reason.into(), text, invalid: None, next: None }
    }

    /// The playbook is no good.
    pub(super) fn invalid(invalid: Invalid, global: &Global) -> Self {
        // Its colours stay.
        let text = render(&invalid, colour(global));
        let refusal = Self::told(Exit::INVALID, invalid.summary(), "");
        Self { text, invalid: Some(Box::new(invalid)), ..refusal }
    }

    /// Somebody wanted it to stop before it began.
    pub(super) fn stopped() -> Self {
        Self::new(Exit::STOPPED, "stopped on request; nothing was changed")
    }

    pub(super) fn hint(mut self, hint: impl AsRef<str>) -> Self {
        self.text += &format!("hint: {}\n", text::harmless(hint.as_ref()));
        self
    }

    /// Hints at a command that tells more.
    pub(super) fn hint_at(mut self, what: &str, command: String) -> Self {
        self = self.hint(format!("`{command}` {what}"));
        self.next = Some((what.to_owned(), command));
        self
    }
}

/// Says why a command does not begin, and ends it. Programs hear of every problem of a playbook, and of the end.
pub(super) fn refuse(refusal: Refusal, global: &Global) -> Exit {
    say(&refusal.text);
    if form(global) != Output::Jsonl {
        return refusal.exit;
    }
    let mut lines = lines();
    if let Some(invalid) = &refusal.invalid {
        for problem in invalid.to_json() {
            lines.tell("check.problem", None, None, problem);
        }
    }
    let stopped = refusal.exit == Exit::STOPPED;
    let result = if stopped { Outcome::Stopped } else { Outcome::Refused };
    let next = refusal.next.into_iter().collect();
    let finished = Finished::unstarted(result, refusal.exit.0, Some(refusal.reason));
    print(&lines.finish(Finished { next, ..finished }), refusal.exit)
}

/// Ends a command line that could not be understood; people were told why.
pub(super) fn misused(text: &str, lines_wanted: bool) -> Exit {
    if !lines_wanted {
        return Exit::INVALID;
    }
    let first = text.lines().next().unwrap_or_default();
    let reason = first.strip_prefix("error: ").unwrap_or(first).to_owned();
    let finished = Finished::unstarted(Outcome::Refused, Exit::INVALID.0, Some(reason));
    print(&lines().finish(finished), Exit::INVALID)
}

/// Ends a command whose release has no last event of its own; a program hears of the end all the same.
pub(super) fn end(finished: Finished, lines: Lines, global: &Global) -> Exit {
    let exit = Exit(finished.exit_code);
    if form(global) == Output::Jsonl { print(&lines.finish(finished), exit) } else { exit }
}

/// Lines for a program, of now.
pub(super) fn lines() -> Lines {
    Lines::new(jiff::Timestamp::now())
}

/// Prints a page for people, without any secret, and ends the command.
pub(super) fn show(page: &str, exit: Exit) -> Exit {
    print(&secret::hide(page), exit)
}

/// Prints what a command was run for, and ends it; what nobody could get was not done.
pub(super) fn print(text: &str, exit: Exit) -> Exit {
    match put(text) {
        Ok(()) => exit,
        Err(error) => {
            say(&format!("error: cannot write to stdout: {error}\n"));
            Exit::INTERNAL
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

/// Who hears of a release's events, and a terminal that shows nothing else meanwhile. Ends in this order.
pub(super) struct View {
    pub(super) sinks: Background,
    _silence: Option<Silence>,
}

/// Begins to tell of a release.
pub(super) fn view(global: &Global) -> View {
    let github = std::env::var_os("GITHUB_ACTIONS").is_some();
    let plain = || Plain::new(global.quiet, global.verbose, github);
    let sinks: Vec<Box<dyn Sink>> = match form(global) {
        Output::Tty if !global.quiet => {
            vec![Box::new(Live::new(ProgressDrawTarget::stderr(), colour(global)))]
        }
        Output::Jsonl => vec![Box::new(Json::default())],
        Output::Auto | Output::Tty | Output::Plain => vec![Box::new(plain())],
    };
    let live = form(global) == Output::Tty && !global.quiet;
    let silence = if live { Silence::begin() } else { None };
    View { sinks: Background::new(sinks), _silence: silence }
}
