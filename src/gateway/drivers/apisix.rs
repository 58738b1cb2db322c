//! ## apisix
//!
//! | gateway | `registry` | a playbook |
//! |---|---|---|
//! | APISIX, upstreams through its admin API | `gateway` | [apisix](../playbooks/apisix.yaml) |
//!
//! Apache APISIX with its upstreams in etcd. The upstream needs an `id`, and `nodes` as an object:
//!
//! ```sh
//! curl http://10.0.0.5:9180/apisix/admin/upstreams/app -H "X-API-KEY: $KEY" -X PUT -d '
//!   { "type": "roundrobin", "nodes": { "10.0.1.11:9000": 1, "10.0.1.12:9000": 1, "10.0.1.13:9000": 5 } }'
//! ```
//!
//! ```yaml
//! apisix:                                                       # conf/config.yaml of every APISIX
//!   enable_control: true
//!   control: { ip: 10.0.0.11, port: 9090 }                      # default: 127.0.0.1
//! ```
//!
//! ```yaml
//! registry: { type: gateway }
//! secrets: { apisix: { env: APISIX_ADMIN_KEY } }
//! gateways:
//!   - type: apisix
//!     admin_url: http://10.0.0.5:9180
//!     admin_key: ${{ secrets.apisix }}
//!     control_url: http://10.0.0.11:9090
//!     upstream: app
//!     weights: { '10.0.1.13:9000': 5 }                          # all others have `weight` (default: 1)
//! ```
//!
//! **Not tested with a real APISIX:** the driver follows the documentation and the source of APISIX 3, and its tests
//! replay replies in that form. Test it with one node first.
//!
//! **Writes:**
//!
//! - A node is out while its weight is 0. It returns with `weight`, or with its own entry in `weights`. A node with
//!   another weight is not taken out, because that weight would be lost.
//! - rollgate writes only the node's own weight (`PATCH`). APISIX merges it into its current upstream.
//! - An upstream with `nodes` as an array is refused. It can only be written as a whole, and a change by another writer
//!   at the same time would be lost.
//! - `admin_key` must be a secret of the playbook. It is sent only to the admin API. It is never printed, and never in
//!   a journal.
//! - The change survives a restart.
//!
//! **Confirmation:**
//!
//! - The control API confirms **out** and **in**: it shows the upstream of the worker that answers. The admin API shows
//!   the state in etcd, which confirms nothing.
//! - List each APISIX that follows the same etcd as a gateway in the playbook, with its own `control_url`.
//! - Each worker follows etcd by itself; see [Gateways with several workers](#gateways-with-several-workers). The lag
//!   is `sync_interval` (default: 1 s) + 0.5 s.
//! - APISIX's own active checks are not visible: use `health` for that.
//! - Requests in flight are not reported: use `drain.in_flight` with `http` or `sockets`.
//!
//! **Limits:**
//!
//! - The types `ewma` and `least_conn` are refused. `ewma` ignores weights, and `least_conn` sends a request to a node
//!   without weight if all other nodes failed.
//! - The only node of an upstream is never out: APISIX ignores its weight.
//! - The control API has no password: let it listen where only you can reach it.
//! - Upstreams inside a route or a service are not supported. The standalone mode is not supported either, because it
//!   has no admin API that could be written to.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::address;
use crate::gateway::driver::{Driver, Facts, GatewayInfo, Purpose};
use crate::gateway::guess::{GatewayAddress, Guess};
use crate::gateway::query::{Query, first, get, ok};
use crate::gateway::rotation::{Listed, Listing, NotDone, RotationControl, not_done};
use crate::gateway::settings::{
    Issue, RegistryKind, Settings, SettingsFacts, follows_only, secret_of, templates,
};
use crate::gateway::view::{Entries, Nodes, Peer, View};
use crate::json;
use crate::period::DurationSetting;
use crate::secret::Secret;
use crate::template::Template;
use crate::text::{line, quoted};
use crate::url::part;
use crate::world::{Method, Reply, Request};

/// How long a worker may take to follow etcd, if the playbook does not say it.
const INTERVAL: Duration = Duration::from_secs(1);

/// The time in which a worker that has lost its watch begins a new one.
const SLACK: Duration = Duration::from_millis(500);

