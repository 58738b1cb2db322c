//! ## consul-dns
//!
//! | gateway | `registry` | a playbook |
//! |---|---|---|
//! | nginx with `resolve`, any client of Consul's DNS | `consul-service` | [nginx-resolve](../playbooks/nginx-resolve.yaml) |
//! | OpenResty on Consul's DNS, also for TCP | `consul-service` | [openresty-dns-tcp](../playbooks/openresty-dns-tcp.yaml) |
//! | Caddy on Consul's DNS (no reload) | `consul-service` | [caddy-dns](../playbooks/caddy-dns.yaml) |
//!
//! nginx (from 1.27.3, open source) with `resolve`, or any other client of Consul's DNS. Such a client does not show
//! its list.
//!
//! ```nginx
//! resolver 10.0.0.5:8600 ipv6=off;
//! resolver_timeout 1s;                                      # nginx asks again after this time; default: 30s
//! upstream app {
//!     zone app 64k;
//!     server service.consul service=app resolve;                # _app._tcp.service.consul; or a name and a port, with A records
//! }
//! ```
//!
//! The same works in `stream`, for any service over TCP.
//!
//! ```yaml
//! gateways:
//!   - { type: consul-dns, server: '10.0.0.5:8600', record: app.service.consul }
//! ```
//!
//! **Confirmation:**
//!
//! - rollgate asks over TCP for SRV records and the addresses of their targets. With `port`, it asks for A records, and
//!   also for AAAA records if nodes have IPv6 addresses.
//! - A node is confirmed out after the answers have not had it for `ttl` (default: 0 s) + `sync_interval` (default:
//!   2 s). It is confirmed in after the answers have had it for that time.
//! - Records that live longer than `ttl` are refused.
//! - rollgate cannot see what the client really does. If the client shows its list at a URL, use
//!   [http-table](#http-table) instead.
//!
//! **nginx:**
//!
//! - nginx asks again one second after the records expire. Consul's records expire at once. With `resolver … valid=1s`
//!   nginx asks every two seconds: then set `ttl: 1s`, or remove `valid`.
//! - Without an answer, nginx keeps its list and asks again after `resolver_timeout` (default: 30 s). If a node leaves
//!   during that time, it is out for Consul and rollgate, but in for nginx. After Consul was away for 32 s, nginx was
//!   27 s late; after one second, 2.6 s. With `resolver_timeout 1s` it was at most 0.9 s late.
//! - nginx asks over UDP. If more than three instances exist, Consul answers with any three of them, and does not
//!   indicate it. A release loses no request because of this. But only those three nodes get requests; a second later,
//!   others do. With `dns_config { enable_truncate = true }`, Consul indicates it and nginx asks again over TCP.
//!
//! **Plain TCP:** use `health.tcp` and `drain.in_flight.sockets`. A connection stays at its node as long as its client
//! keeps it:
//!
//! - A connection that is never silent for `idle` makes the drain run into its timeout.
//! - A connection that is silent for `idle` is cut when the service stops. Its client connects again.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query as DnsQuery, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::address;
use crate::gateway::driver::{Driver, Facts, Purpose, unseen};
use crate::gateway::query::{Query, READ_TIMEOUT};
use crate::gateway::settings::{
    Issue, RegistryKind, Settings, SettingsFacts, follows_only, templates,
};
use crate::gateway::view::{Nodes, Peer, View};
use crate::period::DurationSetting;
use crate::template::Template;
use crate::text::{self, quoted};
use crate::world::Reply;

/// Consul's DNS, for gateways and other clients that follow it and do not show their list: for example nginx with
/// `resolve`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsulDns {
    /// Its name in messages. Default: the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The `host:port` of a DNS server that knows the service, over TCP. Consul's own listens on 8600.
    pub server: Template,
    /// The record: `app.service.consul`.
    pub record: Template,
    /// The port of every node, if clients ask only for addresses (A). Default: they ask for SRV records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// The time to live of records, if they have one: `dns_config.service_ttl` of Consul. Default: 0s, as in
    /// Consul.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<DurationSetting>,
    /// How long after `ttl` the gateway may take to ask again. Default: 2s; nginx asks about once a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_interval: Option<DurationSetting>,
}

impl Settings for ConsulDns {
    templates!(server, record);

    fn facts(&self) -> SettingsFacts<'_> {
        SettingsFacts {
            name: self.name.as_deref(),
            place: ("record", self.record.as_str()),
            incompatible_with: follows_only(
                RegistryKind::ConsulService,
                "it follows the health of a service in Consul",
            ),
            ..SettingsFacts::default()
        }
    }

    fn issues(&self, known: &dyn Fn(&str) -> bool) -> Vec<Issue> {
        let server = self.server.fixed().filter(|_| known("server"));
        let server = server.filter(|server| !is_place(server)).map(|server| Issue {
            key: "server",
            message: format!("`{}` is not an address like `10.0.0.5:8600`", quoted(server)),
            helps: vec![
                "Consul answers DNS on port 8600; write the address without a scheme".into(),
            ],
        });
        let record = self.record.fixed().filter(|_| known("record"));
        let record = record.filter(|record| !is_name(record)).map(|record| Issue {
            key: "record",
            message: format!("`{}` is not the name of a record", quoted(record)),
            helps: vec!["write it as Consul does: `app.service.consul`".into()],
        });
        server.into_iter().chain(record).collect()
    }
}

