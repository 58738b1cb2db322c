//! The inputs of a release from its journal, and how they may be used.

use std::collections::BTreeMap;

use crate::foreign::{Foreign, Recorded};
use crate::playbook::{Playbook, Variable};
use crate::release::Inputs;
use crate::text;

impl Recorded<Inputs> {
    /// The inputs for a command that follows the playbook of the same journal.
    ///
    /// # Errors
    ///
    /// Names a variable that the playbook does not have, or whose value the playbook does not allow.
    pub fn followed(&self, playbook: &Playbook) -> Result<Inputs, String> {
        let inputs = self.unchecked();
        followed(playbook, &inputs.variables)?;
        Ok(Inputs { artifact: self.digest().cloned(), ..inputs.clone() })
    }

    /// The variables that restore what this release deployed, for the operator's own playbook.
    ///
    /// A value from the command line, or one that is the playbook's default, is the operator's own. Any other
    /// value must be a plain word that matches its pattern.
    ///
    /// # Errors
    ///
    /// Names a variable whose value must not be filled in.
    pub fn restored(
        &self,
        playbook: &Playbook,
        given: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, String> {
        let each = self.each(playbook, given).map(|(name, value)| Ok((name.to_owned(), value?)));
        each.collect()
    }

    /// The same for each variable separately.
    pub fn each<'a>(
        &'a self,
        playbook: &'a Playbook,
        given: &'a BTreeMap<String, String>,
    ) -> impl Iterator<Item = (&'a str, Result<String, String>)> {
        let declared = self.unchecked().variables.iter();
        let declared = declared.filter_map(|(name, value)| {
            Some((name.as_str(), value, playbook.variables.get(name)?))
        });
        declared.map(|(name, value, variable)| {
            let is_own = given.get(name) == Some(value) || variable.default.as_ref() == Some(value);
            (name, if is_own { Ok(value.clone()) } else { fillable(name, variable, value) })
        })
    }
}

/// Returns a recorded value if it may be filled in for a variable.
///
/// # Errors
///
/// Names the variable and why its value is not allowed.
pub fn fillable(name: &str, variable: &Variable, value: &str) -> Result<String, String> {
    let checked = Foreign::new(value).checked(variable.pattern.as_deref());
    checked.map_err(|unfit| format!("variable `{}`: {unfit}", text::line(name, 60)))
}

/// Checks variables of a journal against the playbook of that journal.
///
/// # Errors
///
/// Names one that the playbook does not have, or whose value it does not allow.
pub(super) fn followed(
    playbook: &Playbook,
    variables: &BTreeMap<String, String>,
) -> Result<(), String> {
    for (name, value) in variables {
        let shown = text::line(name, 60);
        let Some(variable) = playbook.variables.get(name) else {
            return Err(format!("its playbook has no variable `{shown}`"));
        };
        let matches = Foreign::new(value.as_str()).matches(variable.pattern.as_deref());
        matches.map_err(|unfit| format!("variable `{shown}`: {unfit}"))?;
    }
    Ok(())
}
