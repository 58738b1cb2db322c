//! `init`: writes a first playbook from what Consul, the gateways and the nodes answer. It changes none of them.

mod answers;
mod draft;
mod gateways;
mod health;
mod machines;
mod nodes;
mod page;
mod registries;

use std::sync::Arc;

use crate::consul::Client;
use crate::ops::Refusal;
use crate::world::World;

pub use answers::{Answers, GatewayAnswer, Interview, NodeAnswer, unanswered};
pub use draft::Draft;
pub use gateways::FoundGateway;
pub use health::{FoundHealth, FoundVersion};
pub use machines::Unit;
pub use nodes::DraftNode;
pub use registries::FoundRegistry;

/// Asks every system and the operator, and drafts a playbook.
///
/// # Errors
///
/// If something is unknown and the operator cannot be asked.
pub async fn draft<W: World>(
    world: &Arc<W>,
    consul: Option<&Client<W>>,
    answers: &Answers,
    interview: &mut impl Interview,
) -> Result<Draft, Refusal> {
    let service = answers.service(interview)?;
    let registry = registries::choose(consul, answers, &service, interview).await?;
    let nodes = machines::nodes(answers, &registry, &service, interview)?;
    let names = names(answers, &service, &registry);
    let mut gateways =
        gateways::choose(world, consul, answers, (registry.kind(), &names), &nodes, interview)
            .await?;
    let registry = registries::followed(registry, &mut gateways)?;
    let found = machines::inspect(world, &nodes, interview).await;
    let commands = machines::commands(answers, found.unit.as_ref(), interview)?;
    let health = health::choose(world, answers, &nodes, interview).await?;
    let artifact = answers.artifact(interview)?;
    let consul = match (&registry, consul) {
        (FoundRegistry::Gateways, _) | (_, None) => Vec::new(),
        (_, Some(client)) => client.addresses().to_vec(),
    };
    Ok(Draft {
        service,
        consul,
        registry,
        gateways,
        nodes,
        ssh_user: answers.ssh_user.clone(),
        ssh_config: answers.ssh_config.clone(),
        sudo: found.sudo,
        artifact,
        unit: found.unit,
        stop: commands.stop,
        start: commands.start,
        health,
    })
}

/// The names that a gateway may have for the pool.
fn names(answers: &Answers, service: &str, registry: &FoundRegistry) -> Vec<String> {
    let own = registry.name().map(str::to_owned);
    let mut names = Vec::new();
    for name in answers.upstream.clone().into_iter().chain(own).chain([service.to_owned()]) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}
