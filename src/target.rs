//! What nodes ran before a release, and how that is brought back. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::engine::release::{Release, Standing};
use crate::event::{Started, Will};
use crate::foreign::{Foreign, Recorded};
use crate::plan::Plan;
use crate::playbook::{Order, Playbook};
use crate::spec::{Digest, Inputs, NodeSpec, Spec, SpecError, followed};
use crate::survey::{Fleet, NodeFacts};
use crate::text;

/// What some nodes ran.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// The nodes.
    pub nodes: Vec<String>,
    /// The version, for people.
    pub version: String,
    /// The name of the release's folder, where there is an artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// The variables that the playbook is filled in with.
    pub variables: BTreeMap<String, String>,
    /// The artifact, as far as a journal tells of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Digest>,
}

/// What is known of the way back.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WayBack {
    /// What nodes run, as far as it can be brought back.
    pub targets: Vec<Target>,
    /// Why a node cannot be brought back to what it runs.
    pub unknown: Vec<(String, String)>,
}

impl WayBack {
    /// Finds out what each node runs: from the release that its link points at and the journals of `past` releases,
    /// the newest first, or else from the version that it tells.
    ///
    /// A node that is out of rotation goes back to what the others run: that is what serves.
    #[must_use]
    pub fn find(spec: &Spec, playbook: &Playbook, fleet: &Fleet, past: &[&Started]) -> Self {
        let mut way = Self::default();
        let mut waiting = Vec::new();
        for node in &spec.nodes {
            let Some(facts) = fleet.nodes.get(&node.name) else { continue };
            match runs(spec, playbook, node, facts, past) {
                Ok(target) if facts.down == Some(true) => waiting.push((&node.name, Ok(target))),
                Err(why) if facts.down == Some(true) => waiting.push((&node.name, Err(why))),
                Ok(target) => way.add(&node.name, target),
                Err(why) => way.unknown.push((node.name.clone(), why)),
            }
        }
        let most = way.targets.iter().max_by_key(|target| target.nodes.len()).cloned();
        for (name, own) in waiting {
            match most.clone().map_or(own, |target| Ok(Target { nodes: Vec::new(), ..target })) {
                Ok(target) => way.add(name, target),
                Err(why) => way.unknown.push((name.clone(), why)),
            }
        }
        way
    }

    fn add(&mut self, name: &str, target: Target) {
        let same = |other: &&mut Target| {
            (&other.version, &other.folder, &other.variables)
                == (&target.version, &target.folder, &target.variables)
        };
        match self.targets.iter_mut().find(same) {
            Some(other) => other.nodes.push(name.to_owned()),
            None => self.targets.push(Target { nodes: vec![name.to_owned()], ..target }),
        }
    }
}

