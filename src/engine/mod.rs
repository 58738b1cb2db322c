//! The engine: how a release comes about, event by event.
//!
//! * [`release`]: the state, a fold of events; what may follow what. Pure.
//! * [`journal`]: the events on disk.
//! * [`book`]: an event is written before it counts.
//! * [`run`]: the loop that takes batches, and ends the release.
//! * [`node`]: one node's way through its steps, to the end, a failure, or a stop on request.
//! * [`steps`]: what each step does. Reads like the runbook.
//! * [`capacity`], [`drain`], [`availability`]: the three things a step can be too careless about.

mod availability;
mod book;
mod capacity;
mod drain;
pub mod journal;
mod node;
pub mod release;
mod run;
mod stage;
mod steps;

pub use run::{Ended, Engine, Mode, Sink, Stop};