/// The balancers that send no request to a node with weight 0. `ewma` ignores weights, and `least_conn` uses such a
/// node after it has tried all others.
const WEIGHTED: [&str; 2] = ["roundrobin", "chash"];

/// Apache APISIX, with its admin API. Its control API confirms what its workers do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Apisix {
    /// Its name in messages. Default: the host of its control API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The URL of its admin API, without `/apisix/admin`: `http://10.0.0.5:9180`.
    pub admin_url: Template,
    /// The key of the admin API (`X-API-KEY`): one of the playbook's secrets, `${{ secrets.apisix }}`.
    pub admin_key: Template,
    /// The URL of the control API of this APISIX: `http://10.0.0.11:9090`. By default it listens only on 127.0.0.1.
    pub control_url: Template,
    /// A PEM file with the only authorities that may have signed its certificate; relative to the playbook. Default:
    /// those of the system, or of `SSL_CERT_FILE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// The `id` of the upstream with the playbook's nodes.
    pub upstream: Template,
    /// The weight of every node in rotation. A node with another weight is not taken out. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub weight: Option<u32>,
    /// By a node's address: the weight that replaces `weight`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, u32>,
    /// How many workers it runs. Each follows etcd separately. Default: up to 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub workers: Option<u32>,
    /// The reply header of the control API with the name of the worker that answered. Used if replies have it.
    /// Default: `X-Worker`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_header: Option<String>,
    /// How long a worker may take to follow etcd. Default: 1s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_interval: Option<DurationSetting>,
}

impl Settings for Apisix {
    templates!(admin_url, control_url, upstream);

    fn guesses(address: &GatewayAddress, names: &[String]) -> Vec<Guess> {
        let guesses = address.named("control_url", "upstream", names).into_iter();
        let asking = |guess: Guess| {
            guess.asking(&[
                ("admin_url", "The URL of APISIX's admin API", "http://127.0.0.1:9180"),
                (
                    "admin_key",
                    "The admin key: a secret of the playbook, e.g. ${{ secrets.apisix }}",
                    "${{ secrets.apisix }}",
                ),
            ])
        };
        guesses.map(asking).collect()
    }

    fn facts(&self) -> SettingsFacts<'_> {
        SettingsFacts {
            ca: self.ca.as_deref(),
            name: self.name.as_deref(),
            place: ("control_url", self.control_url.as_str()),
            addresses: self.weights.keys().map(|address| ("weights", address.as_str())).collect(),
            secrets: vec![("admin_key", &self.admin_key)],
            incompatible_with: follows_only(
                RegistryKind::Gateway,
                "only its own admin API changes its list",
            ),
            ..SettingsFacts::default()
        }
    }

    fn issues(&self, known: &dyn Fn(&str) -> bool) -> Vec<Issue> {
        let upstream = self.upstream.fixed().filter(|_| known("upstream"));
        let upstream = upstream.filter(|id| !is_id(id)).map(|id| Issue {
            key: "upstream",
            message: format!("`{}` is not an id of an upstream", quoted(id)),
            helps: vec!["APISIX allows 1 to 64 letters, digits, `-`, `_` and `.`".into()],
        });
        let zero = self.weights.iter().find(|(_, weight)| **weight == 0);
        let zero = zero.filter(|_| known("weights")).map(|(address, _)| Issue {
            key: "weights",
            message: format!("the weight of `{}` is 0", quoted(address)),
            helps: vec![
                "a weight of 0 keeps the node out of rotation: write the weight that it has in rotation".into(),
            ],
        });
        upstream.into_iter().chain(zero).collect()
    }
}

fn is_id(id: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=64).contains(&id.len()) && id.bytes().all(is_allowed)
}

/// Apache APISIX, with its admin API: a node with weight 0 gets no new requests.
///
/// The admin API shows and writes the state in etcd, and each worker follows etcd by itself. So the control API
/// confirms a change: the worker that answers shows its own copy of the upstream.
pub(super) struct ApisixDriver {
    facts: Facts,
    nodes: Nodes,
    admin: String,
    key: Option<Secret>,
    control: String,
    upstream: String,
    weight: u32,
    weights: BTreeMap<String, u32>,
}

/// An upstream as the control API shows it.
#[derive(Deserialize)]
struct Upstream<'a> {
    #[serde(default)]
    r#type: String,
    #[serde(borrow)]
    nodes: Option<&'a RawValue>,
}

