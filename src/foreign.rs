//! Values from nodes, gateways, Consul and journals. They are compared and shown, and become part of a
//! command, a path or a URL only after they passed the check for their kind.
//!
//! Templates and names require text, and these types are not text: the compiler refuses an unchecked value.
//!
//! ```compile_fail,E0277
//! use rollgate::{foreign::Foreign, playbook::Names};
//! let told = Foreign::new("1; touch x");
//! let names: Names = [("version".to_owned(), told)].into_iter().collect();
//! ```

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern::Pattern;
use crate::text;

/// How much of a value is shown, in characters.
const SHOWN: usize = 200;

/// The longest value that may be filled in, in bytes.
const LONGEST: usize = 64;

/// The longest file name.
const LONGEST_NAME: usize = 255;

/// A value from another program.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Foreign(String);

/// Why a value from another program is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unfit(String);

impl From<&str> for Foreign {
    fn from(said: &str) -> Self {
        Self(said.to_owned())
    }
}

impl fmt::Debug for Foreign {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Foreign({:?})", self.shown())
    }
}

impl Foreign {
    /// Wraps a value.
    #[must_use]
    pub fn new(said: impl Into<String>) -> Self {
        Self(said.into())
    }

    /// The value for display: one harmless line of bounded length, without secrets.
    #[must_use]
    pub fn shown(&self) -> String {
        text::line(&self.0, SHOWN)
    }

    /// Returns whether it is exactly this text.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        self.0 == text
    }

    /// Returns the value if it may be filled into a command: a plain word of letters, digits, `.`, `_`, `+`
    /// and `-` that also matches the pattern, if there is one.
    ///
    /// # Errors
    ///
    /// Gives the reason for the refusal.
    pub fn checked(&self, pattern: Option<&str>) -> Result<String, Unfit> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
        let is_word = self.0.len() <= LONGEST
            && self.0.bytes().all(plain)
            && self.0.bytes().any(|byte| byte != b'.')
            && !self.0.starts_with('-');
        if !is_word {
            return Err(Unfit(format!(
                "`{}` is not a plain word (letters, digits, `.`, `_`, `+`, `-`, at most {LONGEST})",
                text::line(&self.0, 80)
            )));
        }
        self.matches(pattern)?;
        Ok(self.0.clone())
    }

    /// Returns whether it matches a pattern, if there is one, by the rule for given variables.
    ///
    /// # Errors
    ///
    /// Names the pattern that it must match.
    pub fn matches(&self, pattern: Option<&str>) -> Result<(), Unfit> {
        let Some(pattern) = pattern else { return Ok(()) };
        let compiled = Pattern::new(pattern).map_err(Unfit)?;
        if compiled.matches(&self.0) {
            return Ok(());
        }
        let shown = text::line(&self.0, 80);
        Err(Unfit(format!("`{shown}` does not match `{}`", text::line(pattern, 80))))
    }

    /// The last part of a path, if it may become a part of another path.
    #[must_use]
    pub fn file_name(&self) -> Option<Result<String, Unfit>> {
        let name = self.0.rsplit('/').find(|part| !part.is_empty())?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._@+-".contains(&byte);
        let is_name = name.len() <= LONGEST_NAME
            && name.bytes().all(plain)
            && name.bytes().any(|byte| byte != b'.')
            && !name.starts_with('-');
        Some(if is_name {
            Ok(name.to_owned())
        } else {
            Err(Unfit(format!("`{}` is not a plain file name", text::line(name, 80))))
        })
    }

    /// Returns whether it is this path, or a relative path with the same last part.
    #[must_use]
    pub fn leads_to(&self, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        self.0.trim_end_matches('/') == path
            || (!self.0.starts_with('/') && self.0.ends_with(&format!("/{name}")))
    }
}

/// Data of a release from its journal, to be used only after a check against a playbook.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Recorded<T>(T);

impl<T> Recorded<T> {
    /// Records data of a release.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The recorded data, for code that checks it.
    pub(crate) fn unchecked(&self) -> &T {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_word_that_matches_is_filled_in() {
        let checked = |text: &str, pattern| Foreign::new(text).checked(pattern);
        for version in ["1", "2.7.1", "v1_2-rc+4", "20261129", "a".repeat(64).as_str()] {
            assert_eq!(checked(version, None).as_deref(), Ok(version));
        }
        let long = "a".repeat(65);
        for evil in [
            "",
            ".",
            "..",
            "-rf",
            "1;touch x",
            "$(id)",
            "`id`",
            "a b",
            "a\nb",
            "a/b",
            "a\\b",
            "ä",
            "1\u{200b}",
            "'",
            "a=b",
            "~",
            "*",
            "${{ x }}",
            &long,
        ] {
            let error = checked(evil, None).expect_err(evil).to_string();
            assert_eq!(error, text::harmless(&error), "{error:?}");
        }
        assert_eq!(checked("2", Some("^[0-9.]+$")).as_deref(), Ok("2"));
        let error = checked("beta", Some("^[0-9.]+$")).expect_err("no number").to_string();
        assert_eq!(error, "`beta` does not match `^[0-9.]+$`");
        // A pattern that matches everything does not make it a plain word.
        assert!(checked("1;touch x", Some("1")).is_err());
    }

    #[test]
    fn only_a_plain_name_at_the_end_of_a_link_is_used() {
        let name = |link: &str| Foreign::new(link).file_name();
        assert_eq!(name("/srv/releases/app-1-00000000/"), Some(Ok("app-1-00000000".into())));
        assert_eq!(name("/"), None);
        for evil in ["..", "a b", "$(reboot)", "-x", "a\nb"] {
            assert!(name(&format!("/srv/{evil}")).is_some_and(|name| name.is_err()), "{evil}");
        }
        let link = Foreign::new("/srv/r/app-1/");
        assert!(link.leads_to("/srv/r/app-1") && !link.leads_to("/other/app-1"));
        assert!(Foreign::new("r/app-1").leads_to("/srv/r/app-1"));
    }
}
