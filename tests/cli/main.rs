//! The binary without any server: its output for files, arguments and mistakes. Also checks of the repository's own
//! files.

mod agents;
mod artifacts;
mod book;
mod check;
mod ci;
mod completing;
mod dependencies;
mod encodings;
mod generated;
mod health;
mod history;
mod hostile;
mod init;
mod keys;
mod layering;
mod line_schema;
mod lines;
mod man;
mod memory;
mod messages;
mod modules;
mod package;
mod plans;
mod reference;
mod secrets;
mod show;
mod signals;
mod situations;
#[path = "../sim/suggested.rs"]
mod suggested;
mod support;
mod trace;
mod usage;
mod watch;
mod without_consul;
