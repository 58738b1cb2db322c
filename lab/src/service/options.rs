//! The options of the demo service, and its faults.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// The faults, with the names of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FaultName {
    /// No fault.
    None,
    /// `/ping` always answers 503.
    NeverReady,
    /// Prints a reason and exits at once.
    CrashOnStart,
    /// Exits after a while.
    ReadyThenCrash,
    /// Ignores SIGTERM.
    IgnoreTerm,
    /// Leaves a process behind that keeps the port.
    KeepsPort,
}

/// Options of `lab service`.
#[derive(Args, Clone, Debug)]
pub struct ServiceOptions {
    /// The version to send in `X-App-Version`.
    #[arg(long)]
    pub version: String,
    /// The address to serve on.
    #[arg(long, value_name = "IP:PORT")]
    pub listen: SocketAddr,
    /// A file to append the auditor's records to.
    #[arg(long, value_name = "FILE")]
    pub audit: Option<PathBuf>,
    /// The fault.
    #[arg(long, value_enum, default_value = "none")]
    pub fault: FaultName,
    /// When `ready-then-crash` crashes, in milliseconds after it listens.
    #[arg(long, value_name = "MS", default_value_t = 1000)]
    pub crash_after: u64,
    /// How long to wait before listening, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub start_delay: u64,
    /// How long to wait before exiting, in milliseconds after the last request.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub stop_delay: u64,
}
