//! Deletes old releases on a finished node.

use tokio::time::Instant;

use super::Needs;
use crate::engine::context::{Operation, millis};
use crate::engine::outcome::StepError;
use crate::engine::worker::NodeWorker;
use crate::node::{NodeScript, Pruned};
use crate::release::{EventKind, Step};
use crate::world::World;

impl<W: World> NodeWorker<W> {
    /// Notes on the node that its current release is healthy. After an update, also deletes the releases that no node
    /// needs. The node is already finished, so a problem here is only a warning.
    pub(in crate::engine) async fn prune(&mut self) {
        let (Some(layout), Some(artifact)) = (&self.node.layout, &self.context.spec.artifact)
        else {
            return;
        };
        if self.context.operation != Operation::Deploy {
            return;
        }
        let is_told = !self.goes_back();
        let spare: Vec<_> = self.ran.clone().into_iter().collect();
        // Without a known previous release, any release may be the restore point.
        let keep = (is_told && !spare.is_empty()).then_some(artifact.keep);
        let script = NodeScript::Prune { layout: layout.clone(), keep, spare };
        if is_told && self.record(Some(Step::Prune), EventKind::StepStarted {}).await.is_err() {
            return;
        }
        let begun = Instant::now();
        let message = match self.operate(script, Needs::Lock).await {
            Ok(output) => {
                let pruned = Pruned::parse(&output);
                for left in &pruned.left {
                    let message = format!("{}: could not be deleted: {left}", self.node.name);
                    let _ = self.record(Some(Step::Prune), EventKind::Warning { message }).await;
                }
                match pruned.deleted.as_slice() {
                    [] => String::new(),
                    deleted => format!("deleted {}", deleted.join(", ")),
                }
            }
            Err(StepError::Halt) => return,
            Err(trouble) => {
                let reason = trouble.into_failure().reason;
                let message =
                    format!("{}: old releases were not deleted: {reason}", self.node.name);
                let _ = self.record(Some(Step::Prune), EventKind::Warning { message }).await;
                String::new()
            }
        };
        if is_told {
            let finished =
                EventKind::StepFinished { elapsed_ms: millis(begun), message, drained: None };
            let _ = self.record(Some(Step::Prune), finished).await;
        }
    }
}
