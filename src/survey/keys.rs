//! Keys of nodes that Consul does not have, and the commands that create them.

use crate::registry::{is_down, with_down};
use crate::shell::quote;
use crate::text;

/// The value of a new key: what nginx-upsync reads.
const NEW: &str = r#"{"weight":1,"max_fails":2,"fail_timeout":10,"down":1}"#;

/// A key that Consul does not have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MissingKey {
    /// The key.
    pub key: String,
    /// Its value before the last release that changed it, from the journal.
    pub before: Option<String>,
    /// A name in Consul that is almost the same: the prefix, or the address, may be wrong.
    pub alike: Option<String>,
    /// Why the node must not get requests, if that is so.
    pub unfit: Option<&'static str>,
    /// Whether a gateway routes to the node, if one could be read.
    pub(super) is_routed: Option<bool>,
    /// An address of Consul.
    pub(super) server: Option<String>,
}

impl MissingKey {
    /// Says how to create the key. A node that gateways route to stays in rotation, if it serves.
    #[must_use]
    pub fn mend(&self) -> String {
        let value = self.before.as_deref().unwrap_or(NEW);
        let down = match (self.unfit, self.is_routed) {
            (Some(_), _) => true,
            (None, Some(true)) => false,
            (None, _) => is_down(value.as_bytes()) != Ok(false),
        };
        let changed = with_down(value.as_bytes(), down).unwrap_or_else(|_| value.to_owned());
        let what = match &self.before {
            Some(_) => "restore its value from the journal",
            None => "create it",
        };
        let how = match self.unfit {
            Some(why) => format!(", marked down: {why}"),
            None if self.before.is_none() && self.is_routed.is_none() => {
                r#" (with "down":0 if the node serves already)"#.to_owned()
            }
            None => String::new(),
        };
        let server = self
            .server
            .as_ref()
            .map_or_else(String::new, |server| format!("-http-addr={} ", quote(server)));
        let put =
            format!("{what}{how}: consul kv put {server}{} {}", quote(&self.key), quote(&changed));
        match &self.alike {
            Some(alike) => format!("did you mean {}? If not, {put}", text::line(alike, 120)),
            None => put,
        }
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
            ..MissingKey::default()
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

    #[test]
    fn key_of_a_node_that_does_not_serve_is_created_down_and_says_why() {
        for (is_routed, before, what, value) in [
            (
                Some(true),
                Some(r#"{"weight":5,"down":0}"#),
                "restore its value from the journal",
                r#"{"weight":5,"down":1}"#,
            ),
            (
                Some(false),
                Some(r#"{"weight":5}"#),
                "restore its value from the journal",
                r#"{"weight":5,"down":1}"#,
            ),
            (None, None, "create it", NEW),
            (Some(true), None, "create it", NEW),
        ] {
            let missing = MissingKey {
                key: "app/10.0.1.1:80".into(),
                before: before.map(Into::into),
                is_routed,
                unfit: Some("it is held"),
                ..MissingKey::default()
            };
            let told =
                format!("{what}, marked down: it is held: consul kv put app/10.0.1.1:80 '{value}'");
            assert_eq!(missing.mend(), told);
        }
    }

    #[test]
    fn name_that_is_almost_the_same_is_asked_about_first() {
        let alike = Some("upstreams/shop/".to_owned());
        let missing =
            MissingKey { key: "upstreams/shp/a:1".into(), alike, ..MissingKey::default() };
        let told = "did you mean upstreams/shop/? If not, create it";
        assert!(missing.mend().starts_with(told), "{}", missing.mend());
    }
}
