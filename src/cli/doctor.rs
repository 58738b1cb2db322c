//! `doctor`: checks whether the live systems are ready for a release. It changes nothing.

use clap::Args;

use super::arguments::{Global, Output, PlaybookArguments};
use super::connect::connected;
use super::exit::Exit;
use super::open::{Missing, open};
use super::output;
use crate::ops::Refusal;
use crate::ops::doctor::doctor;
use crate::release::{Finished, Outcome};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    playbook: PlaybookArguments,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<Exit, Refusal> {
    let session = open(&arguments.playbook, global, Missing::Open)?;
    let spec = session.spec()?;
    let diagnosis = connected(&session, global, async |connections, terminal| {
        doctor(&session, connections, terminal).await
    })?;
    let (result, reason) = match diagnosis.objections(&spec).as_slice() {
        [] => (Outcome::Done, None),
        objections => (Outcome::Refused, Some(objections.join("; "))),
    };
    let exit = Exit::of(result);
    Ok(match output::form(global) {
        Output::Jsonl => {
            let mut lines = output::lines();
            diagnosis.tell(&mut lines);
            output::print(&lines.finish(Finished::unstarted(result, exit.0, reason)), exit)
        }
        Output::Auto | Output::Tty | Output::Plain => output::show(&diagnosis.page(&spec), exit),
    })
}
