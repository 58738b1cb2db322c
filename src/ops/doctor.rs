//! `doctor`: checks whether the live systems are ready for a release. It changes nothing.

mod diagnosis;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::caller::{Wait, unless_stopped};
use super::look::inspect;
use super::session::OPEN;
use super::{Caller, Cause, Connections, Refusal, Session, locking};
use crate::consul::{self, shared_prefix};
use crate::lock;
use crate::registry::{Registry, Rights};
use crate::spec::{RegistrySpec, Spec};
use crate::survey::meet;
use crate::template::Template;
use crate::text;
use crate::world::World;

pub use diagnosis::{Diagnosis, Finding, Seen, describe};

/// The name of the wait. Consul and the lock are four requests, one after the other.
const ALL: Wait<'_> = Wait {
    what: "inspecting nodes, registry, gateways and the lock",
    at_most: consul::PATIENCE.saturating_mul(4),
};

/// Inspects everything that a release depends on.
///
/// # Errors
///
/// If the playbook cannot be used with its values, or the caller asks to stop.
pub async fn doctor<W: World, C: Caller>(
    session: &Session,
    connections: &Connections<W>,
    caller: &C,
) -> Result<Diagnosis, Refusal> {
    let (spec, artifact) = with_artifact(session)?;
    let all = async {
        let inspection = Box::pin(inspect(session, connections, &spec));
        let meeting = Box::pin(meet(&connections.world, &connections.consul, &spec));
        tokio::join!(inspection, meeting, Box::pin(shared(session, connections, &spec)))
    };
    let (fleet, infos, shared) = unless_stopped(caller, ALL, all).await?;
    let mut diagnosis = Diagnosis { findings: artifact.into_iter().collect() };
    diagnosis.examine(&spec, &fleet, &infos);
    diagnosis.findings.extend(shared);
    Ok(diagnosis)
}

/// Reads the artifact, unless its name or checksum depends on a variable without a value.
fn with_artifact(session: &Session) -> Result<(Arc<Spec>, Option<Finding>), Refusal> {
    let spec = session.spec()?;
    let Some(artifact) = &spec.artifact else { return Ok((spec, None)) };
    let name = artifact.file.file_name().unwrap_or_default().to_string_lossy();
    let name = text::line(&name, 120);
    let finding = |seen| Some(Finding::new("artifact", &name, seen));
    let open = open_variables(session);
    if let Some(variable) = open.first() {
        let why = format!(
            "not read, and the room for it not checked: the variable `{variable}` has no value; give it with `--var {variable}=…`"
        );
        return Ok((spec, finding(Seen::Unknown(why))));
    }
    match session.clone().spec_with_artifact() {
        Ok(read) => {
            let digest = read.artifact.as_ref().and_then(|artifact| artifact.digest.as_ref());
            let seen = digest.map_or_else(String::new, |digest| {
                let sha256 = digest.sha256.get(..8).unwrap_or_default();
                format!("{}, sha256 {sha256}", text::size(digest.size))
            });
            Ok((read, finding(Seen::Ready(seen))))
        }
        Err(refusal) if refusal.cause == Cause::Refused => {
            Ok((spec, finding(Seen::Problem(refusal.reason))))
        }
        Err(refusal) => Err(refusal),
    }
}

/// The variables without a value from which the artifact's name, checksum or place is made.
fn open_variables(session: &Session) -> Vec<String> {
    let Some(artifact) = &session.loaded.playbook.artifact else { return Vec::new() };
    let templates = [&artifact.source, &artifact.releases, &artifact.current];
    let templates = templates.into_iter().chain(&artifact.sha256);
    let names = templates.flat_map(|template: &Template| template.names().0);
    let used: BTreeSet<_> = names.map(|(name, _)| name).collect();
    let variables = session.inputs.variables.iter();
    let open = variables.filter(|(name, value)| *value == OPEN && used.contains(name.as_str()));
    open.map(|(name, _)| name.clone()).collect()
}

/// Checks what operators share: Consul, the rights of its token, the lock.
async fn shared<W: World>(
    session: &Session,
    connections: &Connections<W>,
    spec: &Spec,
) -> Vec<Finding> {
    let service = &spec.service;
    let Some(consul) = connections.shared() else {
        return vec![lock_of(session, connections).await];
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
    let journals = lock::may_share(consul, service).await.map_err(|error| error.to_string());
    let mut findings = vec![Finding::new("consul", &place, leader)];
    findings.extend(rights(connections, spec).await);
    findings.push(Finding::new(
        "rights",
        "lock",
        journals.map(|()| format!("may write {}", shared_prefix(service))),
    ));
    findings.push(lock_of(session, connections).await);
    findings
}

/// Checks whether the lock is free.
async fn lock_of<W: World>(session: &Session, connections: &Connections<W>) -> Finding {
    let seen = locking::look(session, connections.shared()).await;
    let lock = seen.and_then(|seen| match seen.filter(|seen| seen.session.is_some()) {
        Some(seen) => {
            let by =
                locking::described(seen.holder.as_ref(), seen.process, connections.world.now());
            Err(format!("held by {by}"))
        }
        None if connections.shared().is_some() => Ok("free".to_owned()),
        None => Ok(format!("free, a file in {}", session.state.display())),
    });
    Finding::new("lock", session.service(), lock)
}

/// Checks the caller's write access to every switch, in each registry.
async fn rights<W: World>(connections: &Connections<W>, spec: &Spec) -> Vec<Finding> {
    let addresses = spec.nodes.iter().map(|node| node.address.as_str()).collect();
    let registry = Registry::new(&connections.world, &connections.consul, spec);
    let all = registry.may_write(&addresses).await.into_iter().enumerate();
    let places = spec.places("<address>");
    let finding = |(at, rights)| {
        let name = match places.as_slice() {
            [_] => "registry",
            places => places.get(at).map_or("registry", String::as_str),
        };
        Finding::new("rights", name, rights_in(spec, at, rights))
    };
    all.map(finding).collect()
}

/// What is known about the write access to the switches in one registry.
fn rights_in(spec: &Spec, registry: usize, rights: Result<Rights, consul::Error>) -> Seen {
    match rights {
        Ok(Rights::Keys(keys)) => {
            let keys = (!keys.is_empty()).then(|| format!("may write {}", keys.join(", ")));
            let is_gateways = spec.registries.get(registry) == Some(&RegistrySpec::Gateway);
            let gateways = is_gateways
                .then(|| format!("may change servers at {}", spec.followers(registry).join(", ")));
            Seen::Ready(keys.into_iter().chain(gateways).collect::<Vec<_>>().join("; "))
        }
        Ok(Rights::Unread(why) | Rights::Untested(why)) => Seen::Unknown(why),
        Err(error) => Seen::Problem(error.to_string()),
    }
}
