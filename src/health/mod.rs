//! Health: what proves that a node's *new* process can serve.
//!
//! Every try asks all checks at once. `rise` successes in a row make the node healthy, `fall` failures in a row
//! unmake it, and it must stay healthy for `min_healthy_time` from the first of these successes on, served by the same
//! process. A success counts only if the answer came from the process that this release started: told by `identity`
//! where the playbook has one, else by the process that listens on the node's port, which must be younger than the
//! mark taken before the start.

mod checks;
mod gate;
mod process;
mod streak;
mod tries;
mod wait;

pub(crate) use checks::describe;
pub use checks::{CheckResult, Unreached, identity_of};
pub use gate::Gate;
pub use streak::Streak;
pub(crate) use wait::BODY_SHOWN;
pub use wait::Healthy;

#[cfg(test)]
mod tests;
