//! Verifies that a node is healthy, and fetches the last log lines of its service if it is not.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{LOG_LINES, Needs};
use crate::engine::context::Operation;
use crate::engine::outcome::{StepError, StepOutcome};
use crate::engine::worker::NodeWorker;
use crate::health::Gate;
use crate::release::Step;
use crate::shell::quote;
use crate::spec::Shell;
use crate::text;
use crate::world::World;

/// What stands in place of the service's log if there is no command that prints it.
const NO_LOG: &str = "(no log: the playbook can have a command that prints it, `hooks.on_failure`)";

impl<W: World> NodeWorker<W> {
    pub(in crate::engine) async fn prove_healthy(
        &self,
        step: Step,
    ) -> Result<StepOutcome, StepError> {
        let gate = self.gate();
        let begun = Instant::now();
        let deadline = self.node.health.longest();
        let tell = |message| {
            self.tell(step, message, None, deadline.saturating_sub(begun.elapsed()));
        };
        let healthy = Arc::new(gate).wait(tell).await?;
        Ok(StepOutcome::from(healthy.message))
    }

    pub(in crate::engine) fn gate(&self) -> Gate<W> {
        Gate {
            world: self.context.world.clone(),
            consul: self.context.consul.clone(),
            node: self.node.clone(),
            mark: self.state(|state| state.mark),
            sudo: self.context.spec.sudo,
            any_version: self.context.operation == Operation::In,
            same_version: self.same_version(),
        }
    }

    /// Whether the node already ran the new version before the release.
    fn same_version(&self) -> bool {
        let brings = self.node.health.identity.as_ref().map(|identity| &identity.equals);
        let kept = brings == self.planned.runs.as_ref() && !self.goes_back();
        brings.is_some() && (kept || self.context.spec.is_restart)
    }

    /// Fetches the last log lines of the service for the report.
    pub(in crate::engine) async fn last_log_lines(&self, step: Step) -> Vec<String> {
        let (host, shell) = match (&self.node.on_failure, self.unit_log()) {
            (Some(hook), _) => (&hook.host, hook.command.clone()),
            (None, Some(shell)) => (&self.node.host, shell),
            (None, None) => return vec![NO_LOG.to_owned()],
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

    /// Returns the command that reads the unit's journal, if `systemctl` starts the service.
    fn unit_log(&self) -> Option<Shell> {
        let start = self.node.action(Step::Start).or(self.node.action(Step::Restart))?;
        let command = start.command.as_ref()?;
        let unit = unit_of(&command.run)?;
        Some(Shell {
            run: format!("journalctl -u {} -n {LOG_LINES} --no-pager", quote(unit)),
            timeout: Duration::from_secs(10),
            sudo: command.sudo,
        })
    }
}

/// Returns the unit of a `systemctl start` or `restart` command.
fn unit_of(command: &str) -> Option<&str> {
    let mut words =
        command.split_whitespace().skip_while(|word| !word.ends_with("systemctl")).skip(1);
    words.find(|word| matches!(*word, "start" | "restart" | "reload-or-restart"))?;
    words.find(|word| !word.starts_with('-'))
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
}
