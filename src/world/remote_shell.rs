//! Shells on hosts: each has a channel of the connection and runs one script.

use std::sync::Arc;
use std::time::Duration;

use openssh::{Child, Session, Stdio};
use tokio::time::timeout;

use super::control::Master;
use super::script::launcher;

/// Time limit to open a channel. Keep-alives detect a dead peer within 15 s.
const OPENING: Duration = Duration::from_secs(20);
/// Time limit for the exit message, and for a check of the master, which is on this machine.
pub(super) const ANSWERING: Duration = Duration::from_secs(2);

/// A shell that waits for a script.
pub(super) type RemoteShell = Child<Arc<Session>>;

/// Why no shell was started.
pub(super) enum Unopened {
    /// The connection is dead.
    Dead(String),
    /// The node has no free channel.
    Busy(String),
}

/// Opens a channel with a shell that waits for a script.
pub(super) async fn open(master: &Master, sudo: bool) -> Result<RemoteShell, Unopened> {
    let line = launcher(sudo).join(" ");
    let mut process = Session::to_raw_command(Arc::clone(&master.session), line);
    process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let text = match timeout(OPENING, process.spawn()).await {
        Ok(Ok(child)) => return Ok(child),
        Ok(Err(error)) => cause(&error),
        Err(_) => return Err(Unopened::Dead("ssh opened no new session in time".into())),
    };
    if alive(master).await { Err(Unopened::Busy(text)) } else { Err(Unopened::Dead(text)) }
}

/// Whether the connection still works.
pub(super) fn alive(master: &Master) -> impl Future<Output = bool> {
    let check = timeout(ANSWERING, master.session.check());
    async { matches!(check.await, Ok(Ok(()))) }
}

/// The innermost cause of an error.
fn cause(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    crate::text::line(&error.to_string(), 200)
}
