//! The engine: runs a release, event by event.
//!
//! * [`run`]: the loop that starts batches and ends the release; [`scheduler`]: the next action; [`end`]: the result.
//! * [`context`]: the shared state of a running release; [`recorder`]: writes an event before it counts.
//! * [`worker`]: runs the steps of one node until it finishes, fails, or stops on request; [`outcome`]: their results.
//! * [`recovery`]: handles a node that does not finish.
//! * [`steps`]: the action of each step, in the order of a runbook.
//! * [`watchdog`]: keeps a removed node out of rotation; [`pool`] and [`serving`]: watch the nodes that serve.
//! * [`stop`]: why and since when a release stops.
//! * [`capacity`]: how many nodes must stay in rotation.

mod capacity;
mod context;
mod end;
mod hold;
mod outcome;
mod pool;
mod recorder;
mod recovery;
mod run;
mod scheduler;
mod serving;
mod steps;
mod stop;
mod watchdog;
mod worker;

pub use context::{Operation, Sink};
pub use run::{Engine, RunResult, Start};
pub use stop::StopReason;
