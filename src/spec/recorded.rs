//! The inputs of a release as its journal has them, and what may be done with them.

use std::collections::BTreeMap;

use crate::foreign::{Foreign, Recorded};
use crate::playbook::{Playbook, Variable};
use crate::release::Inputs;
use crate::text;

impl Recorded<Inputs> {
    /// What a command goes on with that follows the playbook of the same journal.
    ///
    /// # Errors
    ///
    /// Names a variable that the playbook does not have, or whose value is not as the playbook wants it.
    pub fn followed(&self, playbook: &Playbook) -> Result<Inputs, String> {
        let inputs = self.unchecked();
        followed(playbook, &inputs.variables)?;
        Ok(Inputs { artifact: self.digest().cloned(), ..inputs.clone() })
    }

    /// The variables that bring back what this release brought, filled into a playbook that is the operator's own.
    ///
    /// A value that was given for this run, or that is the playbook's default, is the operator's word; any other must
    /// be a plain word that matches its pattern.
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

    /// The same for each variable on its own.
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

/// Returns a value of others if it may be filled in for a variable.
///
/// # Errors
///
/// Says which variable it is, and why it may not.
pub fn fillable(name: &str, variable: &Variable, value: &str) -> Result<String, String> {
    let checked = Foreign::new(value).checked(variable.pattern.as_deref());
    checked.map_err(|unfit| format!("variable `{}`: {unfit}", text::line(name, 60)))
}

/// Checks variables of a journal against the playbook of that journal.
///
/// # Errors
///
/// Names one that the playbook does not have, or whose value is not as it wants it.
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
