//! Caddy 2, by its admin API: the list of a `reverse_proxy` handler is what new requests are sent to.
//!
//! The whole list is written at once, only on top of the one that was read (`If-Match`), and every entry that stays
//! keeps its very bytes. A change loads the whole configuration anew and is in effect when it is answered. An upstream
//! that was taken out still counts its requests in flight, until the last.

#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Ask, Driver, Peer, READ_TIMEOUT, Switch, View, get, ok};
use crate::playbook;
use crate::secret::Secret;
use crate::text::line;
use crate::world::{Method, Reply, Request};

/// A gateway of this kind.
pub(super) struct Caddy {
    admin_url: String,
    handler: String,
    max_requests: Option<u32>,
}

/// What matters of the handler.
#[derive(Deserialize)]
struct Handler<'a> {
    #[serde(rename = "handler")]
    module: String,
    #[serde(borrow)]
    upstreams: Option<Vec<&'a RawValue>>,
    dynamic_upstreams: Option<Value>,
    health_checks: Option<HealthChecks>,
}

#[derive(Deserialize)]
struct HealthChecks {
    passive: Option<Passive>,
}

/// Failures for which no more requests are sent; Caddy's default is one, and none is counted without a time.
#[derive(Deserialize)]
struct Passive {
    fail_duration: Option<Value>,
    max_fails: Option<u64>,
}

/// An upstream as Caddy counts it.
#[derive(Deserialize)]
struct Counted {
    address: String,
    num_requests: u64,
    fails: u64,
}

impl Caddy {
    pub(super) fn new(settings: &playbook::Caddy) -> Self {
        Self {
            admin_url: settings.admin_url.as_str().trim_end_matches('/').to_owned(),
            handler: settings.handler.as_str().to_owned(),
            max_requests: settings.max_requests,
        }
    }

    fn ask_handler(&self) -> Ask {
        Ask::Http(get(&format!("{}/id/{}", self.admin_url, self.handler)))
    }

    /// Reads the list, and how many failures hold an upstream down.
    fn list<'a>(&self, body: &'a [u8]) -> Result<(Vec<&'a RawValue>, Option<u64>), String> {
        let id = &self.handler;
        let text = std::str::from_utf8(body).map_err(|error| format!("not text: {error}"))?;
        let handler: Handler<'a> = serde_json::from_str(text)
            .map_err(|error| format!("`{id}` is no handler with upstreams: {error}"))?;
        if handler.module != "reverse_proxy" {
            let is = line(&handler.module, 40);
            return Err(format!("`{id}` is the handler `{is}`, not `reverse_proxy`"));
        }
        if handler.dynamic_upstreams.is_some_and(|dynamic| !dynamic.is_null()) {
            return Err(format!("`{id}` has `dynamic_upstreams`: its list has no effect"));
        }
        let list = handler.upstreams.ok_or_else(|| format!("`{id}` has no `upstreams`"))?;
        let passive = handler.health_checks.and_then(|checks| checks.passive);
        let passive = passive.filter(|passive| passive.fail_duration.is_some());
        Ok((list, passive.map(|passive| passive.max_fails.unwrap_or(1).max(1))))
    }

    /// What a node has that comes back.
    fn entry(&self, address: &str) -> Value {
        match self.max_requests {
            Some(most) => json!({ "dial": address, "max_requests": most }),
            None => json!({ "dial": address }),
        }
    }
}

/// Where an upstream is.
fn dial(entry: &RawValue) -> Result<String, String> {
    #[derive(Deserialize)]
    struct Upstream {
        dial: String,
    }
    let entry = entry.get();
    let upstream: Upstream = serde_json::from_str(entry)
        .map_err(|_| format!("an upstream has no `dial`: {}", line(entry, 100)))?;
    Ok(upstream.dial)
}

impl Driver for Caddy {
    /// The list first: requests that were sent by an older one are in the counts by then.
    fn asks(&self) -> Vec<Ask> {
        let counts = format!("{}/reverse_proxy/upstreams", self.admin_url);
        vec![self.ask_handler(), Ask::Http(get(&counts))]
    }

    fn read(&self, replies: &[Reply]) -> Result<View, String> {
        let [handler, counts] = replies else { return Err("a reply is missing".into()) };
        let (list, max_fails) = self.list(&ok(handler)?.body)?;
        let counts: Vec<Counted> = serde_json::from_slice(&ok(counts)?.body)
            .map_err(|error| format!("its upstreams cannot be read: {error}"))?;
        let mut view = View::default();
        for entry in list {
            let up = Peer { up: true, held_down: false, in_flight: Some(0) };
            view.peers.insert(dial(entry)?, up);
        }
        for counted in counts {
            let peer = view.peers.entry(counted.address);
            let peer = peer.or_insert(Peer { up: false, held_down: false, in_flight: None });
            peer.in_flight = Some(counted.num_requests);
            peer.held_down = max_fails.is_some_and(|most| counted.fails >= most);
        }
        Ok(view)
    }

    fn kind(&self) -> String {
        "Caddy".into()
    }

    fn interval(&self) -> Duration {
        Duration::ZERO
    }

    fn lag(&self) -> Duration {
        Duration::ZERO
    }

    /// One process.
    fn workers(&self) -> Option<u32> {
        Some(1)
    }

    fn lists_the_busy(&self) -> bool {
        true
    }

    fn switch(&self) -> Option<&dyn Switch> {
        Some(self)
    }
}

impl Switch for Caddy {
    fn asks(&self) -> Vec<Ask> {
        vec![self.ask_handler()]
    }

    /// A node that never was in the list cannot be told from one that was taken out.
    fn is_down(&self, replies: &[Reply], address: &str) -> Result<bool, String> {
        let [reply, ..] = replies else { return Err("no reply".into()) };
        let (list, _) = self.list(&ok(reply)?.body)?;
        let dials = list.into_iter().map(dial).collect::<Result<Vec<_>, _>>()?;
        Ok(!dials.iter().any(|dial| dial == address))
    }

    fn turn(&self, replies: &[Reply], address: &str, down: bool) -> Result<Vec<Ask>, String> {
        let [reply, ..] = replies else { return Err("no reply".into()) };
        let (list, _) = self.list(&ok(reply)?.body)?;
        let etag =
            reply.header("etag").ok_or("it sent no `Etag`: this needs Caddy 2.6 or later")?;
        let ours = self.entry(address);
        let mut entries = Vec::new();
        for entry in list {
            if dial(entry)? != address {
                entries.push(entry.get().to_owned());
            } else if serde_json::from_str::<Value>(entry.get()).ok().as_ref() != Some(&ours) {
                return Err(format!(
                    "the upstream {} would come back as {ours}; only `max_requests` can be given in the playbook",
                    line(entry.get(), 100)
                ));
            }
        }
        if !down {
            entries.push(ours.to_string());
        }
        Ok(vec![Ask::Http(Request {
            method: Method::Patch,
            url: format!("{}/id/{}/upstreams", self.admin_url, self.handler),
            headers: vec![
                ("content-type", Secret::new("application/json")),
                ("if-match", Secret::new(etag)),
            ],
            body: Some(format!("[{}]", entries.join(",")).into_bytes()),
            ..Request::get("", READ_TIMEOUT).fresh()
        })])
    }

    fn is_done(&self, replies: &[Reply]) -> Result<(), String> {
        let [reply, ..] = replies else { return Err("no reply".into()) };
        if reply.status == 412 {
            return Err("its configuration was changed by somebody else in between".into());
        }
        ok(reply).map(|_| ())
    }
}
