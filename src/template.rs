//! Fills in `${{ name }}`, the only templating. There are names but no expressions; an unknown name is an
//! error.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::address;
use crate::secret::{self, Secret};

/// Text with names to be filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Template(String);

/// Names with their values.
pub type Names = BTreeMap<String, String>;

/// Why a template cannot be filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// `${{` without `}}`.
    #[error("`${{{{` is never closed by `}}}}`")]
    Unclosed {
        /// The place, in bytes of the template.
        at: Range<usize>,
    },
    /// The text between the braces is not a name.
    #[error("`{text}` is not a name: only names are filled in, there are no expressions")]
    NotAName {
        /// The text.
        text: String,
        /// The place, in bytes of the template.
        at: Range<usize>,
    },
    /// The name has no value.
    #[error("`{name}` is not known here")]
    Unknown {
        /// The name.
        name: String,
        /// The place, in bytes of the template.
        at: Range<usize>,
    },
}

impl TemplateError {
    /// The place in the template, in bytes.
    #[must_use]
    pub fn at(&self) -> Range<usize> {
        match self {
            Self::Unclosed { at } | Self::NotAName { at, .. } | Self::Unknown { at, .. } => {
                at.clone()
            }
        }
    }
}

/// The name of a node's host, which may be an IPv6 address.
const HOST: &str = "node.host";

const OPEN: &str = "${{";
const CLOSE: &str = "}}";

/// A text whose secrets are inserted only when it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Secret(String),
}

impl Sealed {
    /// The text with its secrets; `None` if one of them was not read.
    #[must_use]
    pub fn open(&self) -> Option<Secret> {
        let open = |piece: &Piece| match piece {
            Piece::Text(text) => Some(text.clone()),
            Piece::Secret(name) => secret::named(name).map(|secret| secret.expose().to_owned()),
        };
        self.0.iter().map(open).collect::<Option<String>>().map(Secret::new)
    }
}

enum Part<'a> {
    Text(&'a str),
    Name(&'a str, Range<usize>),
}

impl Template {
    /// Wraps a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns every name with its place, and every syntax error.
    #[must_use]
    pub fn names(&self) -> (Vec<(&str, Range<usize>)>, Vec<TemplateError>) {
        let (mut names, mut errors) = (Vec::new(), Vec::new());
        for part in self.parts() {
            match part {
                Ok(Part::Name(name, at)) => names.push((name, at)),
                Ok(Part::Text(_)) => {}
                Err(error) => errors.push(error),
            }
        }
        (names, errors)
    }

    /// The text, if it contains no names.
    #[must_use]
    pub fn fixed(&self) -> Option<&str> {
        let (names, errors) = self.names();
        (names.is_empty() && errors.is_empty()).then(|| self.as_str())
    }

    /// The name, if it is a name to fill in and nothing else.
    #[must_use]
    pub fn only_name(&self) -> Option<&str> {
        let (names, _) = self.names();
        match names.as_slice() {
            [(name, at)] if *at == (0..self.0.len()) => Some(name),
            _ => None,
        }
    }

    /// Fills in the names.
    ///
    /// # Errors
    ///
    /// The first unknown or invalid name.
    pub fn fill(&self, names: &Names) -> Result<String, TemplateError> {
        let mut filled = String::with_capacity(self.0.len());
        for part in self.parts() {
            match part? {
                Part::Text(text) => filled.push_str(text),
                Part::Name(name, at) => match names.get(name) {
                    Some(host) if name == HOST && self.needs_brackets(host, &at) => {
                        filled.push_str(&format!("[{host}]"));
                    }
                    Some(value) => filled.push_str(value),
                    None => {
                        return Err(TemplateError::Unknown { name: name.into(), at });
                    }
                },
            }
        }
        Ok(filled)
    }

    /// Fills in the names, except those of secrets.
    ///
    /// # Errors
    ///
    /// The first unknown or invalid name.
    pub fn seal(&self, names: &Names) -> Result<Sealed, TemplateError> {
        let piece = |part| match part {
            Ok(Part::Name(name, at)) => match (name.strip_prefix("secrets."), names.get(name)) {
                (Some(secret), _) => Ok(Piece::Secret(secret.into())),
                (None, Some(value)) => Ok(Piece::Text(value.clone())),
                (None, None) => Err(TemplateError::Unknown { name: name.into(), at }),
            },
            Ok(Part::Text(text)) => Ok(Piece::Text(text.into())),
            Err(error) => Err(error),
        };
        self.parts().into_iter().map(piece).collect::<Result<_, _>>().map(Sealed)
    }

    /// Returns whether the host is in a URL or before a port, where IPv6 needs brackets.
    fn needs_brackets(&self, host: &str, at: &Range<usize>) -> bool {
        let (before, behind) = (&self.0[..at.start], &self.0[at.end..]);
        address::is_ipv6(host)
            && !host.starts_with('[')
            && !before.ends_with('[')
            && (before.ends_with("://") || behind.starts_with(':'))
    }

    fn parts(&self) -> Vec<Result<Part<'_>, TemplateError>> {
        let mut parts = Vec::new();
        let mut at = 0;
        while let Some(start) = self.0[at..].find(OPEN).map(|offset| at + offset) {
            parts.push(Ok(Part::Text(&self.0[at..start])));
            let inner = start + OPEN.len();
            let Some(end) = self.0[inner..].find(CLOSE).map(|offset| inner + offset) else {
                parts.push(Err(TemplateError::Unclosed { at: start..inner }));
                return parts;
            };
            let name = self.0[inner..end].trim();
            let place = start..end + CLOSE.len();
            parts.push(if is_name(name) {
                Ok(Part::Name(name, place))
            } else {
                Err(TemplateError::NotAName { text: name.into(), at: place })
            });
            at = end + CLOSE.len();
        }
        parts.push(Ok(Part::Text(&self.0[at..])));
        parts
    }
}

