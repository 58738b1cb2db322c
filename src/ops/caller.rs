//! The process that calls a use case: a terminal, a CI job, a simulated operator.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Refusal;
use crate::engine::{Sink, StopReason};
use crate::release::Release;
use crate::text;

/// A wait longer than this is reported, with its reason.
const SILENCE: Duration = Duration::from_millis(900);

/// The interval between two lines about the same wait.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// A wait, as the caller reports it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wait<'a> {
    /// What the command waits for.
    pub(super) what: &'a str,
    /// How long the wait can take.
    pub(super) at_most: Duration,
}

/// Identifies a caller in the lock and in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The CI job, or the user and the machine.
    pub actor: String,
    /// The machine of the process.
    pub host: String,
    /// The process id on that machine.
    pub pid: u32,
}

/// A question that is asked before anything is changed.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// The question, in one line.
    pub prompt: &'a str,
    /// The plan to show first.
    pub plan: Option<&'a str>,
}

/// What a use case needs from the process that calls it.
pub trait Caller {
    /// Returns the identity of the caller.
    fn identity(&self) -> &Identity;

    /// Changes to [`StopReason::Requested`] when the command must stop.
    fn stop(&self) -> watch::Receiver<StopReason>;

    /// Asks for confirmation.
    ///
    /// # Errors
    ///
    /// If the answer is no, or there is no terminal or process that can answer.
    fn confirm(&self, question: Question<'_>) -> impl Future<Output = Result<(), Refusal>>;

    /// Receives what a command waits for. It is called repeatedly during the wait.
    fn waiting(&self, what: &str);

    /// Receives the reason why the lock cannot be acquired yet, during the wait for it.
    fn waiting_for_lock(&self, why: &str);

    /// Receives values that a command reads from another source. A person should see them before they are used.
    fn notice(&self, text: &str);

    /// Starts to report a release. `so_far` is its state at the start.
    fn reporter(&mut self, so_far: &Release) -> Box<dyn Sink + '_>;
}

/// Runs work that changes nothing, until it ends or the caller asks to stop. Reports a long wait and its reason.
///
/// # Errors
///
/// If the caller asks to stop.
pub(super) fn unless_stopped<'a, C: Caller, T: 'a>(
    caller: &'a C,
    wait: Wait<'a>,
    work: impl Future<Output = T> + 'a,
) -> impl Future<Output = Result<T, Refusal>> + 'a {
    unless_stopped_or_told(caller, wait, || false, work)
}

/// The same. The wait is not reported while the work itself reports why it waits.
///
/// # Errors
///
/// If the caller asks to stop.
pub(super) fn unless_stopped_or_told<'a, C: Caller, T: 'a>(
    caller: &'a C,
    wait: Wait<'a>,
    is_told: impl Fn() -> bool + 'a,
    work: impl Future<Output = T> + 'a,
) -> impl Future<Output = Result<T, Refusal>> + 'a {
    // The future is large. Without the box, it becomes part of every calling future.
    let mut work = Box::pin(work);
    let told = async move {
        let begun = Instant::now();
        let mut silence = SILENCE;
        loop {
            if let Ok(result) = tokio::time::timeout(silence, &mut work).await {
                break result;
            }
            if !is_told() {
                let waited = (silence != SILENCE).then(|| begun.elapsed());
                caller.waiting(&format!("{} ({})", wait.what, limit(waited, wait.at_most)));
            }
            silence = HEARTBEAT;
        }
    };
    unless_stopped_silently(caller, told)
}

/// Tells how long a wait can take: `at most 10m`, later `15s of at most 10m`.
pub(super) fn limit(waited: Option<Duration>, at_most: Duration) -> String {
    let waited = waited.map_or(String::new(), |waited| format!("{} of ", text::duration(waited)));
    format!("{waited}at most {}", text::duration(at_most))
}

/// Asks the caller for confirmation, unless it asks to stop meanwhile.
///
/// # Errors
///
/// If the answer is no, or the caller asks to stop.
pub(super) async fn confirm<C: Caller>(caller: &C, question: Question<'_>) -> Result<(), Refusal> {
    unless_stopped_silently(caller, caller.confirm(question)).await.flatten()
}

async fn unless_stopped_silently<C: Caller, T>(
    caller: &C,
    work: impl Future<Output = T>,
) -> Result<T, Refusal> {
    let mut stop = caller.stop();
    let asked = async {
        if stop.wait_for(|stop| *stop != StopReason::No).await.is_err() {
            // The sender is gone, so a stop can no longer be requested.
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        () = asked => Err(Refusal::stopped()),
        result = work => Ok(result),
    }
}
