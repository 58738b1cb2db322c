//! What must be proven about a node: that nothing is in flight before it stops, that it can serve before it
//! returns.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CommandSpec, DurationSetting, HttpCheckSpec, TcpCheckSpec, Template};

/// How requests in flight are awaited.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Drain {
    /// How they are counted. Default: the gateways' own counts where all have one, else the node's sockets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<InFlight>,
    /// How long the count must stay at 0.
    pub settle: DurationSetting,
    /// How long to wait for 0.
    pub timeout: DurationSetting,
    /// What to do when requests are still in flight by then.
    pub on_timeout: OnTimeout,
}

/// How requests in flight are counted: one of these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum InFlight {
    /// A number that the service tells.
    Http(Metric),
    /// The node's established connections without the idle ones (`ss` on the node).
    Sockets(Sockets),
    /// The gateways' own counts.
    Gateways,
}

/// A number that the service tells at a URL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// Where.
    pub url: Template,
    /// JSON: pointer to the number, or to an array or object of numbers, which add up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "json-pointer"))]
    pub pointer: Option<String>,
    /// Text: a regular expression whose first group is the number. The numbers of several matches add up, as of several
    /// series of a metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "regex"))]
    pub pattern: Option<String>,
}

/// How a node's connections are told from requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sockets {
    /// An answered connection is idle after this long without a byte; longer than any usual request. Default: 5s.
    pub idle: DurationSetting,
}

/// What to do when requests are still in flight at the end of the drain's time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnTimeout {
    /// The node is put back and counts as failed.
    #[default]
    Fail,
    /// Go on, and say how many requests were cut.
    Proceed,
    /// Keep waiting.
    Wait,
}

/// What proves that a node's new process can serve. All checks given must pass together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// A URL that answers as expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpCheckSpec>,
    /// A port that accepts connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpCheckSpec>,
    /// A command on the node that exits with 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<CommandSpec>,
    /// A service whose instance at the node's address passes all its checks in Consul.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consul: Option<ConsulCheck>,
    /// How the new version is told by the HTTP check's reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// Between two tries.
    #[serde(default = "Health::default_interval")]
    pub interval: DurationSetting,
    /// For one try.
    #[serde(default = "Health::default_timeout")]
    pub timeout: DurationSetting,
    /// Successes in a row that make a node healthy.
    #[serde(default = "Health::default_rise")]
    #[schemars(range(min = 1, max = 1000))]
    pub rise: u32,
    /// Failures in a row that make a healthy node unhealthy again.
    #[serde(default = "Health::default_fall")]
    #[schemars(range(min = 1, max = 1000))]
    pub fall: u32,
    /// How long a node must stay healthy, from the first success on, served by the same process.
    #[serde(default = "Health::default_min_healthy_time")]
    pub min_healthy_time: DurationSetting,
    /// For a node to become healthy, from the start of the service.
    #[serde(default = "Health::default_deadline")]
    pub deadline: DurationSetting,
}

/// A service whose instance at the node's address must pass in Consul.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsulCheck {
    /// The service's name in Consul.
    pub service: Template,
}

/// How the new version is told by the HTTP check's reply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The reply header that tells the version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// JSON pointer to it in the reply's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "json-pointer"))]
    pub pointer: Option<String>,
    /// What it must be.
    pub equals: Template,
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

impl Health {
    fn default_interval() -> DurationSetting {
        DurationSetting::seconds(1)
    }

    fn default_timeout() -> DurationSetting {
        DurationSetting::seconds(3)
    }

    fn default_rise() -> u32 {
        2
    }

    fn default_fall() -> u32 {
        2
    }

    /// Long enough to see a version end that ends soon after its start.
    fn default_min_healthy_time() -> DurationSetting {
        DurationSetting::seconds(10)
    }

    fn default_deadline() -> DurationSetting {
        DurationSetting::seconds(120)
    }
}
