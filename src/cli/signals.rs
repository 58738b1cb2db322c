//! Signals: the first stops safely, the second ends at once.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::echo;
use crate::engine::StopReason;
use crate::ops::{Cause, Refusal};
use crate::report::print_stderr;

/// The signals that ask a command to stop.
#[derive(Debug, Clone)]
pub(super) struct Signals(watch::Receiver<StopReason>);

impl Signals {
    /// Hears SIGINT, SIGTERM and SIGHUP from now on.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub(super) fn listen() -> Result<Self, Refusal> {
        let hear = |kind| {
            let heard = signal(kind);
            heard.map_err(|error| Refusal::new(Cause::Internal, format!("no signals: {error}")))
        };
        let (sender, stop) = watch::channel(StopReason::No);
        let mut interrupt = hear(SignalKind::interrupt())?;
        let mut terminate = hear(SignalKind::terminate())?;
        let mut hangup = hear(SignalKind::hangup())?;
        tokio::spawn(async move {
            let (name, _) = next(&mut interrupt, &mut terminate, &mut hangup).await;
            let _ = sender.send(StopReason::Requested(name));
            let (name, code) = next(&mut interrupt, &mut terminate, &mut hangup).await;
            echo::restore();
            print_stderr(&format!(
                "{name} again: exiting now; the journal is complete, see `rollgate status`\n"
            ));
            // The ssh connections have a guard of their own that outlives this process.
            std::process::exit(code);
        });
        Ok(Self(stop))
    }

    /// What tells a release to stop.
    pub(super) fn stop(&self) -> watch::Receiver<StopReason> {
        self.0.clone()
    }
}

/// Makes a file that grows beyond the process's limit an error of the write, as on a full disk. By default the signal
/// ends the process in the middle of a node. Within a runtime.
pub(super) fn outlive_file_limit() {
    // The handler stays when the stream is gone.
    let _ = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()));
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
