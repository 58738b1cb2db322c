//! Selects the output format and the colours, and prints errors.

use std::io::IsTerminal;

use indicatif::ProgressDrawTarget;

use super::arguments::{Colour, Global, Output};
use super::echo::EchoGuard;
use super::exit::Exit;
use super::{ci, page};
use crate::engine::Sink;
use crate::ops::{Cause, Refusal};
use crate::release::Release;
use crate::release::{Event, Finished, Lines, Outcome};
use crate::report::{Background, Json, Live, Plain, Reporter};
use crate::report::{for_stdout, print_excerpt, print_page, print_stderr, print_stdout};

/// Reports why a command does not start, and ends it. Programs get every problem of a playbook, and the end.
pub(super) fn refuse(refusal: Refusal, global: &Global) -> Exit {
    let exit = Exit::because(refusal.cause);
    let plain = page::refusal(&refusal, false);
    match refusal.invalid {
        // An excerpt of a file is not broken. The log file gets no colours.
        Some(_) => print_excerpt(&page::refusal(&refusal, colour(global)), &plain),
        None => print_page(&ci::chosen(global).tame(&plain)),
    }
    ci::annotate(&refusal, global);
    ci::summarise_page(global, "rollgate did not start", &plain);
    if form(global) != Output::Jsonl {
        return exit;
    }
    let mut lines = lines();
    if let Some(invalid) = &refusal.invalid {
        for problem in invalid.lines() {
            lines.tell(None, None, &problem);
        }
    }
    let next = refusal.next.map(|next| *next).into_iter().collect();
    let finished = Finished::unstarted(refusal.cause.outcome(), exit.0, Some(refusal.reason));
    print(&lines.finish(Finished { next, ..finished }), exit)
}

/// Ends a command line that is not valid. People have already seen the reason.
pub(super) fn misused(text: &str, lines_wanted: bool) -> Exit {
    let exit = Exit::because(Cause::Invalid);
    if !lines_wanted {
        return exit;
    }
    let first = text.lines().next().unwrap_or_default();
    let reason = first.strip_prefix("error: ").unwrap_or(first).to_owned();
    let finished = Finished::unstarted(Outcome::Refused, exit.0, Some(reason));
    print(&lines().finish(finished), exit)
}

/// Ends a command without a last event from its release. A program still gets the end.
pub(super) fn end(finished: Finished, lines: Lines, global: &Global) -> Exit {
    let exit = Exit(finished.exit_code);
    if form(global) == Output::Jsonl { print(&lines.finish(finished), exit) } else { exit }
}

/// Returns JSON lines for a program, with the current time.
pub(super) fn lines() -> Lines {
    Lines::new(jiff::Timestamp::now())
}

/// Prints a page for people, without secrets, and ends the command.
pub(super) fn show(page: &str, exit: Exit) -> Exit {
    print(&for_stdout(page), exit)
}

/// Prints the result of a command, and ends it. Output that cannot be written is a failure.
pub(super) fn print(text: &str, exit: Exit) -> Exit {
    written(print_stdout(text), exit)
}

/// Ends a command after its result was written. Output that cannot be written is a failure.
pub(super) fn written(result: std::io::Result<()>, exit: Exit) -> Exit {
    match result {
        Ok(()) => exit,
        Err(error) => {
            print_stderr(&format!("error: cannot write to stdout: {error}\n"));
            Exit::because(Cause::Internal)
        }
    }
}

/// Returns the output format. It resolves `auto`.
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
        // A view that redraws itself is useless in a pipe.
        Output::Tty if !std::io::stderr().is_terminal() => Output::Plain,
        form => form,
    }
}

/// Returns whether output on stderr has colours.
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

/// The reporters of a release's events, and the terminal without its echo. They are dropped in this order.
pub(super) struct View {
    sinks: Background,
    _echo: Option<EchoGuard>,
}

impl Sink for View {
    fn event(&mut self, event: &Event, release: &Release) {
        self.sinks.event(event, release);
    }
}

/// Starts to report a release. `so_far` is its state at the start.
pub(super) fn view(global: &Global, so_far: &Release) -> View {
    let plain = || Plain::new(global.quiet, global.verbose, ci::chosen(global));
    let mut sinks: Vec<Box<dyn Reporter>> = match form(global) {
        Output::Tty if !global.quiet => {
            vec![Box::new(Live::new(ProgressDrawTarget::stderr(), colour(global)))]
        }
        Output::Jsonl => vec![Box::new(Json::default())],
        Output::Auto | Output::Tty | Output::Plain => vec![Box::new(plain())],
    };
    sinks.extend(Plain::for_log_file().map(|plain| Box::new(plain) as Box<dyn Reporter>));
    let live = form(global) == Output::Tty && !global.quiet;
    let echo = if live { EchoGuard::begin() } else { None };
    View { sinks: Background::new(sinks, so_far.outline()), _echo: echo }
}
