//! The process on whose behalf a use-case runs: a terminal, a CI job, a simulated operator.

use std::time::Duration;

use tokio::sync::watch;

use super::Refusal;
use crate::engine::{Sink, StopReason};
use crate::plan::Plan;
use crate::release::Release;
use crate::spec::Spec;

/// A wait that lasts longer is told of, so that a person knows what for.
const SILENCE: Duration = Duration::from_millis(1500);

/// Between two lines about the same wait.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Names a caller to others: in the lock, in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The CI job, or the user and the machine.
    pub actor: String,
    /// The machine.
    pub host: String,
    /// The process there.
    pub pid: u32,
}

/// A question before anything is changed.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// In one line.
    pub prompt: &'a str,
    /// The plan to show first, with what it is made of.
    pub plan: Option<(&'a Plan, &'a Spec)>,
}

/// What a use-case needs of the process that calls it.
pub trait Caller {
    /// Names the caller.
    fn identity(&self) -> &Identity;

    /// Turns [`StopReason::Requested`] when the command is to stop.
    fn stop(&self) -> watch::Receiver<StopReason>;

    /// Asks whether to go on.
    ///
    /// # Errors
    ///
    /// When the answer is no, or nothing can answer.
    fn confirm(&self, question: Question<'_>) -> impl Future<Output = Result<(), Refusal>>;

    /// Hears what a command waits for, again and again as long as it waits.
    fn waiting(&self, what: &str);

    /// Hears why the lock cannot be taken yet, while it is waited for.
    fn waiting_for_lock(&self, why: &str);

    /// Hears what a command takes from elsewhere and what a person should see before it is used.
    fn notice(&self, text: &str);

    /// Begins to report a release that has come so far already.
    fn reporter(&mut self, so_far: &Release) -> Box<dyn Sink + '_>;
}

/// Does something that changes nothing, unless the caller asks to stop; tells what it waits for if that takes long.
///
/// # Errors
///
/// When the caller asks to stop.
pub(super) fn unless_stopped<'a, C: Caller, T: 'a>(
    caller: &'a C,
    what: &'a str,
    work: impl Future<Output = T> + 'a,
) -> impl Future<Output = Result<T, Refusal>> + 'a {
    // Such work is large, and is part of every caller of the caller otherwise.
    let mut work = Box::pin(work);
    let told = async move {
        let mut silence = SILENCE;
        loop {
            match tokio::time::timeout(silence, &mut work).await {
                Ok(result) => break result,
                Err(_) => caller.waiting(what),
            }
            silence = HEARTBEAT;
        }
    };
    unless_stopped_silently(caller, told)
}

/// Asks the caller, unless it asks to stop meanwhile.
///
/// # Errors
///
/// When the answer is no, or the caller asks to stop.
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
            // No sender is left that could ask.
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        () = asked => Err(Refusal::stopped()),
        result = work => Ok(result),
    }
}
