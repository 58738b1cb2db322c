//! Binds a plan file to everything that was seen when the plan was made, and refuses to run it after a change.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::plan::Preview;
use super::plan_file::ReadPlan;
use super::{Cause, Identity, Refusal, Session};
use crate::file;
use crate::plan::{
    ArtifactSeen, PlanFile, PlaybookSeen, Seen, Selection, changes, playbook_changes,
};
use crate::playbook::{Playbook, load_text};
use crate::release::{PlannedBy, Started};
use crate::secret::literal;
use crate::suggestions::Repeated;
use crate::text::{self, count, few, harmless};

/// The size limit of a file that a playbook names.
const LARGEST: u64 = 8 << 20;

/// How many changes are shown.
const SHOWN: usize = 40;

/// How many changes are a part of the reason in one line.
const IN_ONE_LINE: usize = 3;

/// A plan file that is about to run.
#[derive(Debug, Clone)]
pub struct Bound {
    /// The file.
    pub file: ReadPlan,
    /// The path of the playbook: from the command line, or as the plan has it.
    pub playbook: PathBuf,
    /// The command that makes the plan again.
    again: String,
}

/// Makes a plan file.
///
/// # Errors
///
/// If a variable may be a secret, or a file that the playbook names cannot be read.
pub fn bind(
    session: &Session,
    identity: &Identity,
    now: Timestamp,
    selection: &Selection,
    preview: &Preview,
) -> Result<PlanFile, Refusal> {
    let Preview { plan, spec, seen } = preview;
    refuse_secret_variables(session)?;
    let (path, text) = (session.file.display().to_string(), &session.loaded.source.text);
    let playbook = &session.loaded.playbook;
    let artifact = session.inputs.artifact.as_ref().and_then(|digest| {
        let artifact = spec.artifact.as_ref()?;
        let file = artifact.file.display().to_string();
        Some(ArtifactSeen { file, sha256: digest.sha256.clone(), size: digest.size })
    });
    Ok(PlanFile {
        service: spec.service.clone(),
        from: plan.from.clone(),
        to: spec.version.clone().filter(|_| !spec.is_restart),
        selection: selection.clone(),
        variables: session.inputs.variables.clone(),
        playbook: PlaybookSeen::new(path, text, named_files(session)?, playbook),
        artifact,
        nodes: seen.nodes.clone(),
        gateways: seen.gateways.clone(),
        ..PlanFile::new(now, &identity.actor)
    })
}

/// Refuses a value that the plan would have to contain although it may be a secret.
fn refuse_secret_variables(session: &Session) -> Result<(), Refusal> {
    let mut names = session.inputs.variables.keys();
    let Some(name) = names.find(|name| literal::is_secret_key(name)) else { return Ok(()) };
    let name = text::line(name, 60);
    let problem = format!(
        "the variable `{name}` has the name of a secret, and the plan would contain its value"
    );
    Err(Refusal::new(Cause::Invalid, problem).hint(
        "name it under `secrets`, or let a file or the environment on the node hold it; nothing was changed",
    ))
}

/// The SHA-256 of each file that the playbook names.
fn named_files(session: &Session) -> Result<BTreeMap<String, String>, Refusal> {
    let digests = session.loaded.playbook.named_files().into_iter().map(|path| {
        let digest = digest_of(&session.inputs.folder.join(path)).map_err(|problem| {
            let path = harmless(&path.display().to_string());
            let problem = format!("cannot read {path}, which the playbook names: {problem}");
            Refusal::new(Cause::Invalid, problem).hint("nothing was changed")
        })?;
        Ok((path.display().to_string(), digest))
    });
    digests.collect()
}

fn digest_of(path: &Path) -> Result<String, String> {
    let bytes = file::read_bytes(path, LARGEST)?;
    Ok(text::hex(&Sha256::digest(bytes)))
}

impl Bound {
    /// A plan file for the playbook at this path, or at the path in the plan.
    #[must_use]
    pub fn new(file: ReadPlan, playbook: Option<&Path>, state_dir: Option<&Path>) -> Self {
        let plan = &file.plan;
        let playbook = playbook.map_or_else(|| PathBuf::from(&plan.playbook.file), Path::to_owned);
        let folder = state_dir.iter();
        let folder = folder.flat_map(|folder| ["--state-dir".into(), folder.display().to_string()]);
        let variables = plan.variables.iter();
        let variables = variables.map(|(name, value)| (harmless(name), harmless(value)));
        let repeated = Repeated {
            file: playbook.display().to_string(),
            arguments: folder.collect(),
            variables: variables.collect(),
            ..Repeated::default()
        };
        let mut words = plan.selection.arguments();
        words.extend(["--out".to_owned(), file.path.display().to_string()]);
        let again = repeated.command("plan", words.iter().map(String::as_str));
        Self { file, playbook, again }
    }

