//! Consul's DNS, for a gateway that follows it and shows nothing of its own.
//!
//! Asked over TCP: with 8 instances, plain UDP without EDNS was seen to answer with 3 random ones and no sign of it
//! (Consul 1.8.7). The port of an instance is in its SRV record, its address in the A record of the SRV's target.
//! Instances in maintenance vanish from both. What the gateway still knows is over when the records' time to live and
//! its own interval are.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query as DnsQuery, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};

use super::{Driver, Nodes, Peer, Query, READ_TIMEOUT, View};
use crate::address;
use crate::playbook;
use crate::text;
use crate::world::Reply;

/// nginx asks about once a second for records that do not live; up to 0.92 s were seen.
const INTERVAL: Duration = Duration::from_secs(2);

/// Any number will do: an answer comes over the connection of its question.
const ID: u16 = 0x524f;

/// A gateway of this kind.
pub(super) struct ConsulDns {
    nodes: Nodes,
    server: String,
    record: String,
    port: Option<u16>,
    ttl: Duration,
    interval: Duration,
}

impl ConsulDns {
    pub(super) fn new(settings: &playbook::ConsulDns, nodes: Nodes) -> Self {
        Self {
            nodes,
            server: settings.server.as_str().to_owned(),
            record: settings.record.as_str().to_owned(),
            port: settings.port,
            ttl: settings.ttl.map_or(Duration::ZERO, |period| period.0),
            interval: settings.sync_interval.map_or(INTERVAL, |period| period.0),
        }
    }

    /// What is asked for; nothing when the record is no name. Addresses alone are of two kinds.
    fn questions(&self) -> Vec<DnsQuery> {
        let name = Name::from_ascii(format!("{}.", self.record.trim_end_matches('.')));
        let Ok(name) = name else { return Vec::new() };
        let (has_ipv6, has_others) = self.nodes.families();
        let kinds = match self.port {
            None => vec![RecordType::SRV],
            Some(_) if has_ipv6 && has_others => vec![RecordType::A, RecordType::AAAA],
            Some(_) if has_ipv6 => vec![RecordType::AAAA],
            Some(_) => vec![RecordType::A],
        };
        kinds.into_iter().map(|kind| DnsQuery::query(name.clone(), kind)).collect()
    }

    /// Reads one answer into the view.
    fn add(&self, view: &mut View, query: &DnsQuery, reply: &Reply) -> Result<(), String> {
        let message = parse(&reply.body)?;
        let answers = message.id == ID && message.message_type == MessageType::Response;
        // One that says nothing of the question is taken at its id.
        if !answers || message.queries.iter().any(|of| of != query) {
            return Err("an answer to another question".into());
        }
        match message.response_code {
            ResponseCode::NoError => {}
            // No instance passes, or nobody has heard of the service.
            ResponseCode::NXDomain => return Ok(()),
            code => return Err(format!("the DNS server answers `{code}`")),
        }
        if message.truncation {
            return Err("the answer is cut short although it came over TCP".into());
        }
        let mut addresses: BTreeMap<&Name, Vec<String>> = BTreeMap::new();
        for record in message.answers.iter().chain(&message.additionals) {
            let address = match &record.data {
                RData::A(address) => address.to_string(),
                RData::AAAA(address) => address.to_string(),
                _ => continue,
            };
            addresses.entry(&record.name).or_default().push(address);
        }
        let (mut resolved, mut named) = (false, None);
        for record in &message.answers {
            let lives = Duration::from_secs(u64::from(record.ttl));
            if lives > self.ttl {
                return Err(format!(
                    "its records live for {}: set `ttl` to that",
                    text::duration(lives)
                ));
            }
            let (hosts, port) = match (&record.data, self.port) {
                (RData::A(address), Some(port)) => (vec![address.to_string()], port),
                (RData::AAAA(address), Some(port)) => (vec![address.to_string()], port),
                (RData::SRV(service), None) => {
                    let hosts = addresses.get(&service.target).cloned();
                    // An instance whose address is a name has no other here.
                    let name = service.target.to_utf8().trim_end_matches('.').to_owned();
                    if hosts.is_some() {
                        resolved = true;
                    } else {
                        named = Some(name.clone());
                    }
                    (hosts.unwrap_or_else(|| vec![name]), service.port)
                }
                _ => continue,
            };
            let peer = Peer { up: true, failing_check: false, in_flight: None };
            for host in hosts {
                view.peers.insert(self.nodes.name(&address::join(&host, port)), peer);
            }
        }
        // A server that tells no addresses at all would hide every node behind a name.
        match named.filter(|_| !resolved) {
            Some(name) => {
                let name = text::line(&name, 80);
                Err(format!("no SRV record has a target with an address: {name}"))
            }
            None => Ok(()),
        }
    }
}

/// A question, with its length in front as over TCP.
fn question(query: DnsQuery) -> Option<Vec<u8>> {
    let mut message = Message::new(ID, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.queries.push(query);
    let message = message.to_vec().ok()?;
    let length = u16::try_from(message.len()).ok()?;
    Some([&length.to_be_bytes()[..], &message].concat())
}

impl Driver for ConsulDns {
    fn asks(&self) -> Vec<Query> {
        let questions = self.questions().into_iter().filter_map(question);
        let ask = |question| Query::Exchange(self.server.clone(), question, READ_TIMEOUT);
        questions.map(ask).collect()
    }

    fn read(&self, replies: &[Reply]) -> Result<View, String> {
        let queries = self.questions();
        if queries.is_empty() {
            return Err(format!("`{}` is no name of a record", self.record));
        }
        if replies.len() < queries.len() {
            return Err("no reply".into());
        }
        let mut view = View::default();
        for (query, reply) in queries.iter().zip(replies) {
            self.add(&mut view, query, reply)?;
        }
        Ok(view)
    }

    fn kind(&self) -> String {
        format!("{} at {}", self.record, self.server)
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn lag(&self) -> Duration {
        self.ttl + self.interval
    }

    /// It begins to ask again when the answer has changed, however late that is.
    fn apply_delay(&self) -> Duration {
        self.lag()
    }

    fn workers(&self) -> Option<u32> {
        None
    }
}

/// Reads a message with its length in front.
fn parse(bytes: &[u8]) -> Result<Message, String> {
    let short = || format!("an answer of {} bytes only", bytes.len());
    let (length, rest) = bytes.split_first_chunk::<2>().ok_or_else(short)?;
    let message = rest.get(..usize::from(u16::from_be_bytes(*length))).ok_or_else(short)?;
    Message::from_vec(message).map_err(|error| text::line(&error.to_string(), 120))
}
