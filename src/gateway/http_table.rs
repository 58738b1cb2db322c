//! Any gateway with a URL that lists its peers: JSON found by pointers, or text found by a pattern.

use std::time::Duration;

use regex_lite::Regex;
use serde_json::Value;

use super::{Ask, Driver, Peer, View, WORKER_HEADER, get, ok};
use crate::playbook;
use crate::world::Reply;

/// How long a write may take when the playbook does not say.
const INTERVAL: Duration = Duration::from_secs(1);

/// Between the poll and what the gateway does with it.
const SPREAD: Duration = Duration::from_millis(500);

/// A gateway of this kind.
pub(super) struct HttpTable {
    settings: playbook::HttpTable,
    pattern: Option<Regex>,
    worker_header: String,
}

impl HttpTable {
    pub(super) fn new(settings: &playbook::HttpTable) -> Self {
        Self {
            settings: settings.clone(),
            // The playbook's check has refused patterns that do not compile.
            pattern: settings.pattern.as_deref().and_then(|pattern| Regex::new(pattern).ok()),
            worker_header: settings
                .worker_header
                .as_deref()
                .unwrap_or(WORKER_HEADER)
                .to_ascii_lowercase(),
        }
    }

    fn read_text(pattern: &Regex, text: &str) -> Result<View, String> {
        let mut view = View::default();
        for found in pattern.captures_iter(text) {
            let address = found.name("address").ok_or("the pattern has no group `address`")?;
            let named = |name| pattern.capture_names().flatten().any(|group| group == name);
            let up = found.name("down").is_none()
                && (!named("routed") || found.name("routed").is_some());
            let peer = Peer { up, held_down: false, in_flight: None };
            view.add(address.as_str().to_owned(), peer);
        }
        Ok(view)
    }

    fn read_json(&self, text: &str) -> Result<View, String> {
        let document: Value =
            serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
        let pointer = self.settings.list.as_deref().unwrap_or("");
        let list =
            document.pointer(pointer).ok_or_else(|| format!("there is nothing at `{pointer}`"))?;
        let mut view = View::default();
        match list {
            Value::Array(peers) => {
                for peer in peers {
                    self.read_peer(&mut view, None, peer)?;
                }
            }
            Value::Object(peers) => {
                for (key, peer) in peers {
                    self.read_peer(&mut view, Some(key), peer)?;
                }
            }
            _ => return Err(format!("what is at `{pointer}` is neither an array nor an object")),
        }
        Ok(view)
    }

    fn read_peer(&self, view: &mut View, key: Option<&str>, peer: &Value) -> Result<(), String> {
        let unreadable = |what: &str| {
            format!("a peer has no {what}: {}", crate::text::line(&peer.to_string(), 100))
        };
        let address = match (&self.settings.address, key) {
            (Some(pointer), _) => peer.pointer(pointer).and_then(Value::as_str),
            (None, Some(key)) => Some(key),
            (None, None) => peer.as_str(),
        };
        let address = address.ok_or_else(|| unreadable("address"))?;
        let up = match &self.settings.routed {
            Some(pointer) => {
                means_routed(peer.pointer(pointer).ok_or_else(|| unreadable("routed"))?)
            }
            None => true,
        };
        let in_flight = match &self.settings.in_flight {
            Some(pointer) => {
                let number = peer.pointer(pointer).and_then(Value::as_u64);
                Some(number.ok_or_else(|| unreadable("number of requests in flight"))?)
            }
            None => None,
        };
        view.add(address.to_owned(), Peer { up, held_down: false, in_flight });
        Ok(())
    }
}

