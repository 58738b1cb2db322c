//! The playbook with every name filled in: the actions of one release, node by node.
//!
//! Pure and repeatable: the journal keeps the playbook and the variables, and the spec is rebuilt from them.

mod by_hand;
mod capacity;
mod fill;
mod gateway;
mod health;
mod limit;
mod node;
mod nodes;
mod recorded;
mod registries;
mod resolved;
mod restart;
mod restore;
mod secrets;
mod shell;

pub use by_hand::by_hand;
pub use capacity::Remaining;
pub use fill::SpecError;
pub use gateway::RegistrySpec;
pub use health::{CountSpec, HealthSpec, HttpCheck, IdentityPlace, IdentitySpec, NumberPlace};
pub(crate) use node::names;
pub use node::{Action, ArtifactSpec, DrainSpec, HookSpec, NodeSpec};
pub use nodes::Nodes;
pub use recorded::fillable;
pub use resolved::{Spec, release_names};
pub use restart::{OPEN, before_restart, restart_of_nodes, restart_of_release, with_open};
pub use restore::{restored_nodes, spec_of_release};
pub use secrets::read_secrets;
pub use shell::Shell;
