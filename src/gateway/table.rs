//! Reads a list of peers from a text: JSON with pointers, or any text with a pattern.

use serde_json::Value;

use super::settings::Issue;
use super::view::{Nodes, Peer, View};
use crate::json;
use crate::pattern::Pattern;
use crate::world::Reply;

/// The pointers into JSON.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Place<'a> {
    /// Pointer to the list.
    pub(super) list: Option<&'a str>,
    /// From a peer to its address.
    pub(super) address: Option<&'a str>,
    /// From a peer to whether it is routed.
    pub(super) routed: Option<&'a str>,
    /// From a peer to whether it is down. A peer without this value is not.
    pub(super) down: Option<&'a str>,
    /// From a peer to its requests in flight.
    pub(super) in_flight: Option<&'a str>,
}

/// How a list is read.
pub(super) struct Table {
    nodes: Nodes,
    pattern: Option<Pattern>,
    list: String,
    address: Option<String>,
    routed: Option<String>,
    down: Option<String>,
    in_flight: Option<String>,
}

impl Table {
    pub(super) fn new(pattern: Option<&str>, place: Place<'_>, nodes: Nodes) -> Self {
        let own = |pointer: Option<&str>| pointer.map(str::to_owned);
        Self {
            nodes,
            // The playbook's check has refused patterns that do not compile.
            pattern: pattern.and_then(|pattern| Pattern::new(pattern).ok()),
            list: own(place.list).unwrap_or_default(),
            address: own(place.address),
            routed: own(place.routed),
            down: own(place.down),
            in_flight: own(place.in_flight),
        }
    }

    /// Reads the body of a reply.
    ///
    /// An entry without an address is not a peer. A peer whose state cannot be read is neither in nor out.
    pub(super) fn read(&self, reply: &Reply) -> Result<View, String> {
        let read = match &self.pattern {
            Some(pattern) => self.read_text(pattern, &reply.searchable()?),
            None => self.read_json(&reply.text()).map(|(view, _)| view),
        };
        read.and_then(View::readable)
    }

    /// The peers that are not nodes of the playbook, including those without an address.
    pub(super) fn strangers(&self, reply: &Reply) -> Vec<String> {
        let read = match &self.pattern {
            Some(pattern) => reply
                .searchable()
                .and_then(|text| self.read_text(pattern, &text))
                .map(|view| (view, Vec::new())),
            None => self.read_json(&reply.text()),
        };
        let (view, unplaced) = read.unwrap_or_default();
        let strangers = view.peers.into_keys().filter(|peer| self.nodes.find(peer).is_none());
        strangers.chain(unplaced).collect()
    }

    fn read_text(&self, pattern: &Pattern, text: &str) -> Result<View, String> {
        let mut view = View::default();
        let tells_routed = pattern.has_group("routed");
        pattern.each(text, |found| {
            let address = found.name("address").ok_or("the pattern has no group `address`")?;
            let up =
                found.name("down").is_none() && (!tells_routed || found.name("routed").is_some());
            let peer = Peer { up, failing_check: false, in_flight: None };
            view.add(self.nodes.name(address.as_str()), peer);
            Ok(())
        })?;
        Ok(view)
    }

    /// Reads the peers. Those without an address are returned as they are written.
    fn read_json(&self, text: &str) -> Result<(View, Vec<String>), String> {
        let document =
            json::document(text.as_bytes()).map_err(|error| format!("not JSON: {error}"))?;
        let pointer = self.list.as_str();
        let list = json::at(document, pointer)?
            .ok_or_else(|| format!("the document has nothing at `{pointer}`"))?;
        if !json::is_list(list) && !json::is_object(list) {
            return Err(format!("the value at `{pointer}` is neither an array nor an object"));
        }
        let mut view = View::default();
        let mut unplaced = Vec::new();
        let mut first = None;
        json::each(list, |key, peer| {
            let peer = json::value(peer, json::SMALL)?;
            let shown = || crate::text::line(&peer.to_string(), 100);
            if first.is_none() {
                first = Some(shown());
            }
            match self.address(key, &peer).map(|address| self.nodes.name(address)) {
                None => unplaced.push(shown()),
                Some(address) => match self.peer(&peer) {
                    Ok(peer) => view.add(address, peer),
                    Err(why) => view.add_unread(address, why),
                },
            }
            Ok(())
        })
        .map_err(|why| match pointer {
            "" => format!("its list: {why}"),
            pointer => format!("its list at `{pointer}`: {why}"),
        })?;
        // A problem of every peer is a mistake in the playbook.
        if let (true, Some(first)) = (view.peers.is_empty(), unplaced.first()) {
            return Err(format!("a peer has no address: {first}"));
        }
        let counts = view.peers.values().any(|peer| peer.in_flight.is_some());
        if let (Some(_), false, Some(first)) = (&self.in_flight, counts, first) {
            return Err(format!("a peer has no number of requests in flight: {first}"));
        }
        Ok((view, unplaced))
    }

