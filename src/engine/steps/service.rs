//! Stops and starts the service, and runs the user's commands.

use tokio::time::Instant;

use super::{LINK_PATIENCE, LINK_PAUSE, Needs, command_failure};
use crate::engine::outcome::{StepError, StepOutcome};
use crate::engine::watchdog::Watchdog;
use crate::engine::worker::NodeWorker;
use crate::node::Listener;
use crate::release::{EventKind, Failure, NodeState, Step};
use crate::spec::Shell;
use crate::world::World;

/// What a command that starts a service and does not end should do.
const IN_BACKGROUND: &str = "The command must end while the service runs on: start it with a service manager, or in the \
                             background (`setsid … >log 2>&1 &`)";

impl<W: World> NodeWorker<W> {
    /// Stops the service. If the connection is lost meanwhile, inspects the node before any other action.
    pub(in crate::engine) async fn end_service(
        &mut self,
        step: Step,
        shell: Option<&Shell>,
    ) -> Result<StepOutcome, StepError> {
        // On a node that was out or that did not accept connections, the service may have ended before, or not exist.
        let is_dead =
            self.planned.first_install || self.looked.is_some_and(|looked| looked.is_dead);
        let may_have_ended =
            is_dead || self.planned.was_out || self.state(NodeState::may_be_half_done);
        let ended = may_have_ended && self.listener().await.is_ok_and(|listener| !listener.bound);
        match self.command(step, shell).await {
            Err(StepError::Lost(_)) => {}
            Err(StepError::Failed(Failure { reason, .. }) | StepError::Overdue(reason))
                if ended =>
            {
                return Ok(StepOutcome::from(format!("nothing was running ({reason})")));
            }
            result => return result,
        }
        let lost = "the connection was lost";
        match self.look_again(step).await? {
            listener if !listener.bound => {
                Ok(StepOutcome::from(format!("{lost}; the service has stopped")))
            }
            _ => self.command(step, shell).await.map_err(StepError::of_second_try),
        }
    }

    /// Starts or restarts the service. Before that, records a mark that distinguishes old processes from new ones.
    pub(in crate::engine) async fn begin_service(
        &mut self,
        step: Step,
        shell: Option<&Shell>,
    ) -> Result<StepOutcome, StepError> {
        // Without an inspection of the listener, only the identity distinguishes the new process.
        let seen = match self.listener().await {
            Err(_) if self.context.spec.has_identity => None,
            // The service is stopped: a lost connection is not a reason to leave it stopped.
            Err(_) => Some(self.inspect_again(step).await.map_err(|problem| {
                let reason = format!("the node's listener cannot be inspected: {problem}");
                StepError::NotBegun(reason)
            })?),
            Ok(listener) => Some(listener),
        };
        if let Some(listener) = seen {
            self.record(Some(step), EventKind::NodeMarked { listener }).await?;
        }
        match self.command(step, shell).await {
            Err(StepError::Lost(_)) => {}
            Err(StepError::Overdue(reason)) => {
                return Err(StepError::Overdue(format!("{reason}. {IN_BACKGROUND}")));
            }
            result => return result,
        }
        let listener = self.look_again(step).await?;
        let new = self.state(|state| state.mark).is_some_and(|mark| {
            !listener.owners.is_empty() && listener.older_than(mark).next().is_none()
        });
        if new {
            return Ok(StepOutcome::from("the connection was lost; a new process runs".to_owned()));
        }
        self.command(step, shell).await.map_err(StepError::of_second_try)
    }

    /// After a lost connection, reconnects to the node and inspects its listener.
    async fn look_again(&self, step: Step) -> Result<Listener, StepError> {
        self.inspect_again(step).await.map_err(|problem| {
            StepError::Lost(format!(
                "connection lost during `{step}`, and the node cannot be inspected: {problem}"
            ))
        })
    }

    /// Inspects the listener of a node until the connection has had time to return.
    async fn inspect_again(&self, step: Step) -> Result<Listener, String> {
        let deadline = Instant::now() + LINK_PATIENCE;
        loop {
            match self.listener().await {
                Ok(listener) => return Ok(listener),
                Err(problem) if Instant::now() + LINK_PAUSE >= deadline => return Err(problem),
                Err(problem) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    self.tell(
                        step,
                        format!("connection lost, reconnecting: {problem}"),
                        None,
                        left,
                    );
                }
            }
            tokio::time::sleep(LINK_PAUSE).await;
        }
    }

    /// Runs a command of the user. If the node is no longer out of rotation, first confirms that it is out again.
    pub(in crate::engine) async fn command(
        &mut self,
        step: Step,
        shell: Option<&Shell>,
    ) -> Result<StepOutcome, StepError> {
        let Some(shell) = shell else {
            return Err(StepError::from("it has no command".to_owned()));
        };
        let needs = match step {
            Step::Stop | Step::Restart => Needs::Out,
            _ => Needs::Lock,
        };
        let output = loop {
            let result = self.run(&self.node.host, shell, needs).await;
            let strayed = self.watchdog.as_ref().filter(|_| needs == Needs::Out);
            match (result, strayed.and_then(Watchdog::strayed)) {
                (Err(StepError::NotBegun(_)), Some(why)) => self.prove_out_again(step, why).await?,
                (result, _) => break result?,
            }
        };
        if output.success() {
            return Ok(StepOutcome::default());
        }
        Err(StepError::Failed(command_failure(&output)))
    }

    /// Confirms again that the node is out, within a step that has not begun its command.
    async fn prove_out_again(&mut self, step: Step, why: String) -> Result<(), StepError> {
        let not_begun = |trouble| match trouble {
            StepError::Failed(Failure { reason, .. }) | StepError::Blind(reason) => {
                StepError::NotBegun(reason)
            }
            other => other,
        };
        self.may_prove_again(&why).map_err(not_begun)?;
        self.tell(
            step,
            format!("{why}; confirming again that the node is out"),
            None,
            self.confirm_time(),
        );
        self.confirm(step, false, self.proven_out_until()).await.map_err(not_begun)?;
        self.drain(step).await.map_err(not_begun)?;
        Ok(())
    }
}
