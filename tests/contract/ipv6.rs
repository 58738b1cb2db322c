//! Every kind with nodes at `[::1]`: the recorded bytes with IPv6 addresses.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hickory_proto::op::Message;
use hickory_proto::rr::RData;
use hickory_proto::rr::rdata::AAAA;
use rollgate::node::NodeScript;
use rollgate::world::Request;
use serde_json::{Value, json};

use crate::replay::{Answer, NODES, Question, Seen, Subject};

/// A subject whose nodes have IPv6 addresses.
pub(crate) struct Ipv6(pub(crate) &'static dyn Subject);

impl Ipv6 {
    /// The host of a node in a field of its own. Slardar passes it to nginx, which requires brackets.
    fn host(&self) -> &'static str {
        if self.0.name() == "slardar" { "[::1]" } else { "::1" }
    }

    fn to_ipv6(&self, text: &str) -> String {
        text.replace("127.0.0.1:1900", "[::1]:1900").replace("127.0.0.1", self.host())
    }

    fn body(&self, body: &[u8]) -> Vec<u8> {
        if let Some(message) = body.get(2..).and_then(|message| Message::from_vec(message).ok()) {
            return dns(message);
        }
        let Ok(text) = std::str::from_utf8(body) else { return body.to_vec() };
        let text = self.to_ipv6(text);
        // Consul's values are encoded once more.
        match serde_json::from_str::<Value>(&text) {
            Ok(mut entries) if entries[0]["Value"].is_string() => {
                let value = entries[0]["Value"].as_str().unwrap_or_default();
                let value = BASE64_STANDARD.decode(value).expect("base64");
                let value = self.to_ipv6(&String::from_utf8(value).expect("text"));
                entries[0]["Value"] = BASE64_STANDARD.encode(value).into();
                entries.to_string().into_bytes()
            }
            _ => text.into_bytes(),
        }
    }
}

/// The same answer with an AAAA record for each A record.
fn dns(mut message: Message) -> Vec<u8> {
    for record in &mut message.additionals {
        if matches!(record.data, RData::A(_)) {
            record.data = RData::AAAA(AAAA::new(0, 0, 0, 0, 0, 0, 0, 1));
        }
    }
    let bytes = message.to_vec().expect("a message");
    let length = u16::try_from(bytes.len()).expect("short");
    [&length.to_be_bytes(), &bytes[..]].concat()
}

/// Returns the request for IPv6 nodes as it would be for IPv4 nodes.
fn to_ipv4(text: &str) -> String {
    let unquoted = NODES.into_iter().fold(text.to_owned(), |text, node| {
        let node = node.replace("127.0.0.1", "[::1]");
        text.replace(&format!("'{node}'"), &node)
    });
    unquoted.replace("[::1]", "127.0.0.1").replace("::1", "127.0.0.1")
}

impl Subject for Ipv6 {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn gateway(&self) -> Value {
        self.0.gateway()
    }

    /// Keys in Consul accept IPv4 addresses only.
    fn registry(&self) -> Value {
        match self.0.registry() {
            keys if keys["type"] == "consul-kv" => {
                json!({ "type": "consul-service", "service": "app" })
            }
            registry => registry,
        }
    }

    fn nodes(&self) -> [String; 3] {
        NODES.map(|node| self.to_ipv6(node))
    }

    fn workers(&self) -> u32 {
        self.0.workers()
    }

    fn lag(&self) -> Duration {
        self.0.lag()
    }

    fn counts(&self) -> bool {
        self.0.counts()
    }

    fn forgets(&self) -> bool {
        self.0.forgets()
    }

    fn loses(&self) -> bool {
        self.0.loses()
    }

    fn tells_the_unknown(&self) -> bool {
        self.0.tells_the_unknown()
    }

    fn answer(&self, question: &Question<'_>, seen: &Seen) -> Answer {
        let translated = |bytes: &[u8]| match std::str::from_utf8(bytes) {
            Ok(text) => to_ipv4(text).into_bytes(),
            Err(_) => bytes.to_vec(),
        };
        let mut answer = match question {
            Question::Http(request) => {
                let body = request.body.as_deref().map(translated);
                let request = Request { url: to_ipv4(&request.url), body, ..(*request).clone() };
                self.0.answer(&Question::Http(&request), seen)
            }
            Question::Run(script) => {
                let script = match script {
                    NodeScript::User { command } => NodeScript::User { command: to_ipv4(command) },
                    other => (*other).clone(),
                };
                self.0.answer(&Question::Run(&script), seen)
            }
            Question::Write(content) => self.0.answer(&Question::Write(&to_ipv4(content)), seen),
            Question::Exchange(bytes) => self.0.answer(&Question::Exchange(bytes), seen),
        };
        answer.reply.body = self.body(&answer.reply.body);
        answer
    }
}
