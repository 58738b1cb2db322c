//! The command line as the caller of a use case. It asks for confirmation, reports waits, and shows a release.

use std::io::{ErrorKind, IsTerminal, stderr, stdin};

use dialoguer::Confirm;
use tokio::sync::watch;

use super::arguments::Global;
use super::signals::Signals;
use super::{identity, output};
use crate::engine::{Sink, StopReason};
use crate::ops::{Caller, Cause, Identity, Question, Refusal};
use crate::release::Release;
use crate::report::{broken_question, print_page, print_stderr};
use crate::text::harmless;

/// The terminal, or the log of a CI job.
pub(super) struct Terminal<'a> {
    global: &'a Global,
    identity: Identity,
    signals: Signals,
    /// Waits are not reported.
    is_silent: bool,
}

impl<'a> Terminal<'a> {
    /// Handles signals from now on. It must run within a runtime. `status`: the command that shows the state after a
    /// second signal.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub(super) fn new(global: &'a Global, status: String) -> Result<Self, Refusal> {
        let (identity, signals) = (identity::own(), Signals::listen(status)?);
        Ok(Self { global, identity, signals, is_silent: global.quiet })
    }

    /// Reports no wait from now on.
    pub(super) fn be_silent(&mut self) {
        self.is_silent = true;
    }
}

impl Caller for Terminal<'_> {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn stop(&self) -> watch::Receiver<StopReason> {
        self.signals.stop()
    }

    async fn confirm(&self, question: Question<'_>) -> Result<(), Refusal> {
        if !stdin().is_terminal() || !stderr().is_terminal() {
            return Err(Refusal::new(
                Cause::Invalid,
                "no terminal to ask for confirmation; nothing was changed",
            )
            .hint("pass --yes to confirm"));
        }
        if let Some(plan) = question.plan {
            print_page(plan);
        }
        let (before, prompt) = broken_question(&harmless(question.prompt));
        print_stderr(&before);
        // Signals are handled during the question.
        let ask = || Confirm::new().with_prompt(prompt).default(false).interact_opt();
        let answer = tokio::task::spawn_blocking(ask).await;
        let unconfirmed = |text: &str| Refusal::told(Cause::Stopped, "not confirmed", text);
        match answer.map_err(|error| Refusal::new(Cause::Internal, error.to_string()))? {
            Ok(Some(true)) => Ok(()),
            Ok(Some(false) | None) => Err(unconfirmed("Nothing was changed.\n")),
            Err(dialoguer::Error::IO(error)) if error.kind() == ErrorKind::Interrupted => {
                Err(unconfirmed("\nNothing was changed.\n"))
            }
            Err(error) => Err(Refusal::new(Cause::Internal, format!("cannot ask: {error}"))),
        }
    }

    fn waiting(&self, what: &str) {
        if !self.is_silent {
            print_page(&format!("waiting: {what}\n"));
        }
    }

    fn waiting_for_lock(&self, why: &str) {
        print_page(&format!("waiting: {why}\n"));
    }

    fn notice(&self, text: &str) {
        if !self.global.quiet {
            print_page(&format!("{text}\n"));
        }
    }

    fn reporter(&mut self, so_far: &Release) -> Box<dyn Sink + '_> {
        Box::new(output::view(self.global, so_far))
    }
}
