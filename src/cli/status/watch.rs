//! `status --watch`: looks again and again. A terminal is redrawn in place; elsewhere, a page is printed after each
//! change. Reads that fail are shown, and the next round reads again.

use std::io::{IsTerminal, stdout};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::lines::{Round, tell};
use super::page::Page;
use crate::cli::arguments::{Global, Output};
use crate::cli::connect::connected;
use crate::cli::echo::EchoGuard;
use crate::cli::exit::Exit;
use crate::cli::output;
use crate::engine::StopReason;
use crate::ops::status::{Status, status_again};
use crate::ops::{Caller, Cause, Refusal, Session};
use crate::release::{Finished, Lines, Outcome};
use crate::report::{Screen, for_stdout, log_page};
use crate::spec::Spec;
use crate::text;

/// The shortest time between two rounds. A round that takes long is not followed at once by the next one.
const PAUSE: Duration = Duration::from_secs(1);

/// What is on a terminal until the first page.
const WAITING: &str = "waiting: inspecting nodes, registry and gateways\n";

/// Looks until a signal, and ends with 0.
pub(super) fn run(
    session: &Session,
    global: &Global,
    spec: &Arc<Spec>,
    interval: Duration,
) -> Result<Exit, Refusal> {
    connected(session, global, async |connections, terminal| {
        let mut watch =
            Watch { session, spec, interval, verbose: global.verbose, view: View::new(global) };
        if watch.view.says_that_it_waits() {
            terminal.be_silent();
        }
        let mut stop = terminal.stop();
        let mut before = None;
        loop {
            let begun = Instant::now();
            match status_again(session, connections, terminal, spec, before.take()).await {
                Err(refusal) if refusal.cause == Cause::Stopped => break,
                Err(refusal) => return Err(refusal),
                Ok(status) => {
                    let exit = watch.show(&status);
                    if exit != Exit::DONE {
                        return Ok(exit);
                    }
                    before = Some(status);
                }
            }
            terminal.be_silent();
            let next = (begun + interval).max(Instant::now() + PAUSE);
            let asked = stop.wait_for(|stop| *stop != StopReason::No);
            if tokio::time::timeout_at(next, asked).await.is_ok() {
                break;
            }
        }
        Ok(watch.end())
    })
}

struct Watch<'a> {
    session: &'a Session,
    spec: &'a Spec,
    interval: Duration,
    verbose: bool,
    view: View,
}

/// Where the rounds are shown.
enum View {
    /// On a terminal, redrawn in place.
    Screen { screen: Screen, last: String, _echo: Option<EchoGuard> },
    /// As pages, one after each change.
    Pages { last: String },
    /// As lines for programs.
    Lines { lines: Lines, round: u64, next: Vec<(String, String)> },
}

impl View {
    fn new(global: &Global) -> Self {
        let last = String::new();
        match output::form(global) {
            Output::Jsonl => Self::Lines { lines: output::lines(), round: 0, next: Vec::new() },
            Output::Tty if stdout().is_terminal() => {
                Self::Screen { screen: Screen::of_stdout(), last, _echo: EchoGuard::begin() }
            }
            Output::Auto | Output::Tty | Output::Plain => Self::Pages { last },
        }
    }

    /// Shows in place of the first page what is waited for, if the view can.
    fn says_that_it_waits(&mut self) -> bool {
        match self {
            Self::Screen { screen, .. } => screen.draw(WAITING).is_ok(),
            Self::Pages { .. } | Self::Lines { .. } => false,
        }
    }
}

