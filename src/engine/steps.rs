//! What each step does to a node. Every step may run twice.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::guard::Guard;
use super::node::NodeRun;
use super::outcome::{Found, Trouble};
use crate::health::Gate;
use crate::json;
use crate::node::Operation;
use crate::release::{Fact, Failure, NodeState, Step};
use crate::spec::Shell;
use crate::text;
use crate::world::{Command, Host, Output, Permit, RunError, World};

/// For operations of our own on a node.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a node may be out of reach before the step fails.
const LINK_PATIENCE: Duration = Duration::from_secs(30);

/// Between two attempts to reach it.
const LINK_PAUSE: Duration = Duration::from_secs(1);

/// How many of the last log lines go into the report.
const LOG_LINES: usize = json::FEW;

/// What a command on a node needs, each time that it is about to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// It changes something.
    Lock,
    /// It ends what the node runs: the node has to be out, too.
    Out,
    /// It only looks.
    Nothing,
}

impl<W: World> NodeRun<W> {
    /// Does one step.
    pub(super) async fn act(
        &mut self,
        step: Step,
        shell: Option<&Shell>,
    ) -> Result<Found, Trouble> {
        match step {
            Step::Stage => self.put_artifact(step).await,
            Step::Disable => {
                self.take(step).await?;
                self.set_down(step, true).await
            }
            Step::ConfirmOut => self.confirm(step, false, self.proven_out_until()).await,
            Step::Drain => self.drain(step).await,
            Step::Stop => self.end_service(step, shell).await,
            Step::Activate => {
                let layout = self.layout()?;
                let name = layout.name.clone();
                self.operate(Operation::Activate { layout }, Needs::Lock).await?;
                Ok(Found::from(format!("current -> {name}")))
            }
            Step::Run(_) => self.command(step, shell).await,
            Step::Start | Step::Restart => self.begin_service(step, shell).await,
            Step::Health => self.prove_healthy(step).await,
            Step::Enable => self.set_down(step, false).await,
            Step::ConfirmIn => {
                let deadline = Instant::now() + self.confirm_time();
                self.confirm(step, true, deadline).await
            }
            Step::Prune => Ok(Found::default()),
        }
    }

    /// Ends the service. When the link is lost on the way, the node is looked at before anything else.
    async fn end_service(&mut self, step: Step, shell: Option<&Shell>) -> Result<Found, Trouble> {
        // On a node that was out already, the service may have ended before.
        let ended = (self.state(NodeState::may_be_half_done) || self.planned.was_out)
            && self.listener().await.is_ok_and(|listener| !listener.bound);
        match self.command(step, shell).await {
            Err(Trouble::Lost(_)) => {}
            Err(Trouble::Failed(failure)) if ended => {
                let reason = failure.reason;
                return Ok(Found::from(format!("nothing was running ({reason})")));
            }
            result => return result,
        }
        let lost = "the connection was lost";
        match self.look_again(step).await? {
            listener if !listener.bound => {
                Ok(Found::from(format!("{lost}; the service is seen to be gone")))
            }
            _ => self.command(step, shell).await.map_err(Trouble::of_second_try),
        }
    }

    /// Starts the service, or ends and starts it, after a mark that tells old processes from new ones.
    async fn begin_service(&mut self, step: Step, shell: Option<&Shell>) -> Result<Found, Trouble> {
        // Without a look at its listener the new process can only be told by its identity.
        let seen = match self.listener().await {
            // The service is stopped: one lost answer is no reason to leave it so.
            Err(_) if !self.shared.spec.has_identity => self.listener().await,
            seen => seen,
        };
        match seen {
            Ok(listener) => {
                self.record(Some(step), Fact::NodeMarked { listener }).await?;
            }
            Err(_) if self.shared.spec.has_identity => {}
            Err(problem) => {
                let reason = format!("the node's listener cannot be looked at: {problem}");
                return Err(Trouble::NotBegun(reason));
            }
        }
        match self.command(step, shell).await {
            Err(Trouble::Lost(_)) => {}
            result => return result,
        }
        let listener = self.look_again(step).await?;
        let new = self.state(|state| state.mark).is_some_and(|mark| {
            !listener.owners.is_empty() && listener.older_than(mark).next().is_none()
        });
        if new {
            return Ok(Found::from("the connection was lost; a new process is seen".to_owned()));
        }
        self.command(step, shell).await.map_err(Trouble::of_second_try)
    }

