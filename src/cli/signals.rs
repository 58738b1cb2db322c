//! Signals: the first stops safely, the second ends at once.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::output::Refusal;
use super::{Exit, Global, echo};
use crate::engine::Stop;
use crate::report::say;

/// A wait that lasts longer is told of, so that a person knows what for.
const SILENCE: Duration = Duration::from_millis(1500);

/// Between two lines about the same wait.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// What a command hears while it works: the signals that ask it to stop.
#[derive(Debug, Clone)]
pub(super) struct Signals {
    stop: watch::Receiver<Stop>,
    quiet: bool,
}

impl Signals {
    /// Hears SIGINT, SIGTERM and SIGHUP from now on.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub(super) fn listen(global: &Global) -> Result<Self, Refusal> {
        let hear = |kind| {
            let heard = signal(kind);
            heard.map_err(|error| Refusal::new(Exit::INTERNAL, format!("no signals: {error}")))
        };
        let (sender, stop) = watch::channel(Stop::No);
        let mut interrupt = hear(SignalKind::interrupt())?;
        let mut terminate = hear(SignalKind::terminate())?;
        let mut hangup = hear(SignalKind::hangup())?;
        tokio::spawn(async move {
            let (name, _) = next(&mut interrupt, &mut terminate, &mut hangup).await;
            let _ = sender.send(Stop::Requested(name));
            let (name, code) = next(&mut interrupt, &mut terminate, &mut hangup).await;
            echo::restore();
            say(&format!(
                "{name} again: ends at once; the journal is true, see `rollgate status`\n"
            ));
            // The ssh connections have a guard of their own that outlives this process.
            std::process::exit(code);
        });
        Ok(Self { stop, quiet: global.quiet })
    }

    /// What tells a release to stop.
    pub(super) fn stop(&self) -> watch::Receiver<Stop> {
        self.stop.clone()
    }

    /// Does something that changes nothing, unless a signal asks to stop; says what it waits for, if it takes long.
    ///
    /// # Errors
    ///
    /// When a signal does.
    pub(super) fn unless_stopped<'a, T: 'a>(
        &'a mut self,
        what: &'a str,
        work: impl Future<Output = T> + 'a,
    ) -> impl Future<Output = Result<T, Refusal>> + 'a {
        let quiet = self.quiet;
        // Such work is large, and is held by every caller of the caller otherwise.
        let mut work = Box::pin(work);
        let told = async move {
            let mut silence = SILENCE;
            loop {
                match tokio::time::timeout(silence, &mut work).await {
                    Ok(result) => break result,
                    Err(_) if quiet => {}
                    Err(_) => say(&format!("waiting: {what}\n")),
                }
                silence = HEARTBEAT;
            }
        };
        self.unless_stopped_silently(told)
    }

    /// The same for a question to a person: the wait needs no explanation.
    ///
    /// # Errors
    ///
    /// When a signal asks to stop.
    pub(super) async fn unless_stopped_silently<T>(
        &mut self,
        work: impl Future<Output = T>,
    ) -> Result<T, Refusal> {
        tokio::select! {
            biased;
            _ = self.stop.changed() => Err(Refusal::stopped()),
            result = work => Ok(result),
        }
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