fn means_routed(value: &Value) -> bool {
    match value {
        Value::Bool(routed) => *routed,
        Value::Number(number) => number.as_f64().is_some_and(|number| number != 0.0),
        Value::String(word) => {
            ["up", "ok", "true", "1", "yes", "enabled", "healthy", "ready", "active"]
                .contains(&word.to_ascii_lowercase().as_str())
        }
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

impl Driver for HttpTable {
    fn asks(&self) -> Vec<Ask> {
        vec![Ask::Http(get(self.settings.url.as_str()))]
    }

    fn read(&self, replies: &[Reply]) -> Result<View, String> {
        let [reply, ..] = replies else { return Err("no reply".into()) };
        let reply = ok(reply)?;
        match &self.pattern {
            Some(pattern) => Self::read_text(pattern, &reply.searchable()?),
            None => self.read_json(&reply.text()),
        }
    }

    fn interval(&self) -> Duration {
        self.settings.sync_interval.map_or(INTERVAL, |period| period.0)
    }

    fn lag(&self) -> Duration {
        self.interval() + SPREAD
    }

    fn workers(&self) -> Option<u32> {
        self.settings.workers
    }

    fn worker_header(&self) -> &str {
        &self.worker_header
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(settings: &str) -> HttpTable {
        let mut value: Value = serde_json::from_str(settings).expect("json");
        value["url"] = "http://gw/peers".into();
        HttpTable::new(&serde_json::from_value(value).expect("settings"))
    }

    fn view(settings: &str, text: &str) -> Result<View, String> {
        table(settings).read(&[Reply { status: 200, body: text.into(), ..Reply::default() }])
    }

    #[test]
    fn json_is_found_by_pointers() {
        let settings =
            r#"{"list":"/peers","address":"/name","routed":"/state","in_flight":"/conns"}"#;
        let text = r#"{"peers":[{"name":"a:1","state":"UP","conns":2},{"name":"b:1","state":"draining","conns":1}]}"#;
        let view = view(settings, text).expect("readable");
        assert!(view.routes_to("a:1") && view.lets_go_of("b:1"));
        assert_eq!(view.peers["b:1"].in_flight, Some(1));
    }

    #[test]
    fn requests_in_flight_never_add_up_to_none() {
        let settings = r#"{"address":"/a","in_flight":"/n"}"#;
        let text = r#"[{"a":"x:1","n":18446744073709551615},{"a":"x:1","n":1}]"#;
        let view = view(settings, text).expect("readable");
        assert_eq!(view.peers["x:1"].in_flight, Some(u64::MAX));
    }

    #[test]
    fn an_object_or_bare_addresses_will_do() {
        let view_of = |settings, text| view(settings, text).expect("readable");
        assert!(view_of("{}", r#"["a:1"]"#).routes_to("a:1"));
        let by_key = view_of(r#"{"routed":""}"#, r#"{"a:1":true,"b:1":0}"#);
        assert!(by_key.routes_to("a:1") && by_key.lets_go_of("b:1"));
        // cjson writes an empty list as an empty object.
        assert!(view_of(r#"{"list":"/p"}"#, r#"{"p":{}}"#).peers.is_empty());
    }

    #[test]
    fn text_is_found_by_a_pattern() {
        let settings = r#"{"pattern":"server (?P<address>\\S+) [^;]*?(?P<down>down)?;"}"#;
        let text = "server a:1 addr=a:1 conns=0;\nserver b:1 addr=b:1 conns=2 down;\n";
        let view = view(settings, text).expect("readable");
        assert!(view.routes_to("a:1") && view.lets_go_of("b:1"));
    }

    #[test]
    fn a_reply_that_would_take_long_to_search_is_an_error() {
        let settings = r#"{"pattern":"server (?P<address>\\S+) [^;]*?(?P<down>down)?;"}"#;
        let text = "server a:1 ".repeat(1024 * 1024 / 11 + 1);
        let error = view(settings, &text).expect_err("too long");
        assert!(error.contains("answered 1.0 MiB, too much to search"), "{error}");
    }

    #[test]
    fn what_cannot_be_understood_is_an_error() {
        let settings = r#"{"list":"/peers","address":"/name","routed":"/state"}"#;
        for text in [
            "",
            "<html>",
            "{}",
            r#"{"peers":3}"#,
            r#"{"peers":[{"name":"a:1"}]}"#,
            r#"{"peers":[{"state":true}]}"#,
        ] {
            assert!(view(settings, text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_reply_makes_it_panic(text in "(?s).{0,200}") {
            let _ = view(r#"{"list":"/p","routed":"/r"}"#, &text);
            let _ = view(r#"{"pattern":"(?P<address>.)(?P<routed>x)?"}"#, &text);
        }
    }
}
