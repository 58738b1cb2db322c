//! The live world against a real sshd, real processes and real sockets, all on the loopback.
//!
//! It needs root, sshd and openssl; it fails where they are missing.

#![expect(clippy::print_stdout, reason = "figures for manual runs")]

mod commands;
mod connections;
mod ends;
mod folders;
mod harness;
mod held;
mod http;
mod shells;
mod spare;
