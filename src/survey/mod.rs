//! Inspects everything before anything is changed: nodes, registry, gateways.

mod alike;
mod fit;
mod fleet;
mod keys;
mod look;
mod programs;
mod serving;
mod spread;

pub use alike::{alike, told_alike};
pub use fit::{blockers, unfit};
pub use fleet::{EntryLine, Fleet, HeldFacts, NodeFacts};
pub use keys::MissingKey;
pub use look::{PATIENCE, meet, survey};
pub use serving::{failed_check, unhealthy_everywhere};
