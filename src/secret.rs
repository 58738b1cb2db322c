//! Values that must never be shown.

mod known;
pub mod literal;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

pub use known::{
    hide, hide_cut, hide_front, hide_value, is_known, known, named, remember, remember_named,
    variables,
};

/// A value that is used but never printed: no `Display`, a redacting `Debug`, no `Serialize`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, only for the code that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(STARS)
    }
}

/// Replaces known secret values in text that is about to leave the process.
#[derive(Debug, Clone, Default)]
pub struct Redactor(Vec<Secret>);

/// The replacement of a secret.
pub(crate) const STARS: &str = "***";

/// Shorter values are not replaced: they would turn ordinary text into stars.
const SHORTEST: usize = 4;

/// A part of a secret of this length reveals too much; a shorter one is ordinary text.
pub const TELLING: usize = 8;

/// Which ends of a text were cut off, where a part of a secret may remain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The text begins somewhere in the middle.
    Front,
    /// The text ends somewhere in the middle.
    Back,
}

impl Redactor {
    /// Finds these values in every form in which rollgate itself may write them.
    #[must_use]
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        let forms: BTreeSet<_> = secrets.into_iter().flat_map(|secret| forms(&secret.0)).collect();
        let mut secrets: Vec<_> = forms.into_iter().map(Secret).collect();
        // The longest first, so that a secret that contains another one is replaced as a whole.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.0.len()));
        Self(secrets)
    }

    /// Returns whether it knows no secret.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns `text` with every known secret as `***`.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.0 {
            if text.contains(&secret.0) {
                text = text.replace(&secret.0, STARS);
            }
        }
        text
    }

    /// Returns the places of secrets in a text.
    pub fn places<'a>(&'a self, text: &'a str) -> impl Iterator<Item = Range<usize>> {
        self.0.iter().flat_map(|Secret(secret)| {
            text.match_indices(secret.as_str()).map(|(at, _)| at..at + secret.len())
        })
    }

    /// The same for a text that was cut: a part of a secret at that end is removed too.
    #[must_use]
    pub fn redact_cut(&self, text: &str, cut: Cut) -> String {
        let mut text = self.redact(text);
        if let Some(part) = self.left_at(text.as_bytes(), cut) {
            text.replace_range(part, STARS);
        }
        text
    }

    /// Removes a part of a secret from the front of output that was cut there.
    pub fn redact_front(&self, bytes: &mut Vec<u8>) {
        if let Some(part) = self.left_at(bytes, Cut::Front) {
            bytes.splice(part, STARS.bytes());
        }
    }

    fn left_at(&self, text: &[u8], cut: Cut) -> Option<Range<usize>> {
        let left = self.0.iter().filter_map(|secret| cut.left(text, secret.0.as_bytes()));
        let length = left.max()?;
        Some(match cut {
            Cut::Front => 0..length,
            Cut::Back => text.len() - length..text.len(),
        })
    }

    /// Redacts every text within a JSON value; keys are names and stay.
    pub fn redact_value(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.redact(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.redact_value(item)),
            Value::Object(map) => map.values_mut().for_each(|item| self.redact_value(item)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

impl Cut {
    /// The length of the longest revealing part of a secret at this end of a text.
    fn left(self, text: &[u8], secret: &[u8]) -> Option<usize> {
        (TELLING..=secret.len()).rev().find(|length| match self {
            Self::Front => text.starts_with(&secret[secret.len() - length..]),
            Self::Back => text.ends_with(&secret[..*length]),
        })
    }
}

/// Every form in which rollgate itself may write a secret: unchanged, line by line, with joined white space,
/// in a URL, in JSON.
fn forms(secret: &str) -> Vec<String> {
    let trimmed = secret.trim();
    if trimmed.len() < SHORTEST {
        return Vec::new();
    }
    let joined = trimmed.split_whitespace().collect::<Vec<_>>().join(" ");
    let json = Value::from(trimmed).to_string();
    let mut forms = vec![
        secret.to_owned(),
        trimmed.to_owned(),
        joined,
        json[1..json.len() - 1].to_owned(),
        utf8_percent_encode(trimmed, NON_ALPHANUMERIC).to_string(),
    ];
    let lines = trimmed.lines().map(str::trim).filter(|line| line.len() >= TELLING);
    forms.extend(lines.map(str::to_owned));
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "b1gs5ecr-7e57-4a4a";

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret::new("hunter22");
        assert_eq!(format!("{secret:?}"), "***");
        let redactor = Redactor::new([secret, Secret::new("hunter22-long"), Secret::new("a")]);
        assert_eq!(redactor.redact("say hunter22-long and hunter22"), "say *** and ***");
    }

    #[test]
    fn a_secret_is_found_in_every_form_that_rollgate_writes() {
        let key = "-----BEGIN KEY-----\nMIIEvQIB/+ADANBg\nx=\n-----END KEY-----\n";
        let redactor = Redactor::new([Secret::new("p\"a/ss word"), Secret::new(key)]);
        for (text, shown) in [
            ("p\"a/ss word", "***"),
            (r#"{"k":"p\"a/ss word"}"#, r#"{"k":"***"}"#),
            ("?p=p%22a%2Fss%20word&x", "?p=***&x"),
            ("a line: MIIEvQIB/+ADANBg", "a line: ***"),
            (&key.replace('\n', " "), "*** "),
        ] {
            assert_eq!(redactor.redact(text), shown);
        }
    }

    #[test]
    fn part_of_a_secret_at_a_cut_end_is_not_shown() {
        let redactor = Redactor::new([Secret::new(TOKEN)]);
        for length in 1..=TOKEN.len() {
            let telling = length >= TELLING;
            let end = &TOKEN[TOKEN.len() - length..];
            let front = redactor.redact_cut(&format!("{end} is the rest"), Cut::Front);
            assert_eq!(front == "*** is the rest", telling, "{front}");
            let start = &TOKEN[..length];
            let back = redactor.redact_cut(&format!("the token is {start}"), Cut::Back);
            assert_eq!(back == "the token is ***", telling, "{back}");
        }
        let inside = format!("x{}", &TOKEN[..TELLING]);
        assert_eq!(redactor.redact_cut(&inside, Cut::Front), inside, "no end was cut there");
    }
}