    /// Describes the plan: `plan 7f3a19c2, made 14m ago by ana@host`.
    #[must_use]
    pub fn described(&self, now: Timestamp) -> String {
        let ReadPlan { plan, sha256, .. } = &self.file;
        let age = text::elapsed(plan.made_at, now);
        harmless(&format!("plan {}, made {age} ago by {}", &sha256[..8], plan.made_by))
    }

    /// Refuses a playbook with another text than the one of the plan.
    ///
    /// # Errors
    ///
    /// Names what was changed in it.
    pub fn check_playbook(&self, playbook: &str, now: Timestamp) -> Result<(), Refusal> {
        let loaded = || load_text("", playbook).ok().map(|loaded| loaded.playbook);
        self.refuse(&self.playbook_changes(playbook, loaded), now)
    }

    fn playbook_changes(&self, text: &str, now: impl FnOnce() -> Option<Playbook>) -> Vec<String> {
        playbook_changes(&self.file.plan, text, now)
    }

    /// Refuses another playbook, another artifact, or other files than those of the plan.
    pub(super) fn check_inputs(&self, session: &Session, now: Timestamp) -> Result<(), Refusal> {
        let plan = &self.file.plan;
        let loaded = &session.loaded;
        let mut changed =
            self.playbook_changes(&loaded.source.text, || Some(loaded.playbook.clone()));
        for (path, then) in &plan.playbook.files {
            let told = match digest_of(&session.inputs.folder.join(path)) {
                Ok(now) if now == *then => continue,
                Ok(_) => "was changed".to_owned(),
                Err(problem) => format!("cannot be read: {problem}"),
            };
            changed.push(format!("file {path}, which the playbook names, {told}"));
        }
        let now_read = session.inputs.artifact.as_ref().map(|digest| &digest.sha256);
        let then = plan.artifact.as_ref();
        if then.map(|artifact| &artifact.sha256) != now_read {
            let file = then.map_or("", |artifact| &artifact.file);
            let short = |digest: Option<&String>| {
                digest.map_or_else(|| "none".to_owned(), |digest| digest.chars().take(8).collect())
            };
            let (then, now) = (short(then.map(|artifact| &artifact.sha256)), short(now_read));
            changed.push(format!("artifact {file} was changed: sha256 {then} -> {now}"));
        }
        self.refuse(&changed, now)
    }

    /// Refuses to run after a change of any node, key or gateway. If the release `is_refused` in any case, a state that
    /// is only unknown is left to that refusal.
    pub(super) fn check(
        &self,
        seen: &Seen,
        is_refused: bool,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let changes = changes(&self.file.plan, seen);
        if is_refused && changes.changed.is_empty() {
            return Ok(());
        }
        self.refuse(&changes.lines(), now)
    }

    /// What the journal records of the plan.
    pub(super) fn recorded(&self, started: Started) -> Started {
        let ReadPlan { plan, sha256, .. } = &self.file;
        let (made_at, made_by) = (plan.made_at, plan.made_by.clone());
        let plan = Some(PlannedBy { sha256: sha256.clone(), made_at, made_by });
        Started { plan, ..started }
    }

    fn refuse(&self, changed: &[String], now: Timestamp) -> Result<(), Refusal> {
        if changed.is_empty() {
            return Ok(());
        }
        let (path, described) = (self.file.path.display().to_string(), self.described(now));
        let number = count(changed.len(), "change");
        let changed: Vec<_> = changed.iter().map(|change| text::line(change, 400)).collect();
        let first = few(changed.clone(), IN_ONE_LINE).join("; ");
        let mut shown = String::new();
        for change in few(changed, SHOWN) {
            shown += &format!("  {change}\n");
        }
        let reason = harmless(&format!("the plan is stale: {first}"));
        let told = format!(
            "error: the plan in {path} is stale ({described}), and nothing was changed; {number} since then:\n{shown}"
        );
        Err(Refusal::told(Cause::Stale, reason, told)
            .hint_at("makes a new plan", self.again.clone()))
    }
}
