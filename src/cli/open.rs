//! Makes a session from arguments and the environment: the playbook, its variables, its secrets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf, absolute};

use jiff::Timestamp;

use super::arguments::{Global, PlaybookArguments, SelectionArguments};
use super::{environment, variables};
use crate::consul::Settings;
use crate::journal;
use crate::ops::session::OPEN;
use crate::ops::{Bound, Cause, Refusal, Secrets, Session};
use crate::playbook::{self, Loaded, Playbook};
use crate::release::{Inputs, Started};
use crate::report::print_stderr;
use crate::secret;
use crate::spec::{by_hand, read_secrets, with_open};
use crate::text::harmless;

/// What to do when a required variable has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// Refuse the command.
    Refuse,
    /// Use the value from the last release, or leave it open if the change of a node does not need it, or refuse.
    FromLast,
    /// Use the value from the last release, or leave it open. The command changes nothing.
    Open,
    /// Leave it open. The nodes restart with what they run.
    Kept,
}

impl From<&SelectionArguments> for Missing {
    fn from(selection: &SelectionArguments) -> Self {
        if selection.restart { Self::Kept } else { Self::Refuse }
    }
}

/// Reads a playbook, and prints its warnings. A refusal lists all its problems.
pub(super) fn load(file: &Path) -> Result<Loaded, Refusal> {
    let loaded = playbook::load(file).map_err(Refusal::invalid)?;
    warn(&loaded);
    Ok(loaded)
}

fn warn(loaded: &Loaded) {
    for warning in loaded.playbook.warnings() {
        print_stderr(&format!("warning: {warning}\n"));
    }
}

/// Reads a playbook and all its inputs.
pub(super) fn open(
    arguments: &PlaybookArguments,
    global: &Global,
    missing: Missing,
) -> Result<Session, Refusal> {
    let loaded = load(&arguments.file)?;
    let given = |playbook: &Playbook| variables::given(&arguments.variables, playbook);
    opened(loaded, &arguments.file, global, missing, given)
}

/// Reads the playbook of a plan file, and takes all other inputs from the plan.
pub(super) fn open_planned(bound: &Bound, global: &Global) -> Result<Session, Refusal> {
    let (file, plan) = (&bound.playbook, &bound.file.plan);
    let now = Timestamp::now();
    let loaded = match playbook::load(file) {
        Ok(loaded) => loaded,
        Err(invalid) if invalid.source.text.is_empty() => {
            return Err(Refusal::invalid(invalid).hint(
                "run `deploy --plan` in the folder in which the plan was made, or name the playbook: deploy FILE \
                 --plan PLAN",
            ));
        }
        Err(invalid) => {
            bound.check_playbook(&invalid.source.text, now)?;
            return Err(Refusal::invalid(invalid));
        }
    };
    bound.check_playbook(&loaded.source.text, now)?;
    warn(&loaded);
    let missing = if plan.selection.restart { Missing::Kept } else { Missing::Refuse };
    let given = |playbook: &Playbook| variables::planned(&plan.variables, playbook);
    opened(loaded, file, global, missing, given)
}

fn opened(
    loaded: Loaded,
    file: &Path,
    global: &Global,
    missing: Missing,
    given: impl FnOnce(&Playbook) -> Result<BTreeMap<String, String>, Refusal>,
) -> Result<Session, Refusal> {
    let folder = folder_of(file)?;
    let secrets = read(&loaded.playbook, &folder)?;
    let state = global.state_dir.clone().unwrap_or_else(|| folder.join(".rollgate"));
    if state.exists() && !state.is_dir() {
        let problem =
            format!("the state folder {} is not a folder", harmless(&state.display().to_string()));
        return Err(
            Refusal::new(Cause::Invalid, problem).hint("nothing was changed; see --state-dir")
        );
    }
    let state = state.join(&loaded.playbook.service);
    let mut variables = given(&loaded.playbook)?;
    let mut unused = BTreeMap::new();
    if matches!(missing, Missing::FromLast | Missing::Open)
        && let Some(last) = last_started(&state)
    {
        for (name, value) in last.inputs.each(&loaded.playbook, &BTreeMap::new()) {
            match value {
                Ok(value) => drop(variables.entry(name.to_owned()).or_insert(value)),
                Err(why) => drop(unused.insert(name.to_owned(), why)),
            }
        }
    }
    if missing == Missing::Kept {
        refuse_version(&loaded.playbook, &variables)?;
    }
    let is_open = matches!(missing, Missing::Open | Missing::Kept);
    // The id has eight hex digits. It is short enough to type, and unique in a service's history.
    let release = format!("{:08x}", fastrand::u32(..));
    let mut inputs = Inputs { release, folder, variables, artifact: None };
    if is_open {
        inputs = with_open(&loaded.playbook, &inputs);
    }
    let may_miss = missing == Missing::FromLast && by_hand(&loaded.playbook, &inputs).is_ok();
    let mut problems = variables::wrong(&loaded, &inputs.variables, &unused, is_open, may_miss);
    problems.extend(secrets.misplaced(&loaded, &inputs.variables));
    if !problems.is_empty() {
        return Err(Refusal::invalid(loaded.invalid(problems)));
    }
    if missing == Missing::Kept {
        inputs.variables.retain(|_, value| value != OPEN);
    }
    Ok(Session {
        loaded,
        file: file.to_owned(),
        inputs,
        state,
        state_dir: global.state_dir.clone(),
        before: Vec::new(),
        toward: Vec::new(),
        restart: missing == Missing::Kept,
        secrets,
    })
}

/// Refuses a value that says what to deploy: a restart deploys nothing.
fn refuse_version(playbook: &Playbook, given: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let names = playbook.release_variables();
    let Some(name) = given.keys().find(|name| names.contains(name.as_str())) else { return Ok(()) };
    let problem = format!(
        "`--restart` keeps the version of each node, but the variable `{name}` says what to deploy"
    );
    let hint = format!(
        "leave out `--restart` to deploy, or leave out `{name}` (--var, --var-file, ROLLGATE_VAR_{name}) to restart"
    );
    Err(Refusal::new(Cause::Invalid, problem).hint(hint))
}

fn folder_of(file: &Path) -> Result<PathBuf, Refusal> {
    let folder = file.parent().unwrap_or(Path::new(""));
    let folder = absolute(folder).unwrap_or_else(|_| folder.to_owned());
    if folder.to_str().is_none() {
        let problem =
            format!("the path of the playbook's folder is not UTF-8: {}", folder.display());
        return Err(Refusal::new(Cause::Invalid, problem)
            .hint("journals store this path: move the playbook to a folder whose path is UTF-8"));
    }
    Ok(folder)
}

/// Reads a playbook's secrets. From now on, removes them from every text and from every child process.
fn read(playbook: &Playbook, folder: &Path) -> Result<Secrets, Refusal> {
    let invalid = |problem: String| Refusal::new(Cause::Invalid, problem);
    let named = read_secrets(playbook, folder, environment::variable).map_err(invalid)?;
    let settings = Settings::from_environment(|name| std::env::var(name).ok());
    let consul = settings.map_err(invalid)?.secrets();
    let variables = playbook.secrets.values().filter_map(|source| source.env.clone());
    secret::remember(consul.iter().cloned(), variables);
    secret::remember_named(&named);
    let called = |secret| ("of Consul's environment variables".to_owned(), secret);
    Ok(Secrets { named, consul: consul.into_iter().map(called).collect() })
}

/// Returns the first record of a service's last release.
fn last_started(state: &Path) -> Option<Started> {
    let (_, release) = journal::read(&journal::latest(state)?).ok()?;
    release.started
}
