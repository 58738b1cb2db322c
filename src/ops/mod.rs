//! The use-cases: what each command does, over any world.
//!
//! The command line parses arguments, answers questions and prints what comes back; the simulator calls the same functions over
//! its own world. Nothing here reads the environment, a terminal or a signal: what a use-case needs of its caller goes through
//! [`Caller`].
//!
//! * [`session`]: the playbook with its inputs; [`connections`]: the world behind it; [`secrets`]: what is kept out of both;
//! * [`caller`]: who asks; [`refusal`]: why a command ends before it has changed anything;
//! * [`locking`]: one release at a time; [`look`]: one look at everything; [`history`]: past releases; [`release`]: how a release is run;
//! * [`deploy`], [`resume`], [`rollback`], [`node`], [`status`], [`doctor`], [`plan`], [`lock`]: one file a command.

pub mod caller;
pub mod connections;
pub mod deploy;
pub mod doctor;
pub mod history;
pub mod lock;
pub mod locking;
mod look;
pub mod node;
pub mod plan;
pub mod refusal;
pub mod release;
pub mod resume;
pub mod rollback;
pub mod secrets;
pub mod session;
pub mod status;

pub use caller::{Caller, Identity, Question};
pub use connections::Connections;
pub use refusal::{Cause, Refusal};
pub use release::{Ending, Run};
pub use secrets::Secrets;
pub use session::Session;
