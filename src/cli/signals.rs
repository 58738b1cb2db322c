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
    /// Handles SIGINT, SIGTERM and SIGHUP from now on. SIGHUP stays ignored if it is, as under `nohup`. `status`: the
    /// command that shows the state after a second signal.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub(super) fn listen(status: String) -> Result<Self, Refusal> {
        let hear = |kind| {
            let heard = signal(kind);
            heard.map_err(|error| {
                Refusal::new(Cause::Internal, format!("cannot listen for signals: {error}"))
            })
        };
        let (sender, stop) = watch::channel(StopReason::No);
        let mut interrupt = hear(SignalKind::interrupt())?;
        let mut terminate = hear(SignalKind::terminate())?;
        let kept = is_ignored(SignalKind::hangup());
        let mut hangup = if kept { None } else { Some(hear(SignalKind::hangup())?) };
        tokio::spawn(async move {
            let (name, _) = next(&mut interrupt, &mut terminate, hangup.as_mut()).await;
            let _ = sender.send(StopReason::Requested(name));
            let (name, code) = next(&mut interrupt, &mut terminate, hangup.as_mut()).await;
            echo::restore();
            print_stderr(&format!(
                "{name} again: exiting now; the journal is complete, see `{status}`\n"
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

/// Whether the calling process has set this signal to be ignored. Only Linux shows it.
fn is_ignored(signal: SignalKind) -> bool {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return false };
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask >> (signal.as_raw_value() - 1) & 1 == 1)
}

async fn next(
    interrupt: &mut Signal,
    terminate: &mut Signal,
    hangup: Option<&mut Signal>,
) -> (&'static str, i32) {
    let hung_up = async {
        match hangup {
            Some(hangup) => hangup.recv().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        _ = interrupt.recv() => ("SIGINT", 130),
        _ = terminate.recv() => ("SIGTERM", 143),
        _ = hung_up => ("SIGHUP", 143),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every Rust program ignores SIGPIPE.
    #[test]
    fn ignored_signal_is_recognised() {
        assert!(is_ignored(SignalKind::pipe()));
        assert!(!is_ignored(SignalKind::terminate()));
    }
}