impl Watch<'_> {
    /// Shows one round. Output that cannot be written ends the command.
    fn show(&mut self, status: &Status) -> Exit {
        let (spec, now, verbose) = (self.spec, jiff::Timestamp::now(), self.verbose);
        let next = &status.next(self.session, spec)[..];
        let width = match &self.view {
            View::Screen { screen, .. } => screen.columns(),
            View::Pages { .. } | View::Lines { .. } => None,
        };
        let page = Page { status, spec, next, now, width, together: false, verbose, counts: true };
        let time = now.to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M:%S").to_string();
        match &mut self.view {
            View::Screen { screen, last, .. } => {
                let kept = gist(status, &page);
                if *last != kept {
                    log_page(&page.render());
                    *last = kept;
                }
                let every = text::seconds(self.interval);
                let drawn = |page: &Page| {
                    format!("{}\n{time}, again every {every}; Ctrl-C ends\n", page.render())
                };
                let (each, few) = (drawn(&page), Page { together: true, ..page });
                let drawn = screen.draw(&if screen.fits(&each) { each } else { drawn(&few) });
                output::written(drawn, Exit::DONE)
            }
            View::Pages { last } => {
                let kept = gist(status, &page);
                if *last == kept {
                    return Exit::DONE;
                }
                *last = kept;
                output::print(&for_stdout(&format!("{time}\n{}\n", page.render())), Exit::DONE)
            }
            View::Lines { lines, round, next: last } => {
                next.clone_into(last);
                *round += 1;
                lines.at(now);
                let interval_ms = self.interval.as_millis().try_into().unwrap_or(u64::MAX);
                lines.tell(None, None, &Round { round: *round, interval_ms });
                tell(status, spec, now, lines);
                output::print(&lines.take(), Exit::DONE)
            }
        }
    }

    /// Ends the view. Programs get the last line.
    fn end(self) -> Exit {
        let exit = Exit::DONE;
        let View::Lines { mut lines, next, .. } = self.view else { return exit };
        lines.at(jiff::Timestamp::now());
        let finished = Finished::unstarted(Outcome::Done, exit.0, None);
        output::print(&lines.finish(Finished { next, ..finished }), exit)
    }
}

/// What two rounds are compared by: the page without times and numbers of requests, and the processes.
fn gist(status: &Status, page: &Page<'_>) -> String {
    let page = Page { counts: false, width: None, ..*page }.render();
    let processes = status.fleet.nodes.values().map(|facts| {
        let owners = facts.survey.iter().flat_map(|survey| &survey.listener.owners);
        owners.map(|owner| format!("{} {}", owner.pid, owner.started.0)).collect::<Vec<_>>()
    });
    format!("{}{:?}", without_times(&page), processes.collect::<Vec<_>>())
}

/// The same text with `*` for each time, and with one space for several.
fn without_times(text: &str) -> String {
    let word = |word: &str| {
        let letters = word.trim_end_matches('.');
        let is_time = letters.starts_with(|letter: char| letter.is_ascii_digit())
            && letters.ends_with(['s', 'm', 'h', 'd'])
            && letters.chars().all(|letter| letter.is_ascii_digit() || ".smhd".contains(letter));
        if is_time { "*".to_owned() } else { word.to_owned() }
    };
    let is_end = |letter: char| !letter.is_alphanumeric() && letter != '.';
    let words = text.split_inclusive(is_end).map(|piece| {
        let end = piece.find(is_end).unwrap_or(piece.len());
        word(&piece[..end]) + &piece[end..]
    });
    let text: String = words.collect();
    text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_that_differ_only_in_times_are_equal() {
        let page = |age: &str, step: &str, number: usize| {
            format!(
                "app: {number} of 4 nodes serve\nr1: done 27h07m ago, exit 0\n app-1  1.4.2  healthy {age:<8}  up  {step}\n"
            )
        };
        let told = |age, step, number| without_times(&page(age, step, number));
        assert_eq!(told("9s", "health, 4s of 120s", 3), told("2m10s", "health, 13s of 120s", 3));
        assert_ne!(told("9s", "health, 4s of 120s", 3), told("9s", "health, 4s of 120s", 4));
        assert_ne!(told("9s", "health, 4s of 120s", 3), told("9s", "drain, 4s of 120s", 3));
        assert_eq!(without_times("version 1.5.0, 4.2s."), "version 1.5.0, *");
        assert_eq!(without_times("10.0.1.3:9000  d8"), "10.0.1.3:9000 d8");
    }
}
