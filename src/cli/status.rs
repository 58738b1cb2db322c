//! `status`: shows the current state of each node, the last release, and the next command. It changes nothing.

mod lines;
mod page;
mod rows;
mod state;
#[cfg(test)]
mod tests;
mod watch;

use std::time::Duration;

use clap::Args;

use super::arguments::{Global, Output, PlaybookArguments};
use super::connect::connected;
use super::exit::Exit;
use super::open::{Missing, open};
use super::output;
use crate::ops::Refusal;
use crate::ops::status::status;
use crate::period::DurationSetting;
use crate::release::{Finished, Outcome};
use crate::report::stdout_width;

pub(super) use lines::{JournalStatus, describe};
pub use page::Page;

/// Each round of `--watch` reads every node and every gateway.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// A longer interval is a mistake.
const LONGEST_INTERVAL: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    playbook: PlaybookArguments,
    /// For monitoring: exit with 0 if all is well, 1 if a node is out (also one that `node out` holds), unhealthy or on
    /// another version, 2 while a release runs, 3 if something cannot be read
    #[arg(long)]
    exit_code: bool,
    /// Look again after this time, until Ctrl-C: redraw on a terminal, print what was changed elsewhere [default: 2s]
    #[arg(long, value_name = "INTERVAL", num_args = 0..=1, require_equals = true,
          default_missing_value = "2s", hide_default_value = true, value_parser = interval,
          conflicts_with = "exit_code")]
    watch: Option<Duration>,
}

fn interval(text: &str) -> Result<Duration, String> {
    let DurationSetting(interval) = DurationSetting::parse(text)?;
    if interval < SHORTEST_INTERVAL {
        return Err("shorter than 1s".to_owned());
    }
    if interval > LONGEST_INTERVAL {
        return Err("longer than 24h".to_owned());
    }
    Ok(interval)
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<Exit, Refusal> {
    let session = open(&arguments.playbook, global, Missing::Open)?;
    let spec = session.spec()?;
    if let Some(interval) = arguments.watch {
        return watch::run(&session, global, &spec, interval);
    }
    let status = connected(&session, global, async |connections, terminal| {
        status(&session, connections, terminal, &spec).await
    })?;
    let next = &status.next(&session, &spec)[..];
    let exit = if arguments.exit_code { Exit::at(status.level(&spec)) } else { Exit::DONE };
    Ok(match output::form(global) {
        Output::Jsonl => {
            let mut lines = output::lines();
            lines::tell(&status, &spec, jiff::Timestamp::now(), &mut lines);
            let finished = Finished::unstarted(Outcome::Done, exit.0, None);
            let next = next.to_vec();
            output::print(&lines.finish(Finished { next, ..finished }), exit)
        }
        Output::Auto | Output::Tty | Output::Plain => {
            let (now, width) = (jiff::Timestamp::now(), stdout_width());
            let (status, spec, verbose) = (&status, &*spec, global.verbose);
            let page =
                Page { status, spec, next, now, width, together: false, verbose, counts: true };
            output::show(&page.render(), exit)
        }
    })
}