/// Returns whether `text` may be a name: words of letters, digits, `_`, `-`, joined by dots.
fn is_name(text: &str) -> bool {
    text.split('.').all(|word| {
        word.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && word.chars().all(|rest| rest.is_ascii_alphanumeric() || "_-".contains(rest))
    })
}

impl JsonSchema for Template {
    fn schema_name() -> Cow<'static, str> {
        "Template".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Text in which `${{ name }}` is filled in.",
            "type": "string",
            "format": "rollgate-template",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names::from([
            ("version".into(), "2".into()),
            ("node.address".into(), "10.0.0.1:80".into()),
            ("tricky".into(), "${{ version }}".into()),
        ])
    }

    #[test]
    fn names_are_filled_in_and_the_shell_keeps_its_own() {
        let template =
            Template::new("${HOME} ${{version}} http://${{ node.address }}/ $$ ${{ tricky }}");
        assert_eq!(
            template.fill(&names()).as_deref(),
            Ok("${HOME} 2 http://10.0.0.1:80/ $$ ${{ version }}")
        );
    }

    #[test]
    fn an_ipv6_host_has_brackets_where_a_url_or_a_port_needs_them() {
        for (host, text, filled) in [
            ("::1", "ping ${{ node.host }}", "ping ::1"),
            ("::1", "http://${{ node.host }}/", "http://[::1]/"),
            ("::1", "${{ node.host }}:${{ version }}", "[::1]:2"),
            ("::1", "http://[${{ node.host }}]:1/", "http://[::1]:1/"),
            ("10.0.0.1", "http://${{ node.host }}:1/", "http://10.0.0.1:1/"),
            ("app-1", "${{ node.host }}:1", "app-1:1"),
        ] {
            let mut names = names();
            names.insert("node.host".into(), host.into());
            assert_eq!(Template::new(text).fill(&names).as_deref(), Ok(filled), "{text}");
        }
    }

    #[test]
    fn unknown_or_invalid_name_is_an_error_with_its_place() {
        let unknown = Template::new("v${{ verison }}").fill(&names());
        assert_eq!(unknown, Err(TemplateError::Unknown { name: "verison".into(), at: 1..15 }));
        let (_, errors) = Template::new("${{ a + 1 }} ${{").names();
        assert_eq!(errors.len(), 2);
        assert_eq!(errors[0].at(), 0..12);
        assert_eq!(errors[1].to_string(), "`${{` is never closed by `}}`");
    }
}
