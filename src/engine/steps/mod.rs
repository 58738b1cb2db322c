//! The action of each step on a node. Every step may run twice.
//!
//! * [`stage`], [`prune`]: the artifact; [`mark`], [`confirm`], [`drain`]: out of rotation and back; [`service`],
//!   [`health`]: the service itself.

mod confirm;
mod drain;
mod health;
mod mark;
mod prune;
mod service;
mod stage;

use std::time::Duration;

use tokio::time::Instant;

use crate::engine::outcome::{StepError, StepOutcome};
use crate::engine::watchdog::Watchdog;
use crate::engine::worker::NodeWorker;
use crate::json;
use crate::node::NodeScript;
use crate::release::{Failure, Step};
use crate::spec::Shell;
use crate::text;
use crate::world::{Command, Host, Output, Permit, RunError, World};

/// Timeout of rollgate's own operations on a node.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a node may be unreachable before the step fails.
const LINK_PATIENCE: Duration = Duration::from_secs(30);

/// Pause between two connection attempts.
const LINK_PAUSE: Duration = Duration::from_secs(1);

/// How much of a line of output is kept, in characters.
const OUTPUT_LINE: usize = 400;

/// The same in the reason of a failure.
const REASON_LINE: usize = 200;

/// Number of last log lines in the report.
const LOG_LINES: usize = json::FEW;

/// The condition for a command on a node, checked each time before it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Needs {
    /// The command changes something: the lock must be held.
    Lock,
    /// The command ends the service: the lock must be held and the node must be out of rotation.
    Out,
    /// The command only reads.
    Nothing,
}

impl<W: World> NodeWorker<W> {
    /// Runs one step.
    pub(in crate::engine) async fn act(
        &mut self,
        step: Step,
        shell: Option<&Shell>,
    ) -> Result<StepOutcome, StepError> {
        match step {
            Step::Stage => self.put_artifact(step).await,
            Step::Disable => {
                self.hold().await?;
                self.take(step).await?;
                self.set_down(step, true).await
            }
            Step::ConfirmOut => self.confirm(step, false, self.proven_out_until()).await,
            Step::Drain => self.drain(step).await,
            Step::Stop => self.end_service(step, shell).await,
            Step::Activate => {
                let layout = self.layout()?;
                let name = layout.name.clone();
                self.operate(NodeScript::Activate { layout }, Needs::Lock).await?;
                Ok(StepOutcome::from(format!("current -> {name}")))
            }
            Step::Run(_) => self.command(step, shell).await,
            Step::Start | Step::Restart => self.begin_service(step, shell).await,
            Step::Health => self.prove_healthy(step).await,
            Step::Enable => self.set_down(step, false).await,
            Step::ConfirmIn => {
                let deadline = Instant::now() + self.confirm_time();
                let confirmed = self.confirm(step, true, deadline).await?;
                self.end_hold().await?;
                Ok(confirmed)
            }
            Step::Prune => Ok(StepOutcome::default()),
        }
    }

    pub(in crate::engine) fn layout(&self) -> Result<crate::node::Layout, StepError> {
        self.node.layout.clone().ok_or_else(|| StepError::from("there is no artifact".to_owned()))
    }

    /// Returns the permit for an action that Consul cannot refuse. For a command, it is checked when the host is ready
    /// to run it.
    pub(in crate::engine) fn permit(&self, needs: Needs) -> Permit {
        match needs {
            Needs::Lock => self.context.lock.permit(),
            Needs::Out => {
                self.watchdog.as_ref().map_or_else(|| self.context.lock.permit(), Watchdog::permit)
            }
            Needs::Nothing => Permit::default(),
        }
    }

    async fn run(&self, host: &Host, shell: &Shell, needs: Needs) -> Result<Output, StepError> {
        let script = NodeScript::User { command: shell.run.clone() };
        let command = Command::new(script, shell.timeout, shell.sudo);
        self.reach(host, command.permitted(self.permit(needs))).await
    }

    /// Runs one of rollgate's own operations, which may be repeated.
    pub(in crate::engine) async fn operate(
        &self,
        script: NodeScript,
        needs: Needs,
    ) -> Result<String, StepError> {
        let command = Command::new(script, OPERATION_TIMEOUT, self.context.spec.sudo);
        let command = command.permitted(self.permit(needs));
        let mut result = self.reach(&self.node.host, command.clone()).await;
        if matches!(&result, Err(StepError::Lost(_))) {
            let again = self.reach(&self.node.host, command).await;
            result = again.map_err(StepError::of_second_try);
        }
        let output = result?;
        if output.success() {
            return Ok(output.stdout_text());
        }
        Err(StepError::Failed(command_failure(&output)))
    }

    /// Runs a command. Retries while it cannot start because the node is unreachable.
    async fn reach(&self, host: &Host, command: Command) -> Result<Output, StepError> {
        let deadline = Instant::now() + LINK_PATIENCE;
        loop {
            match self.context.world.run(host, command.clone()).await {
                Ok(output) => return Ok(output),
                Err(RunError::NotStarted(_)) if Instant::now() + LINK_PAUSE < deadline => {
                    tokio::time::sleep(LINK_PAUSE).await;
                }
                Err(RunError::NotStarted(problem)) => {
                    return Err(StepError::NotBegun(format!("cannot be reached: {problem}")));
                }
                Err(RunError::NotPermitted(refused)) => return Err(refused.into()),
                Err(error @ RunError::TimedOut { left: 0, .. }) => {
                    return Err(StepError::Overdue(format!("{error}; the command was ended")));
                }
                Err(error @ RunError::TimedOut { .. }) => {
                    return Err(StepError::Overdue(error.to_string()));
                }
                Err(error @ RunError::Lost(_)) => {
                    return Err(StepError::Lost(error.to_string()));
                }
            }
        }
    }
}

fn command_failure(output: &Output) -> Failure {
    let said = format!("{}\n{}", output.stdout_text(), output.stderr_text());
    let reason = match text::last_line(&said) {
        Some(line) => format!("{}: {}", output.ending(), text::line(line, REASON_LINE)),
        None => output.ending(),
    };
    let lines: Vec<_> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let tail = lines[lines.len().saturating_sub(LOG_LINES)..].iter();
    let mut tail: Vec<_> = tail.map(|line| text::line(line, OUTPUT_LINE)).collect();
    // The reason has the last line already, unless it was too long.
    tail.pop_if(|line| reason.ends_with(line.as_str()));
    let seen = tail.into_iter().map(|line| ("output".to_owned(), line)).collect();
    Failure { reason, seen, ..Failure::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_command_says_its_last_word() {
        let output = Output {
            status: Some(3),
            stdout: b"trying\n".to_vec(),
            stderr: b"first\nno such unit\n\n".to_vec(),
            noise: None,
        };
        let failure = command_failure(&output);
        assert_eq!(failure.reason, "exit 3: no such unit");
        // The last line is part of the reason.
        assert_eq!(failure.seen, ["trying", "first"].map(|line| ("output".into(), line.into())));
    }
}
