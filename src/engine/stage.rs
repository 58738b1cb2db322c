//! Bringing the artifact to a node, beside what runs there, before any node leaves rotation.

use std::time::Duration;

use super::node::{Found, NodeRun, Trouble};
use super::steps::Needs;
use crate::event::Step;
use crate::node::{CHECKSUM_MISMATCH, Operation};
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
    let last =
        full.or_else(|| said.lines().rev().find(|line| !line.trim().is_empty())).unwrap_or("");
    let said = text::line(last, 200);
    match output.status {
        Some(CHECKSUM_MISMATCH) => format!("the {what} arrived damaged: {said}"),
        Some(status) => format!("{what}: exit {status}: {said}"),
        None => format!("{what}: ended by a signal: {said}"),
    }
}
