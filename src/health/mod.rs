//! Health: what shows that a node's *new* process can serve.
//!
//! Each attempt runs all checks at once. `rise` successes in a row make the node healthy, `fall` failures in a row
//! make it unhealthy. It must stay healthy for `min_healthy_time` from the first of these successes, served by the
//! same process. A success counts only if the answer is from the process that this release started. `identity`
//! shows this if the playbook has it. Otherwise the process that listens on the node's port must be younger than
//! the mark that was made before the start.

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
