//! The use cases: the work of each command, over any world.
//!
//! The command line parses arguments, asks for confirmation and prints the results. The simulator calls the same
//! functions over its own world. No code here reads the environment, a terminal or a signal. A use case reaches its
//! calling process only through [`Caller`].
//!
//! * [`session`]: the playbook with its inputs; [`connections`]: its world; [`secrets`]: the values that both must not
//!   contain;
//! * [`caller`]: the calling process; [`refusal`]: why a command ends before it has changed anything;
//! * [`locking`]: one release at a time; [`look`]: the inspection of all systems; [`history`]: past releases;
//!   [`held`]: nodes that operators hold; [`counts`]: their requests in flight; [`alike`]: typos in names of Consul;
//!   [`current`]: the playbook of a past release, or the file; [`release`]: how a release runs;
//!   [`lock_state`]: the lock, without taking it;
//! * [`plan_file`]: plans on the disk; [`binding`]: whether anything was changed since a plan was made;
//! * [`deploy`], [`resume`], [`rollback`], [`node`], [`status`], [`doctor`], [`plan`], [`lock`], [`past`] (`history`),
//!   [`show`], [`init`]: one file per command.

mod alike;
pub mod binding;
pub mod caller;
pub mod connections;
pub mod counts;
mod current;
pub mod deploy;
pub mod doctor;
mod held;
pub mod history;
pub mod init;
pub mod lock;
pub mod lock_state;
pub mod locking;
mod look;
pub mod node;
pub mod past;
pub mod plan;
pub mod plan_file;
pub mod refusal;
pub mod release;
mod restart;
pub mod resume;
pub mod rollback;
pub mod secrets;
pub mod session;
pub mod show;
pub mod status;

pub use binding::Bound;
pub use caller::{Caller, Identity, Question};
pub use connections::Connections;
pub use refusal::{Cause, Refusal};
pub use release::{Ending, Run};
pub use secrets::Secrets;
pub use session::Session;
