//! Signals: the first one stops safely, the second one exits immediately.

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
    /// Handles SIGINT, SIGTERM and SIGHUP from now on.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub(super) fn listen() -> Result<Self, Refusal> {
        let hear = |kind| {
            let heard = signal(kind);
            heard.map_err(|error| {
                Refusal::new(Cause::Internal, format!("cannot listen for signals: {error}"))
            })
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
            // The ssh connections have their own guard, which outlives this process.
            std::process::exit(code);
        });
        Ok(Self(stop))
    }

    /// Returns the receiver of stop requests.
    pub(super) fn stop(&self) -> watch::Receiver<StopReason> {
        self.0.clone()
    }
}

/// Makes a write beyond the file size limit of the process fail, as on a full disk. By default, the signal ends the
/// process in the middle of a node. It must run within a runtime.
pub(super) fn outlive_file_limit() {
    // The handler stays in place after the stream is dropped.
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