impl ApisixDriver {
    pub(super) fn new(settings: &Apisix, nodes: Nodes) -> Self {
        let interval = settings.sync_interval.map_or(INTERVAL, |period| period.0);
        let header = settings.worker_header.as_deref();
        let id = part(settings.upstream.as_str());
        let base = |url: &Template| url.as_str().trim_end_matches('/').to_owned();
        Self {
            facts: Facts::polling("APISIX", interval, SLACK, settings.workers, header),
            nodes,
            admin: format!("{}/apisix/admin/upstreams/{id}", base(&settings.admin_url)),
            key: secret_of(&settings.admin_key),
            control: format!("{}/v1/upstream/{id}", base(&settings.control_url)),
            upstream: settings.upstream.as_str().to_owned(),
            weight: settings.weight.unwrap_or(1),
            weights: settings.weights.clone(),
        }
    }

    /// A request to the admin API.
    fn admin(&self) -> Request {
        let key = self.key.iter().map(|key| ("x-api-key".into(), key.clone()));
        Request { headers: key.collect(), ..get(&self.admin) }
    }

    /// The weight of a node that is in rotation.
    fn intended(&self, address: &str) -> u32 {
        let mut own = self.weights.iter();
        let own = own.find(|(node, _)| address::same(node, address)).map(|(_, weight)| *weight);
        own.unwrap_or(self.weight)
    }

    /// The weights by the names of the nodes, as etcd has them.
    fn weights<'a>(&self, reply: &'a Reply) -> Result<Vec<(String, &'a RawValue)>, String> {
        let id = &self.upstream;
        match reply.status {
            401 | 403 => return Err(format!("answered {}: check `admin_key`", reply.status)),
            404 => return Err(format!("it has no upstream `{id}`")),
            _ => {}
        }
        let unreadable = |error: String| format!("its upstream `{id}` cannot be read: {error}");
        let document = json::document(&ok(reply)?.body).map_err(unreadable)?;
        // Before version 3 it was in a `node`.
        let mut nodes = None;
        for pointer in ["/value/nodes", "/node/value/nodes"] {
            nodes = nodes.or(json::at(document, pointer).map_err(unreadable)?);
        }
        let nodes = nodes.ok_or_else(|| format!("its upstream `{id}` has no `nodes`"))?;
        if !json::is_object(nodes) {
            return Err(format!(
                "its upstream `{id}` has `nodes` as an array, which can only be written as a whole: a change by \
                 another writer would be lost; write `nodes` as an object, `{{\"10.0.1.11:9000\": 1}}`"
            ));
        }
        let mut weights = Vec::new();
        json::each(nodes, |address, weight| {
            weights.extend(address.map(|address| (address.to_owned(), weight)));
            Ok(())
        })
        .map_err(unreadable)?;
        Ok(weights)
    }

    /// The name and the weight of a node, as etcd has them.
    fn own(&self, replies: &[Reply], address: &str) -> Result<(String, u64), String> {
        let reply = first(replies)?;
        let weights = self.weights(reply)?;
        let mut own = weights.into_iter().filter(|(name, _)| address::same(name, address));
        let id = &self.upstream;
        let (name, weight) =
            own.next().ok_or_else(|| format!("its upstream `{id}` has no node {address}"))?;
        if own.next().is_some() {
            return Err(format!("its upstream `{id}` has {address} twice"));
        }
        let weight = json::value(weight, json::SMALL)?;
        let weight = weight.as_u64().ok_or_else(|| {
            format!("the weight of {address} is not a number: {}", line(&weight.to_string(), 40))
        })?;
        let intended = self.intended(address);
        if weight != 0 && weight != u64::from(intended) {
            return Err(format!(
                "{address} has the weight {weight}, but would return to rotation with {intended}: change `weight` \
                 or `weights`"
            ));
        }
        Ok((name, weight))
    }
}

