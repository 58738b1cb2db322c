//! Values that must never be shown.

use std::fmt;

use serde_json::Value;

/// A value that is used but never printed: no `Display`, a redacting `Debug`, no `Serialize`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the one place that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

/// Replaces known secret values in text that is about to leave the process.
#[derive(Debug, Clone, Default)]
pub struct Redactor(Vec<Secret>);

/// Shorter values are not replaced: they would turn ordinary text into stars.
const SHORTEST: usize = 4;

impl Redactor {
    /// Knows these values from now on.
    #[must_use]
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        let mut secrets: Vec<_> =
            secrets.into_iter().filter(|secret| secret.0.len() >= SHORTEST).collect();
        // The longest first, so that a secret containing another one goes as a whole.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.0.len()));
        Self(secrets)
    }

    /// Returns `text` with every known secret as `***`.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.0 {
            if text.contains(&secret.0) {
                text = text.replace(&secret.0, "***");
            }
        }
        text
    }

    /// Does the same to every text within a JSON value; keys are names and stay.
    pub fn redact_value(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.redact(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.redact_value(item)),
            Value::Object(map) => map.values_mut().for_each(|item| self.redact_value(item)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret::new("hunter22");
        assert_eq!(format!("{secret:?}"), "***");
        let redactor = Redactor::new([secret, Secret::new("hunter22-long"), Secret::new("a")]);
        assert_eq!(redactor.redact("say hunter22-long and hunter22"), "say *** and ***");
    }
}