    fn address<'a>(&self, key: Option<&'a str>, peer: &'a Value) -> Option<&'a str> {
        match (&self.address, key) {
            (Some(pointer), _) => peer.pointer(pointer).and_then(Value::as_str),
            (None, Some(key)) => Some(key),
            (None, None) => peer.as_str(),
        }
    }

    fn peer(&self, peer: &Value) -> Result<Peer, String> {
        let unreadable = |what: &str| {
            format!("a peer has no {what}: {}", crate::text::line(&peer.to_string(), 100))
        };
        let routed = match &self.routed {
            Some(pointer) => {
                let value = peer.pointer(pointer).ok_or_else(|| unreadable("routed"))?;
                means_routed(value).ok_or_else(|| {
                    format!(
                        "a peer has the unknown `routed` value {}: use a `pattern` instead",
                        crate::text::line(&value.to_string(), 60)
                    )
                })?
            }
            None => true,
        };
        let down = match self.down.as_ref().and_then(|pointer| peer.pointer(pointer)) {
            Some(told) => means_down(told).ok_or_else(|| unreadable("readable `down` value"))?,
            None => false,
        };
        let in_flight = self.in_flight.as_ref();
        let in_flight = in_flight.and_then(|pointer| peer.pointer(pointer)).and_then(Value::as_u64);
        Ok(Peer { up: routed && !down, failing_check: false, in_flight })
    }
}

/// Words for a peer that gets requests.
const ROUTED: [&str; 12] = [
    "up", "ok", "true", "1", "yes", "on", "enabled", "healthy", "passing", "ready", "active", "in",
];

/// Words for a peer that gets no requests.
const NOT_ROUTED: [&str; 19] = [
    "down",
    "false",
    "0",
    "no",
    "off",
    "disabled",
    "unhealthy",
    "critical",
    "failed",
    "failing",
    "err",
    "error",
    "drain",
    "draining",
    "drained",
    "maint",
    "maintenance",
    "inactive",
    "out",
];

/// Whether requests go to a peer. `None` if the value is unknown, because otherwise the peer would count as out.
fn means_routed(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(routed) => Some(*routed),
        Value::Number(number) => number.as_f64().map(|number| number != 0.0),
        Value::String(word) => {
            let word = word.to_ascii_lowercase();
            let is_in = |words: &[&str]| words.contains(&word.as_str());
            if is_in(&ROUTED) { Some(true) } else { is_in(&NOT_ROUTED).then_some(false) }
        }
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// `None` for any other value: both down and not down would confirm something.
fn means_down(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(down) => Some(*down),
        Value::Number(number) => Some(number.as_f64() != Some(0.0)),
        Value::Null => Some(false),
        Value::String(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The problems of how peers are found: with a pattern, or with these pointers, of which some are given.
pub(super) fn reading_issues(
    pattern: Option<&str>,
    pointers: &[(&'static str, bool)],
    known: &dyn Fn(&str) -> bool,
) -> Vec<Issue> {
    let Some(pattern) = pattern.filter(|_| known("pattern")) else {
        return Vec::new();
    };
    let given = pointers.iter().filter(|(_, is_given)| *is_given);
    let mut wrong: Vec<_> = given
        .map(|(key, _)| Issue {
            key,
            message: format!("both `{key}` and `pattern` are given"),
            helps: vec![
                "`pattern` reads text, the pointers read JSON: keep one or the other".into(),
            ],
        })
        .collect();
    wrong.extend(pattern_issues(pattern));
    wrong
}

/// The problems of a pattern's groups, for a pattern that finds peers in text.
pub(super) fn pattern_issues(pattern: &str) -> Vec<Issue> {
    let Ok(pattern) = Pattern::new(pattern) else {
        return Vec::new();
    };
    let has = |group: &str| pattern.has_group(group);
    let wrong = |message: &str, help: &str| Issue {
        key: "pattern",
        message: message.into(),
        helps: vec![help.into()],
    };
    let mut found = Vec::new();
    if !has("address") {
        found.push(wrong(
            "the pattern has no group `address`",
            r"name the part that is `host:port`: `(?<address>\S+)`",
        ));
    }
    if has("routed") && has("down") {
        found.push(wrong(
            "the pattern has both groups `routed` and `down`",
            "keep one; it must take part in the match only if the peer is routed or down",
        ));
    }
    found
}
