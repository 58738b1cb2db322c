//! `status`: shows the current state of each node, the last release, and the next command. It changes nothing.

mod lines;
mod page;
mod rows;
mod state;
#[cfg(test)]
mod tests;

use clap::Args;

use super::arguments::{Global, Output, PlaybookArguments};
use super::connect::connected;
use super::exit::Exit;
use super::open::{Missing, open};
use super::output;
use crate::ops::Refusal;
use crate::ops::status::status;
use crate::release::{Finished, Outcome};
use crate::report::stdout_width;

pub(super) use lines::{JournalStatus, describe};
pub use page::Page;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    playbook: PlaybookArguments,
    /// For monitoring: exit with 0 if all is well, 1 if a node is out (also one that `node out` holds), unhealthy or on
    /// another version, 2 while a release runs, 3 if something cannot be read
    #[arg(long)]
    exit_code: bool,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<Exit, Refusal> {
    let session = open(&arguments.playbook, global, Missing::Open)?;
    let spec = session.spec()?;
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