    /// After a lost link: reaches the node again and looks.
    async fn look_again(&self, step: Step) -> Result<crate::node::Listener, Trouble> {
        let deadline = Instant::now() + LINK_PATIENCE;
        loop {
            match self.listener().await {
                Ok(listener) => return Ok(listener),
                Err(problem) if Instant::now() + LINK_PAUSE >= deadline => {
                    let reason = format!(
                        "connection lost during `{step}`, and the node cannot be looked at: {problem}"
                    );
                    return Err(Trouble::Lost(reason));
                }
                Err(problem) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    self.tell(
                        step,
                        format!("connection lost, looking again: {problem}"),
                        None,
                        left,
                    );
                }
            }
            tokio::time::sleep(LINK_PAUSE).await;
        }
    }

    async fn prove_healthy(&self, step: Step) -> Result<Found, Trouble> {
        let gate = self.gate();
        let begun = Instant::now();
        let deadline = self.node.health.longest();
        let tell = |message| {
            self.tell(step, message, None, deadline.saturating_sub(begun.elapsed()));
        };
        let healthy = Arc::new(gate).wait(tell).await?;
        Ok(Found::from(healthy.message))
    }

    pub(super) fn gate(&self) -> Gate<W> {
        Gate {
            world: self.shared.world.clone(),
            consul: self.shared.consul.clone(),
            node: self.node.clone(),
            mark: self.state(|state| state.mark),
            sudo: self.shared.spec.sudo,
            any_version: self.shared.mode == super::Mode::In,
            same_version: self.same_version(),
        }
    }

    /// Whether the node ran the version before that the release brings.
    fn same_version(&self) -> bool {
        let brings = self.node.health.identity.as_ref().map(|identity| &identity.equals);
        brings.is_some() && brings == self.planned.runs.as_ref() && !self.goes_back()
    }

    pub(super) fn layout(&self) -> Result<crate::node::Layout, Trouble> {
        self.node.layout.clone().ok_or_else(|| Trouble::from("there is no artifact".to_owned()))
    }

    /// Runs a command of the user's. A node that is not out any more is first proven out again.
    async fn command(&mut self, step: Step, shell: Option<&Shell>) -> Result<Found, Trouble> {
        let Some(shell) = shell else { return Err(Trouble::from("it has no command".to_owned())) };
        let needs = match step {
            Step::Stop | Step::Restart => Needs::Out,
            _ => Needs::Lock,
        };
        let output = loop {
            let result = self.run(&self.node.host, shell, needs).await;
            let strayed = self.guard.as_ref().filter(|_| needs == Needs::Out);
            match (result, strayed.and_then(Guard::strayed)) {
                (Err(Trouble::NotBegun(_)), Some(why)) => self.prove_out_again(step, why).await?,
                (result, _) => break result?,
            }
        };
        if output.success() {
            return Ok(Found::default());
        }
        Err(Trouble::Failed(command_failure(&output)))
    }

    /// Proves within a step that has not begun its command that the node is out.
    async fn prove_out_again(&mut self, step: Step, why: String) -> Result<(), Trouble> {
        let not_begun = |trouble| match trouble {
            Trouble::Failed(Failure { reason, .. }) | Trouble::Blind(reason) => {
                Trouble::NotBegun(reason)
            }
            other => other,
        };
        self.may_prove_again(&why).map_err(not_begun)?;
        self.tell(step, format!("{why}; the node is proven out again"), None, self.confirm_time());
        self.confirm(step, false, self.proven_out_until()).await.map_err(not_begun)?;
        self.drain(step).await.map_err(not_begun)?;
        Ok(())
    }

    /// What is asked for right before something that Consul cannot refuse: for a command, when its host is ready to run it.
    pub(super) fn permit(&self, needs: Needs) -> Permit {
        match needs {
            Needs::Lock => self.shared.lock.permit(),
            Needs::Out => {
                self.guard.as_ref().map_or_else(|| self.shared.lock.permit(), Guard::permit)
            }
            Needs::Nothing => Permit::default(),
        }
    }

    async fn run(&self, host: &Host, shell: &Shell, needs: Needs) -> Result<Output, Trouble> {
        let operation = Operation::User { command: shell.run.clone() };
        let command = Command::new(operation, shell.timeout, shell.sudo);
        self.reach(host, command.permitted(self.permit(needs))).await
    }

    /// Runs an operation of our own that may be repeated.
    pub(super) async fn operate(
        &self,
        operation: Operation,
        needs: Needs,
    ) -> Result<String, Trouble> {
        let command = Command::new(operation, OPERATION_TIMEOUT, self.shared.spec.sudo);
        let command = command.permitted(self.permit(needs));
        let mut result = self.reach(&self.node.host, command.clone()).await;
        if matches!(&result, Err(Trouble::Lost(_))) {
            let again = self.reach(&self.node.host, command).await;
            result = again.map_err(Trouble::of_second_try);
        }
        let output = result?;
        if output.success() {
            return Ok(output.stdout_text());
        }
        Err(Trouble::Failed(command_failure(&output)))
    }

    /// Runs a command; while it cannot be started, because the node is out of reach, tries again.
    async fn reach(&self, host: &Host, command: Command) -> Result<Output, Trouble> {
        let deadline = Instant::now() + LINK_PATIENCE;
        loop {
            match self.shared.world.run(host, command.clone()).await {
                Ok(output) => return Ok(output),
                Err(RunError::NotStarted(_)) if Instant::now() + LINK_PAUSE < deadline => {
                    tokio::time::sleep(LINK_PAUSE).await;
                }
                Err(RunError::NotStarted(problem)) => {
                    return Err(Trouble::NotBegun(format!("{host} cannot be reached: {problem}")));
                }
                Err(RunError::NotPermitted(refused)) => return Err(refused.into()),
                Err(error @ RunError::TimedOut { left: 0, .. }) => {
                    return Err(Trouble::from(format!("{error}; it was ended")));
                }
                Err(error @ RunError::TimedOut { .. }) => {
                    return Err(Trouble::from(error.to_string()));
                }
                Err(error @ RunError::Lost(_)) => {
                    return Err(Trouble::Lost(error.to_string()));
                }
            }
        }
    }

    /// What the service said last, for the report.
    pub(super) async fn last_log_lines(&self, step: Step) -> Vec<String> {
        let (host, shell) = match (&self.node.on_failure, self.unit_log()) {
            (Some(hook), _) => (&hook.host, hook.command.clone()),
            (None, Some(shell)) => (&self.node.host, shell),
            (None, None) => return Vec::new(),
        };
        self.tell(step, "fetching the last log lines".into(), None, shell.timeout);
        let output =
            tokio::time::timeout(shell.timeout, self.run(host, &shell, Needs::Nothing)).await;
        let Ok(Ok(output)) = output else {
            return vec!["(the log could not be fetched)".into()];
        };
        let text = format!("{}{}", output.stdout_text(), output.stderr_text());
        let lines: Vec<_> = text.lines().map(|line| text::line(line, 400)).collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].to_vec()
    }

    /// The journal of the unit, where the service is started by `systemctl`.
    fn unit_log(&self) -> Option<Shell> {
        let start = self.node.action(Step::Start).or(self.node.action(Step::Restart))?;
        let command = start.command.as_ref()?;
        let unit = unit_of(&command.run)?;
        Some(Shell {
            run: format!("journalctl -u {} -n {LOG_LINES} --no-pager", crate::shell::quote(unit)),
            timeout: Duration::from_secs(10),
            sudo: command.sudo,
        })
    }
}

