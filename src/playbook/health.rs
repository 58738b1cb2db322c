//! The checks that a node must pass before it returns to rotation, with the defaults.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CommandSpec, DurationSetting, HttpCheckSpec, TcpCheckSpec, Template};

/// The checks that show that a node's new process can serve. All given checks must pass together.
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
    /// How the HTTP check's reply shows the new version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// The time between two attempts. While the connection is refused, the next attempt follows sooner.
    #[serde(default = "Health::default_interval")]
    pub interval: DurationSetting,
    /// The time limit of one attempt.
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
    /// How long a node must stay healthy, from the first success, served by the same process.
    #[serde(default = "Health::default_min_healthy_time")]
    pub min_healthy_time: DurationSetting,
    /// The time limit for a node to become healthy, from the start of the service.
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

/// How the HTTP check's reply shows the new version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The reply header with the version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// JSON pointer to the version in the reply's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "json-pointer"))]
    pub pointer: Option<String>,
    /// The required version.
    pub equals: Template,
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

    /// Long enough to notice a version that ends soon after its start.
    fn default_min_healthy_time() -> DurationSetting {
        DurationSetting::seconds(10)
    }

    fn default_deadline() -> DurationSetting {
        DurationSetting::seconds(120)
    }
}