/// What one node runs.
fn runs(
    spec: &Spec,
    playbook: &Playbook,
    node: &NodeSpec,
    facts: &NodeFacts,
    past: &[&Started],
) -> Result<Target, String> {
    let current = facts.survey.as_ref().and_then(|survey| survey.current.as_ref());
    let folder = current.filter(|_| node.layout.is_some()).and_then(Foreign::file_name);
    let folder = folder.transpose().map_err(|unfit| format!("its `current` link: {unfit}"))?;
    if node.layout.is_some() && folder.is_none() {
        return Err("it has no release yet".to_owned());
    }
    let told = facts.health.version.as_ref();
    let brought = |started: &&&Started| match (&folder, started.inputs.digest()) {
        (Some(folder), Some(digest)) => {
            digest.sha256.get(..8).is_some_and(|start| folder.ends_with(&format!("-{start}")))
        }
        (None, _) => told.zip(started.to.as_ref()).is_some_and(|(told, to)| told.is(to)),
        (Some(_), None) => false,
    };
    let released = |started: &&&Started| matches!(started.command.as_str(), "deploy" | "rollback");
    let mut unfit = None;
    for started in past.iter().filter(released).filter(brought) {
        match started.inputs.restored(playbook, &spec.variables) {
            Ok(variables) => {
                let to = started.to.as_deref().map(|to| text::line(to, 60));
                return Ok(Target {
                    nodes: Vec::new(),
                    version: to.or_else(|| folder.clone()).unwrap_or_default(),
                    folder,
                    variables,
                    artifact: started.inputs.digest().cloned(),
                });
            }
            Err(why) => {
                let release = text::line(started.inputs.release(), 40);
                unfit.get_or_insert(format!("the journal of {release}: {why}"));
            }
        }
    }
    if let Some(why) = unfit {
        return Err(why);
    }
    let Some(old) = told else {
        return Err("no journal tells of what it runs, and it tells no version".to_owned());
    };
    let mut variables = spec.variables.clone();
    let new = spec.version.as_ref();
    let Some((name, value)) = variables.iter_mut().find(|(_, value)| Some(&**value) == new) else {
        return Err(format!("no journal tells of {}, and no variable is the version", old.shown()));
    };
    let pattern = playbook.variables.get(name).and_then(|variable| variable.pattern.as_deref());
    let old =
        old.checked(pattern).map_err(|unfit| format!("the version that it tells: {unfit}"))?;
    value.clone_from(&old);
    Ok(Target { nodes: Vec::new(), version: old, folder, variables, artifact: None })
}

impl Recorded<Vec<Target>> {
    /// Returns whether nothing is recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.unchecked().is_empty()
    }

    /// The folder of the release that a node ran, as a name to keep.
    #[must_use]
    pub fn folder_of(&self, node: &str) -> Option<String> {
        let named = |target: &&Target| target.nodes.iter().any(|name| name == node);
        let folder = self.unchecked().iter().find(named)?.folder.as_ref()?;
        Foreign::new(folder.as_str()).file_name()?.ok()
    }

    /// What a node ran, for people.
    #[must_use]
    pub fn version_of(&self, node: &str) -> Option<String> {
        let named = |target: &&Target| target.nodes.iter().any(|name| name == node);
        self.unchecked().iter().find(named).map(|target| text::line(&target.version, 60))
    }

    /// What a command goes on with that follows the playbook of the same journal.
    ///
    /// # Errors
    ///
    /// Says what must not be filled in.
    pub fn followed(&self, playbook: &Playbook) -> Result<Vec<Target>, String> {
        let each = self.unchecked().iter().map(|target| {
            followed(playbook, &target.variables)?;
            let folder = target.folder.as_ref().map(|folder| Foreign::new(folder.as_str()));
            let folder = folder.and_then(|folder| folder.file_name()).transpose();
            let folder = folder.map_err(|unfit| format!("the folder of a release: {unfit}"))?;
            if folder != target.folder {
                return Err("the folder of a release is no plain name".to_owned());
            }
            let artifact = target.artifact.clone().filter(Digest::is_sound);
            Ok(Target { folder, artifact, ..target.clone() })
        });
        each.collect()
    }
}

/// Fills in the playbook for what each node ran.
///
/// # Errors
///
/// When the playbook does not go with the variables of that time.
pub fn toward(
    playbook: &Playbook,
    inputs: &Inputs,
    targets: &[Target],
) -> Result<BTreeMap<String, NodeSpec>, SpecError> {
    let mut nodes = BTreeMap::new();
    for target in targets {
        let inputs = Inputs {
            variables: target.variables.clone(),
            artifact: target.artifact.clone(),
            ..inputs.clone()
        };
        let spec = Spec::new(playbook, &inputs)?;
        for mut node in spec.nodes.into_iter().filter(|node| target.nodes.contains(&node.name)) {
            if let (Some(layout), Some(folder)) = (&mut node.layout, &target.folder) {
                layout.name.clone_from(folder);
            }
            nodes.insert(node.name.clone(), node);
        }
    }
    Ok(nodes)
}