/// The unit that a `systemctl start` or `restart` is about.
fn unit_of(command: &str) -> Option<&str> {
    let mut words =
        command.split_whitespace().skip_while(|word| !word.ends_with("systemctl")).skip(1);
    words.find(|word| matches!(*word, "start" | "restart" | "reload-or-restart"))?;
    words.find(|word| !word.starts_with('-'))
}

fn command_failure(output: &Output) -> Failure {
    let said = format!("{}\n{}", output.stdout_text(), output.stderr_text());
    let reason = match text::last_line(&said) {
        Some(line) => format!("{}: {}", output.ending(), text::line(line, 200)),
        None => output.ending(),
    };
    let lines: Vec<_> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let tail = lines[lines.len().saturating_sub(LOG_LINES)..].iter();
    let mut failure = Failure { reason, ..Failure::default() };
    failure.seen.extend(tail.map(|line| ("output".to_owned(), text::line(line, 400))));
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_found_in_the_start_command() {
        assert_eq!(unit_of("systemctl start app"), Some("app"));
        assert_eq!(
            unit_of("sudo /bin/systemctl --no-block restart app.service"),
            Some("app.service")
        );
        assert_eq!(unit_of("/srv/app/ctl start"), None);
    }

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
        assert_eq!(failure.seen.len(), 3);
    }
}
