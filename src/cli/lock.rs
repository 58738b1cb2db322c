//! `lock show` and `lock break`.

use clap::{Args, Subcommand};

use super::deploy::agreed;
use super::open::{Missing, Opened, Reach, block_on};
use super::output::{self, Refusal};
use super::signals::Signals;
use super::{Exit, Global, PlaybookArguments, hold};
use crate::lock::{LockStatus, break_lock, look};
use crate::report::say;
use crate::world::World;

#[derive(Debug, Subcommand)]
pub(super) enum Arguments {
    /// Say who holds the lock, since when, and what they do
    Show(Which),
    /// Take the lock away from its holder, who then writes nothing any more
    Break(Break),
}

#[derive(Debug, Args)]
pub(super) struct Which {
    #[command(flatten)]
    playbook: PlaybookArguments,
}

#[derive(Debug, Args)]
pub(super) struct Break {
    #[command(flatten)]
    playbook: PlaybookArguments,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Exit {
    let result = match arguments {
        Arguments::Show(which) => show(&which.playbook, global),
        Arguments::Break(which) => break_it(which, global),
    };
    result.unwrap_or_else(|refusal| output::refuse(refusal, global))
}

fn show(playbook: &PlaybookArguments, global: &Global) -> Result<Exit, Refusal> {
    let opened = Opened::new(playbook, global, Missing::Open)?;
    let (seen, reach) = block_on(async {
        let reach = opened.reach()?;
        let mut signals = Signals::listen(global)?;
        let seen = hold::look(&opened, reach.shared());
        let seen = signals.unless_stopped(hold::LOOK, seen).await?;
        Ok::<_, Refusal>((seen.map_err(|problem| Refusal::new(Exit::REFUSED, problem))?, reach))
    })??;
    let text = match seen {
        Some(seen) if seen.session.is_some() => format!("held by {}\n", who(&seen, &reach)),
        Some(seen) => format!("free; last held by {}\n", who(&seen, &reach)),
        None => "free\n".to_owned(),
    };
    Ok(output::show(&text, Exit::DONE))
}

fn break_it(arguments: &Break, global: &Global) -> Result<Exit, Refusal> {
    let opened = Opened::new(&arguments.playbook, global, Missing::Open)?;
    let service = &opened.loaded.playbook.service;
    block_on(async {
        let reach = opened.reach()?;
        let mut signals = Signals::listen(global)?;
        let Some(consul) = reach.shared() else {
            let seen = hold::look(&opened, None).await;
            let seen = seen.map_err(|problem| Refusal::new(Exit::REFUSED, problem))?;
            let Some(seen) = seen else {
                say("The lock is free.\n");
                return Ok(Exit::DONE);
            };
            let held = format!("the lock is a file of this machine: {}", who(&seen, &reach));
            let held = Refusal::new(Exit::REFUSED, held);
            return Err(held.hint("it ends with the process that holds it"));
        };
        let seen = signals.unless_stopped(hold::LOOK, look(consul, service)).await?;
        let seen = seen.map_err(|error| unknown(&error))?;
        let Some(seen) = seen.filter(|seen| seen.session.is_some()) else {
            say("The lock is free.\n");
            return Ok(Exit::DONE);
        };
        let who = who(&seen, &reach);
        if !arguments.yes {
            let question = format!("Held by {who}. Break the lock?");
            signals.unless_stopped_silently(agreed(&question)).await??;
        }
        let breaking = signals.unless_stopped("taking the lock away", break_lock(consul, service));
        breaking.await?.map_err(|error| unknown(&error))?;
        say(&format!("The lock was taken from {who}.\n"));
        Ok(Exit::DONE)
    })?
}

fn who(seen: &LockStatus, reach: &Reach) -> String {
    hold::described(seen.holder.as_ref(), reach.world.now())
}

fn unknown(error: &crate::consul::Error) -> Refusal {
    Refusal::new(Exit::REFUSED, error.to_string())
}