/// A node as a worker shows it: its address, and whether it gets requests.
fn entry(node: &Value) -> (Result<String, String>, Result<Peer, String>) {
    let shown = || line(&node.to_string(), 100);
    let place = node["host"].as_str().zip(node["port"].as_u64());
    let address = place.map(|(host, port)| address::join(host.trim_matches(['[', ']']), port));
    let peer = node["weight"].as_u64().map(|weight| Peer {
        up: weight > 0,
        failing_check: false,
        in_flight: None,
    });
    (
        address.ok_or_else(|| format!("a node has no host and port: {}", shown())),
        peer.ok_or_else(|| format!("a node has no weight: {}", shown())),
    )
}

impl Driver for ApisixDriver {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn queries(&self, purpose: Purpose<'_>) -> Vec<Query> {
        match purpose {
            Purpose::Look => vec![Query::Http(get(&self.control))],
            Purpose::Probe => vec![Query::Http(get(&self.control)), Query::Http(self.admin())],
            Purpose::Rotation => vec![Query::Http(self.admin())],
            Purpose::Count(_) => Vec::new(),
        }
    }

    fn read(&self, replies: &[Reply]) -> Result<View, String> {
        let reply = first(replies)?;
        let id = &self.upstream;
        if reply.status == 404 {
            return Err(format!("its control API shows no upstream `{id}`"));
        }
        let unreadable = |error: String| format!("its upstream `{id}` cannot be read: {error}");
        let document = json::document(&ok(reply)?.body).map_err(unreadable)?;
        let value = json::at(document, "/value").map_err(unreadable)?;
        let value = value.ok_or_else(|| unreadable("it has no `value`".into()))?;
        let upstream: Upstream<'_> = json::typed(value).map_err(unreadable)?;
        if !WEIGHTED.contains(&upstream.r#type.as_str()) {
            return Err(format!(
                "its upstream `{id}` has the type `{}`, which sends requests to a node whose weight is 0: use {}",
                line(&upstream.r#type, 40),
                WEIGHTED.map(|kind| format!("`{kind}`")).join(" or ")
            ));
        }
        let nodes = upstream.nodes.filter(|nodes| json::is_list(nodes));
        let nodes = nodes.ok_or_else(|| unreadable("it has no list of `nodes`".into()))?;
        let (mut all, mut weighted) = (0, 0);
        let mut entries = Entries::new(&self.nodes);
        json::each(nodes, |_, node| {
            let node = json::value(node, json::SMALL)?;
            let (address, peer) = entry(&node);
            all += 1;
            weighted += usize::from(peer.as_ref().is_ok_and(|peer| peer.up));
            entries.add(address, peer);
            Ok(())
        })
        .map_err(unreadable)?;
        let overridden = (all == 1 || weighted == 0).then(|| {
            format!(
                "{weighted} of its {all} nodes have a weight: APISIX ignores the weight of a single node, and its \
                 behaviour without any weight is unknown"
            )
        });
        Ok(View { overridden, ..entries.view()? })
    }

    fn info(&self, replies: &[Reply]) -> GatewayInfo {
        let info = GatewayInfo::by_server_header(&self.facts.kind, replies);
        let admin = replies.get(1).map(|reply| self.weights(reply).err());
        let blockers = self.read(replies).err().into_iter().chain(admin.flatten()).collect();
        GatewayInfo { blockers, ..info }
    }

    fn rotation_control(&self) -> Option<&dyn RotationControl> {
        Some(self)
    }
}

impl RotationControl for ApisixDriver {
    fn listing(&self, replies: &[Reply], address: &str) -> Result<Listing, String> {
        let (_, weight) = self.own(replies, address)?;
        Ok(if weight == 0 { Listed::Down } else { Listed::Up }.into())
    }

    /// Only the node's own weight is written. APISIX merges it into its current upstream.
    fn set(&self, replies: &[Reply], address: &str, down: bool) -> Result<Vec<Query>, String> {
        let (name, _) = self.own(replies, address)?;
        let weight = if down { 0 } else { self.intended(address) };
        let body = json!({ "nodes": { name: weight } }).to_string().into_bytes();
        let mut request = Request { method: Method::Patch, body: Some(body), ..self.admin() };
        request.headers.push(("content-type".into(), Secret::new("application/json")));
        Ok(vec![Query::Http(request)])
    }

    fn is_done(&self, replies: &[Reply]) -> Result<(), NotDone> {
        let reply = first(replies).map_err(NotDone::Unknown)?;
        if reply.status == 200 { Ok(()) } else { Err(not_done(reply)) }
    }
}
