//! Keys of nodes that Consul does not have, and the commands that create them.

use crate::registry::{is_down, with_down};
use crate::shell::quote;

/// The value of a new key: what nginx-upsync reads.
const NEW: &str = r#"{"weight":1,"max_fails":2,"fail_timeout":10,"down":1}"#;

/// A key that Consul does not have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MissingKey {
    /// The key.
    pub key: String,
    /// Its value before the last release that changed it, from the journal.
    pub before: Option<String>,
    /// Whether a gateway routes to the node, if one could be read.
    pub(super) is_routed: Option<bool>,
    /// An address of Consul.
    pub(super) server: Option<String>,
}

impl MissingKey {
    /// Says how to create the key. A node that gateways route to stays in rotation.
    #[must_use]
    pub fn mend(&self) -> String {
        let (what, value) = match &self.before {
            Some(before) => ("restore its value from the journal", before.as_str()),
            None if self.is_routed.is_none() => {
                (r#"create it (with "down":0 if the node serves already)"#, NEW)
            }
            None => ("create it", NEW),
        };
        let would_leave = self.is_routed == Some(true) && is_down(value.as_bytes()) != Ok(false);
        let up = would_leave.then(|| with_down(value.as_bytes(), false).ok()).flatten();
        let value = up.as_deref().unwrap_or(value);
        let server = self
            .server
            .as_ref()
            .map_or_else(String::new, |server| format!("-http-addr={} ", quote(server)));
        format!("{what}: consul kv put {server}{} {}", quote(&self.key), quote(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_key_of_a_node_that_serves_does_not_take_it_out() {
        let missing = |is_routed, before: Option<&str>| MissingKey {
            key: "upstreams/app/10.0.1.1:80".into(),
            before: before.map(Into::into),
            is_routed,
            server: None,
        };
        let put = |value: &str| format!("consul kv put upstreams/app/10.0.1.1:80 '{value}'");
        let new = |down| put(&NEW.replace(r#""down":1"#, &format!(r#""down":{down}"#)));
        assert_eq!(missing(Some(true), None).mend(), format!("create it: {}", new(0)));
        assert_eq!(missing(Some(false), None).mend(), format!("create it: {}", new(1)));
        let unknown =
            format!(r#"create it (with "down":0 if the node serves already): {}"#, new(1));
        assert_eq!(missing(None, None).mend(), unknown);
        // nginx-upsync removes a node whose key is deleted.
        for (is_routed, before, after) in [
            (Some(false), r#"{"weight":5,"down":0}"#, r#"{"weight":5,"down":0}"#),
            (Some(false), r#"{"weight":5,"down":1}"#, r#"{"weight":5,"down":1}"#),
            (Some(true), r#"{"weight":5,"down":1}"#, r#"{"weight":5,"down":0}"#),
        ] {
            let told = format!("restore its value from the journal: {}", put(after));
            assert_eq!(missing(is_routed, Some(before)).mend(), told);
        }
        let far = MissingKey { server: Some("http://10.0.0.5:8500".into()), ..missing(None, None) };
        assert!(far.mend().contains("consul kv put -http-addr=http://10.0.0.5:8500 upstreams/"));
    }
}
