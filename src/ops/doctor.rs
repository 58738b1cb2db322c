//! `doctor`: checks whether the live systems are ready for a release. It changes nothing.

mod diagnosis;

use std::sync::Arc;

use super::caller::{Wait, unless_stopped};
use super::look::look;
use super::{Caller, Connections, Refusal, Session, locking, plan};
use crate::consul::{self, shared_prefix};
use crate::lock;
use crate::registry::Registry;
use crate::spec::{RegistrySpec, Spec};
use crate::survey::meet;
use crate::world::World;

pub use diagnosis::{Diagnosis, Finding};

/// The name of the wait for what operators share: four requests, one after the other.
const SHARED: Wait<'_> =
    Wait { what: "checking Consul and the lock", at_most: consul::PATIENCE.saturating_mul(4) };

/// Inspects everything that a release depends on.
///
/// # Errors
///
/// If the caller asks to stop.
pub async fn doctor<W: World, C: Caller>(
    session: &Session,
    connections: &Connections<W>,
    caller: &C,
    spec: &Arc<Spec>,
) -> Result<Diagnosis, Refusal> {
    let fleet = look(session, connections, caller, spec).await?;
    let meeting = meet(&connections.world, &connections.consul, spec);
    let infos = unless_stopped(caller, plan::GATEWAYS, meeting).await?;
    let mut diagnosis = Diagnosis::of(spec, &fleet, &infos);
    let shared = shared(session, connections, spec);
    let shared = unless_stopped(caller, SHARED, shared).await?;
    diagnosis.findings.extend(shared);
    Ok(diagnosis)
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
    let addresses = spec.nodes.iter().map(|node| node.address.as_str()).collect();
    let registry = Registry::new(&connections.world, &connections.consul, spec);
    let registry = registry.may_write(&addresses).await.map_err(|error| error.to_string());
    let journals = lock::may_share(consul, service).await.map_err(|error| error.to_string());
    vec![
        Finding::new("consul", &place, leader),
        Finding::new("rights", "registry", registry.map(|_| may_write(spec))),
        Finding::new(
            "rights",
            "lock",
            journals.map(|()| format!("may write {}", shared_prefix(service))),
        ),
        lock_of(session, connections).await,
    ]
}

/// Checks whether the lock is free.
async fn lock_of<W: World>(session: &Session, connections: &Connections<W>) -> Finding {
    let seen = locking::look(session, connections.shared()).await;
    let lock = seen.and_then(|seen| match seen.filter(|seen| seen.session.is_some()) {
        Some(seen) => {
            let by = locking::described(seen.holder.as_ref(), connections.world.now());
            Err(format!("held by {by}"))
        }
        None if connections.shared().is_some() => Ok("free".to_owned()),
        None => Ok(format!("free, a file in {}", session.state.display())),
    });
    Finding::new("lock", session.service(), lock)
}

/// Describes the caller's write access, for people.
fn may_write(spec: &Spec) -> String {
    match &spec.registry {
        RegistrySpec::Gateway => {
            let names: Vec<_> = spec.gateways.iter().map(|gateway| gateway.name.as_str()).collect();
            format!("may change servers at {}", names.join(", "))
        }
        registry => format!("may write {}", registry.place("<address>")),
    }
}
