//! The kinds of Consul checks of an instance's health.

use std::net::SocketAddr;

use serde_json::{Value, json};

/// The kind of a health check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Check {
    /// The agent requests a page.
    #[default]
    Http,
    /// The agent connects.
    Tcp,
    /// A process beside the instance checks it and reports to the agent in time.
    Ttl,
    /// A command that the agent runs. An agent accepts such a check only in its own configuration.
    Script,
}

impl Check {
    /// Returns the check in the JSON of Consul's API.
    pub(super) fn definition(self, service: SocketAddr) -> Value {
        let url = format!("http://{service}/ping");
        let mut check = match self {
            Self::Http => json!({ "HTTP": url }),
            Self::Tcp => json!({ "TCP": service.to_string() }),
            Self::Ttl => return json!({ "TTL": "1s" }),
            Self::Script => {
                json!({ "Args": ["curl", "-fsS", url], "DeregisterCriticalServiceAfter": "1h" })
            }
        };
        check["Interval"] = "300ms".into();
        check["Timeout"] = "1s".into();
        check
    }

    /// Returns the command of the process that checks an instance for the agent, if this kind needs one.
    pub(super) fn watcher(self, service: SocketAddr, agent: &str, id: &str) -> Option<String> {
        let look = format!("curl -fsS --max-time 1 http://{service}/ping");
        let tell = format!("curl -fsS -X PUT {agent}/v1/agent/check/pass/service:{id}");
        let watch = format!("while :; do {look} && {tell}; sleep 0.3; done");
        (self == Self::Ttl).then_some(watch)
    }
}
