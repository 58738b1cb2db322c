//! Stages the artifact on a node, beside the running release, before any node leaves rotation.

use std::time::Duration;

use super::Needs;
use crate::engine::outcome::{StepError, StepOutcome};
use crate::engine::worker::NodeWorker;
use crate::node::{CHECKSUM_MISMATCH, NodeScript};
use crate::release::Step;
use crate::text;
use crate::world::{Command, Output, RunError, Stdin, World};

/// Timeout of the upload, and of the unpacking.
const TIMEOUT: Duration = Duration::from_secs(600);

/// Maximum number of attempts for a lost upload.
const ATTEMPTS: u32 = 3;

impl<W: World> NodeWorker<W> {
    /// Uploads and unpacks the artifact. A node that already has this exact release keeps it.
    pub(in crate::engine) async fn put_artifact(
        &self,
        step: Step,
    ) -> Result<StepOutcome, StepError> {
        let layout = self.layout()?;
        let name = layout.name.clone();
        let Some(artifact) = &self.context.spec.artifact else { return Ok(StepOutcome::default()) };
        let size = artifact.digest.as_ref().map_or(0, |digest| digest.size);
        let survey = NodeScript::Survey {
            port: self.node.port(),
            layout: Some(layout.clone()),
            programs: Vec::new(),
        };
        let survey = crate::node::Survey::parse(
            &self.operate(survey, Needs::Nothing).await?,
            &self.node.address,
        );
        if survey.staged {
            return Ok(StepOutcome::from(format!("{name} is there already")));
        }
        self.tell(step, format!("uploading {}", text::size(size)), None, TIMEOUT);
        let command = |script| {
            let command = Command::new(script, TIMEOUT, self.context.spec.sudo);
            command.permitted(self.permit(Needs::Lock))
        };
        let upload = command(NodeScript::Upload { layout: layout.clone() });
        let upload = upload.reading(Stdin::File(artifact.file.clone()));
        let unpack = command(NodeScript::Unpack { layout });
        self.receive("upload", upload).await?;
        self.tell(step, "unpacking".into(), None, TIMEOUT);
        self.receive("unpack", unpack).await?;
        Ok(StepOutcome::from(format!("{name}, {}", text::size(size))))
    }

    /// Runs one part of the staging. It repeats a lost part, because a lost part leaves nothing complete behind.
    async fn receive(&self, what: &str, command: Command) -> Result<(), StepError> {
        for attempt in 1.. {
            match self.context.world.run(&self.node.host, command.clone()).await {
                Ok(output) if output.success() => return Ok(()),
                Ok(output) => return Err(StepError::from(refusal(what, &output))),
                Err(RunError::Lost(_) | RunError::NotStarted(_)) if attempt < ATTEMPTS => {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                Err(RunError::NotPermitted(refused)) => return Err(refused.into()),
                Err(error) => return Err(StepError::from(format!("{what}: {error}"))),
            }
        }
        Ok(())
    }
}

fn refusal(what: &str, output: &Output) -> String {
    let said = output.stderr_text();
    // A full disk is reported first; "exiting with failure status" comes last.
    let full = said.lines().find(|line| line.contains("No space left"));
    let last = full.or_else(|| text::last_line(&said)).unwrap_or_default();
    let said = text::line(last, 200);
    match output.status {
        Some(CHECKSUM_MISMATCH) => format!("the {what} was corrupted in transit: {said}"),
        _ => format!("{what}: {}: {said}", output.ending()),
    }
}
