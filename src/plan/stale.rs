//! What has changed since a plan file was made, each change in one line.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::file::{PlanFile, content, sha256};
use super::seen::{EntrySeen, GatewaySeen, NodeSeen, ProcessSeen, Seen, ServerSeen};
use crate::json;
use crate::playbook::{Playbook, all_differences};
use crate::text;

/// How much of a value is shown, in characters.
const SHOWN: usize = 80;

/// What has changed since a plan was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// What is not as it was.
    pub changed: Vec<String>,
    /// What was known and is unknown now.
    pub unknown: Vec<String>,
    /// What the release would do otherwise. Changes and unknown states can be the reason.
    pub planned: Vec<String>,
}

/// Compares the state of all systems with what a plan file saw.
#[must_use]
pub fn changes(plan: &PlanFile, now: &Seen) -> Changes {
    let mut changes = Changes::default();
    let known: BTreeMap<_, _> = now.nodes.iter().map(|node| (node.name.as_str(), node)).collect();
    for then in &plan.nodes {
        match known.get(then.name.as_str()) {
            Some(now) => changes.node(then, now),
            None => changes.changed.push(format!("{}: the playbook has no such node", then.name)),
        }
    }
    for then in &plan.gateways {
        let name = &then.name;
        match (now.gateways.iter().find(|now| now.name == *name), now.unread.get(name)) {
            (Some(now), _) => changes.gateway(then, now),
            (None, Some(why)) => {
                changes.unknown.push(format!("gateway {name} cannot be read: {why}"));
            }
            (None, None) => {
                changes.changed.push(format!("gateway {name}: the playbook has no such gateway"));
            }
        }
    }
    let order = |nodes: &[NodeSeen]| -> Vec<_> {
        nodes.iter().map(|node| text::line(&node.name, SHOWN)).collect()
    };
    let (then, now) = (order(&plan.nodes), order(&now.nodes));
    if changes.is_empty() && then != now {
        let (then, now) = (then.join(", "), now.join(", "));
        changes.planned.push(format!("the order of the nodes was changed: {then} -> {now}"));
    }
    changes
}

/// Compares a playbook's text with the playbook of a plan file. `playbook` returns its content, if it is valid.
#[must_use]
pub fn playbook_changes(
    plan: &PlanFile,
    text: &str,
    playbook: impl FnOnce() -> Option<Playbook>,
) -> Vec<String> {
    let then = &plan.playbook;
    if sha256(text.as_bytes()) == then.sha256 {
        return Vec::new();
    }
    let file = text::line(&then.file, SHOWN);
    let Some(playbook) = playbook() else {
        return vec![format!("playbook {file} was changed, and is not valid now")];
    };
    let found = match (then.content.typed(), content(&playbook).typed()) {
        (Ok(then), Ok(now)) => all_differences(&then, &now),
        _ => Vec::new(),
    };
    if found.is_empty() {
        return vec![format!(
            "playbook {file} was changed: its comments, its layout, or a value that is not shown"
        )];
    }
    let none = || "none".to_owned();
    let line = |key: String, then: Option<String>, now: Option<String>| {
        let (then, now) = (then.unwrap_or_else(none), now.unwrap_or_else(none));
        format!("playbook {file}: {key} was changed: {then} -> {now}")
    };
    found.into_iter().map(|found| line(found.key, found.journal, found.file)).collect()
}

impl Changes {
    /// Returns whether nothing is different.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.unknown.is_empty() && self.planned.is_empty()
    }

    /// Returns all lines.
    #[must_use]
    pub fn lines(self) -> Vec<String> {
        // What the release would do follows from the rest.
        let of_rest = if self.changed.is_empty() { self.planned } else { Vec::new() };
        [self.changed, self.unknown, of_rest].concat()
    }

    fn node(&mut self, then: &NodeSeen, now: &NodeSeen) {
        let name = &then.name;
        let before = self.changed.len() + self.unknown.len();
        let told: Vec<_> = [
            entries(&then.entries, &now.entries),
            process(then, now),
            differ("its `current` link", then.current.as_ref(), now.current.as_ref())
                .filter(|_| then.listens.is_some() && now.listens.is_some())
                .into_iter()
                .collect(),
            holds(then, now).into_iter().collect(),
        ]
        .concat();
        self.changed.extend(told.into_iter().map(|told| format!("{name}: {told}")));
        match (&then.version, &now.version) {
            (Some(then), Some(now)) if then != now => {
                self.changed.push(format!("{name}: its version was changed: {then} -> {now}"));
            }
            (Some(then), None) => {
                self.unknown.push(format!("{name}: it reports no version any more (was {then})"));
            }
            _ => {}
        }
        let was_known = then.listens.is_some() && !then.entries.is_empty();
        let is_known = now.listens.is_some() && !now.entries.is_empty();
        if was_known && !is_known {
            let why = now.problem.as_deref().unwrap_or("it could not be inspected");
            self.unknown.push(format!("{name}: its state is unknown: {why}"));
        }
        let is_explained = self.changed.len() + self.unknown.len() > before;
        if then.will != now.will && !is_explained {
            let why = if now.why.is_empty() { String::new() } else { format!(" ({})", now.why) };
            let (then, now) = (then.will.word(), now.will.word());
            self.planned
                .push(format!("{name}: the planned action was changed: {then} -> {now}{why}"));
        }
    }

    fn gateway(&mut self, then: &GatewaySeen, now: &GatewaySeen) {
        let name = &then.name;
        let mut told = Vec::new();
        for (then, now) in then.servers.iter().zip(&now.servers) {
            told.extend(server(then, now));
        }
        let others = |seen: &GatewaySeen| {
            let names = seen.others.iter().map(String::as_str);
            text::first_of(names, seen.others.len())
        };
        if then.others != now.others {
            let (then, now) = (others(then), others(now));
            told.push(format!(
                "other servers were changed: {} -> {}",
                or_none(&then),
                or_none(&now)
            ));
        } else if then.listed != now.listed {
            let (then, now) = (then.listed, now.listed);
            told.push(format!("the number of its entries was changed: {then} -> {now}"));
        }
        told.extend(differ("its override", then.overridden.as_ref(), now.overridden.as_ref()));
        self.changed.extend(told.into_iter().map(|told| format!("gateway {name}: {told}")));
    }
}

