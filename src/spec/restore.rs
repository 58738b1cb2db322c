//! The playbook filled in for what nodes ran before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::foreign::{Foreign, Recorded};
use crate::playbook::{Order, Playbook};
use crate::release::{Digest, Inputs, RestorePoint};

use super::fill::SpecError;
use super::node::NodeSpec;
use super::recorded::followed;
use super::resolved::Spec;

impl Recorded<Vec<RestorePoint>> {
    /// The recorded versions for a command that follows the playbook of the same journal.
    ///
    /// # Errors
    ///
    /// Names the value that must not be filled in.
    pub fn followed(&self, playbook: &Playbook) -> Result<Vec<RestorePoint>, String> {
        let each = self.unchecked().iter().map(|target| {
            followed(playbook, &target.variables)?;
            let folder = target.folder.as_ref().map(|folder| Foreign::new(folder.as_str()));
            let folder = folder.and_then(|folder| folder.file_name()).transpose();
            let folder = folder.map_err(|unfit| format!("the folder of a release: {unfit}"))?;
            if folder != target.folder {
                return Err("the folder of a release is not a plain name".to_owned());
            }
            let artifact = target.artifact.clone().filter(Digest::is_sound);
            Ok(RestorePoint { folder, artifact, ..target.clone() })
        });
        each.collect()
    }
}

/// Fills in the playbook for what each node ran.
///
/// # Errors
///
/// When the playbook does not match the variables of that time.
pub fn restored_nodes(
    playbook: &Playbook,
    inputs: &Inputs,
    targets: &[RestorePoint],
) -> Result<BTreeMap<String, Arc<NodeSpec>>, SpecError> {
    let mut nodes = BTreeMap::new();
    for target in targets {
        let inputs = Inputs {
            variables: target.variables.clone(),
            artifact: target.artifact.clone(),
            ..inputs.clone()
        };
        let spec = Spec::new(playbook, &inputs)?;
        for name in &target.nodes {
            let Some(mut node) = spec.node(name).cloned() else { continue };
            if target.nothing {
                node.only_stop();
            }
            if let (Some(layout), Some(folder)) = (&mut node.layout, &target.folder) {
                layout.name.clone_from(folder);
            }
            nodes.insert(name.clone(), Arc::new(node));
        }
    }
    Ok(nodes)
}

/// The release that rolls nodes back: the playbook of that time, filled in for what each of them ran.
///
/// # Errors
///
/// When the playbook does not match the variables of that time.
fn rollback(
    playbook: &Playbook,
    inputs: &Inputs,
    targets: &[RestorePoint],
) -> Result<Spec, SpecError> {
    let mut spec = Spec::new(playbook, inputs)?;
    let mut back = restored_nodes(playbook, inputs, targets)?;
    let nodes = spec.nodes.iter();
    let nodes = nodes.map(|node| back.remove(&node.name).unwrap_or_else(|| node.clone()));
    spec.nodes = nodes.collect();
    let versions: BTreeSet<_> = targets.iter().map(|target| target.version.as_str()).collect();
    spec.version = Some(versions.into_iter().collect::<Vec<_>>().join(", "));
    spec.order = Order::OutFirst;
    Ok(spec)
}

/// Fills in the playbook of a release: for nodes that roll back, with what each of them ran; for nodes that
/// continue, with the release's inputs and what restores them.
///
/// # Errors
///
/// When the playbook does not match the variables.
pub fn spec_of_release(
    playbook: &Playbook,
    inputs: &Inputs,
    toward: &[RestorePoint],
    before: &[RestorePoint],
) -> Result<Spec, SpecError> {
    let spec = match toward {
        [] => Spec::new(playbook, inputs)?,
        toward => rollback(playbook, inputs, toward)?,
    };
    Ok(Spec { back: restored_nodes(playbook, inputs, before)?, ..spec })
}
