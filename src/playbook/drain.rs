//! How a release waits for requests in flight before it stops a node, with the defaults.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DurationSetting, Template};

/// How the release waits for requests in flight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Drain {
    /// How they are counted. Default: the gateways' own counts if all gateways have one, otherwise the node's
    /// sockets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<InFlight>,
    /// How long the count must stay at 0.
    pub settle: DurationSetting,
    /// How long to wait for 0.
    pub timeout: DurationSetting,
    /// What to do if requests are still in flight after that.
    pub on_timeout: OnTimeout,
}

/// How requests in flight are counted: one of these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum InFlight {
    /// A number that the service reports.
    Http(Metric),
    /// The node's established connections except idle ones (`ss` on the node).
    Sockets(Sockets),
    /// The gateways' own counts.
    Gateways,
}

/// A number that the service reports at a URL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// The URL.
    pub url: Template,
    /// A PEM file with the only authorities that may have signed the service's certificate; relative to the playbook. Default:
    /// those of the system, or of `SSL_CERT_FILE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// JSON: pointer to the number, or to an array or object of numbers, which are added up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "json-pointer"))]
    pub pointer: Option<String>,
    /// Text: a regular expression whose first group is the number. The numbers of several matches are added up, as
    /// for several series of a metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "regex"))]
    pub pattern: Option<String>,
}

/// How connections of a node are distinguished from requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sockets {
    /// A connection with an answer is idle after this time without a byte. It must be longer than any usual
    /// request. Default: 5s.
    pub idle: DurationSetting,
}

/// What to do if requests are still in flight at the end of the drain's time limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnTimeout {
    /// Mark the node up again. It counts as failed.
    #[default]
    Fail,
    /// Continue, and report how many requests were cut.
    Proceed,
    /// Wait longer.
    Wait,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            in_flight: None,
            settle: DurationSetting::zero(),
            timeout: DurationSetting::seconds(30),
            on_timeout: OnTimeout::Fail,
        }
    }
}

impl Default for Sockets {
    fn default() -> Self {
        Self { idle: DurationSetting::seconds(5) }
    }
}
