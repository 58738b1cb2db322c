//! Inspects everything before anything is changed: nodes, registry, gateways.

mod fit;
mod fleet;
mod look;
mod programs;

pub use fit::{uncounted, unfit};
pub use fleet::{Fleet, HeldFacts, NodeFacts};
pub use look::{PATIENCE, meet, survey};
