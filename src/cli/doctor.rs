//! `doctor`: whether the live systems would let a release go through; changes nothing.

use clap::Args;

use super::open::{Missing, Opened, Reach, block_on};
use super::output::{self, Refusal};
use super::{Exit, Global, Output, PlaybookArguments, plan};
use crate::doctor::{Diagnosis, Finding};
use crate::event::{Finished, Outcome};
use crate::lock::{self, FileLock, Holder};
use crate::registry::Registry;
use crate::spec::Spec;
use crate::survey::meet;
use crate::world::World;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    playbook: PlaybookArguments,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Exit {
    attempt(arguments, global).unwrap_or_else(|refusal| output::refuse(refusal, global))
}

fn attempt(arguments: &Arguments, global: &Global) -> Result<Exit, Refusal> {
    let opened = Opened::new(&arguments.playbook, global, Missing::Open)?;
    let spec = opened.spec()?;
    let (diagnosis, redactor) = block_on(async {
        let reach = opened.reach()?;
        let looked = plan::look(&opened, &reach, &spec).await;
        let diagnosis = match &looked {
            Ok(fleet) => {
                let mut diagnosis =
                    Diagnosis::of(&spec, fleet, &meet(&reach.world, &reach.consul, &spec).await);
                diagnosis.findings.extend(shared(&opened, &reach, &spec).await);
                diagnosis
            }
            Err(_) => Diagnosis::default(),
        };
        reach.world.close().await;
        looked.map(|_| (diagnosis, reach.redactor))
    })??;
    let objections = diagnosis.objections();
    let exit = if objections.is_empty() { Exit::DONE } else { Exit::REFUSED };
    let text = match output::form(global) {
        Output::Jsonl => {
            let mut lines = output::lines(&redactor);
            diagnosis.tell(&mut lines);
            let (result, reason) = match objections.as_slice() {
                [] => (Outcome::Done, None),
                objections => (Outcome::Refused, Some(objections.join("; "))),
            };
            lines.finish(Finished::unstarted(result, exit.0, reason))
        }
        Output::Auto | Output::Tty | Output::Plain => redactor.redact(&diagnosis.page()),
    };
    Ok(output::print(&text, exit))
}

/// What operators share: Consul, its rights, the lock.
async fn shared(opened: &Opened, reach: &Reach, spec: &Spec) -> Vec<Finding> {
    let service = &spec.service;
    let held = |by: Option<Holder>| {
        let by = by.map_or("somebody unknown".into(), |by| by.describe(reach.world.now()));
        Err(format!("held by {by}"))
    };
    let Some(consul) = reach.shared() else {
        let seen = FileLock::look(&opened.state).map_err(|error| format!("{error:#}"));
        let free = || Ok(format!("free, a file in {}", opened.state.display()));
        let lock = seen.and_then(|seen| seen.map_or_else(free, held));
        return vec![Finding::new("lock", service, lock)];
    };
    let leader = consul.leader().await.map_err(|error| error.to_string());
    let leader = leader.and_then(|leader| match leader.as_str() {
        "" => Err("it has no leader".to_owned()),
        leader => Ok(format!("led by {leader}")),
    });
    let place = consul.addresses().join(", ");
    if leader.is_err() {
        return vec![Finding::new("consul", &place, leader)];
    }
    let addresses = spec.nodes.iter().map(|node| node.address.as_str()).collect();
    let registry = Registry::new(&reach.world, &reach.consul, spec);
    let registry = registry.may_write(&addresses).await.map_err(|error| error.to_string());
    let journals = lock::may_share(consul, service).await.map_err(|error| error.to_string());
    let seen = lock::look(consul, service).await.map_err(|error| error.to_string());
    let lock = seen.and_then(|seen| match seen.filter(|seen| seen.session.is_some()) {
        Some(seen) => held(seen.holder),
        None => Ok("free".to_owned()),
    });
    vec![
        Finding::new("consul", &place, leader),
        Finding::new("rights", "registry", registry.map(|()| spec.registry.place("<address>"))),
        Finding::new("rights", "lock", journals.map(|()| lock::shared_prefix(service))),
        Finding::new("lock", service, lock),
    ]
}
