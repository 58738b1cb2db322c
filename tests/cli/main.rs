//! The binary without any server: what it prints for files, arguments and mistakes; and what must be kept true
//! in the repository.

mod agents;
mod alone;
mod artifacts;
mod check;
mod generated;
mod hostile;
mod layering;
mod lines;
mod memory;
mod messages;
mod modules;
mod secrets;
mod signals;
mod support;
mod usage;
