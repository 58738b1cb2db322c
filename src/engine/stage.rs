//! Bringing the artifact to a node, beside what runs there, before any node leaves rotation; and deleting old ones once the
//! node is done.

use std::time::Duration;

use tokio::time::Instant;

use super::context::millis;
use super::node::NodeRun;
use super::outcome::{Found, Trouble};
use super::steps::Needs;
use crate::node::{CHECKSUM_MISMATCH, Operation, Pruned};
use crate::release::{Fact, Step};
use crate::text;
use crate::world::{Command, Output, RunError, Stdin, World};

/// How many nodes receive the artifact at the same time.
pub(super) const AT_ONCE: usize = 16;

/// For uploading and for unpacking.
const TIMEOUT: Duration = Duration::from_secs(600);

/// How often a lost upload is begun anew.
const ATTEMPTS: u32 = 3;

impl<W: World> NodeRun<W> {
    /// Uploads and unpacks; a node that has this very release keeps it.
    pub(super) async fn put_artifact(&self, step: Step) -> Result<Found, Trouble> {
        let layout = self.layout()?;
        let name = layout.name.clone();
        let Some(artifact) = &self.shared.spec.artifact else { return Ok(Found::default()) };
        let size = artifact.digest.as_ref().map_or(0, |digest| digest.size);
        let survey = Operation::Survey { port: self.node.port(), layout: Some(layout.clone()) };
        let survey = crate::node::Survey::parse(
            &self.operate(survey, Needs::Nothing).await?,
            &self.node.address,
        );
        if survey.staged {
            return Ok(Found::from(format!("{name} was there already")));
        }
        self.tell(step, format!("uploading {}", text::size(size)), None, TIMEOUT);
        let command = |operation| {
            let command = Command::new(operation, TIMEOUT, self.shared.spec.sudo);
            command.permitted(self.permit(Needs::Lock))
        };
        let upload = command(Operation::Upload { layout: layout.clone() });
        let upload = upload.reading(Stdin::File(artifact.file.clone()));
        let unpack = command(Operation::Unpack { layout });
        self.receive("upload", upload).await?;
        self.tell(step, "unpacking".into(), None, TIMEOUT);
        self.receive("unpack", unpack).await?;
        Ok(Found::from(format!("{name}, {}", text::size(size))))
    }

    /// Notes that the node is healthy with what it runs now, and after an update deletes the releases that no node needs.
    /// The node is done: trouble with it is worth a warning only.
    pub(super) async fn prune(&mut self) {
        let (Some(layout), Some(artifact)) = (&self.node.layout, &self.shared.spec.artifact) else {
            return;
        };
        if self.shared.mode != super::Mode::Deploy {
            return;
        }
        let is_told = !self.goes_back();
        let spare: Vec<_> = self.ran.clone().into_iter().collect();
        // While it is not known which one the node ran, any of them may be its way back.
        let keep = (is_told && !spare.is_empty()).then_some(artifact.keep);
        let operation = Operation::Prune { layout: layout.clone(), keep, spare };
        if is_told && self.record(Some(Step::Prune), Fact::StepStarted {}).await.is_err() {
            return;
        }
        let begun = Instant::now();
        let message = match self.operate(operation, Needs::Lock).await {
            Ok(output) => {
                let pruned = Pruned::parse(&output);
                for left in &pruned.left {
                    let message = format!("{}: could not be deleted: {left}", self.node.name);
                    let _ = self.record(Some(Step::Prune), Fact::Warning { message }).await;
                }
                match pruned.deleted.as_slice() {
                    [] => String::new(),
                    deleted => format!("deleted {}", deleted.join(", ")),
                }
            }
            Err(Trouble::Halt) => return,
            Err(trouble) => {
                let reason = trouble.into_failure().reason;
                let message = format!("{}: old releases stay: {reason}", self.node.name);
                let _ = self.record(Some(Step::Prune), Fact::Warning { message }).await;
                String::new()
            }
        };
        if is_told {
            let finished = Fact::StepFinished { elapsed_ms: millis(begun), message, drained: None };
            let _ = self.record(Some(Step::Prune), finished).await;
        }
    }

    /// Runs a part of the staging; what was lost on the way is done anew, it leaves nothing complete behind.
    async fn receive(&self, what: &str, command: Command) -> Result<(), Trouble> {
        for attempt in 1.. {
            match self.shared.world.run(&self.node.host, command.clone()).await {
                Ok(output) if output.success() => return Ok(()),
                Ok(output) => return Err(Trouble::from(refusal(what, &output))),
                Err(RunError::Lost(_) | RunError::NotStarted(_)) if attempt < ATTEMPTS => {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                Err(RunError::NotPermitted(refused)) => return Err(refused.into()),
                Err(error) => return Err(Trouble::from(format!("{what}: {error}"))),
            }
        }
        Ok(())
    }
}

fn refusal(what: &str, output: &Output) -> String {
    let said = output.stderr_text();
    // What filled the disk says so first and "exiting with failure status" last.
    let full = said.lines().find(|line| line.contains("No space left"));
    let last = full.or_else(|| text::last_line(&said)).unwrap_or_default();
    let said = text::line(last, 200);
    match output.status {
        Some(CHECKSUM_MISMATCH) => format!("the {what} arrived damaged: {said}"),
        _ => format!("{what}: {}: {said}", output.ending()),
    }
}
