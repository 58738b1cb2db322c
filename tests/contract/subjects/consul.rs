//! What Consul 1.8.7 tells of a service: its list of passing instances, and its DNS. It tells at once what it was told;
//! the gateway behind it is late, and shows nothing.

use std::time::Duration;

use hickory_proto::op::Message;
use hickory_proto::rr::RData;
use serde_json::{Value, json};

use crate::replay::{Answer, Question, Seen, Subject};

const PASSING: &str = include_str!("../../fixtures/gateway/consul/passing.json");

/// Three instances, with the length in front as over TCP.
const RECORDS: &[u8] = include_bytes!("../../fixtures/gateway/consul/srv.bin");
const NO_SUCH_NAME: &[u8] = include_bytes!("../../fixtures/gateway/consul/no-such-name.bin");

/// The nodes' ports; their addresses are the same.
const PORTS: [u16; 3] = [19001, 19002, 19003];

/// Follows the list every second.
pub(crate) struct Passing;

impl Subject for Passing {
    fn name(&self) -> &'static str {
        "consul-passing"
    }

    fn gateway(&self) -> Value {
        json!({ "type": "consul-passing", "service": "app", "sync_interval": "1s" })
    }

    fn registry(&self) -> Value {
        json!({ "type": "consul-service", "service": "app" })
    }

    fn lag(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn forgets(&self) -> bool {
        false
    }

    fn tells_the_unknown(&self) -> bool {
        false
    }

    fn answer(&self, question: &Question<'_>, seen: &Seen) -> Answer {
        let path = "http://127.0.0.1:8500/v1/health/service/app?passing&consistent";
        assert_eq!(question.says(), format!("Get {path}"));
        if !seen.knows {
            return Answer::ok("[]");
        }
        let mut instances: Vec<Value> = serde_json::from_str(PASSING).expect("JSON");
        instances.retain(|instance| is_up(seen, &instance["Service"]["Port"]));
        Answer::ok(Value::from(instances).to_string()).header("x-consul-index", "29")
    }
}

/// Follows the records every two seconds at most.
pub(crate) struct Dns;

impl Subject for Dns {
    fn name(&self) -> &'static str {
        "consul-dns"
    }

    fn gateway(&self) -> Value {
        json!({ "type": "consul-dns", "server": "10.0.0.5:8600", "record": "app.service.consul" })
    }

    fn registry(&self) -> Value {
        json!({ "type": "consul-service", "service": "app" })
    }

    fn lag(&self) -> Duration {
        Duration::from_secs(2)
    }

    fn forgets(&self) -> bool {
        false
    }

    fn tells_the_unknown(&self) -> bool {
        false
    }

    fn answer(&self, question: &Question<'_>, seen: &Seen) -> Answer {
        let Question::Exchange(bytes) = question else { panic!("{question:?}") };
        let mut answer = message(RECORDS);
        assert_eq!(message(bytes).queries, answer.queries);
        if !seen.knows || seen.told == [true; 3] {
            let mut unknown = message(NO_SUCH_NAME);
            unknown.queries = answer.queries;
            return framed(&unknown);
        }
        answer.answers.retain(|record| match &record.data {
            RData::SRV(service) => is_up(seen, &service.port.into()),
            _ => true,
        });
        framed(&answer)
    }
}

/// With the length in front.
fn framed(message: &Message) -> Answer {
    let bytes = message.to_vec().expect("a message");
    let length = u16::try_from(bytes.len()).expect("short");
    Answer::ok([&length.to_be_bytes(), &bytes[..]].concat())
}

fn message(bytes: &[u8]) -> Message {
    Message::from_vec(&bytes[2..]).expect("a message")
}

fn is_up(seen: &Seen, port: &Value) -> bool {
    PORTS.into_iter().zip(seen.told).any(|(known, down)| *port == known && !down)
}
