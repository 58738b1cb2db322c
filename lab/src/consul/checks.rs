//! How Consul knows that an instance is healthy, in each of its ways.

use std::net::SocketAddr;

use serde_json::{Value, json};

/// Who tells that an instance is healthy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Check {
    /// The agent asks for a page.
    #[default]
    Http,
    /// The agent connects.
    Tcp,
    /// Somebody beside the instance, who looks at it and tells the agent in time.
    Ttl,
    /// A command that the agent runs. It takes such a check from its own configuration only.
    Script,
}

impl Check {
    /// Returns the check as Consul's API takes it.
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

    /// Returns the command of whoever looks at an instance for the agent, if this check needs somebody.
    pub(super) fn watcher(self, service: SocketAddr, agent: &str, id: &str) -> Option<String> {
        let look = format!("curl -fsS --max-time 1 http://{service}/ping");
        let tell = format!("curl -fsS -X PUT {agent}/v1/agent/check/pass/service:{id}");
        let watch = format!("while :; do {look} && {tell}; sleep 0.3; done");
        (self == Self::Ttl).then_some(watch)
    }
}
