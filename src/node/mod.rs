//! The scripts that run on a node: each as data, as shell text, and with a parser for its answer.
//!
//! Pure: nothing here awaits. The live world runs [`NodeScript::text`]; a simulated world interprets the
//! script. The longer scripts are files in `scripts/`. Scripts need a POSIX shell and the tools of every
//! Linux server (coreutils, tar, gzip, and `/proc` without procps). Only scripts for sockets and listeners
//! need `ss` (iproute2).

mod fetch;
mod file;
mod layout;
mod listener;
mod origin;
mod programs;
mod rendered;
mod socket;
mod sockets;
mod survey;

use std::time::Duration;

use listener::NO_SS;

pub use fetch::NO_CURL;
pub use layout::{ARCHIVES, CHECKSUM_MISMATCH, Layout, Packing, Pruned};
pub use listener::{Listener, Process, Ticks};
pub use origin::Origin;
pub use programs::{Program, program_of};
pub use sockets::{Connection, in_flight};
pub use survey::Survey;

/// A script that rollgate runs on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeScript {
    /// A command of the user.
    User {
        /// As in the playbook, with names filled in.
        command: String,
    },
    /// Reports what a release needs to know; changes nothing.
    Survey {
        /// Port of the service.
        port: u16,
        /// Where releases are kept, if there is an artifact.
        layout: Option<Layout>,
        /// The programs that commands with the same rights begin with.
        programs: Vec<String>,
    },
    /// Names the programs that are not found; changes nothing.
    Programs {
        /// Their names or paths.
        names: Vec<String>,
    },
    /// Receives the artifact on standard input and keeps it only if the checksum is right.
    Upload {
        /// The target folders.
        layout: Layout,
    },
    /// Unpacks the uploaded artifact and gives it its final name only when it is complete.
    Unpack {
        /// The target folders.
        layout: Layout,
    },
    /// Points the `current` link at the release, atomically.
    Activate {
        /// The release and its folders.
        layout: Layout,
    },
    /// Notes that the node is healthy with the release, and deletes old releases that no node needs.
    Prune {
        /// The release and its folders.
        layout: Layout,
        /// How many releases stay; without a number nothing is deleted.
        keep: Option<u32>,
        /// Names of releases that stay whatever their age.
        spare: Vec<String>,
    },
    /// Reports the processes that listen on a port, and the node's own clock.
    Listener {
        /// The port.
        port: u16,
    },
    /// Lists the established connections to the port of a service.
    Sockets {
        /// The service's address.
        address: String,
    },
    /// Prints a file that an nginx was rendered with, then the number of workers that are shutting down, then
    /// the number of workers that are older than the file.
    Rendered {
        /// The file.
        file: String,
        /// The file with the master's process id.
        pid_file: String,
    },
    /// Sends a line to a Unix socket and prints the answer until the other side closes.
    UnixSocket {
        /// The socket's path.
        path: String,
        /// The line, without its line break.
        say: String,
    },
    /// Sends an HTTP request from the node and prints the whole answer; `curl` reads the headers as settings.
    Fetch {
        /// `GET`, `PUT`.
        method: &'static str,
        /// The address of the request.
        url: String,
        /// Time limit of the whole exchange.
        timeout: Duration,
    },
    /// Prints a file.
    File {
        /// The file's path.
        path: String,
    },
    /// Replaces a file as a whole; standard input has the new content.
    Replace {
        /// The file's path.
        path: String,
        /// SHA-256 of the expected old content, in lower-case hex.
        before: String,
        /// SHA-256 of the new content, in lower-case hex; the content itself comes on standard input.
        after: String,
    },
}

impl NodeScript {
    /// Returns the POSIX shell script of the script.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::User { command } => command.clone(),
            Self::Survey { port, layout, programs } => {
                survey::script(*port, layout.as_ref(), programs)
            }
            Self::Programs { names } => programs::script(names),
            Self::Upload { layout } => layout::upload(layout),
            Self::Unpack { layout } => layout::unpack(layout),
            Self::Activate { layout } => layout::activate(layout),
            Self::Prune { layout, keep, spare } => layout::prune(layout, *keep, spare),
            Self::Listener { port } => listener::script(*port, NO_SS),
            Self::Sockets { address } => sockets::script(address),
            Self::Rendered { file, pid_file } => rendered::script(file, pid_file),
            Self::UnixSocket { path, say } => socket::script(path, say),
            Self::Fetch { method, url, timeout } => fetch::script(method, url, *timeout),
            Self::File { path } => file::read(path),
            Self::Replace { path, before, after } => file::replace(path, before, after),
        }
    }
}

#[cfg(test)]
mod tests;