fn or_none(told: &str) -> &str {
    if told.is_empty() { "none" } else { told }
}

fn differ(what: &str, then: Option<&String>, now: Option<&String>) -> Option<String> {
    let shown = |value: Option<&String>| {
        value.map_or_else(|| "none".to_owned(), |value| text::line(value, SHOWN))
    };
    (then != now).then(|| format!("{what} was changed: {} -> {}", shown(then), shown(now)))
}

fn entries(then: &[EntrySeen], now: &[EntrySeen]) -> Vec<String> {
    let both =
        then.iter().filter_map(|then| Some((then, now.iter().find(|now| now.key == then.key)?)));
    both.filter_map(|(then, now)| entry(then, now)).collect()
}

fn entry(then: &EntrySeen, now: &EntrySeen) -> Option<String> {
    let key = &then.key;
    match (then.modify_index, now.modify_index) {
        (Some(before), Some(after)) if before != after || then.value != now.value => Some(format!(
            "key {key} was changed (index {before} -> {after}): {}",
            values(then.value.as_deref(), now.value.as_deref())
        )),
        _ if then.mark != now.mark => {
            let (then, now) = (&then.mark, &now.mark);
            Some(format!("its mark ({key}) was changed: {then} -> {now}"))
        }
        _ => None,
    }
}

/// How the values of a key differ: the fields, if both are objects.
fn values(then: Option<&str>, now: Option<&str>) -> String {
    if then == now {
        return "it has the same value again".to_owned();
    }
    let (Some(before), Some(after)) = (then.and_then(object), now.and_then(object)) else {
        let shown = |value: Option<&str>| text::line(value.unwrap_or_default(), SHOWN);
        return format!("{} -> {}", shown(then), shown(now));
    };
    match fields(&before, &after) {
        told if told.is_empty() => "only its spelling".to_owned(),
        told => told,
    }
}

/// The fields of a JSON object, for people.
fn object(value: &str) -> Option<BTreeMap<String, String>> {
    let raw = json::document(value.as_bytes()).ok()?;
    let Value::Object(fields) = json::value(raw, json::SMALL).ok()? else { return None };
    Some(fields.into_iter().map(|(name, value)| (name, value.to_string())).collect())
}

/// How two sets of fields differ: `down 0 -> 1, weight 2 -> none`.
fn fields(then: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> String {
    let names: BTreeSet<_> = then.keys().chain(now.keys()).collect();
    let shown = |value: Option<&String>| value.map_or("none", String::as_str).to_owned();
    let told = names.into_iter().filter_map(|name| {
        let (then, now) = (then.get(name), now.get(name));
        (then != now).then(|| format!("{name} {} -> {}", shown(then), shown(now)))
    });
    text::line(&told.collect::<Vec<_>>().join(", "), 200)
}

fn process(then: &NodeSeen, now: &NodeSeen) -> Vec<String> {
    let told = match (then.listens, now.listens) {
        (Some(true), Some(false)) => Some("no process listens on its port any more".to_owned()),
        (Some(false), Some(true)) => Some("a process listens on its port now".to_owned()),
        (Some(true), Some(true)) => {
            then.process.as_ref().zip(now.process.as_ref()).and_then(restarted)
        }
        _ => None,
    };
    told.into_iter().collect()
}

fn restarted((then, now): (&ProcessSeen, &ProcessSeen)) -> Option<String> {
    let same = if then.pid == now.pid { ", started later" } else { "" };
    let (before, after) = (then.pid, now.pid);
    (then != now).then(|| format!("its process was restarted: pid {before} -> {after}{same}"))
}

fn holds(then: &NodeSeen, now: &NodeSeen) -> Option<String> {
    match (&then.held, &now.held) {
        (None, Some(by)) => Some(format!("it is held out of rotation now, by {by}")),
        (Some(by), None) => Some(format!("it is not held any more (was held by {by})")),
        (Some(then), Some(now)) if then != now => {
            Some(format!("it is held by another operator: {then} -> {now}"))
        }
        _ => None,
    }
}

fn server(then: &ServerSeen, now: &ServerSeen) -> Option<String> {
    let address = &then.address;
    if then.state != now.state {
        let (then, now) = (then.state.word(), now.state.word());
        return Some(format!("{address} was changed: {then} -> {now}"));
    }
    let parameters = |server: &ServerSeen| {
        server.parameters.iter().map(|(name, value)| (name.clone(), value.to_string())).collect()
    };
    let told = fields(&parameters(then), &parameters(now));
    (!told.is_empty()).then(|| format!("{address} was changed: {told}"))
}

#[cfg(test)]
mod tests;