/// The release that brings nodes back: the playbook as it was, filled in for what each of them ran.
///
/// # Errors
///
/// When the playbook does not go with the variables of that time.
pub fn rollback(
    playbook: &Playbook,
    inputs: &Inputs,
    targets: &[Target],
) -> Result<Spec, SpecError> {
    let mut spec = Spec::new(playbook, inputs)?;
    let mut back = toward(playbook, inputs, targets)?;
    for node in &mut spec.nodes {
        if let Some(old) = back.remove(&node.name) {
            *node = old;
        }
    }
    let versions: std::collections::BTreeSet<_> =
        targets.iter().map(|target| target.version.as_str()).collect();
    spec.version = Some(versions.into_iter().collect::<Vec<_>>().join(", "));
    spec.order = Order::OutFirst;
    Ok(spec)
}

/// Fills in the playbook of a release: for what each node ran, where it goes back there, and with what brings its
/// nodes back, where it goes on.
///
/// # Errors
///
/// When the playbook does not go with the variables.
pub fn spec(
    playbook: &Playbook,
    inputs: &Inputs,
    toward: &[Target],
    before: &[Target],
) -> Result<Spec, SpecError> {
    let spec = match toward {
        [] => Spec::new(playbook, inputs)?,
        toward => rollback(playbook, inputs, toward)?,
    };
    Ok(Spec { back: self::toward(playbook, inputs, before)?, ..spec })
}

/// Why a release cannot be undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotUndone {
    /// It is not known what these nodes ran before.
    Unknown(Vec<String>),
    /// What they ran before must not be filled in.
    Unfit(String),
}

/// What brings the nodes back that a release has changed, or those of them that are named; `playbook` is the release's.
///
/// # Errors
///
/// When it is not known, or must not be used, what they ran before.
pub fn undoing(
    release: &Release,
    playbook: &Playbook,
    only: &[String],
) -> Result<Vec<Target>, NotUndone> {
    let touched = |name: &&str| {
        let node = release.nodes.get(*name);
        let changed =
            node.is_some_and(|node| node.is_stopped() || node.standing() != Standing::Untouched);
        changed && (only.is_empty() || only.iter().any(|only| only == name))
    };
    let wanted: Vec<_> = release.in_order().map(|(name, _)| name).filter(touched).collect();
    let before = release.started.as_ref().map(|started| &started.before);
    let unknown = wanted
        .iter()
        .filter(|name| before.is_none_or(|before| before.version_of(name).is_none()))
        .map(|name| (*name).to_owned());
    let unknown: Vec<_> = unknown.collect();
    if !unknown.is_empty() {
        return Err(NotUndone::Unknown(unknown));
    }
    let before = before.map_or(Ok(Vec::new()), |before| before.followed(playbook));
    let toward = before.map_err(NotUndone::Unfit)?.into_iter().map(|target| Target {
        nodes: target
            .nodes
            .iter()
            .filter(|name| wanted.contains(&name.as_str()))
            .cloned()
            .collect(),
        ..target
    });
    Ok(toward.filter(|target| !target.nodes.is_empty()).collect())
}

/// Says of which nodes the release that ran before was deleted meanwhile, so that it cannot be brought back.
#[must_use]
pub fn missing(spec: &Spec, fleet: &Fleet, plan: &Plan) -> Vec<String> {
    let updated = plan.rows.iter().filter(|row| row.planned.will == Will::Update);
    updated
        .filter_map(|row| {
            let layout = spec.node(&row.planned.node)?.layout.as_ref()?;
            let survey = fleet.nodes.get(&row.planned.node)?.survey.as_ref()?;
            let folder = layout.folder();
            (!survey.staged).then(|| {
                format!(
                    "{}: {folder} was deleted meanwhile; `deploy` that version",
                    row.planned.node
                )
            })
        })
        .collect()
}

#[cfg(test)]
mod tests;
