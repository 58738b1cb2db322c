//! `node out` and `node in`: the two halves of a release, by hand.

use clap::{Args, Subcommand};

use super::arguments::{Global, PlaybookArguments};
use super::connect::{LockArguments, connected};
use super::exit::Exit;
use super::open::{Missing, open};
use super::report;
use crate::ops::Refusal;
use crate::ops::node::{Direction, Request, check_names, switch};

#[derive(Debug, Subcommand)]
pub(super) enum Arguments {
    /// Take nodes out of rotation: mark down, confirm, drain; the service keeps running
    Out(Nodes),
    /// Return nodes to rotation: check health, mark up, confirm
    In(Nodes),
}

#[derive(Debug, Args)]
pub(super) struct Nodes {
    #[command(flatten)]
    playbook: PlaybookArguments,
    /// The nodes, by name
    #[arg(value_name = "NODE", required = true)]
    names: Vec<String>,
    #[command(flatten)]
    lock: LockArguments,
    /// Accepted for scripts; these commands never ask
    #[arg(short, long, hide = true)]
    yes: bool,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<Exit, Refusal> {
    let (direction, arguments) = match arguments {
        Arguments::Out(nodes) => (Direction::Out, nodes),
        Arguments::In(nodes) => (Direction::In, nodes),
    };
    let session = open(&arguments.playbook, global, Missing::FromLast)?;
    let spec = session.spec()?;
    check_names(&arguments.names, &spec)?;
    let nodes = arguments.names.clone();
    let request = Request { direction, nodes, lock_wait: arguments.lock.wait() };
    let ending = connected(&session, global, async |connections, terminal| {
        switch(&session, connections, terminal, &spec, &request).await
    })?;
    Ok(report::end(ending, global))
}
