//! `status`: each node as it is now, the last release, and what to type next. Changes nothing.

use std::fmt::Write;

use clap::Args;

use super::open::{Missing, Opened, block_on, last_release};
use super::output::{self, Refusal};
use super::{Exit, Global, Output, PlaybookArguments, plan};
use crate::engine::release::Release;
use crate::event::Started;
use crate::report::{NodeView, state_of};
use crate::spec::Spec;
use crate::survey::Fleet;
use crate::table::Table;
use crate::text;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    playbook: PlaybookArguments,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Exit {
    attempt(arguments, global).unwrap_or_else(|refusal| output::complain(&refusal))
}

fn attempt(arguments: &Arguments, global: &Global) -> Result<Exit, Refusal> {
    let opened = Opened::new(&arguments.playbook, global, Missing::Open)?;
    let spec = opened.spec()?;
    let (fleet, redactor) = block_on(async {
        let reach = opened.reach()?;
        let fleet = plan::look(&reach, &spec).await;
        reach.world.close().await;
        fleet.map(|fleet| (fleet, reach.redactor))
    })??;
    let last = last_release(&opened.state);
    let text = match output::form(global) {
        Output::Jsonl => lines(&fleet, &spec, last.as_ref()),
        Output::Auto | Output::Tty | Output::Plain => page(&opened, &fleet, &spec, last.as_ref()),
    };
    Ok(output::print(&redactor.redact(&text), Exit::DONE))
}

fn page(opened: &Opened, fleet: &Fleet, spec: &Spec, last: Option<&(Release, Started)>) -> String {
    let mut text = String::new();
    let headings = ["NODE", "ADDRESS", "VERSION", "PROCESS", "KEY", "GATEWAYS", "LAST RELEASE"];
    let mut table = Table::new(&headings);
    for node in &spec.nodes {
        let view = NodeView::of(fleet, spec, &node.name);
        let state =
            last.and_then(|(release, _)| release.nodes.get(&node.name)).map_or("-", state_of);
        let version = view.version.as_deref().unwrap_or("?");
        table.row(&[
            &node.name,
            &node.address,
            version,
            view.process,
            view.key,
            &view.gateways,
            state,
        ]);
    }
    text += &table.render();
    for (name, problem) in problems(fleet, spec) {
        let _ = writeln!(text, "\n{name}: {}", text::line(&problem, 300));
    }
    match last {
        None => text += "\nNo release is known here.\n",
        Some((release, started)) => {
            let versions = match (&started.from, &started.to) {
                (Some(from), Some(to)) => format!(" {from} -> {to}"),
                _ => String::new(),
            };
            let how = match &release.finished {
                Some(finished) => {
                    format!("{:?}, exit {}", finished.result, finished.exit_code).to_lowercase()
                }
                None => "not ended: it was cut off, or it is still running".to_owned(),
            };
            let _ = writeln!(
                text,
                "\nLast release {}: {}{versions} by {}: {how}",
                started.inputs.release, started.command, started.actor
            );
            for (what, command) in release.finished.iter().flat_map(|finished| &finished.next) {
                let _ = writeln!(text, "Next  {what}: {command}");
            }
        }
    }
    for node in &spec.nodes {
        if fleet.nodes.get(&node.name).is_some_and(|facts| facts.down == Some(true)) {
            let command = opened.command("node in");
            let _ =
                writeln!(text, "Next  bring {} back as it is: {command} {}", node.name, node.name);
        }
    }
    if last.is_some_and(|(release, _)| release.finished.is_none()) {
        let _ =
            writeln!(text, "Next  if nobody runs it any more, go on: {}", opened.command("deploy"));
    }
    text
}

fn problems(fleet: &Fleet, spec: &Spec) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    if let Some(problem) = &fleet.registry_problem {
        problems.push(("registry".to_owned(), problem.clone()));
    }
    for (name, seen) in &fleet.gateways {
        if let Err(problem) = seen {
            problems.push((name.clone(), problem.clone()));
        }
    }
    for node in &spec.nodes {
        let Some(facts) = fleet.nodes.get(&node.name) else { continue };
        let found = [&facts.problem, &facts.registry_problem, &facts.health.problem];
        problems.extend(
            found.into_iter().flatten().map(|problem| (node.name.clone(), problem.clone())),
        );
    }
    problems
}

fn lines(fleet: &Fleet, spec: &Spec, last: Option<&(Release, Started)>) -> String {
    let mut text = String::new();
    for node in &spec.nodes {
        let view = NodeView::of(fleet, spec, &node.name);
        let facts = fleet.nodes.get(&node.name);
        let routed: std::collections::BTreeMap<_, _> = fleet
            .gateways
            .iter()
            .map(|(name, seen)| {
                (name, seen.as_ref().ok().map(|seen| seen.routes_to(&node.address)))
            })
            .collect();
        let line = serde_json::json!({
            "v": crate::event::FORM,
            "type": "node.status",
            "node": node.name,
            "data": {
                "address": node.address,
                "version": view.version,
                "process": view.process,
                "down": facts.and_then(|facts| facts.down),
                "routed": routed,
                "problem": facts.and_then(|facts| facts.problem.clone()),
                "last_release": last.and_then(|(release, _)| release.nodes.get(&node.name)).map(state_of),
            },
        });
        let _ = writeln!(text, "{line}");
    }
    text
}
