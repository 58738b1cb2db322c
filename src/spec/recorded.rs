//! The inputs of a release as its journal has them, and what may be done with them.

use std::collections::BTreeMap;

use super::{Digest, Inputs};
use crate::foreign::{Foreign, Recorded};
use crate::playbook::{Playbook, Variable};
use crate::text;

impl Digest {
    /// Whether it can be one: it becomes a part of names and of commands.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        self.sha256.len() == 64 && self.sha256.bytes().all(hex)
    }
}

impl Recorded<Inputs> {
    /// The release's id, as it is told. Where a journal is read it is the one that was asked for.
    #[must_use]
    pub fn release(&self) -> &str {
        &self.unchecked().release
    }

    /// The same without all but the release's id.
    #[must_use]
    pub(crate) fn outline(&self) -> Self {
        Self::new(Inputs { release: self.release().to_owned(), ..Inputs::default() })
    }

    /// How much of it there is to keep, in bytes.
    #[must_use]
    pub(crate) fn size(&self) -> usize {
        let inputs = self.unchecked();
        let variables = inputs.variables.iter().map(|(name, value)| name.len() + value.len());
        variables.sum::<usize>() + inputs.folder.as_os_str().len()
    }

    /// The variables, for people and for commands that they may type: each value must be quoted.
    pub fn shown(&self) -> impl Iterator<Item = (String, String)> {
        let variables = self.unchecked().variables.iter();
        variables.map(|(name, value)| (text::harmless(name), text::harmless(value)))
    }

    /// The artifact's digest, if it can be one.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.unchecked().artifact.as_ref().filter(|digest| digest.is_sound())
    }

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
pub fn followed(playbook: &Playbook, variables: &BTreeMap<String, String>) -> Result<(), String> {
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
