//! The engine: how a release comes about, event by event.
//!
//! * [`book`]: an event is written before it counts.
//! * [`run`]: the loop that takes batches, and ends the release.
//! * [`end`]: how it ended.
//! * [`node`]: one node's way through its steps, to the end, a failure, or a stop on request.
//! * [`retreat`]: what becomes of a node that does not get to its end.
//! * [`steps`]: what each step does. Reads like the runbook.
//! * [`guard`]: what keeps a node out while it is out; [`pool`]: what watches those that serve.
//! * [`capacity`], [`drain`], [`availability`]: the three things a step can be too careless about.

mod availability;
mod book;
mod capacity;
mod context;
mod drain;
mod end;
mod guard;
mod node;
mod outcome;
mod pool;
mod retreat;
mod run;
mod stage;
mod steps;

pub use context::{Mode, Sink, Stop};
pub use run::{Begin, Ended, Engine};
