//! `node out` and `node in`: the two halves of a release, by hand.

use clap::{Args, Subcommand};

use super::arguments::{Global, PlaybookArguments};
use super::complete;
use super::connect::{LockArguments, connected};
use super::exit::Exit;
use super::open::{Missing, open};
use super::report;
use crate::ops::node::{Direction, Request, check_names, switch};
use crate::ops::{Cause, Refusal};

/// The longest reason of a hold, in characters.
const LONGEST_REASON: usize = 200;

#[derive(Debug, Subcommand)]
pub(super) enum Arguments {
    /// Take nodes out of rotation and hold them there: mark down, confirm, drain; the service keeps running
    Out(Out),
    /// Return nodes to rotation and end their hold: check health, mark up, confirm
    In(Nodes),
}

#[derive(Debug, Args)]
pub(super) struct Out {
    #[command(flatten)]
    nodes: Nodes,
    /// Why, for others: releases leave the nodes out until `node in`, and show this
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Nodes {
    #[command(flatten)]
    playbook: PlaybookArguments,
    /// The nodes, by name
    #[arg(value_name = "NODE", required = true, add = complete::nodes())]
    names: Vec<String>,
    #[command(flatten)]
    lock: LockArguments,
    /// Accepted for scripts; these commands never ask
    #[arg(short, long, hide = true)]
    yes: bool,
}

/// Checks the reason of a hold. clap would repeat the whole text in its message.
fn reason(text: &str) -> Result<String, Refusal> {
    let length = text.chars().count();
    if length > LONGEST_REASON {
        let problem = format!("--reason has {length} characters: it can have {LONGEST_REASON}");
        return Err(Refusal::new(Cause::Invalid, problem));
    }
    Ok(text.trim().to_owned())
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<Exit, Refusal> {
    let (direction, arguments, reason) = match arguments {
        Arguments::Out(out) => {
            (Direction::Out, &out.nodes, out.reason.as_deref().map(reason).transpose()?)
        }
        Arguments::In(nodes) => (Direction::In, nodes, None),
    };
    let session = open(&arguments.playbook, global, Missing::FromLast)?;
    let spec = session.spec_by_hand()?;
    check_names(&arguments.names, &spec)?;
    let nodes = arguments.names.clone();
    let request = Request { direction, nodes, reason, lock_wait: arguments.lock.wait() };
    let ending = connected(&session, global, async |connections, terminal| {
        switch(&session, connections, terminal, &spec, &request).await
    })?;
    Ok(report::end(ending, global))
}
