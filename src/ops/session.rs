//! The input of a command: a playbook with all its values, and the place of its journals.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::{Cause, Identity, Refusal, Secrets};
use crate::artifact;
use crate::diagnostic::Problem;
use crate::foreign::Recorded;
use crate::journal::history::JournaledRelease;
use crate::json::Written;
use crate::plan::Selection;
use crate::playbook::{Loaded, Misplaced, Playbook, differences, misplaced};
use crate::release::{CommandKind, Inputs, PlannedNodes, Pool, RestorePoint, Started};
use crate::spec::{Spec, before_restart, by_hand, restart_of_release, spec_of_release};
use crate::suggestions::{Repeated, run_plan};
use crate::text::harmless;

pub use crate::spec::OPEN;

/// A playbook with all its inputs.
#[derive(Clone)]
pub struct Session {
    /// The playbook.
    pub loaded: Loaded,
    /// The path of the playbook's file.
    pub file: PathBuf,
    /// The values for the playbook.
    pub inputs: Inputs,
    /// The folder with this service's journals.
    pub state: PathBuf,
    /// The state folder from the command line.
    pub state_dir: Option<PathBuf>,
    /// What nodes ran before the release.
    pub before: Vec<RestorePoint>,
    /// The restore points of a rollback, or what nodes run before and after a restart.
    pub toward: Vec<RestorePoint>,
    /// Nodes restart what they run. Nothing is deployed.
    pub restart: bool,
    /// The values that must not be written to a journal.
    pub secrets: Secrets,
}

