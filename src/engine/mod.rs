//! The engine: how a release comes about, event by event.
//!
//! * [`run`]: the loop that takes batches, and ends the release; [`scheduler`]: what is done next; [`end`]: how it ended.
//! * [`context`]: what everything in a running release shares; [`recorder`]: an event is written before it counts.
//! * [`worker`]: takes one node through its steps, to the end, a failure, or a stop on request; [`outcome`]: how these end.
//! * [`recovery`]: what becomes of a node that does not get to its end.
//! * [`steps`]: what each step does. Reads like the runbook.
//! * [`watchdog`]: keeps a node out while it is out; [`pool`] and [`serving`]: watch those that serve.
//! * [`capacity`]: how many must stay in rotation.

mod capacity;
mod context;
mod end;
mod outcome;
mod pool;
mod recorder;
mod recovery;
mod run;
mod scheduler;
mod serving;
mod steps;
mod watchdog;
mod worker;

pub use context::{Mode, Sink, StopReason};
pub use run::{Engine, RunResult, Start};
