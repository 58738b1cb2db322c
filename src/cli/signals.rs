//! Signals: the first stops safely, the second ends at once.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::output::Refusal;
use super::{Exit, echo};
use crate::engine::Stop;
use crate::report::say;

/// Hears SIGINT, SIGTERM and SIGHUP from now on.
///
/// # Errors
///
/// When the system refuses.
pub(super) fn listen() -> Result<watch::Receiver<Stop>, Refusal> {
    let hear = |kind| {
        signal(kind).map_err(|error| Refusal::new(Exit::INTERNAL, format!("no signals: {error}")))
    };
    let (sender, receiver) = watch::channel(Stop::No);
    let mut interrupt = hear(SignalKind::interrupt())?;
    let mut terminate = hear(SignalKind::terminate())?;
    let mut hangup = hear(SignalKind::hangup())?;
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

/// Makes a file that grows beyond the process's limit an error of the write, as on a full disk. By default the signal
/// ends the process in the middle of a node. Within a runtime.
pub(super) fn outlive_file_limit() {
    // The handler stays when the stream is gone.
    let _ = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()));
}

/// Does something that changes nothing, unless somebody wants it to stop.
///
/// # Errors
///
/// When somebody does.
pub(super) async fn unless_stopped<T>(
    stop: &mut watch::Receiver<Stop>,
    work: impl Future<Output = T>,
) -> Result<T, Refusal> {
    tokio::select! {
        biased;
        _ = stop.changed() => Err(Refusal::stopped()),
        result = work => Ok(result),
    }
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