impl Session {
    /// The service.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.loaded.playbook.service
    }

    /// Returns the playbook as the journal stores it.
    #[must_use]
    pub fn written(&self) -> Written {
        serde_json::to_value(&self.loaded.playbook).unwrap_or_default().into()
    }

    /// Returns the first record of a release by `command`, without the fields that each command adds.
    pub(super) fn started(
        &self,
        identity: &Identity,
        command: CommandKind,
        pool: Option<Pool>,
    ) -> Started {
        Started {
            service: self.service().to_owned(),
            command,
            from: None,
            to: None,
            actor: identity.actor.clone(),
            file: self.file.display().to_string(),
            selection: Vec::new(),
            arguments: Vec::new(),
            playbook: self.written(),
            inputs: Recorded::new(self.inputs.clone()),
            nodes: PlannedNodes::default(),
            before: Recorded::default(),
            toward: Recorded::default(),
            pool,
            plan: None,
        }
    }

    /// Returns the command line that runs `command` with the same playbook and variables.
    #[must_use]
    pub fn command(&self, command: &str) -> String {
        self.parts(false).command(command, [])
    }

    /// The same for the selected nodes.
    #[must_use]
    pub fn command_for(&self, command: &str, selection: &Selection) -> String {
        let words = selection.arguments();
        self.parts(false).command(command, words.iter().map(String::as_str))
    }

    /// Returns the command line that runs a plan file.
    #[must_use]
    pub fn command_by_plan(&self, plan: &Path) -> String {
        run_plan(&plan.display().to_string(), &self.options(false))
    }

    /// Returns the options that suggested commands must repeat. `yes`: the operator has confirmed in advance.
    #[must_use]
    pub fn options(&self, yes: bool) -> Vec<String> {
        let folder = self.state_dir.iter();
        let folder = folder.flat_map(|folder| ["--state-dir".into(), folder.display().to_string()]);
        folder.chain(yes.then(|| "--yes".to_owned())).collect()
    }

    /// Returns the parts that suggested commands repeat.
    #[must_use]
    pub fn repeated(&self, yes: bool) -> Repeated {
        Repeated { release_only: self.release_only(), ..self.parts(yes) }
    }

    /// The same for commands that are not `node out` or `node in`. Every command makes some at its start.
    fn parts(&self, yes: bool) -> Repeated {
        let variables = self.given().map(|(name, value)| (harmless(name), harmless(value)));
        Repeated {
            file: self.file.display().to_string(),
            arguments: self.options(yes),
            variables: variables.collect(),
            choose_version: self.choose_version(),
            ..Repeated::default()
        }
    }

    /// Returns the variables that only a release needs.
    fn release_only(&self) -> BTreeSet<String> {
        let mut playbook = self.loaded.playbook.clone();
        // Each node needs the same variables.
        playbook.nodes.truncate(1);
        let names: BTreeSet<_> =
            playbook.release_variables().into_iter().map(str::to_owned).collect();
        let mut inputs = self.inputs.clone();
        inputs.variables.retain(|name, _| !names.contains(name));
        let is_enough = by_hand(&playbook, &inputs).is_ok();
        if is_enough { names } else { BTreeSet::new() }
    }

    /// Returns the variables that choose what a release deploys.
    fn choose_version(&self) -> BTreeSet<String> {
        self.loaded.playbook.release_variables().into_iter().map(str::to_owned).collect()
    }

    /// The same with the variables of a release, as far as the playbook accepts them.
    #[must_use]
    pub fn repeated_of(&self, started: &Started) -> Repeated {
        let given = self.given().map(|(name, value)| (name.clone(), value.clone()));
        let mut variables: BTreeMap<_, _> = given.collect();
        let values = started.inputs.each(&self.loaded.playbook, &self.inputs.variables);
        variables.extend(values.filter_map(|(name, value)| Some((name.to_owned(), value.ok()?))));
        let variables = variables.into_iter().collect();
        let file_was_changed = self.file_was_changed(started);
        let repeated = Repeated { variables, file_was_changed, ..self.repeated(false) };
        match started.command {
            CommandKind::Restart => repeated.without_version(),
            _ => repeated,
        }
    }

    /// Returns the variables that have a value. The operator must fill in the others.
    fn given(&self) -> impl Iterator<Item = (&String, &String)> {
        self.inputs.variables.iter().filter(|(_, value)| *value != OPEN)
    }

    /// Replaces every name with its value. In a rollback, the values are those from before the release.
    ///
    /// # Errors
    ///
    /// If a name has no value.
    pub fn spec(&self) -> Result<Arc<Spec>, Refusal> {
        let (playbook, inputs) = (&self.loaded.playbook, &self.inputs);
        let spec = if self.restart {
            restart_of_release(playbook, inputs, &self.toward)
        } else {
            spec_of_release(playbook, inputs, &self.toward, &self.before)
        };
        spec.map(Arc::new).map_err(|error| Refusal::new(Cause::Invalid, error.to_string()))
    }

    /// Replaces every name with its value for a change by hand, for which the version may be unknown.
    ///
    /// # Errors
    ///
    /// If a name that the change needs has no value.
    pub fn spec_by_hand(&self) -> Result<Arc<Spec>, Refusal> {
        let spec = by_hand(&self.loaded.playbook, &self.inputs);
        spec.map(Arc::new).map_err(|error| Refusal::new(Cause::Invalid, error.to_string()))
    }

    /// Reads the artifact, then replaces every name with its value. A restart needs no artifact.
    ///
    /// # Errors
    ///
    /// If a name has no value, or the artifact cannot be used.
    pub fn spec_with_artifact(&mut self) -> Result<Arc<Spec>, Refusal> {
        if self.restart {
            let spec = before_restart(&self.loaded.playbook, &self.inputs);
            return spec
                .map(Arc::new)
                .map_err(|error| Refusal::new(Cause::Invalid, error.to_string()));
        }
        let spec = self.spec()?;
        let problems = wrong_places(&self.loaded, &spec);
        if !problems.is_empty() {
            return Err(Refusal::invalid(self.loaded.invalid(problems)));
        }
        let Some(artifact) = &spec.artifact else { return Ok(spec) };
        let digest = artifact::read(artifact).map_err(|unfit| {
            let refusal = Refusal::new(Cause::Refused, unfit.to_string());
            let refusal = unfit.mend.into_iter().fold(refusal, Refusal::hint);
            refusal.hint("nothing was changed")
        })?;
        self.inputs.artifact = Some(digest);
        self.spec()
    }

    /// Returns a session with the playbook and the variables of a release's journal. The file and the secrets stay.
    ///
    /// # Errors
    ///
    /// If the content of the journal is not safe to use.
    pub fn of_release(&self, past: &JournaledRelease) -> Result<Self, Refusal> {
        let unreadable = |error: String| {
            Refusal::refused(format!(
                "the playbook in the journal of {} cannot be read: {error}",
                past.id
            ))
        };
        let started = past.release.started.as_ref();
        let started = started.ok_or_else(|| unreadable("it did not start".into()))?;
        let recorded = started.playbook.value().map_err(unreadable)?;
        let playbook = Playbook::deserialize(&recorded);
        let inputs = serde_json::to_value(&started.inputs).unwrap_or_default();
        if let Some(secret) = self.secrets.in_journal(&[recorded, inputs]) {
            let problem =
                format!("the journal of {} holds the value of the secret {secret}", past.id);
            return Err(Refusal::new(Cause::Refused, problem)
                .hint("nothing was changed; `deploy` with a playbook that names the secret"));
        }
        let playbook = playbook.map_err(|error| unreadable(error.to_string()))?;
        self.following(playbook, started).map_err(|why| {
            Refusal::refused(format!("the journal of {} cannot be used: {why}", past.id))
        })
    }

    /// Returns whether a release runs the playbook's file as it is now.
    pub(super) fn is_file_of(&self, started: &Started) -> bool {
        let Ok(journaled) = started.playbook.value() else { return false };
        let Ok(journaled) = Playbook::deserialize(&journaled) else { return false };
        differences(&journaled, &self.loaded.playbook).is_empty()
    }

    /// Returns whether the playbook's file differs from the playbook in a release's journal, and the release can
    /// continue with the file.
    pub(super) fn file_was_changed(&self, started: &Started) -> bool {
        let Ok(journaled) = started.playbook.value() else { return false };
        let Ok(journaled) = Playbook::deserialize(&journaled) else { return false };
        let found = differences(&journaled, &self.loaded.playbook);
        let is_fixed = found.iter().any(|difference| difference.is_fixed);
        !found.is_empty() && !is_fixed && self.with_file(started).is_ok()
    }

    /// Returns a session with the playbook's file and the variables of a release.
    ///
    /// # Errors
    ///
    /// If the release cannot continue with the file.
    pub(super) fn with_file(&self, started: &Started) -> Result<Self, String> {
        let current = self.following(self.loaded.playbook.clone(), started)?;
        current.spec().map_err(|refusal| refusal.reason)?;
        Ok(current)
    }

    /// Returns a session with this playbook and the variables of a release.
    ///
    /// # Errors
    ///
    /// If the playbook does not allow a value of the release.
    pub(super) fn following(&self, playbook: Playbook, started: &Started) -> Result<Self, String> {
        let mut session = self.clone();
        session.before = started.before.followed(&playbook)?;
        session.toward = started.toward.followed(&playbook)?;
        session.restart = started.command == CommandKind::Restart;
        session.inputs = started.inputs.followed(&playbook)?;
        session.loaded.playbook = playbook;
        // The playbook may have another path on another machine.
        if !session.inputs.folder.exists() {
            session.inputs.folder.clone_from(&self.inputs.folder);
        }
        Ok(session)
    }
}

/// Returns the problems with the artifact's destination, with all names filled in. They are those of the first node
/// that has any.
fn wrong_places(loaded: &Loaded, spec: &Spec) -> Vec<Problem> {
    let on_nodes = spec.nodes.iter().filter_map(|node| Some((node, node.layout.as_ref()?)));
    let mut wrong = on_nodes.filter_map(|(node, layout)| {
        let misplaced = misplaced(&layout.releases, &layout.current);
        (!misplaced.is_empty()).then_some((node, misplaced))
    });
    let Some((node, misplaced)) = wrong.next() else { return Vec::new() };
    let problem = |wrong: Misplaced| {
        let message = format!("on {}: {}", node.name, wrong.message);
        loaded.problem(wrong.key, message).help(wrong.help)
    };
    misplaced.into_iter().map(problem).collect()
}
