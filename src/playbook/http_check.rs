//! The HTTP check of `health`: its request, and the reply that it expects.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Value, json};

use super::Template;

/// An HTTP check: only its URL, or with settings.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct HttpCheckSpec(pub HttpCheckSettings);

/// The long form of [`HttpCheckSpec`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpCheckSettings {
    /// The URL.
    pub url: Template,
    /// The method of the request.
    #[serde(default, skip_serializing_if = "HttpMethod::is_get")]
    pub method: HttpMethod,
    /// Headers of the request. A value may name secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Template>,
    /// The `Host` header, if it differs from the URL's host. With `https://`, the certificate must be for this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Template>,
    /// A login of HTTP's basic authentication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    /// A PEM file with the only authorities that may have signed the server's certificate; relative to the playbook.
    /// Default: those of the system, or of `SSL_CERT_FILE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// Accept any certificate. Every command warns about it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure: bool,
    /// The expected statuses: `200`, `200-299`, or a list of both. Default: 200 to 299.
    #[serde(default, skip_serializing_if = "Statuses::is_default")]
    pub expect: Statuses,
    /// Text that the body must contain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Template>,
    /// Follow up to five redirects. By default a redirect is a reply like any other.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub follow_redirects: bool,
}

/// A login of HTTP's basic authentication.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    /// The user.
    pub user: Template,
    /// The password: one of the playbook's secrets, `${{ secrets.NAME }}`.
    pub password: Template,
}

/// The method of a check's request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum HttpMethod {
    /// `GET`
    #[default]
    Get,
    /// `HEAD`: the reply has no body.
    Head,
    /// `OPTIONS`
    Options,
    /// `POST`
    Post,
    /// `PUT`
    Put,
}

impl HttpMethod {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
    fn is_get(&self) -> bool {
        *self == Self::Get
    }
}

impl HttpCheckSpec {
    /// A `GET` that expects 200 to 299.
    pub(super) fn short(url: Template) -> Self {
        Self(HttpCheckSettings {
            url,
            method: HttpMethod::Get,
            headers: BTreeMap::new(),
            host: None,
            basic_auth: None,
            ca: None,
            insecure: false,
            expect: Statuses::default(),
            body: None,
            follow_redirects: false,
        })
    }
}

/// Statuses of HTTP: single ones and ranges. Empty: 200 to 299.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statuses(Vec<(u16, u16)>);

impl Statuses {
    /// Reads `204` or `200-299`.
    ///
    /// # Errors
    ///
    /// If it is neither a status nor a range of statuses.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let status = |text: &str| {
            let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|status| digits && (100..=599).contains(status))
        };
        match (status(first.trim()), status(last.trim())) {
            (Some(first), Some(last)) if first <= last => Ok(Self(vec![(first, last)])),
            _ => {
                Err("write a status like `204`, or a range like `200-299`, from 100 to 599".into())
            }
        }
    }

    /// Returns whether a reply with this status is expected.
    #[must_use]
    pub fn has(&self, status: u16) -> bool {
        let ranges: &[(u16, u16)] = if self.0.is_empty() { &[(200, 299)] } else { &self.0 };
        ranges.iter().any(|(first, last)| (*first..=*last).contains(&status))
    }

    fn is_default(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Statuses {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shown = self.0.iter().map(|(first, last)| {
            if first == last { json!(first) } else { json!(format!("{first}-{last}")) }
        });
        serializer.collect_seq(shown)
    }
}

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let one = |value: &Value| match value {
            Value::String(text) => Self::parse(text),
            other => Self::parse(&other.to_string()),
        };
        let ranges = match Value::deserialize(deserializer)? {
            Value::Array(items) => items.iter().map(one).collect::<Result<Vec<_>, _>>(),
            value => one(&value).map(|one| vec![one]),
        };
        let ranges = ranges.map_err(de::Error::custom)?;
        Ok(Self(ranges.into_iter().flat_map(|one| one.0).collect()))
    }
}

impl JsonSchema for Statuses {
    fn schema_name() -> Cow<'static, str> {
        "Statuses".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let status = json_schema!({ "type": "integer", "minimum": 100, "maximum": 599 });
        let range = json_schema!({ "type": "string", "format": "rollgate-statuses" });
        let one = json_schema!({ "anyOf": [status, range] });
        json_schema!({
            "description": "A status, a range of statuses, or a list of both: `200`, `200-299`, `[200, 300-399]`.",
            "anyOf": [status, range, { "type": "array", "items": one }],
        })
    }
}
