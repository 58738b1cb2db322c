//! Signals: the first stops safely, the second ends at once.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::echo;
use crate::engine::Stop;
use crate::report::say;

/// Hears SIGINT, SIGTERM and SIGHUP from now on.
///
/// # Errors
///
/// When the system refuses.
pub(super) fn listen() -> std::io::Result<watch::Receiver<Stop>> {
    let (sender, receiver) = watch::channel(Stop::No);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        let (name, _) = next(&mut interrupt, &mut terminate, &mut hangup).await;
        let _ = sender.send(Stop::Requested(name));
        let (name, code) = next(&mut interrupt, &mut terminate, &mut hangup).await;
        echo::restore();
        say(&format!("{name} again: ends at once; the journal is true, see `rollgate status`\n"));
        // The ssh connections have a guard of their own that outlives this process.
        std::process::exit(code);
    });
    Ok(receiver)
}

async fn next(
    interrupt: &mut Signal,
    terminate: &mut Signal,
    hangup: &mut Signal,
) -> (&'static str, i32) {
    tokio::select! {
        biased;
        _ = interrupt.recv() => ("SIGINT", 130),
        _ = terminate.recv() => ("SIGTERM", 143),
        _ = hangup.recv() => ("SIGHUP", 143),
    }
}
