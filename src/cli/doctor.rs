//! `doctor`: whether the live systems would let a release go through; changes nothing.

use clap::Args;

use super::open::{Missing, Opened, Reach, block_on};
use super::output::{self, Refusal};
use super::signals::Signals;
use super::{Exit, Global, Output, PlaybookArguments, hold, plan};
use crate::consul::shared_prefix;
use crate::doctor::{Diagnosis, Finding};
use crate::lock;
use crate::registry::Registry;
use crate::release::{Finished, Outcome};
use crate::secret;
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
    let diagnosis = block_on(async {
        let reach = opened.reach()?;
        let mut signals = Signals::listen(global)?;
        let diagnosis = async {
            let fleet = plan::look(&opened, &reach, &spec, &mut signals).await?;
            let meeting = meet(&reach.world, &reach.consul, &spec);
            let infos = signals.unless_stopped(plan::GATEWAYS, meeting).await?;
            let mut diagnosis = Diagnosis::of(&spec, &fleet, &infos);
            let shared = shared(&opened, &reach, &spec);
            let shared = signals.unless_stopped("asking Consul and for the lock", shared).await?;
            diagnosis.findings.extend(shared);
            Ok::<_, Refusal>(diagnosis)
        };
        let diagnosis = diagnosis.await;
        reach.world.close().await;
        diagnosis
    })??;
    let objections = diagnosis.objections();
    let exit = if objections.is_empty() { Exit::DONE } else { Exit::REFUSED };
    let text = match output::form(global) {
        Output::Jsonl => {
            let mut lines = output::lines();
            diagnosis.tell(&mut lines);
            let (result, reason) = match objections.as_slice() {
                [] => (Outcome::Done, None),
                objections => (Outcome::Refused, Some(objections.join("; "))),
            };
            lines.finish(Finished::unstarted(result, exit.0, reason))
        }
        Output::Auto | Output::Tty | Output::Plain => secret::hide(&diagnosis.page()),
    };
    Ok(output::print(&text, exit))
}

/// What operators share: Consul, its rights, the lock.
async fn shared(opened: &Opened, reach: &Reach, spec: &Spec) -> Vec<Finding> {
    let service = &spec.service;
    let Some(consul) = reach.shared() else { return vec![lock_of(opened, reach).await] };
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
    vec![
        Finding::new("consul", &place, leader),
        Finding::new("rights", "registry", registry.map(|()| spec.registry.place("<address>"))),
        Finding::new("rights", "lock", journals.map(|()| shared_prefix(service))),
        lock_of(opened, reach).await,
    ]
}

/// Whether the lock is free.
async fn lock_of(opened: &Opened, reach: &Reach) -> Finding {
    let seen = hold::look(opened, reach.shared()).await;
    let lock = seen.and_then(|seen| match seen.filter(|seen| seen.session.is_some()) {
        Some(seen) => {
            let by = hold::described(seen.holder.as_ref(), reach.world.now());
            Err(format!("held by {by}"))
        }
        None if reach.shared().is_some() => Ok("free".to_owned()),
        None => Ok(format!("free, a file in {}", opened.state.display())),
    });
    Finding::new("lock", &opened.loaded.playbook.service, lock)
}