fn is_place(server: &str) -> bool {
    address::wrong(server).is_none() && !server.contains('/')
}

fn is_name(record: &str) -> bool {
    let known = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    let is_label = |label: &str| {
        (1..64).contains(&label.len())
            && label.chars().all(known)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    record.len() < 254 && record.trim_end_matches('.').split('.').all(is_label)
}

/// nginx asks about once a second for records without a time to live; up to 0.92 s were measured.
const INTERVAL: Duration = Duration::from_secs(2);

/// Any number works: an answer uses the connection of its question.
const ID: u16 = 0x524f;

/// Consul's DNS, for a gateway that follows it and does not show its list.
///
/// It is asked over TCP: with 8 instances, plain UDP without EDNS answered with 3 random ones and did not indicate
/// it (Consul 1.8.7). The port of an instance is in its SRV record, its address in the A record of the SRV's
/// target. Instances in maintenance disappear from both. The gateway's old answer expires after the records' time
/// to live and the gateway's own interval.
pub(super) struct ConsulDnsDriver {
    facts: Facts,
    nodes: Nodes,
    server: String,
    record: String,
    port: Option<u16>,
    ttl: Duration,
}

impl ConsulDnsDriver {
    pub(super) fn new(settings: &ConsulDns, nodes: Nodes) -> Self {
        let (server, record) = (settings.server.as_str(), settings.record.as_str());
        let ttl = settings.ttl.map_or(Duration::ZERO, |period| period.0);
        let interval = settings.sync_interval.map_or(INTERVAL, |period| period.0);
        let list = format!("{record} at {server}");
        let confirmed_when = unseen(&list, ttl + interval);
        let facts = Facts::following(list, ttl + interval);
        Self {
            facts: Facts { interval, workers: None, confirmed_when, ..facts },
            nodes,
            server: server.to_owned(),
            record: record.to_owned(),
            port: settings.port,
            ttl,
        }
    }

    /// The questions. None if the record is not a valid name. Addresses alone have two kinds.
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

    /// Adds one answer to the view.
    fn add(&self, view: &mut View, query: &DnsQuery, reply: &Reply) -> Result<(), String> {
        let message = parse(&reply.body)?;
        let answers = message.id == ID && message.message_type == MessageType::Response;
        // An answer that does not repeat the question is matched by its id.
        if !answers || message.queries.iter().any(|of| of != query) {
            return Err("the answer is for another question".into());
        }
        match message.response_code {
            ResponseCode::NoError => {}
            // No instance passes, or the service is unknown.
            ResponseCode::NXDomain => return Ok(()),
            code => return Err(format!("the DNS server answers `{code}`")),
        }
        if message.truncation {
            return Err("the answer is truncated although it came over TCP".into());
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
                    "the TTL of its records is {}: set `ttl` to this value",
                    text::duration(lives)
                ));
            }
            let (hosts, port) = match (&record.data, self.port) {
                (RData::A(address), Some(port)) => (vec![address.to_string()], port),
                (RData::AAAA(address), Some(port)) => (vec![address.to_string()], port),
                (RData::SRV(service), None) => {
                    let hosts = addresses.get(&service.target).cloned();
                    // An instance whose address is a name has no other address here.
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
        // A server that returns no addresses at all would hide every node behind a name.
        match named.filter(|_| !resolved) {
            Some(name) => {
                let name = text::line(&name, 80);
                Err(format!("no SRV record has a target with an address: {name}"))
            }
            None => Ok(()),
        }
    }
}

/// A question, with the prefix for its length that TCP needs.
fn question(query: DnsQuery) -> Option<Vec<u8>> {
    let mut message = Message::new(ID, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.queries.push(query);
    let message = message.to_vec().ok()?;
    let length = u16::try_from(message.len()).ok()?;
    Some([&length.to_be_bytes()[..], &message].concat())
}

impl Driver for ConsulDnsDriver {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn queries(&self, purpose: Purpose<'_>) -> Vec<Query> {
        match purpose {
            Purpose::Look | Purpose::Probe => {
                let questions = self.questions().into_iter().filter_map(question);
                let ask = |question| Query::Exchange(self.server.clone(), question, READ_TIMEOUT);
                questions.map(ask).collect()
            }
            Purpose::Rotation | Purpose::Count(_) => Vec::new(),
        }
    }

    fn read(&self, replies: &[Reply]) -> Result<View, String> {
        let queries = self.questions();
        if queries.is_empty() {
            return Err(format!("`{}` is not the name of a record", self.record));
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
}

/// Reads a message with a prefix for its length.
fn parse(bytes: &[u8]) -> Result<Message, String> {
    let short = || format!("the answer has only {} bytes", bytes.len());
    let (length, rest) = bytes.split_first_chunk::<2>().ok_or_else(short)?;
    let message = rest.get(..usize::from(u16::from_be_bytes(*length))).ok_or_else(short)?;
    Message::from_vec(message).map_err(|error| text::line(&error.to_string(), 120))
}
