//! What is asked of a node: each operation as data, as a shell script, and its answer read back.
//!
//! Pure: nothing here awaits. The live world runs [`Operation::script`]; a simulated one looks at the
//! operation itself. The longer scripts are files in `scripts/`. Scripts need a POSIX shell and what every Linux server has (coreutils, tar, gzip,
//! procps-free `/proc`); `ss` (iproute2) only where sockets or listeners are looked at.

mod fetch;
mod file;
mod layout;
mod listener;
mod rendered;
mod socket;
mod sockets;
mod survey;

use std::time::Duration;

use listener::NO_SS;

pub use fetch::NO_CURL;
pub use layout::{ARCHIVES, CHECKSUM_MISMATCH, Layout, Packing, Pruned};
pub use listener::{Listener, Mark, Process};
pub use sockets::{Connection, in_flight};
pub use survey::Survey;

/// Something a node is asked to do or to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// A command of the user's.
    User {
        /// As written in the playbook, names filled in.
        command: String,
    },
    /// Tells what a release needs to know; changes nothing.
    Survey {
        /// Port of the service.
        port: u16,
        /// Where releases are kept, if there is an artifact.
        layout: Option<Layout>,
    },
    /// Receives the artifact on standard input and keeps it only if the checksum is right.
    Upload {
        /// Where to.
        layout: Layout,
    },
    /// Unpacks the uploaded artifact and gives it its final name only when it is complete.
    Unpack {
        /// Where to.
        layout: Layout,
    },
    /// Points the `current` link at the release, atomically.
    Activate {
        /// What and where.
        layout: Layout,
    },
    /// Notes that the node is healthy with the release, and deletes old ones that no node needs.
    Prune {
        /// Where, and which release.
        layout: Layout,
        /// How many stay; without a number nothing is deleted.
        keep: Option<u32>,
        /// Names of releases that stay whatever their age.
        spare: Vec<String>,
    },
    /// Tells who listens on a port, and the node's own clock.
    Listener {
        /// The port.
        port: u16,
    },
    /// Lists the established connections to a port.
    Sockets {
        /// The port.
        port: u16,
    },
    /// Tells a file that an nginx was rendered with, and then how many workers it has told to leave, and how many work since
    /// before the file was written.
    Rendered {
        /// The file.
        file: String,
        /// The file with the master's process id.
        pid_file: String,
    },
    /// Says a line to a Unix socket and tells what the other side answers until it closes.
    UnixSocket {
        /// The socket's path.
        path: String,
        /// What is said, without its line break.
        say: String,
    },
    /// Sends an HTTP request from there, and prints the whole answer; its headers are read as `curl` reads its settings.
    Fetch {
        /// `GET`, `PUT`.
        method: &'static str,
        /// Where to.
        url: String,
        /// For the whole exchange.
        timeout: Duration,
    },
    /// Prints a file.
    File {
        /// Which.
        path: String,
    },
    /// Replaces a file by another one under its name; standard input has its content.
    Replace {
        /// Which.
        path: String,
        /// SHA-256 of what it must still be, in lower-case hex.
        before: String,
        /// SHA-256 of what it becomes, in lower-case hex; the content itself is read from standard input.
        after: String,
    },
}

impl Operation {
    /// Returns the POSIX shell script that does it.
    #[must_use]
    pub fn script(&self) -> String {
        match self {
            Self::User { command } => command.clone(),
            Self::Survey { port, layout } => survey::script(*port, layout.as_ref()),
            Self::Upload { layout } => layout::upload(layout),
            Self::Unpack { layout } => layout::unpack(layout),
            Self::Activate { layout } => layout::activate(layout),
            Self::Prune { layout, keep, spare } => layout::prune(layout, *keep, spare),
            Self::Listener { port } => listener::script(*port, NO_SS),
            Self::Sockets { port } => sockets::script(*port),
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
