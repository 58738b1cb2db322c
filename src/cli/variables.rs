//! The values of a playbook's variables. They come from the environment, files and the command line. Each is validated
//! before it is used.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use super::arguments::VariableArguments;
use super::environment;
use crate::diagnostic::Problem;
use crate::file;
use crate::ops::{Cause, Refusal};
use crate::pattern::Pattern;
use crate::playbook::{Loaded, Playbook};
use crate::report::print_stderr;
use crate::secret::literal;
use crate::text::did_you_mean;

/// The prefix of environment variables that set variables of a playbook.
const VARIABLE_PREFIX: &str = "ROLLGATE_VAR_";

/// The size limit of a file of variables, in bytes.
const LARGEST_FILE: u64 = 1024 * 1024;

/// Reads the given values. Their priority, from low to high: the environment, files, the command line. The playbook's
/// defaults have the lowest priority.
pub(super) fn given(
    arguments: &VariableArguments,
    playbook: &Playbook,
) -> Result<BTreeMap<String, String>, Refusal> {
    let mut variables = BTreeMap::new();
    // The environment may contain variables of other playbooks.
    for name in playbook.variables.keys() {
        variables.extend(in_environment(name)?.map(|value| (name.clone(), value)));
    }
    for file in &arguments.variable_files {
        variables.extend(of_file(file)?);
    }
    for variable in &arguments.variables {
        let (name, value) = assignment(variable).ok_or_else(|| {
            Refusal::new(Cause::Invalid, format!("--var {variable}: expected NAME=VALUE"))
        })?;
        variables.insert(name, value);
    }
    Ok(variables)
}

/// Returns the variables of a plan, and warns of values in the environment that the plan does not use.
pub(super) fn planned(
    plan: &BTreeMap<String, String>,
    playbook: &Playbook,
) -> Result<BTreeMap<String, String>, Refusal> {
    for name in playbook.variables.keys() {
        let other = in_environment(name)?;
        if other.is_some() && other.as_ref() != plan.get(name) {
            print_stderr(&format!(
                "warning: {VARIABLE_PREFIX}{name} is not used: the plan has its own variables\n"
            ));
        }
    }
    Ok(plan.clone())
}

/// The value of a variable in the environment.
fn in_environment(name: &str) -> Result<Option<String>, Refusal> {
    let value = environment::variable(&format!("{VARIABLE_PREFIX}{name}"));
    let value = value.map_err(|problem| Refusal::new(Cause::Invalid, problem))?;
    // A line break at the end comes from the file that set the variable.
    Ok(value.map(|value| value.trim_end_matches(['\r', '\n']).to_owned()))
}

fn of_file(file: &Path) -> Result<BTreeMap<String, String>, Refusal> {
    let text = file::read_text(file, LARGEST_FILE).map_err(|problem| {
        Refusal::new(
            Cause::Invalid,
            format!("cannot read --var-file {}: {problem}", file.display()),
        )
    })?;
    let mut variables = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = assignment(line).ok_or_else(|| {
            let place = format!("{}:{}", file.display(), number + 1);
            Refusal::new(Cause::Invalid, format!("{place}: expected `name=value`"))
        })?;
        variables.insert(name, value);
    }
    Ok(variables)
}

fn assignment(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    let name = name.trim();
    (!name.is_empty()).then(|| (name.to_owned(), value.trim().to_owned()))
}

/// Returns a problem for each variable that is unknown, missing, or not valid for the playbook. With `open`, values may
/// be missing or invalid; with `may_miss`, they may be missing. `unused` explains why the value from the last release does
/// not replace a missing one.
pub(super) fn wrong(
    loaded: &Loaded,
    given: &BTreeMap<String, String>,
    unused: &BTreeMap<String, String>,
    open: bool,
    may_miss: bool,
) -> Vec<Problem> {
    let declared = &loaded.playbook.variables;
    let mut problems = Vec::new();
    for name in given.keys().filter(|name| !declared.contains_key(*name)) {
        let mut message = format!("the playbook has no variable `{name}`");
        if let Some(meant) = did_you_mean(name, declared.keys().map(String::as_str)) {
            let _ = write!(message, ", did you mean `{meant}`?");
        }
        problems.push(Problem::new(message));
    }
    for (name, variable) in declared {
        let path = format!("variables.{name}");
        match given.get(name) {
            None if variable.required && !may_miss => problems.push(
                loaded
                    .problem(&path, format!("variable `{name}` is required and has no value"))
                    .help(how_to_give(name))
                    .helps(unused.get(name).map(|why| {
                        format!("the value of the last release is not used: {why}")
                    })),
            ),
            Some(value) if literal::logins(value).next().is_some() => problems.push(
                loaded
                    .problem(
                        &path,
                        format!("the value of `{name}` has a user and a password in it"),
                    )
                    .help("variables are shown and written to journals: remove the user and the password"),
            ),
            Some(value) if !open => {
                let pattern = variable.pattern.as_deref();
                let pattern = pattern.and_then(|pattern| Pattern::new(pattern).ok());
                let admitted = pattern.as_ref().is_some_and(|pattern| pattern.matches(value));
                if variable.required && value.is_empty() && !admitted {
                    problems.push(
                        loaded
                            .problem(&path, format!("variable `{name}` is required and is empty"))
                            .help(how_to_give(name)),
                    );
                } else if let Some(pattern) = pattern.filter(|pattern| !pattern.matches(value)) {
                    let pattern = pattern.as_str();
                    let value = if literal::is_secret_key(name) {
                        "what was given".to_owned()
                    } else {
                        format!("`{value}`")
                    };
                    let message =
                        format!("{value} is not a valid value for `{name}`: it must match {pattern}");
                    problems.push(loaded.problem(&path, message));
                }
            }
            None | Some(_) => {}
        }
    }
    problems
}

fn how_to_give(name: &str) -> String {
    format!("give it with --var {name}=VALUE or {VARIABLE_PREFIX}{name}")
}
